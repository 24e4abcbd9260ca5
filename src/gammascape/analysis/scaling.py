"""Exponents: log-log slopes of the edges against gamma in declared windows, with intervals."""

import zlib
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gammascape.analysis.cells import SLICE_COLUMNS
from gammascape.study import EDGES, Analysis, Regime, Span, predicted_slope

SCALING_SCHEMA = {
    **SLICE_COLUMNS,
    "depth_exponent": pl.Int64,
    "edge": pl.String,
    "window": pl.String,
    "from_log10": pl.Float64,
    "to_log10": pl.Float64,
    "slope": pl.Float64,
    "slope_low": pl.Float64,
    "slope_high": pl.Float64,
    "prefactor_log10": pl.Float64,
    "predicted_slope": pl.Float64,
    "prefactor_at_predicted_log10": pl.Float64,
    "points": pl.Int64,
    "seeds": pl.Int64,
    "confidence": pl.Float64,
}

Floats = NDArray[np.float64]


def scaling_table(thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Fit eta = 10^prefactor * gamma^slope to each edge of one slice in the lazy and the ultra-rich window.

    An edge is known to lie between two sampled etas. The line is fitted by least squares to the middles of these
    intervals; for the confidence interval, points (gamma, seed) are drawn with replacement and each edge is
    drawn uniformly from its interval, so that neither few points nor a coarse grid is mistaken for certainty.
    A window with fewer than two distinct gammas has no row. `prefactor_at_predicted_log10` is that of the line
    with the predicted slope that is nearest to the same middles.

    Args:
        thresholds: the table of `analysis.thresholds.threshold_table` for one slice.
        analysis: the study's windows, number of resamples and confidence level.
    """
    rows: list[dict[str, Any]] = []
    if thresholds.is_empty():
        return pl.DataFrame(rows, schema=SCALING_SCHEMA)
    shared = thresholds.row(0, named=True)
    shared = {name: shared[name] for name in (*SLICE_COLUMNS, "depth_exponent")}
    windows: tuple[tuple[Regime, Span], ...] = (("lazy", analysis.lazy), ("rich", analysis.rich))
    for edge in EDGES:
        bounded = thresholds.filter(pl.col("edge") == edge, pl.col("bounded"))
        for window, span in windows:
            low, high = _bounds(span)
            points = bounded.filter(pl.col("gamma_log10").is_between(low, high))
            if points["gamma_log10"].n_unique() < 2:
                continue
            gammas = points["gamma_log10"].to_numpy()
            lower, upper = _interval(edge, points)
            slope, prefactor = fit_line(gammas, (lower + upper) / 2)
            predicted = predicted_slope(edge, shared["loss"], window, shared["depth_exponent"])
            rng = np.random.default_rng(zlib.crc32(f"{shared['slice']} {edge} {window}".encode()))
            slopes = bootstrap_slopes(gammas, lower, upper, analysis.bootstrap, rng)
            tail = (1 - analysis.confidence) / 2
            rows.append(
                shared
                | {
                    "edge": edge,
                    "window": window,
                    "from_log10": float(gammas.min()),
                    "to_log10": float(gammas.max()),
                    "slope": slope,
                    "slope_low": float(np.quantile(slopes, tail)),
                    "slope_high": float(np.quantile(slopes, 1 - tail)),
                    "prefactor_log10": prefactor,
                    "predicted_slope": predicted,
                    "prefactor_at_predicted_log10": (
                        None
                        if predicted is None
                        else float(np.mean((lower + upper) / 2 - predicted * gammas))
                    ),
                    "points": len(gammas),
                    "seeds": points.select("seed", "data_seed").n_unique(),
                    "confidence": analysis.confidence,
                }
            )
    return pl.DataFrame(rows, schema=SCALING_SCHEMA)


def fit_line(x: Floats, y: Floats) -> tuple[float, float]:
    """Least squares: slope and intercept of y against x, both (n,)."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def bootstrap_slopes(
    x: Floats, lower: Floats, upper: Floats, resamples: int, rng: np.random.Generator
) -> Floats:
    """Slopes of resampled points whose y is uniform in [lower, upper]; all inputs (n,), result (resamples,).

    A draw that holds a single x has no slope and is drawn again.
    """
    chosen = rng.integers(len(x), size=(resamples, len(x)))
    while (flat := np.ptp(x[chosen], axis=1) == 0).any():
        chosen[flat] = rng.integers(len(x), size=(int(flat.sum()), len(x)))
    xs = x[chosen]
    ys = rng.uniform(lower[chosen], upper[chosen])
    centred = xs - xs.mean(1, keepdims=True)
    slopes: Floats = (centred * ys).sum(1) / (centred**2).sum(1)
    return slopes


def _bounds(span: Span) -> tuple[float, float]:
    low = -np.inf if span.start is None else float(span.start)
    high = np.inf if span.stop is None else float(span.stop)
    return low, high


def _interval(edge: str, points: pl.DataFrame) -> tuple[Floats, Floats]:
    at = points["eta_log10"].to_numpy()
    below = points["lower_log10"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    above = points["upper_log10"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    if edge == "eta_min":
        return below, at
    if edge == "eta_best":
        return (below + at) / 2, (at + above) / 2
    return at, above
