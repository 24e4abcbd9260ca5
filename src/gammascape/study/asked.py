"""Lines of a study file that ask for a slice or a cell."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from gammascape.study.cell import Cell
from gammascape.study.keys.file import Grid, StudyFile
from gammascape.study.points import NEW_GAMMA, Point
from gammascape.study.reading.errors import KeyPath
from gammascape.study.reading.yaml_reader import Source, read_yaml
from gammascape.study.study import Slice, Study

_ENDS = re.compile(r"(?:between|above|below) (\S+)(?:.* and (\S+))?")
_SEEDS = re.compile(r", seed (\d+)(?:/(\d+))?$")
_OF_SLICES = ("model", "dataset", "loss", "batch_size", "steps")


@dataclass(frozen=True)
class Ask:
    """A grid of a study file that contains a slice or a cell."""

    path: Path
    slice: str
    lines: Mapping[str, int | None]
    """Relevant keys and their lines; the first is the grid."""
    point: Point | None = None
    """Point of a map that the cell is at."""
    because: tuple[str, ...] = ()
    """Paths of the cells between which this point was wanted."""
    first: Point | None = None
    """Another point, for which the map added the gamma."""


def asks(study: Study, part: Slice, cell: Cell | None = None) -> list[Ask]:
    """Grids of a study that ask for a slice, or for a cell of it, in the order of the file.

    Raises:
        StudyError: if the file cannot be read any more.
    """
    source = read_yaml(study.path)
    file = StudyFile.model_validate(source.data)
    chosen = study.points.get(part.key, {})
    gamma, eta = (None, None) if cell is None else (Decimal(cell.gamma), Decimal(cell.eta))
    etas = {} if gamma is None else chosen.get(gamma, {})
    point = None if eta is None else etas.get(eta)
    first = next((p for p in etas.values() if p.why.startswith(NEW_GAMMA) and p != point), None)
    because = () if cell is None or point is None else _because(part, cell, point.why)
    return [
        Ask(
            study.path,
            part.key,
            _lines(source, index, part),
            *((point, because, first) if grid.eta.map else ()),
        )
        for index, grid in enumerate(file.grids)
        if all(getattr(part, key) in getattr(grid, key) for key in _OF_SLICES)
        and (cell is None or _has_cell(grid, cell, chosen))
    ]


def _because(part: Slice, cell: Cell, why: str) -> tuple[str, ...]:
    """Cells that the reason of a point names, of its seeds if it names these too."""
    ends, seeds = _ENDS.match(why), _SEEDS.search(why)
    return tuple(
        other.path
        for other in part.cells
        if ends and other.gamma == cell.gamma and other.eta in ends.groups()
        if (str(other.seed) == seeds[1] if seeds else other.seed == cell.seed)
        if (str(other.data_seed) == seeds[2] if seeds and seeds[2] else True)
    )


def _has_cell(grid: Grid, cell: Cell, chosen: Mapping[Decimal, Collection[Decimal]]) -> bool:
    points = tuple(grid.points(cell.loss, cell.model.depth_exponent, chosen))
    return (cell.seed, cell.data_seed) in grid.seeds and (
        (Decimal(cell.gamma), Decimal(cell.eta)) in points
    )


def _lines(source: Source, index: int, part: Slice) -> dict[str, int | None]:
    keys = ("gamma", "eta", "loss", "batch_size", "steps", "seed", "data_seed")
    grid: KeyPath = ("grids", index)
    content = source.data["grids"][index] if isinstance(source.data, dict) else {}
    paths: dict[str, KeyPath] = {
        f"grids[{index}]": grid,
        **{key: (*grid, key) for key in keys if key in content},
        f"models.{part.model}": ("models", part.model),
        f"datasets.{part.dataset}": ("datasets", part.dataset),
    }
    return {name: source.line(path) for name, path in paths.items()}
