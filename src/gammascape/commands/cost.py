"""Estimate the cost of studies without training anything."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import cycle, islice
from typing import Any

from gammascape.command import USER_MISTAKE
from gammascape.commands import STUDY_FILE, study_file
from gammascape.durations import aligned
from gammascape.needs import size_text
from gammascape.study.cell import Cell, Dtype
from gammascape.study.operations import lane_needs, operations
from gammascape.study.reading.errors import StudyError
from gammascape.study.study import Slice, Study, load_study
from gammascape.terminal import complain

COLUMNS = [
    "slice",
    "cells",
    "float64",
    "difference",
    "samples/cell",
    "memory",
    "FLOP/cell",
    "hours",
]
DIFFERENCE_COST = 1.5
"""Time of an MLP's difference form relative to float32; benchmarks/RESULTS.md has 1.2 and 1.7."""


@dataclass(frozen=True)
class Rate:
    """FLOP/s that a device sustains while training packs.

    The defaults lie within what networks of the paper's studies reach on an H200, 16 to 30 TFLOP/s in float32
    (benchmarks/RESULTS.md). float64 is taken to be half as fast: it is as fast on an H200, and far slower on GPUs
    made for graphics.
    """

    float32: float = 20e12
    float64: float = 10e12

    def seconds(self, flop: float, dtype: Dtype) -> float:
        """Time of one cell of `flop` operations."""
        if dtype == "float64":
            return flop / self.float64
        return flop * (DIFFERENCE_COST if dtype == "float32-difference" else 1.0) / self.float32


@dataclass(frozen=True)
class Cost:
    """Cost of one slice."""

    slice: str
    cells: int
    float64: int
    difference: int
    """Cells in float64 and in the difference form; the others are in float32."""
    samples: int
    """Training samples of a cell, counting repetitions."""
    memory: int
    """Least bytes for one network in training."""
    flop: int | None
    """Operations of a cell, forward and backward; None if they cannot be counted for the model."""
    seconds: float | None
    """Time of all cells."""


def with_expected_cells(study: Study) -> Study:
    """Study in which each map without points has about as many cells as it will train."""
    return replace(
        study, slices=tuple(replace(part, cells=_expected(study, part)) for part in study.slices)
    )


def _expected(study: Study, part: Slice) -> tuple[Cell, ...]:
    maps, known = study.maps.get(part.key, {}), study.points.get(part.key, {})
    lines = dict[tuple[Decimal, int, int], list[Cell]]()
    for cell in part.cells:
        lines.setdefault((Decimal(cell.gamma), cell.seed, cell.data_seed), []).append(cell)
    cells = list[Cell]()
    for (gamma, *_), line in lines.items():
        begins = gamma in maps and gamma not in known
        cells += islice(cycle(line), maps[gamma].map.expected(len(line)) if begins else len(line))
    return tuple(cells)


def slice_cost(part: Slice, rate: Rate) -> Cost:
    """Cost of the cells of a slice, each trained to its last step; a toy costs nothing."""
    data = part.dataset_spec
    counted = operations(part.model_spec, data.input_shape, data.outputs)
    samples = part.steps * part.batch_size
    flop = None if counted is None else samples * counted.training
    if part.is_toy:
        flop = 0
    dtypes = [cell.dtype for cell in part.cells]
    return Cost(
        slice=part.key,
        cells=len(part.cells),
        float64=dtypes.count("float64"),
        difference=dtypes.count("float32-difference"),
        samples=samples,
        memory=0 if part.is_toy else sum(slice_needs(part).values()),
        flop=flop,
        seconds=None if flop is None else sum(rate.seconds(flop, dtype) for dtype in dtypes),
    )


def slice_needs(part: Slice) -> Mapping[str, int]:
    """Bytes of memory for training the largest network of a slice, by purpose."""
    item = 8 if any(cell.dtype == "float64" for cell in part.cells) else 4
    return lane_needs(part.model_spec, part.dataset_spec, part.batch_size, part.steps, item)


def costs(study: Study, rate: Rate) -> list[Cost]:
    """Costs of the slices of a study, in its order."""
    return [slice_cost(part, rate) for part in study.slices]


def headline(study: Study, rate: Rate) -> str:
    """Summary as in the head of the large studies: '182 cells, about 0.03 GPU hours at 20 TFLOP/s'."""
    known = [cost.seconds for cost in costs(study, rate) if cost.seconds is not None]
    more = ", without the slices of unknown cost" if len(known) < len(study.slices) else ""
    hours = f"{_hours(sum(known), 'about ')} GPU hours at {rate.float32 / 1e12:g} TFLOP/s{more}"
    about = "about " if has_maps_without_points(study) else ""
    return f"{about}{len(study.cells):,} cells, {hours if known else 'GPU hours not known'}"


def has_maps_without_points(study: Study) -> bool:
    """Return whether a map of the study has no points yet, so that its cells can only be estimated."""
    return any(
        mapped.needed and gamma not in study.points.get(key, {})
        for key, gammas in study.maps.items()
        for gamma, mapped in gammas.items()
    )


def report(study: Study, rate: Rate) -> str:
    """Headline and a table of the slices as text."""
    lines = aligned([COLUMNS, *(_row(cost) for cost in costs(study, rate))], right=True)
    return "\n".join([f"{study.path}: {headline(study, rate)}", *(f"  {line}" for line in lines)])


def assumption(rate: Rate) -> str:
    """Assumptions behind the hours."""
    return (
        f"Hours: FLOP/cell at {rate.float32 / 1e12:g} TFLOP/s in float32 and "
        f"{rate.float64 / 1e12:g} TFLOP/s in float64 (--tflops, --tflops64),\n"
        f"sustained by packs of many cells; difference: float32, {DIFFERENCE_COST:g} times the time. The\n"
        "paper's networks reach 16 to 30 in float32 on an H200, small CNNs and ViTs 1 to 3.\n"
        "Cells of a map are estimated until gammascape map has found its points; gammas that it may add are not\n"
        "counted before.\n"
        "Memory: of one network at least; weights of a network of your own are not counted.\n"
        "Every cell is counted to its last step; tests, data and f~(w_0) are not counted."
    )


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("files", nargs="+", type=study_file, metavar="STUDY", help=STUDY_FILE)
    for name, default in (("--tflops", Rate.float32), ("--tflops64", Rate.float64)):
        bits = "64" if name.endswith("64") else "32"
        parser.add_argument(
            name,
            type=_positive,
            default=default / 1e12,
            help=f"10^12 operations per second that the device sustains in float{bits} (%(default)g)",
        )


def run(chosen: argparse.Namespace) -> int:
    """Print the cost of each study; return the exit status."""
    rate = Rate(chosen.tflops * 1e12, chosen.tflops64 * 1e12)
    failed = 0
    for file in chosen.files:
        try:
            print(report(with_expected_cells(load_study(file, begin=True)), rate), end="\n\n")
        except StudyError as error:
            failed += 1
            complain(error)
    if failed < len(chosen.files):
        print(assumption(rate))
    return USER_MISTAKE if failed else 0


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"needs a number above 0, got {text}")
    return value


def _row(cost: Cost) -> tuple[str, ...]:
    numbers: list[Any] = [cost.cells, cost.float64, cost.difference, cost.samples]
    flop = "unknown" if cost.flop is None else f"{cost.flop:.2g}"
    hours = "unknown" if cost.seconds is None else _hours(cost.seconds)
    memory = size_text(cost.memory)
    return (cost.slice, *(f"{number:,}" for number in numbers), memory, flop, hours)


def _hours(seconds: float, about: str = "") -> str:
    """Hours with two digits, the precision of the assumed rate."""
    hours = seconds / 3600
    if 0 < hours < 0.005:
        return "below 0.01"
    return about + (f"{hours:.2f}" if hours < 1 else f"{float(f'{hours:.2g}'):,g}")
