"""Edges at every shorter budget that a long run contains: its cells judged at T = 10, 20, 50, ... steps."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gammascape.runs.history import LEAST_BUDGET, final_window, measurement_steps
from gammascape.runs.outcome import Facts, Thresholds
from gammascape.tables.cells import (
    SLICE_COLUMNS,
    columns,
    difference,
    judgement,
    open_arrays,
    read_summary,
    with_ends,
)
from gammascape.tables.edges.find import DECIDING, LINE, edges_of_lines
from gammascape.tables.statistics.fits import Floats

BUDGET_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int budget:int gamma_log10 seed:int data_seed:int trained:int cells:int "
    "spanned:bool eta_min_log10 eta_min_low_log10 eta_min_high_log10 eta_max_log10 "
    "eta_max_low_log10 eta_max_high_log10 window_log10 window_low_log10 window_high_log10 "
    "eta_best_log10 best_relative_loss"
)

Losses = Mapping[str, NDArray[Any]]
"""A loss history: step, loss, loss_max and zero_loss, (n,) each."""

_JUDGED = ("status", "catapulted", "relative_loss")
_HELD_OUT = DECIDING[1:]
_ARRAYS = ("step", "loss", "loss_max", "zero_loss")


def budgets(steps: int) -> list[int]:
    """10, 20, 50, 100, ... below `steps`, and `steps`: steps at which held-out losses are measured."""
    return [s for s in measurement_steps(steps) if s >= min(LEAST_BUDGET, steps)]


def read_histories(cells: pl.DataFrame, cells_folder: Path) -> Iterator[Losses]:
    """The loss histories of cells, in the order of the rows, from the artifacts in a folder."""
    for cell in cells["cell"]:
        with open_arrays(cells_folder / cell) as arrays:
            yield {name: arrays[name] for name in _ARRAYS}


def budget_of_cells(
    cells: pl.DataFrame,
    cells_folder: Path,
    depth_exponent: int | None,
    thresholds: Thresholds,
    confidence: float,
) -> pl.DataFrame:
    """The table of `budget_table` for a slice whose artifacts are in a folder."""
    histories = read_histories(cells, cells_folder)
    held_out: list[Mapping[int, Any]] = []
    if cells["validation_loss"].count():
        for cell in cells["cell"]:
            taken = read_summary(cells_folder / cell)["evaluations"]
            held_out.append({item["step"]: {n: item.get(n) for n in _HELD_OUT} for item in taken})
    return budget_table(cells, histories, depth_exponent, thresholds, confidence, held_out)


def budget_table(
    cells: pl.DataFrame,
    histories: Iterable[Losses],
    depth_exponent: int | None,
    thresholds: Thresholds,
    confidence: float = 0.95,
    held_out: Sequence[Mapping[int, Any]] = (),
) -> pl.DataFrame:
    """Edges of one slice at every budget: one row for each budget, gamma and seed.

    A cell is judged at T as a run of T steps would be, from the mean loss of its last steps before T (as many
    as the final window of such a run) and the loss of f = 0. That a network is dead is known of its last step
    alone, and is said at that budget only. The learning rate is constant, so a shorter run is a part of
    the longer one.

    `spanned` says whether the sampled etas reach from cells that are untrained to cells that are worse: only
    then does a row without trained cells mean that there is no window wider than a grid step. The ends of the
    window follow from both edges together; the upper end of a window closed in this way is the widest grid step.

    Args:
        cells: the table of `tables.cells.cell_table`.
        histories: step (first of each bin), loss, loss_max and zero_loss of each of the cells.
        depth_exponent: L of the model, or None.
        thresholds: of the study.
        confidence: level of the intervals.
        held_out: step -> columns of the validation split (`find.DECIDING`) of each cell; none without one.
    """
    frames = [
        pl.DataFrame(
            [
                {name: row[name] for name in (*LINE, "eta_log10", "cell")}
                | found
                | validation.get(found["budget"], dict.fromkeys(_HELD_OUT))
                for found in judge_at_budgets(row, history, thresholds)
            ],
            infer_schema_length=None,
        )
        for row, history, validation in zip(
            cells.iter_rows(named=True), histories, held_out or [{}] * cells.height, strict=True
        )
    ]
    rows = []
    if frames:
        table = pl.concat(frames, how="vertical_relaxed").with_columns(
            sharpness_init=pl.lit(None, pl.Float64)
        )
        for budget, part in table.group_by("budget", maintain_order=True):
            for shared, line, edges in edges_of_lines(part, thresholds.trained_below, confidence):
                shared |= {"depth_exponent": depth_exponent, "budget": budget[0]}
                rows.append(shared | _row(line, edges))
    table = pl.DataFrame(rows, schema=BUDGET_SCHEMA, infer_schema_length=None)
    return table.sort("budget", "gamma_log10", "seed", "data_seed")


def judge_history(
    history: Losses, steps_done: int, ends: Iterable[int], thresholds: Thresholds
) -> list[dict[str, Any]]:
    """Status, catapult flag and relative loss after each of `ends` steps.

    Args:
        history: step (first of each bin), loss, loss_max and zero_loss of bins, (n,) each.
        steps_done: number of steps in the history; a run that diverged may have stopped early.
        ends: budgets T.
        thresholds: of the study.
    """
    starts = history["step"]
    stops = np.append(starts[1:], steps_done)
    loss, zero = history["loss"], history["zero_loss"]
    broken = ~(np.isfinite(loss) & np.isfinite(history["loss_max"]))
    first_broken = int(starts[broken.argmax()]) if broken.any() else None
    peaks = np.maximum.accumulate(history["loss_max"])
    found = []
    for end in ends:
        # Training stops early only where a loss was not finite.
        finite = end <= steps_done and (first_broken is None or first_broken >= end)
        last = int(np.searchsorted(starts, end))
        final, baseline = None, 1.0
        if finite:
            begin = end - final_window(end)
            # Beyond 10,000 steps a bin may begin before the window or end after it: it counts by its overlap.
            first = int(np.searchsorted(stops, begin, side="right"))
            part = slice(first, last)
            share = np.minimum(stops[part], end) - np.maximum(starts[part], begin)
            final, baseline = _mean(loss[part], share), _mean(zero[part], share)
        facts = Facts(
            finite=finite,
            seen_nan=False,
            initial_loss=float(loss[0]),
            final_loss=final,
            baseline_loss=baseline,
            peak_loss=float(peaks[last - 1]) if finite else None,
            active_fraction=None,
        )
        outcome = judgement(facts, thresholds)
        found.append({"budget": end} | {name: outcome[name] for name in _JUDGED})
    return found


def judge_at_budgets(
    row: dict[str, Any], history: Losses, thresholds: Thresholds
) -> list[dict[str, Any]]:
    """Judge a cell, a row of the table of cells, at all budgets of its slice."""
    found = judge_history(history, row["steps_done"], budgets(row["steps"]), thresholds)
    found[-1] |= {name: row[name] for name in _JUDGED}
    return found


def _mean(values: Floats, share: NDArray[np.int64]) -> float:
    return float(values @ share / share.sum())


def _row(line: pl.DataFrame, edge_rows: list[dict[str, Any]]) -> dict[str, Any]:
    edges = {edge["edge"]: edge for edge in edge_rows}
    statuses = line["status"].to_list()
    spanned = statuses[0] == "untrained" and statuses[-1] not in ("trained", "untrained")
    row: dict[str, Any] = {
        "trained": statuses.count("trained"),
        "cells": len(statuses),
        "spanned": spanned,
    }
    for name, edge in (("eta_min", "eta_min"), ("eta_max", "eta_max_trained")):
        ends = (edges.get(edge, {}).get(f"estimate{end}_log10") for end in ("", "_low", "_high"))
        row |= with_ends(name, next(ends), list(ends), "_log10")
    low, high = (
        difference(row[f"eta_max_{a}_log10"], row[f"eta_min_{b}_log10"])
        for a, b in (("low", "high"), ("high", "low"))
    )
    if spanned and not row["trained"]:
        high = float(np.diff(line["eta_log10"]).max())
    at = difference(row["eta_max_log10"], row["eta_min_log10"])
    row |= with_ends("window", at, (low, high), "_log10")
    best = edges.get("eta_best")
    if best is not None:
        row["eta_best_log10"] = best["eta_log10"]
        row["best_relative_loss"] = line.filter(pl.col("cell") == best["cell"])["relative_loss"][0]
    return row
