"""Lines of a study file that ask for a slice or a cell."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from gammascape.study.cell import Cell
from gammascape.study.keys.file import Grid, StudyFile
from gammascape.study.reading.errors import KeyPath
from gammascape.study.reading.yaml_reader import Source, read_yaml
from gammascape.study.study import Slice, Study

_OF_SLICES = ("model", "dataset", "loss", "batch_size", "steps")


@dataclass(frozen=True)
class Ask:
    """A grid of a study file that contains a slice or a cell."""

    path: Path
    slice: str
    lines: Mapping[str, int | None]
    """Relevant keys and their lines; the first is the grid."""


def asks(study: Study, part: Slice, cell: Cell | None = None) -> list[Ask]:
    """Grids of a study that ask for a slice, or for a cell of it, in the order of the file.

    Raises:
        StudyError: if the file cannot be read any more.
    """
    source = read_yaml(study.path)
    file = StudyFile.model_validate(source.data)
    return [
        Ask(study.path, part.key, _lines(source, index, part))
        for index, grid in enumerate(file.grids)
        if all(getattr(part, key) in getattr(grid, key) for key in _OF_SLICES)
        and (cell is None or _has_cell(grid, cell))
    ]


def _has_cell(grid: Grid, cell: Cell) -> bool:
    point = (Decimal(cell.gamma), Decimal(cell.eta))
    return (cell.seed, cell.data_seed) in grid.seeds and point in set(
        grid.points(cell.loss, cell.model.depth_exponent)
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
