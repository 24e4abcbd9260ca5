"""A study: the typed file, checked as a whole and expanded into slices of cells."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from itertools import product
from math import log
from pathlib import Path

from pydantic import ValidationError

from gammascape.study.cell import Cell, Dtype, network_digits
from gammascape.study.checks import check
from gammascape.study.keys.datasets import CONFIGURED_GENERATOR, ConstantSpec, DatasetSpec
from gammascape.study.keys.exact import decimal_text
from gammascape.study.keys.file import Analysis, SmallGamma, StudyFile
from gammascape.study.keys.files import Files
from gammascape.study.keys.generators import Generated
from gammascape.study.keys.models import ModelSpec
from gammascape.study.keys.observables import Observable, in_order
from gammascape.study.points import Mapped, Maps, Points, fit, points_path, read_points
from gammascape.study.reading.errors import MOST_PROBLEMS, Problem, StudyError, study_error
from gammascape.study.reading.explain import explain
from gammascape.study.reading.yaml_reader import read_yaml
from gammascape.study.resolve import resolve
from gammascape.theory.edges import Loss
from gammascape.usercode.find import Sources

STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
RESERVED = ("cells", "data", "generated", "index", "logs", "so-far")
"""Names below results that are shared by all studies."""


@dataclass(frozen=True)
class Slice:
    """Cells that differ only in gamma, eta and the seeds: one portrait, one set of fits."""

    model: str
    dataset: str
    loss: Loss
    batch_size: int
    steps: int
    model_spec: ModelSpec
    dataset_spec: DatasetSpec
    cells: tuple[Cell, ...]

    @property
    def key(self) -> str:
        """Name of the slice in file names, from the user's names of model and dataset."""
        return slice_key(self.model, self.dataset, self.loss, self.batch_size, self.steps)

    @property
    def depth_exponent(self) -> int | None:
        """L of the exponent 2/L, for models that have one."""
        return self.model_spec.depth_exponent

    @property
    def is_toy(self) -> bool:
        """True if theory computes the slice; the cells of all others are trained."""
        return self.model_spec.kind == "toy"

    @property
    def observables(self) -> tuple[Observable, ...]:
        """Observables of at least one cell."""
        return in_order(name for cell in self.cells for name in cell.observables)

    @property
    def has_observables_figure(self) -> bool:
        """True if it has observables that the figure `observables` shows."""
        return not {"sharpness", "kernel_alignment", "ntk_alignment"}.isdisjoint(self.observables)

    @property
    def class_prior(self) -> float | None:
        """Relative loss of the best constant output, the frequencies p of C classes; None if f = 0 is as good.

        Under cross-entropy it is H(p) / log C, under squared loss ``1 - |p|^2 / E|y|^2``, where the targets y have
        ``E|y|^2 = 1``, or with mixup less: E[2 lambda (1 - lambda)] = alpha / (2 alpha + 1) of two targets is a
        product, which is 1 if they are of one class. Neither changes the mean of y.
        """
        data = self.dataset_spec
        if isinstance(data, ConstantSpec) or not data.classification:
            return None
        shares = data.class_shares
        if self.loss == "xent":
            level = -sum(p * log(p) for p in shares if p) / log(len(shares))
        else:
            same = sum(p * p for p in shares)
            mixed = data.mixup / (2 * data.mixup + 1) if self.batch_size > 1 else 0.0
            level = 1 - same / (1 - mixed * (1 - same))
        return level if level < 1 - 1e-9 else None

    @property
    def passes(self) -> float | None:
        """Uses of each training sample, at most one in an online run; None if all samples are new."""
        samples = self.dataset_spec.pass_samples
        return None if samples is None else self.steps * self.batch_size / samples


@dataclass(frozen=True)
class Study:
    """A named study: its slices in the order of the file, and the options of its analysis."""

    name: str
    path: Path
    description: str
    slices: tuple[Slice, ...]
    analysis: Analysis
    sources: tuple[Sources, ...] = ()
    """Source files of its own factories."""
    maps: Maps = field(default_factory=dict)
    points: Points = field(default_factory=dict)
    """Points of its maps."""
    edited: bool = False
    """True if the file of its points was edited by hand."""
    left_out: tuple[Problem, ...] = ()
    """Points of the file that the maps cannot have any more."""

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, each once, slice by slice; within a slice by gamma, eta and seeds."""
        return tuple(cell for part in self.slices for cell in part.cells)

    @cached_property
    def by_path(self) -> Mapping[str, Cell]:
        """Cells by the path of their artifacts."""
        return {cell.path: cell for cell in self.cells}


def load_study(
    path: str | Path, generator: Generated | None = None, *, begin: bool = False
) -> Study:
    """Read a study file and expand it; `generator` makes MNIST-1M if the study names none.

    With `begin`, a map may lack points, and has those that it would begin with if all constants were 1.

    Raises StudyError, with all problems of the file in one message, if the file is invalid.
    """
    source = read_yaml(path)
    try:
        context = {CONFIGURED_GENERATOR: generator}
        file = StudyFile.model_validate(source.data, context=context)
    except ValidationError as error:
        raise study_error(source.name, explain(error, source, StudyFile)) from None
    file, sources, missing = resolve(file, Path(path).parent)
    # Data that cannot be read have no shape to check.
    unread = any(isinstance(d, Files) and not d.content for d in file.datasets.values())
    found = missing if unread else [*check(file), *missing]
    stem = Path(path).stem
    if not STUDY_NAME.fullmatch(stem):
        text = f"the file's name {stem} names the study: use lower case letters, digits and hyphens, 64 at most"
        found.append(Problem((), text))
    elif stem in RESERVED:
        text = f"a study cannot be named {stem}: results/{stem} is for what studies share; rename the file"
        found.append(Problem((), text))
    maps, differing = _maps(file)
    found += differing
    if found:
        problems = [Problem(p.path, p.text, source.line(p.path)) for p in found]
        raise study_error(source.name, problems)
    known = _points(Path(path), maps, begin) if maps else ({}, False, ())
    slices = _slices(file, known[0])
    return Study(stem, Path(path), file.description, slices, file.analysis, sources, maps, *known)


def slice_key(model: str, dataset: str, loss: str, batch_size: int, steps: int) -> str:
    """Name of a slice."""
    return f"{model}-{dataset}-{loss}-B{batch_size}-T{steps}"


def _as_trained(file: StudyFile, model: str, dataset: str) -> tuple[ModelSpec, DatasetSpec]:
    data = file.datasets[dataset]
    read = data.as_trained() if isinstance(data, Files) else data
    return file.models[model].as_trained(), read


def _maps(file: StudyFile) -> tuple[Maps, list[Problem]]:
    """Maps of a file, and problems of grids that map one slice differently."""
    maps: dict[str, dict[Decimal, Mapped]] = {}
    problems = []
    for index, grid in enumerate(file.grids):
        if grid.eta.map is None:
            continue
        for key in product(grid.model, grid.dataset, grid.loss, grid.batch_size, grid.steps):
            of_slice = maps.setdefault(slice_key(*key), {})
            text = (
                f"an earlier grid maps {slice_key(*key)} with other options; write the same in both"
            )
            spec, needed = grid.gamma.map, {*grid.gamma.points()}
            digits = network_digits(*_as_trained(file, key[0], key[1]))
            if spec and any(mapped.gammas not in (spec, None) for mapped in of_slice.values()):
                problems.append(Problem(("grids", index, "gamma", "map"), text))
            for gamma in grid.gamma.points(spec.points(spec.finest) if spec else ()):
                before = of_slice.get(gamma, Mapped(grid.eta.map, (), needed=False))
                if before.map != grid.eta.map:
                    problems.append(Problem(("grids", index, "eta", "map"), text))
                seeds = tuple(dict.fromkeys((*before.seeds, *grid.seeds)))
                needs = before.needed or gamma in needed
                of_slice[gamma] = Mapped(before.map, seeds, before.gammas or spec, needs, digits)
    return maps, list(dict.fromkeys(problems))


def _points(path: Path, maps: Maps, begin: bool) -> tuple[Points, bool, tuple[Problem, ...]]:
    """Points of the maps of a study, whether they were edited, and problems of those that are left out.

    With `begin`, some may be missing or left out.
    """
    points, edited, networks = read_points(path)
    run = f"run gammascape map {path}"
    if not begin and not points:
        raise StudyError(f"{path}: has a map, and no points yet in {points_path(path)}: {run}")
    kept, others, missing = fit(points, networks, maps)
    if not begin and (problems := [*others, *missing]):
        last = Problem((), f"{run}, which fits the points to the study")
        raise study_error(str(points_path(path)), [*problems[: MOST_PROBLEMS - 1], last])
    return kept, edited, tuple(others)


_SliceKey = tuple[str, str, Loss, int, int]
_Point = tuple[Decimal, Decimal, int, int]


def _slices(file: StudyFile, chosen: Points) -> tuple[Slice, ...]:
    """Unite the grids slice by slice; a point in several grids gives one cell, with the observables of all."""
    planes: dict[_SliceKey, dict[_Point, Cell]] = {}
    for grid in file.grids:
        for model, loss in product(grid.model, grid.loss):
            depth = file.models[model].depth_exponent
            trained = file.models[model].as_trained()
            # Theory computes a toy, so nothing is measured.
            asked = () if trained.kind == "toy" else (*file.observables, *grid.observables)
            for dataset, batch_size, steps in product(grid.dataset, grid.batch_size, grid.steps):
                _, read = _as_trained(file, model, dataset)
                key = model, dataset, loss, batch_size, steps
                plane = planes.setdefault(key, {})
                points = grid.points(loss, depth, chosen.get(slice_key(*key), {}))
                for (gamma, eta), (seed, data_seed) in product(points, grid.seeds):
                    point = (gamma, eta, seed, data_seed)
                    before = plane[point].observables if point in plane else ()
                    if point not in plane or not set(asked) <= set(before):
                        plane[point] = Cell(
                            model=trained,
                            dataset=read,
                            loss=loss,
                            gamma=decimal_text(gamma),
                            eta=decimal_text(eta),
                            batch_size=batch_size,
                            steps=steps,
                            seed=seed,
                            data_seed=data_seed,
                            dtype=_dtype(gamma, file.small_gamma, trained),
                            observables=in_order((*asked, *before)),
                        )
    return tuple(
        Slice(
            *key,
            model_spec=file.models[key[0]],
            dataset_spec=file.datasets[key[1]],
            cells=tuple(plane[point] for point in sorted(plane)),
        )
        for key, plane in planes.items()
    )


def _dtype(gamma: Decimal, small: SmallGamma, model: ModelSpec) -> Dtype:
    if model.kind == "toy":
        return "float64"
    if gamma >= small.below:
        return "float32"
    if small.form == "fastest":
        return "float32-difference" if model.kind == "mlp" else "float64"
    # The difference form is written by hand for each kind and does not exist for a factory's layers.
    difference = small.form == "difference" and model.kind != "factory"
    return "float32-difference" if difference else "float64"
