"""Checks between the parts of a study file, beyond the type of each key."""

import difflib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice, product

from gammascape.needs import MOST_MEMORY, needs_text, size_text
from gammascape.study.keys.exact import decimal_text
from gammascape.study.keys.file import Grid, StudyFile
from gammascape.study.keys.observables import OF_CLASSES, OF_SINGLE_SAMPLES
from gammascape.study.operations import lane_needs
from gammascape.study.reading.errors import MOST_PROBLEMS, KeyPath, Problem
from gammascape.study.reading.fields import Record

MOST_CELLS = 1_000_000
"""Limit on the cells of a study; more are assumed to be a mistake."""
CELL_BYTES = 45_000
"""Least size on disk of the artifact of a tiny network (benchmarks/RESULTS.md)."""


def check(file: StudyFile) -> list[Problem]:
    """Problems of a file whose keys are valid, as many as fit into a message."""
    return list(islice(_problems(file), MOST_PROBLEMS + 1))


def _problems(file: StudyFile) -> Iterator[Problem]:
    yield from _twins("models", file.models)
    yield from _twins("datasets", file.datasets)
    # The other rules look up names and go through all combinations.
    for basic in (_unknown_names(file), _size(file)):
        if (first := next(basic, None)) is not None:
            yield first
            yield from basic
            return
    yield from _unused(file)
    for index, grid in enumerate(file.grids):
        for rule in (_misfits, _passes, _idle, _unmeasured, _memory, _idle_exponent):
            yield from rule(file, grid, ("grids", index))


def _twins(section: str, specs: Mapping[str, Record]) -> Iterator[Problem]:
    first: dict[Record, str] = {}
    for name, spec in specs.items():
        twin = first.setdefault(spec, name)
        if twin != name:
            text = f"is the same as {section}.{twin}, option by option; keep one of the two"
            yield Problem((section, name), text)


def _unknown_names(file: StudyFile) -> Iterator[Problem]:
    for index, grid in enumerate(file.grids):
        for key in ("model", "dataset"):
            known = getattr(file, f"{key}s")
            for name in getattr(grid, key):
                if name not in known:
                    near = difflib.get_close_matches(name, known, n=1)
                    hint = f"did you mean {near[0]}?" if near else f"{key}s has {', '.join(known)}"
                    yield Problem(("grids", index, key), f"no {key} is named {name}; {hint}")


def _unused(file: StudyFile) -> Iterator[Problem]:
    for key in ("model", "dataset"):
        used = {name for grid in file.grids for name in getattr(grid, key)}
        for name in getattr(file, f"{key}s"):
            if name not in used:
                text = f"no grid uses it; remove it, or name it under {key} in a grid"
                yield Problem((f"{key}s", name), text)


def _misfits(file: StudyFile, grid: Grid, path: KeyPath) -> Iterator[Problem]:
    for model, dataset in product(grid.model, grid.dataset):
        toy = file.models[model].kind == "toy"
        if toy != (file.datasets[dataset].kind == "constant"):
            text = (
                f"{model} is a toy and learns one example only: write dataset: one, and "
                "one: {kind: constant} under datasets"
                if toy
                else f"{dataset} is the one example of a toy, and {model} is none; write another dataset"
            )
            yield Problem((*path, "dataset"), text)
            continue
        needs = file.models[model].misfit(file.datasets[dataset].input_shape)
        if needs is not None:
            kind = file.models[model].kind
            text = f"{model} (a {kind}) cannot read {dataset}: it needs {needs}"
            yield Problem((*path, "model"), text)
    if "xent" in grid.loss:
        for dataset in grid.dataset:
            if not file.datasets[dataset].classification:
                text = (
                    f"xent needs classes, and {dataset} is a regression; write "
                    f"loss: mse, or give datasets.{dataset} classes: 2 or more"
                )
                yield Problem((*path, "loss"), text)


def _passes(file: StudyFile, grid: Grid, path: KeyPath) -> Iterator[Problem]:
    for dataset, steps, batch_size in product(grid.dataset, grid.steps, grid.batch_size):
        samples = file.datasets[dataset].samples
        if samples is None or steps * batch_size <= samples:
            continue
        most = samples // batch_size
        text = (
            f"{steps} steps of batch size {batch_size} need {steps * batch_size} samples, and "
            f"{dataset} has {samples}, each used once: "
        )
        text += f"write steps: {most} or less" if most else f"write batch_size: {samples} or less"
        text += f"; or give datasets.{dataset} repeat: true, which is not online any more"
        yield Problem((*path, "steps" if most else "batch_size"), text)


def _idle(file: StudyFile, grid: Grid, path: KeyPath) -> Iterator[Problem]:
    """Keys that have no use for a toy, which has one example and nothing random."""
    if all(file.models[name].kind != "toy" for name in grid.model):
        return
    if grid.batch_size != (1,):
        text = "a toy has one example, which is its batch: write batch_size: 1"
        yield Problem((*path, "batch_size"), text)
    for key, values in (("seed", grid.seed), ("data_seed", grid.data_seed)):
        if values != (0,):
            yield Problem((*path, key), "nothing in a toy is random; remove it")
    if grid.observables:
        text = "nothing is measured during the run of a toy, which theory computes; remove it"
        yield Problem((*path, "observables"), text)


def _unmeasured(file: StudyFile, grid: Grid, path: KeyPath) -> Iterator[Problem]:
    """Observables that a model or a dataset does not have."""
    alone = [name for name in grid.model if not getattr(file.models[name], "batched", True)]
    regressions = [name for name in grid.dataset if not file.datasets[name].classification]
    single = "gradients of single samples, which a model with batched: false does not have"
    for names, observables, needed in (
        (alone, OF_SINGLE_SAMPLES, single),
        (regressions, OF_CLASSES, "classes, which a regression does not have"),
    ):
        for name, observable in product(names, observables):
            if observable in {*file.observables, *grid.observables}:
                where = path if observable in grid.observables else ()
                text = f"{observable} needs {needed}; take it out for {name}"
                yield Problem((*where, "observables"), text)


def _idle_exponent(file: StudyFile, grid: Grid, path: KeyPath) -> Iterator[Problem]:
    depths = {file.models[name].depth_exponent for name in grid.model}
    if grid.eta.window and grid.eta.window.rich_exponent is not None and None not in depths:
        text = "every model of this grid has a depth exponent, so this has no effect; remove it"
        yield Problem((*path, "eta", "window", "rich_exponent"), text)


def _memory(file: StudyFile, grid: Grid, path: KeyPath) -> Iterator[Problem]:
    """Refuse a network too large for any machine."""
    batch_size, steps = max(grid.batch_size), max(grid.steps)
    for model, dataset in product(grid.model, grid.dataset):
        parts = lane_needs(file.models[model], file.datasets[dataset], batch_size, steps)
        if file.models[model].kind != "toy" and sum(parts.values()) > MOST_MEMORY:
            most = max(parts, key=lambda name: parts[name])
            places: dict[str, KeyPath] = {"weights": ("models", model), "losses": (*path, "steps")}
            yield Problem(
                places.get(most, (*path, "batch_size")),
                f"one network {model} on {dataset} needs {needs_text(parts)}, and no machine has more than "
                f"{size_text(MOST_MEMORY)}; write less",
            )


def _size(file: StudyFile) -> Iterator[Problem]:
    """Problems of size: a window without points, or too many cells."""
    left = MOST_CELLS
    for index, grid in enumerate(file.grids):
        path: KeyPath = ("grids", index)
        lists = (grid.dataset, grid.batch_size, grid.steps, grid.seeds)
        # Points depend on the model only through its depth exponent.
        depths = Counter(file.models[name].depth_exponent for name in grid.model)
        for (depth, models), gamma, loss in product(depths.items(), grid.gamma.points(), grid.loss):
            points = len(grid.eta.points(gamma, loss, depth))
            if not points:
                text = (
                    f"holds no point of eta at log10 gamma {decimal_text(gamma)} ({loss}); move lower "
                    "and upper further apart, or raise per_decade"
                )
                yield Problem((*path, "eta", "window"), text)
                break
            left -= models * math.prod(map(len, lists)) * points
            if left < 0:
                text = (
                    f"brings the study to more than {MOST_CELLS} cells, which would fill "
                    f"{MOST_CELLS * CELL_BYTES // 10**9:,} GB of disk and more; take fewer points"
                )
                yield Problem(path, text)
                return
