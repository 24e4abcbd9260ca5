"""The gamma at which an edge bends from its lazy to its ultra-rich slope."""

import zlib
from typing import Any

import numpy as np
import polars as pl

from gammascape.study import EDGES, Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns, with_ends
from gammascape.tables.edges.exponents import shared_of
from gammascape.tables.edges.find import cells_of
from gammascape.tables.statistics.fits import fit_broken

CROSSOVER_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int edge:str crossover_log10 crossover_low_log10 crossover_high_log10 "
    "height_log10 slope_before slope_before_low slope_before_high slope_after slope_after_low "
    "slope_after_high bend_bic bends:bool from_log10 to_log10 gammas:int points:int confidence"
)

_LEAST_GAMMAS = 5
"""One more than the parameters: two slopes, a height and a place."""


def crossover_table(thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Fit a continuous line of two slopes to each edge of one slice over all gammas, windows aside.

    Edges at fewer than five gammas have no row. `bend_bic` is the BIC of the straight line less the broken
    one's; where it is not positive (`bends` False) the data show no bend, and the crossover means nothing. An edge
    outside of the sampled etas, one with a null estimate, takes no part.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table` for one slice.
        analysis: number of resamples and confidence level.
    """
    rows: list[dict[str, Any]] = []
    for edge in EDGES:
        known = thresholds.filter(pl.col("edge") == edge, pl.col("estimate_log10").is_not_null())
        if known["gamma_log10"].n_unique() < _LEAST_GAMMAS:
            continue
        shared = shared_of(known)
        # The same table gives the same intervals.
        rng = np.random.default_rng(zlib.crc32(f"{shared['slice']} {edge}".encode()))
        span = known["gamma_log10"].min(), known["gamma_log10"].max()
        rows.append(
            shared
            | crossover(known, analysis, rng)
            | {
                "edge": edge,
                **dict(zip(("from_log10", "to_log10"), span, strict=True)),
                "gammas": known["gamma_log10"].n_unique(),
                "points": known.height,
                "confidence": analysis.confidence,
            }
        )
    return pl.DataFrame(rows, schema=CROSSOVER_SCHEMA)


def crossover(edges: pl.DataFrame, analysis: Analysis, rng: np.random.Generator) -> dict[str, Any]:
    """The broken line through edges of one kind, seeds averaged, against a straight one.

    Intervals hold lines through redrawn means: the fitted one and a normal scatter about it, of the
    variance of the residuals with n - 4 degrees of freedom, or of grid and seeds if that is larger. As few points
    do not tell their own scatter, it is divided by a chi-square draw of these degrees.
    """
    lower, upper = cells_of(edges)
    means = (
        edges.with_columns(width=pl.Series(upper - lower))
        .group_by("gamma_log10")
        .agg(
            at=pl.col("estimate_log10").mean(),
            seeds=pl.len(),
            width=pl.col("width").mean(),
            spread=(pl.col("estimate_log10").len() - 1) * pl.col("estimate_log10").var(),
        )
        .sort("gamma_log10")
    )
    gamma, y, seeds = (means[name].to_numpy() for name in ("gamma_log10", "at", "seeds"))
    n, weights = len(gamma), seeds / seeds.mean()
    variance = means["spread"].sum() / max(edges.height - n, 1)
    # The scatter of a mean, whatever the line.
    least = max((means["width"] ** 2).mean() / 12 + variance * (1 / seeds).mean(), 1e-12)  # type: ignore[operator]

    def bic(rss: float, parameters: int) -> float:
        scatter = max(rss / n, least)
        return float(n * (np.log(scatter) + rss / n / scatter) + parameters * np.log(n))

    [found], fitted, [rss] = fit_broken(gamma, weights, y[None])
    scatter = max(rss / (n - 4), least) * (n - 4) / rng.chisquare(n - 4, (analysis.bootstrap, 1))
    drawn = np.sqrt(scatter / weights) * rng.standard_normal((analysis.bootstrap, n))
    tail = (1 - analysis.confidence) / 2
    ends = np.quantile(fit_broken(gamma, weights, fitted + drawn)[0], [tail, 1 - tail], axis=0).T
    straight = np.polyval(np.polyfit(gamma, y, 1, w=np.sqrt(weights)), gamma)
    bend = bic(float(weights @ (y - straight) ** 2), 3) - bic(rss, 5)
    return {
        "height_log10": found[1],
        **with_ends("crossover", found[0], ends[0].tolist(), "_log10"),
        **with_ends("slope_before", found[2], ends[2].tolist()),
        **with_ends("slope_after", found[3], ends[3].tolist()),
        "bend_bic": bend,
        "bends": bend > 0,
    }
