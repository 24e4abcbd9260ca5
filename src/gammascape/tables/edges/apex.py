"""The gamma at which the window of learning rates closes, and the best gamma, at each budget."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends, within
from gammascape.tables.statistics.fits import draws, fit_lines, gather, interval, seeded
from gammascape.theory.toy import gamma_max_log10

APEX_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int budget:int largest_open_log10 smallest_closed_log10 window_slope "
    "window_slope_low window_slope_high predicted_window_slope gamma_max_log10 "
    "gamma_max_low_log10 gamma_max_high_log10 predicted_gamma_max_log10 gamma_best_log10 "
    "gamma_best_low_log10 gamma_best_high_log10 best_relative_loss gammas:int seeds:int "
    "confidence"
)


def apex_table(budget: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """One row for each budget of one slice.

    A gamma is open if cells of at least half of its seeds trained. `gamma_max_log10` is where the line through the
    log10 width of the window against log10 gamma, in the ultra-rich window of gammas, reaches zero; it is null
    where fewer than three gammas have a window or it does not narrow. The prediction is that of the toy of depth
    L, prefactor included: slope -(L - 2)/L, closing at `theory.toy.gamma_max_log10`.

    Args:
        budget: the table of `tables.edges.budget.budget_table`.
        analysis: the ultra-rich window, number of resamples and confidence level.
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
    known = group.filter(within(analysis.rich), pl.col("window_log10").is_not_null())
    row: dict[str, Any] = {"gammas": known["gamma_log10"].n_unique()}
    if depth is not None:
        row["predicted_window_slope"] = -(depth - 2) / depth
        row["predicted_gamma_max_log10"] = float(gamma_max_log10(depth, shared["budget"]))
    if row["gammas"] < 3:
        return row
    points = gather(
        known["gamma_log10"].to_numpy(),
        (known["eta_max_low_log10"] - known["eta_min_high_log10"]).to_numpy(),
        (known["eta_max_high_log10"] - known["eta_min_low_log10"]).to_numpy(),
    )
    slopes, intercepts = fit_lines(points, points.middle[None])
    fitted = slopes[0] * points.gamma + intercepts[0]
    rng = seeded(f"{shared['slice']} apex {shared['budget']}")
    drawn = draws(points, fitted, 2, analysis.bootstrap, rng)
    drawn_slopes, drawn_intercepts = fit_lines(points, drawn)
    row |= with_ends("window_slope", float(slopes[0]), interval(drawn_slopes, analysis.confidence))
    if slopes[0] < 0:
        # A draw that does not narrow closes nowhere.
        with np.errstate(divide="ignore"):
            closing = np.where(drawn_slopes < 0, -drawn_intercepts / drawn_slopes, np.inf)
        tail = (1 - analysis.confidence) / 2
        ends = np.quantile(closing, [tail, 1 - tail], method="nearest")
        known_ends = [float(end) if np.isfinite(end) else None for end in ends]
        row |= with_ends("gamma_max", float(-intercepts[0] / slopes[0]), known_ends, "_log10")
    return row


def _best(group: pl.DataFrame) -> dict[str, Any]:
    """The gamma of the lowest loss, each seed its own: median, smallest and largest."""
    best = (
        group.filter(pl.col("best_relative_loss").is_not_null())
        .sort("best_relative_loss", "gamma_log10")
        .group_by("seed", "data_seed", maintain_order=True)
        .first()
    )
    gamma = best["gamma_log10"]
    found = with_ends("gamma_best", gamma.median(), (gamma.min(), gamma.max()), "_log10")
    return found | {"best_relative_loss": best["best_relative_loss"].mean()}
