"""The gamma at which the window of learning rates closes, and the best gamma, at each budget."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, in_window, with_ends
from gammascape.tables.edges.exponents import seeds_of
from gammascape.tables.statistics.slopes import Line, fit_slope
from gammascape.theory.toy import gamma_max_log10

APEX_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int budget:int largest_open_log10 smallest_closed_log10 window_slope "
    "window_slope_low window_slope_high predicted_window_slope gamma_max_log10 "
    "gamma_max_low_log10 gamma_max_high_log10 predicted_gamma_max_log10 gamma_best_log10 "
    "gamma_best_least_log10 gamma_best_largest_log10 best_relative_loss gammas:int "
    "censored:int seeds:int confidence"
)

_REACH = np.linspace(-10, 10, 2001)
"""Decades from the middle of the gammas in which a window is looked for that closes."""


def apex_table(budget: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """One row for each budget of one slice.

    A gamma is open if cells of at least half of its seeds trained. `gamma_max_log10` is where the line through the
    log10 width of the window against log10 gamma, in the ultra-rich window of gammas, reaches zero; it is null
    where fewer than three gammas have a window or it does not narrow. The line and its intervals come from
    `tables.statistics.slopes.fit_slope`: a closed window counts as one narrower than a grid step, one that goes on
    beyond the sampled etas as wider than what is seen (`censored`). The prediction is the toy's of depth
    L, prefactor included: slope -(L - 2)/L, closing at `theory.toy.gamma_max_log10`.

    Args:
        budget: the table of `tables.edges.budget.budget_table`.
        analysis: the ultra-rich window and confidence level.
    """
    rows: list[dict[str, Any]] = []
    for shared, group in grouped(budget, [*SLICE_COLUMNS, "depth_exponent", "budget"]):
        found = _open(group) | _closing(group, analysis, shared) | _best(group)
        found["seeds"] = group.select("seed", "data_seed").n_unique()
        rows.append(shared | found | {"confidence": analysis.confidence})
    return pl.DataFrame(rows, schema=APEX_SCHEMA, infer_schema_length=None)


def _open(group: pl.DataFrame) -> dict[str, Any]:
    by_gamma = (
        group.group_by("gamma_log10")
        .agg(
            open=(pl.col("trained") > 0).mean() >= 0.5,
            closed=pl.col("spanned").all() & ((pl.col("trained") > 0).mean() < 0.5),
        )
        .sort("gamma_log10")
    )
    largest = by_gamma.filter("open")["gamma_log10"].max()
    above = by_gamma.filter("closed")
    if largest is not None:
        above = above.filter(pl.col("gamma_log10") > largest)
    return {
        "largest_open_log10": largest,
        "smallest_closed_log10": above["gamma_log10"].min() if largest is not None else None,
    }


def _closing(group: pl.DataFrame, analysis: Analysis, shared: dict[str, Any]) -> dict[str, Any]:
    depth = shared["depth_exponent"]
    ends = pl.col("window_low_log10", "window_high_log10")
    some = group.filter(in_window(analysis.rich), pl.any_horizontal(ends.is_not_null()))
    known = some.filter(pl.all_horizontal(ends.is_not_null()))
    row: dict[str, Any] = {"gammas": known["gamma_log10"].n_unique()}
    row["censored"] = some.height - known.height
    if depth is not None:
        row["predicted_window_slope"] = -(depth - 2) / depth
        row["predicted_gamma_max_log10"] = float(gamma_max_log10(depth, shared["budget"]))
    if row["gammas"] < 3:
        return row
    fit = fit_slope(
        some["gamma_log10"].to_numpy(),
        seeds_of(some),
        some["window_low_log10"].fill_null(-np.inf).to_numpy(),
        some["window_high_log10"].fill_null(np.inf).to_numpy(),
        analysis.confidence,
    )
    assert fit is not None
    assert fit.line is not None
    row |= with_ends("window_slope", fit.value, (fit.low, fit.high))
    if fit.value < 0:
        ends_of_gamma = _reaches_zero(fit.line, analysis.confidence)
        row |= with_ends("gamma_max", -fit.intercept / fit.value, ends_of_gamma, "_log10")
    return row


def _reaches_zero(line: Line, confidence: float) -> list[float | None]:
    """log10 gammas between which the line reaches zero; None for an end where it need not."""
    gammas = line.centre + _REACH
    below = np.array([line.height(gamma).below(0.0) for gamma in gammas])
    tail = (1 - confidence) / 2
    found = (np.flatnonzero(below > share) for share in (tail, 1 - tail))
    return [float(gammas[at[0]]) if len(at) and at[0] else None for at in found]


def _best(group: pl.DataFrame) -> dict[str, Any]:
    """The gamma of the lowest loss, each seed its own: median, smallest and largest."""
    best = (
        group.filter(pl.col("best_relative_loss").is_not_null())
        .sort("best_relative_loss", "gamma_log10")
        .group_by("seed", "data_seed", maintain_order=True)
        .first()
    )
    gamma = best["gamma_log10"]
    return {
        "gamma_best_log10": gamma.median(),
        "gamma_best_least_log10": gamma.min(),
        "gamma_best_largest_log10": gamma.max(),
        "best_relative_loss": best["best_relative_loss"].mean(),
    }
