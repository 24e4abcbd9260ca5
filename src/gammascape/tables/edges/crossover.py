"""The gamma at which an edge bends from its lazy to its ultra-rich slope."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.study import EDGES, Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns, with_ends
from gammascape.tables.edges.exponents import shared_of
from gammascape.tables.edges.find import cells_of
from gammascape.tables.statistics.fits import (
    Floats,
    Points,
    broken_values,
    fit_broken,
    fit_lines,
    gather,
    interval,
    seeded,
)

CROSSOVER_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int edge:str crossover_log10 crossover_low_log10 crossover_high_log10 "
    "height_log10 slope_before slope_before_low slope_before_high slope_after slope_after_low "
    "slope_after_high bend_bic bends:bool from_log10 to_log10 gammas:int points:int confidence"
)

_LEAST_GAMMAS = 5
"""One more than the parameters: two slopes, a height and a place."""


def crossover_table(thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Fit a continuous line of two slopes to each edge of one slice over all gammas, windows aside.

    Edges at fewer than five gammas have no row. `bend_bic` is the BIC of the straight line less that of the broken
    one; where it is not positive (`bends` False) the data show no bend, and the crossover means nothing. An edge
    outside of the sampled etas, one with a null estimate, takes no part.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table` for one slice.
        analysis: number of resamples and confidence level.
    """
    rows: list[dict[str, Any]] = []
    for edge in EDGES:
        bounded = thresholds.filter(pl.col("edge") == edge, pl.col("estimate_log10").is_not_null())
        if bounded["gamma_log10"].n_unique() < _LEAST_GAMMAS:
            continue
        shared, (lower, upper) = shared_of(bounded), cells_of(bounded)
        # The estimate, not the middle of its cell, is the value; the cell says how well it is known.
        half, at = (upper - lower) / 2, bounded["estimate_log10"].to_numpy()
        points = gather(bounded["gamma_log10"].to_numpy(), at - half, at + half)
        rng = seeded(f"{shared['slice']} {edge} crossover")
        rows.append(
            shared
            | crossover(points, analysis, rng)
            | {
                "edge": edge,
                "from_log10": float(points.gamma[0]),
                "to_log10": float(points.gamma[-1]),
                "gammas": len(points.gamma),
                "points": bounded.height,
                "confidence": analysis.confidence,
            }
        )
    return pl.DataFrame(rows, schema=CROSSOVER_SCHEMA)


def crossover(points: Points, analysis: Analysis, rng: np.random.Generator) -> dict[str, Any]:
    """The broken line through the points, against a straight one.

    Intervals are those of lines through redrawn means: the fitted one and a normal scatter about it, of the
    variance of the residuals with n - 4 degrees of freedom, or of grid and seeds if that is larger. As few
    points do not tell their own scatter, it is divided by a chi-square draw of these degrees.
    """
    fit = fit_broken(points, points.middle[None])
    fitted = broken_values(fit, points.gamma)[0]
    n, weights = len(points.gamma), points.seeds / points.seeds.mean()
    variance = max(float(fit.rss[0]) / points.seeds.mean() / (n - 4), _noise_floor(points))
    scale = np.sqrt(variance * (n - 4) / rng.chisquare(n - 4, (analysis.bootstrap, 1)) / weights)
    drawn = fit_broken(points, fitted + scale * rng.standard_normal((analysis.bootstrap, n)))
    bend = _bic(points, _straight_rss(points), 3) - _bic(points, float(fit.rss[0]), 5)
    result: dict[str, Any] = {"height_log10": float(fit.height[0])}
    for name, value, spread in (
        ("crossover", fit.knot, drawn.knot),
        ("slope_before", fit.before, drawn.before),
        ("slope_after", fit.after, drawn.after),
    ):
        ends, unit = interval(spread, analysis.confidence), "_log10" if name == "crossover" else ""
        result |= with_ends(name, float(value[0]), ends, unit)
    return result | {"bend_bic": bend, "bends": bend > 0}


def _straight_rss(points: Points) -> float:
    slopes, intercepts = fit_lines(points, points.middle[None])
    rest: Floats = points.middle - slopes[0] * points.gamma - intercepts[0]
    return float(points.seeds @ rest**2)


def _bic(points: Points, rss: float, parameters: int) -> float:
    """BIC of a Gaussian whose variance is not below what the grid and the seeds make sure of."""
    n = len(points.gamma)
    squares = rss / float(points.seeds.sum())
    variance = max(squares, _noise_floor(points))
    return float(n * (np.log(2 * np.pi * variance) + squares / variance) + parameters * np.log(n))


def _noise_floor(points: Points) -> float:
    """Variance of the mean over seeds of an edge at one gamma that is there whatever the line."""
    grid = float(np.mean(points.width**2)) / 12
    spread = float(np.mean(points.deviations**2)) if len(points.deviations) else 0.0
    return max(grid + spread * float(np.mean(1 / points.seeds)), 1e-12)
