"""Exponents: log-log slopes of the edges against gamma in declared windows, with intervals."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gammascape.study import EDGES, Analysis, Edge, Regime, predicted_slope
from gammascape.tables.cells import SLICE_COLUMNS, columns, in_window, windows, with_ends
from gammascape.tables.edges.find import cells_of
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.slopes import Fit, fit_mean, fit_slope
from gammascape.tables.statistics.verdict import p_differs, power
from gammascape.theory import laws

SCALING_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int edge:str window:str from_log10 to_log10 slope slope_low slope_high "
    "prefactor_log10 predicted_slope prefactor_at_predicted_log10 prefactor_at_predicted_low_log10 "
    "prefactor_at_predicted_high_log10 points:int seeds:int confidence gammas:int censored:int "
    "estimate_slope interpolated:int margin p_differs power"
)


@dataclass(frozen=True)
class Window:
    """The edges of one kind in one window of gamma of a slice, and their line."""

    edge: Edge
    window: Regime
    rows: pl.DataFrame
    """Rows of thresholds; `shape` is the known deviation of log10 eta from the line."""
    predicted: float | None
    """Exponent of theory."""
    fit: Fit

    @property
    def bounded_rows(self) -> pl.DataFrame:
        """Rows with both ends."""
        return self.rows.filter(pl.col("estimate_log10").is_not_null())


def scaling_table(thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Fit eta = 10^prefactor * gamma^slope to each edge of one slice in the lazy and the ultra-rich window.

    The line and the interval of its slope come from `tables.statistics.slopes.fit_slope` through the cells in
    which the estimates of the edges lie, the cell of an edge outside of the sampled etas having one end
    (`censored`). Of a toy the corrections at finite gamma are taken off, which theory knows
    (`theory.laws.Slope.shape`). A window with fewer than two gammas has no row, and two have no interval.
    `estimate_slope` comes from least squares through the estimates between sampled etas.
    `prefactor_at_predicted_log10` is the mean height over the line of the predicted slope through gamma = 1.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table` for one slice.
        analysis: the study's windows, `trained_below` and confidence level.
    """
    rows: list[dict[str, Any]] = []
    for part in fitted_windows(thresholds, analysis):
        known, fit = part.bounded_rows, part.fit
        gamma = known["gamma_log10"].to_numpy()
        rows.append(
            shared_of(part.rows)
            | {
                "edge": part.edge,
                "window": part.window,
                "from_log10": float(gamma.min()),
                "to_log10": float(gamma.max()),
                **with_ends("slope", fit.value, (fit.low, fit.high)),
                "prefactor_log10": fit.intercept,
                "predicted_slope": part.predicted,
                **_prefactor(part, analysis.confidence),
                "points": part.rows.height,
                "seeds": fit.seeds,
                "confidence": analysis.confidence,
                "gammas": fit.gammas,
                "estimate_slope": _least_squares(known),
                "interpolated": int((known["method"] == "interpolated").sum()),
                **against_law(
                    fit, known, part.predicted, laws.EDGES.get((part.edge, part.window)), analysis
                ),
            }
        )
    return pl.DataFrame(rows, schema=SCALING_SCHEMA, infer_schema_length=None)


def fitted_windows(thresholds: pl.DataFrame, analysis: Analysis) -> Iterator[Window]:
    """The edges of one slice that can be fitted: bracketed at two or more gammas of a window."""
    some = thresholds.filter(
        pl.any_horizontal(pl.col("estimate_low_log10", "estimate_high_log10").is_not_null())
    )
    for edge in EDGES:
        for window, span in windows(analysis):
            rows = some.filter(in_window(span), edge=edge)
            if rows.is_empty():
                continue
            loss, depth, toy = rows.select("loss", "depth_exponent", "toy").row(0)
            predicted = predicted_slope(edge, loss, window, depth)
            law, gamma = laws.EDGES.get((edge, window)), rows["gamma_log10"].to_numpy()
            shape = np.zeros(len(gamma))
            if toy and law is not None and predicted is not None:
                shape = law.shape(gamma, predicted, depth, loss, analysis.trained_below)
            rows = rows.with_columns(shape=shape)
            fit = fit_slope(gamma, seeds_of(rows), *cells_of(rows), analysis.confidence, shape)
            if fit is not None:
                yield Window(edge, window, rows, predicted, fit)


def seeds_of(rows: pl.DataFrame) -> Floats:
    """(rows,) a number for each pair of seed and data seed."""
    return rows.select(pl.struct("seed", "data_seed").rank("dense")).to_series().to_numpy()


def shared_of(thresholds: pl.DataFrame) -> dict[str, Any]:
    """The columns that are the same in all rows of a slice."""
    row = thresholds.row(0, named=True)
    return {name: row[name] for name in (*SLICE_COLUMNS, "depth_exponent")}


def against_law(
    fit: Fit,
    rows: pl.DataFrame,
    predicted: float | None,
    law: laws.Slope | None,
    analysis: Analysis,
) -> dict[str, Any]:
    """Columns of all tables of exponents: points with one end, and what the fit says about a law.

    Args:
        fit: the fit.
        rows: with gamma_log10, loss and depth_exponent.
        predicted: the exponent of the law.
        law: the law, None where nothing is claimed.
        analysis: `trained_below` and confidence level.
    """
    found: dict[str, Any] = {"censored": fit.censored}
    if law is None or predicted is None:
        return found
    loss, depth = rows.select("loss", "depth_exponent").row(0)
    gamma = rows["gamma_log10"].to_numpy()
    margin = law.margin(gamma, predicted, depth, loss, analysis.trained_below)
    found["margin"] = margin
    if fit.posterior is not None:
        # Two laws can be one: for L = 2 the exponents 2/L and 1 are.
        others = [other for other in law.alternatives(depth) if other != predicted]
        found["p_differs"] = p_differs(fit.posterior, predicted, margin)
        found["power"] = power(fit.posterior, predicted, others, margin, analysis.confidence)
    return found


def _prefactor(part: Window, confidence: float) -> dict[str, Any]:
    if part.predicted is None:
        return {}
    gamma, of = part.rows["gamma_log10"].to_numpy(), seeds_of(part.rows)
    cells = np.column_stack(cells_of(part.rows)) - part.predicted * gamma[:, None]
    units, seeds = [], np.unique(of)
    for seed in seeds if len(seeds) > 1 else ():
        own = cells[of == seed]
        mean = fit_mean(own[:, 0], own[:, 1], confidence)
        if mean is not None:
            width = np.diff(own[np.isfinite(own).all(1)], axis=1).mean()
            units.append((mean.value - width / 2, mean.value + width / 2))
    # All edges of a seed share its level: they are one unit, unless there is no other seed.
    ends_of = np.array(units if len(units) > 1 else cells)
    height = fit_mean(ends_of[:, 0], ends_of[:, 1], confidence)
    assert height is not None  # two gammas have both ends
    ends = (height.low, height.high) if part.fit.low is not None else (None, None)
    return with_ends("prefactor_at_predicted", height.value, ends, "_log10")


def _least_squares(edges: pl.DataFrame) -> float:
    """Slope through estimates, each seed with a height of its own."""
    own = seeds_of(edges)[:, None] == np.unique(seeds_of(edges))
    design = np.column_stack((edges["gamma_log10"].to_numpy(), own))
    y = edges["estimate_log10"] - edges["shape"]
    return float(np.linalg.lstsq(design, y.to_numpy(), rcond=None)[0][0])
