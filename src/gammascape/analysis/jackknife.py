"""Intervals by leaving out one unit after another: seeds or models, never pairs of them as if independent.

A similarity belongs to a pair, and a mean over pairs counts each network many times. Leaving out a network takes
all its pairs away, so the spread of what is left knows of that.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gammascape.analysis.seeds import student

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Two ends, or none where the units are too few."""

    low: float | None = None
    high: float | None = None


def jackknife(value: float, strata: Sequence[Floats], confidence: float) -> Interval:
    """Student's interval around `value`, from its values with one unit left out at a time.

    The variance is the stratified one of Efron and Stein (Annals of Statistics 9, 1981) and Jones (1974),
    sum_h (n_h - 1) / n_h sum_i (value_hi - mean_h)^2, its degrees of freedom are those of Satterthwaite
    (Biometrics Bulletin 2, 1946), rounded down.

    Args:
        value: with all units.
        strata: for each group of exchangeable units, the value without each of them in turn, (n_h,).
        confidence: share of intervals that should hold the truth.

    Returns:
        No ends where a stratum has fewer than two units or leaving one out leaves nothing.
    """
    if not strata or any(len(part) < 2 or not np.isfinite(part).all() for part in strata):
        return Interval()
    parts = [(len(p) - 1) / len(p) * float(((p - p.mean()) ** 2).sum()) for p in strata]
    variance = sum(parts)
    freedom = min(len(p) for p in strata) - 1
    if variance > 0:
        shares = sum(v**2 / (len(p) - 1) for v, p in zip(parts, strata, strict=True))
        freedom = max(freedom, int(variance**2 / shares + 1e-9))
    half = student(freedom, confidence) * float(np.sqrt(variance))
    return Interval(value - half, value + half)


def seed_interval(
    values: Floats,
    seeds_a: Sequence[Hashable],
    seeds_b: Sequence[Hashable],
    same: bool,
    confidence: float,
) -> Interval:
    """Interval of the mean over pairs of seeds.

    Args:
        values: (a, b) similarities; NaN where a network would be compared with itself.
        seeds_a: (a,) seeds of the rows.
        seeds_b: (b,) of the columns.
        same: rows and columns are one model: a seed is left out on both sides, because it has one
            initialization at all gammas. Needs three seeds.
        confidence: of the interval.
    """
    mean = float(np.nanmean(values))
    if not same:
        if min(values.shape) < 2:
            return Interval()
        rows = np.array([np.delete(values, k, 0).mean() for k in range(len(values))])
        columns = np.array([np.delete(values, k, 1).mean() for k in range(values.shape[1])])
        return jackknife(mean, [rows, columns], confidence)
    seeds = sorted({*seeds_a, *seeds_b}, key=repr)
    if len(seeds) < 3:
        return Interval()
    left = []
    for seed in seeds:
        rest = values[[s != seed for s in seeds_a]][:, [s != seed for s in seeds_b]]
        left.append(np.nanmean(rest) if np.isfinite(rest).any() else np.nan)
    return jackknife(mean, [np.array(left)], confidence)
