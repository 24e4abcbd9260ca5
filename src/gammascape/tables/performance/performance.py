"""Performance of each gamma: means over seeds, with intervals."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.intervals import mean_interval, wilson

PERFORMANCE_SCHEMA = SLICE_COLUMNS | columns(
    "gamma_log10 measure:str budget:int target value low high interval:str confidence eta_log10 "
    "seeds:int seeds_without:int reached:int cells:int"
)


def performance_table(scores: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """Means over seeds of the best over eta, one row for each slice, gamma, measure and budget or target.

    Accuracies have arithmetic means; losses and steps, which vary by factors, geometric ones. Intervals are
    Student's over seeds (`interval` seeds). With one seed nothing is known of their scatter: accuracies then have
    Wilson's interval for the error of a finite test set (`interval` test set), others none. Seeds that never
    reach the target are counted in `seeds_without`, and the mean is over the others.

    Args:
        scores: the table of `tables.performance.scores.score_table`.
        confidence: level of the intervals.
    """
    rows: list[dict[str, Any]] = []
    key = [*SLICE_COLUMNS, "gamma_log10", "measure", "budget", "target"]
    for row, group in grouped(scores, key):
        reached = group.filter(pl.col("value").is_not_null())
        rows.append(
            row
            | _mean(row["measure"], reached, confidence)
            | {
                "confidence": confidence,
                "eta_log10": reached["eta_log10"].median(),
                "seeds": reached.height,
                "seeds_without": group.height - reached.height,
                "reached": group["reached"].sum(),
                "cells": group["cells"].sum(),
            }
        )
    return pl.DataFrame(rows, schema=PERFORMANCE_SCHEMA).sort(key)


def _mean(measure: str, group: pl.DataFrame, confidence: float) -> dict[str, Any]:
    if group.is_empty():
        return {}
    values = to_linear(measure, group["value"].to_numpy())
    ends = mean_interval(values, confidence)
    kind = "seeds" if ends else None
    samples = group["test_samples"][0]
    if ends is None and samples is not None:
        ends, kind = wilson(float(values[0]), samples, confidence), "test set"
    low, high = ends or (np.nan, np.nan)
    value, low, high = (from_linear(measure, at) for at in (float(values.mean()), low, high))
    if ends is None:
        return {"value": value}
    if measure == "accuracy":
        low, high = max(low, 0.0), min(high, 1.0)
    return {"value": value, "low": low, "high": high, "interval": kind}


def to_linear(measure: str, value: Floats) -> Floats:
    """The scale on which seeds are averaged: log10 of losses and steps."""
    return value if measure == "accuracy" else np.log10(value)


def from_linear(measure: str, value: float) -> float:
    """The inverse of `to_linear`."""
    return value if measure == "accuracy" else 10.0**value
