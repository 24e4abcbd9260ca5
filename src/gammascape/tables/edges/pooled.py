"""One edge for each gamma, from all seeds together."""

from typing import Any

import numpy as np
import polars as pl
from scipy.special import chdtri

from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.edges.find import bracket
from gammascape.tables.statistics.fits import Floats

POOLED_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int gamma_log10 edge:str estimate_log10 estimate_low_log10 "
    "estimate_high_log10 method:str seeds:int unbounded:int scale_log10 confidence"
)

_KEY = [*SLICE_COLUMNS, "depth_exponent", "gamma_log10", "edge"]
_CENTRES, _SCALES = 161, 40


def pooled_table(thresholds: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """The edges of one slice at each gamma, seeds together.

    Where seeds agree on the two sampled etas, the estimate is the mean of theirs, and so are its bounds (`method`
    grid, interpolated or measured; grid unless all are better). Where they disagree, the chance that a seed's
    edge lies below eta is fitted as a logistic function of log10 eta (`method` logistic): its centre is the
    estimate, its bounds are those of the profile likelihood, `scale_log10` is its width. Seeds whose edge is
    not bracketed by sampled etas are counted in `unbounded` and left out.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table` for one slice.
        confidence: level of the bounds of logistic fits.
    """
    rows: list[dict[str, Any]] = []
    for shared, group in grouped(thresholds, _KEY):
        bounded = group.filter("bounded")
        if bounded.is_empty():
            continue
        counts = {"seeds": bounded.height, "unbounded": group.height - bounded.height}
        rows.append(shared | _pool(bounded, confidence) | counts | {"confidence": confidence})
    return pl.DataFrame(rows, schema=POOLED_SCHEMA).sort("gamma_log10", "edge")


def _pool(bounded: pl.DataFrame, confidence: float) -> dict[str, Any]:
    columns = ("edge", "eta_log10", "lower_log10", "upper_log10")
    lower, upper = np.array([bracket(*row) for row in bounded.select(columns).iter_rows()]).T
    methods = set(bounded["method"])
    if "measured" not in methods and (np.ptp(lower) > 0 or np.ptp(upper) > 0):
        centre, *ends, scale = logistic(lower, upper, confidence)
        found = with_ends("estimate", centre, ends, "_log10")
        return found | {"method": "logistic", "scale_log10": scale}
    names = ("estimate_log10", "estimate_low_log10", "estimate_high_log10")
    method = methods.pop() if len(methods) == 1 else "grid"
    return {name: bounded[name].mean() for name in names} | {"method": method}


def logistic(lower: Floats, upper: Floats, confidence: float) -> tuple[float, float, float, float]:
    """Centre of a logistic distribution of which each edge is known to lie in (lower, upper]; all (seeds,).

    The likelihood is taken on a grid of centres and widths; a centre is within the bounds as long as its best
    log-likelihood is less than half a chi-square quantile below the highest.

    Returns:
        centre, lower bound, upper bound, width.
    """
    step = float(np.mean(upper - lower))
    reach = float(upper.max() - lower.min())
    centres = np.linspace(lower.min() - reach, upper.max() + reach, _CENTRES)
    scales = np.geomspace(step / 20, 2 * reach, _SCALES)[:, None]

    def below(eta: Floats) -> Floats:
        # The logistic function by tanh, which does not overflow.
        values: Floats = (1 + np.tanh((eta - centres[:, None, None]) / (2 * scales))) / 2
        return values

    chances = below(upper) - below(lower)
    likelihood = np.log(np.maximum(chances, 1e-300)).sum(-1)
    profile = likelihood.max(1)
    top = float(profile.max())
    # Centres of equal likelihood are equally good; the middle of them is taken.
    best = np.flatnonzero(profile >= top - 1e-9)
    inside = centres[profile >= top - chdtri(1, 1 - confidence) / 2]
    centre = float(centres[best].mean())
    width = float(scales[likelihood[best[len(best) // 2]].argmax(), 0])
    return centre, float(inside[0]), float(inside[-1]), width
