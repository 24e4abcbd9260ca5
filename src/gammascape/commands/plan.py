"""Say what snakemake would do now, and why.

Lists new cells and their new values, changed cells and the changed fields, the tables and figures that follow, and
an estimate of the device time, from recorded times or from a few steps that are timed now. Nothing is made.
Snakemake itself tells which jobs would run (snakemake -n); the reasons come from the manifests on disk.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from gammascape.command import UserError
from gammascape.commands import add_shared, study_file
from gammascape.commands.cost import slice_needs
from gammascape.durations import count_of, duration
from gammascape.execution.devices import find_devices
from gammascape.manifests.paths import CELLS
from gammascape.needs import needs_text
from gammascape.provenance.dryrun import dry_run, study_options
from gammascape.provenance.estimate import Estimate
from gammascape.provenance.next_run import NextRun, next_run
from gammascape.provenance.project import open_project
from gammascape.study import Cell, DatasetSpec
from gammascape.terminal import visible
from gammascape.workflow.plan import Plan
from gammascape.workflow.trial import check_inputs

if TYPE_CHECKING:
    import torch

    from gammascape.data.dataset import Dataset

_SHORT = 10.0
"""Seconds below which the time of cells is not told in numbers."""
_MUCH = 2**32
"""Bytes of memory for one network above which the plan mentions it."""
_NEAR = 0.95
"""Share of a loss that remains after the noise of batches and a little learning."""
_WIDTH = 2
"""Factor of an estimate from few steps or other cells: runs that diverge end early, and other work slows down."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_shared(parser, "--study")
    parser.add_argument(
        "snakemake",
        nargs="*",
        metavar="-- OPTION",
        help="options that you would pass to snakemake, after --",
    )


def run(chosen: argparse.Namespace) -> int:
    """Print the plan."""
    options = [*chosen.snakemake, *chosen.after]
    name = options[0] if options else ""
    if not name.startswith("-") and study_file(name).endswith((".yaml", ".yml")):
        raise UserError(f"{name}: write --study {name}; names without it are passed to snakemake")
    plan = open_project(chosen.study)
    about = check_inputs(plan)
    jobs = dry_run([*study_options(chosen.study), *options])
    print(text(plan, next_run(plan, jobs, lambda cells: clock(plan, cells)), about))
    return 0


@cache
def _data(spec: DatasetSpec, device: "torch.device") -> "Dataset":
    from gammascape.commands.check_model import load

    return load(spec, device)


def clock(plan: Plan, cells: Sequence[Cell]) -> float | str:
    """Time a few steps of cells alike, on data of their shape."""
    from gammascape.data.prepared import DataError
    from gammascape.training.backend import one_line
    from gammascape.training.capacity import CapacityError
    from gammascape.training.device import alone_on, set_up_backend
    from gammascape.training.timing import seconds_of_cell
    from gammascape.usercode.run import UserCodeError, provide

    for study in plan.studies.values():
        for sources in study.sources:
            provide(sources.files.values())
    device, _ = set_up_backend()
    records = [cell.record() for cell in cells]
    with alone_on(device, lambda: False) as alone:
        if not alone:
            return "the GPU is in use"
        try:
            # A cell's own record of its data has no paths.
            parts = (part for study in plan.studies.values() for part in study.slices)
            spec = next(part.dataset_spec for part in parts if cells[0] in part.cells)
            return seconds_of_cell(records, _data(spec, device), device)
        except (CapacityError, DataError, UserCodeError, OSError) as error:
            return str(error)
        except RuntimeError as error:
            # Memory, or what a device cannot compute: a run will say more.
            return one_line(error)


def text(plan: Plan, coming: NextRun, about: Sequence[str] = ()) -> str:
    """Plan in words, with sentences about the data."""
    studies = ", ".join(f"{name} ({study.path})" for name, study in plan.studies.items())
    lines = [f"study: {studies}"]
    there = (
        f"all {coming.cells:,} cells are finished" if coming.cells else "theory computes all cells"
    )
    if not coming.jobs:
        lines.append(f"nothing to do: {there}, and all tables and figures are made")
    elif not coming.training:
        lines.append(f"no cell to train: {there}")
    else:
        lines.append(f"{coming.training:,} of {coming.cells:,} cells to train:")
        lines += [*_training(coming), *_memory(plan)]
    others = sum(counts.total() for counts in coming.made.values())
    if others:
        lines.append(f"{count_of(others, 'other job')} (data, tables, figures):")
        for cause, counts in coming.made.items():
            rules = ", ".join(f"{rule} {count}" for rule, count in counts.items())
            lines.append(f"  {cause}: {rules}")
    parts = [part for study in plan.studies.values() for part in study.slices]
    for spec, name in {part.dataset_spec: part.dataset for part in parts}.items():
        lines += [f"data {name}: {line}" for line in getattr(spec, "about", ())]
    lines += [*about, *_information(coming), *_class_priors(plan)]
    return "\n".join(map(visible, lines))


def _training(coming: NextRun) -> Iterator[str]:
    for part in coming.slices:
        trained = sum(len(why.cells) for why in part.reasons)
        yield f"  {part.study}, {part.slice}: {trained:,} of {part.cells:,}"
        for why in part.reasons:
            words = {
                "new": f"new: {why.text}",
                "changed": f"changed: {why.text}",
                "numerics": f"stale by code: the version of the {why.text}",
                "again": f"trained again: {why.text}",
            }[why.kind]
            yield f"    {len(why.cells):,} {words}"
    others = sum(counts.total() for counts in coming.made.values())
    yield from (f"  {line}" for line in _time(coming.time, others))


def _memory(plan: Plan) -> Iterator[str]:
    """Memory of networks that are too large for a laptop."""
    for name, study in plan.studies.items():
        for part in study.slices:
            parts = {} if part.is_toy else slice_needs(part)
            if sum(parts.values()) > _MUCH:
                yield f"  memory: {name}, {part.key}: one network needs {needs_text(parts)}"


def _class_priors(plan: Plan) -> Iterator[str]:
    """Thresholds below which a network falls that learns how frequent classes are, and no more."""
    for name, study in plan.studies.items():
        level = float(plan.analysis(name)["trained_below"])
        priors = [(prior, part.key) for part in study.slices if (prior := part.class_prior)]
        prior, key = min(priors, default=(1.0, ""), key=lambda pair: pair[0])
        if key and level > _NEAR * prior:
            yield (
                f"warning: trained_below of study {name} is {level:g}, and answering the frequencies "
                f"of classes has {prior:.3g} of the loss of f = 0 ({key}): networks that learn "
                f"no feature may count as trained. Write less than {_NEAR * prior:.3g}"
            )


def _time(time: Estimate, others: int) -> Iterator[str]:
    grounds = {
        "by the mean of cells that differ in gamma, eta and seeds alone": time.alike,
        "by operations, from other cells of the kind of model": time.scaled,
        "from a few steps timed now": time.timed,
    }
    known = [f"{count:,} {ground}" for ground, count in grounds.items() if count]
    if known:
        # What each process does once takes as long as the training of a few small networks.
        short = time.seconds < _SHORT
        words = f"device time: {'some seconds' if short else f'about {duration(time.seconds)}'}"
        if (time.scaled or time.timed) and not short:
            low, high = duration(time.seconds / _WIDTH), duration(time.seconds * _WIDTH)
            words += f", within {low} and {high}"
        where = f"; recorded on {', '.join(time.devices)}" if time.devices else ""
        yield f"{words} ({', '.join(known)}{where})"
        workers = len(find_devices("auto", os.cpu_count() or 1))
        if workers > 1 and not short:
            there = f"on the {workers} devices of this machine"
            yield f"{there}: about {duration(time.seconds / workers)}"
        if others:
            yield f"and some seconds for each of {count_of(others, 'other job')}, which share the cores"
    if time.unknown:
        why = time.problems[0] if time.problems else "nothing like them has been trained here"
        yield f"device time of {count_of(time.unknown, 'cell')}: not known yet: {why}"


def _information(coming: NextRun) -> Iterator[str]:
    for study, count in coming.removed.items():
        yield f"removed from study {study}: {count_of(count, 'cell')}, still on disk (gammascape prune)"
    if coming.gone_tables:
        gone = count_of(len(coming.gone_tables), "artifact")
        yield f"of slices that were removed: {gone}, still on disk"
    for (family, function), count in coming.unseen.items():
        yield (
            f"information: {count_of(count, 'cell')} trained on what {function} made; files that it reads are "
            f"not looked at. If they have changed, remove this folder: rm -r {CELLS}/{family}"
        )
    for modules, count in coming.other_code.items():
        yield (
            f"information: {count_of(count, 'cell')} trained by other code ({modules} differ), of the same "
            "NUMERICS_VERSION, and not trained again. If the change moves numbers, raise "
            "NUMERICS_VERSION in src/gammascape/numerics.py; if not, gammascape accept says so"
        )
