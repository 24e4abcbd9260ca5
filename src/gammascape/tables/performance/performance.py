"""Performance of each gamma: means over seeds, with intervals."""

from collections import defaultdict
from typing import Any

import numpy as np
import polars as pl

from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped
from gammascape.tables.performance.choice import chosen_interval
from gammascape.tables.statistics.fits import Floats

PERFORMANCE_SCHEMA = SLICE_COLUMNS | columns(
    "gamma_log10 measure:str budget:int target value low high interval:str confidence eta_log10 "
    "seeds:int seeds_without:int chosen_by:int reached:int cells:int"
)


def performance_table(scores: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """Means over seeds of scores, one row for each slice, gamma, measure and budget or target.

    Accuracies have arithmetic means; losses and steps, which vary by factors, geometric ones. Intervals are from
    scores at etas that other seeds chose, whose scatter is told by all gammas (`choice.chosen_interval`,
    `interval` seeds). One seed has no interval, as its value is the best over eta, too good; nor have seeds that
    tie at every gamma. Where a seed does not reach the target, or all its runs diverge (`seeds_without`), the mean
    is not known, and null: the others' mean would be too good.

    Args:
        scores: the table of `tables.performance.scores.score_table`.
        confidence: level of the intervals.
    """
    rows: list[dict[str, Any]] = []
    key = [*SLICE_COLUMNS, "gamma_log10", "measure", "budget", "target"]
    found = list(grouped(scores.filter("chosen"), key))
    seen = defaultdict(list)
    for row, group in found:
        if not group["value"].null_count():
            seen[_condition(row)].append(to_linear(row["measure"], group["value"].to_numpy()))
    for row, group in found:
        rows.append(
            row
            | _mean(row["measure"], group, confidence, seen[_condition(row)])
            | {
                "confidence": confidence,
                "eta_log10": group.filter(pl.col("value").is_not_null())["eta_log10"].median(),
                "seeds": group["value"].count(),
                "seeds_without": group["value"].null_count(),
                "chosen_by": group["chosen_by"].min(),
                "reached": group["reached"].sum(),
                "cells": group["cells"].sum(),
            }
        )
    return pl.DataFrame(rows, schema=PERFORMANCE_SCHEMA).sort(key)


def _condition(row: dict[str, Any]) -> tuple[Any, ...]:
    """Columns that tell rows apart, but gamma."""
    return tuple(row[name] for name in (*SLICE_COLUMNS, "measure", "budget", "target"))


def _mean(
    measure: str, group: pl.DataFrame, confidence: float, seen: list[Floats]
) -> dict[str, Any]:
    if group["value"].null_count():
        return {}
    values = to_linear(measure, group["value"].to_numpy())
    value = from_linear(measure, float(values.mean()))
    ends = chosen_interval(values, confidence, seen)
    if ends is None:
        return {"value": value}
    low, high = (from_linear(measure, end) for end in ends)
    return {"value": value, "low": low, "high": high, "interval": "seeds"}


def to_linear(measure: str, value: Floats) -> Floats:
    """The scale on which seeds are averaged: log10 of losses and steps."""
    return value if measure == "accuracy" else np.log10(value)


def from_linear(measure: str, value: float) -> float:
    """The inverse of `to_linear`, within what is possible."""
    return min(max(value, 0.0), 1.0) if measure == "accuracy" else 10.0**value
