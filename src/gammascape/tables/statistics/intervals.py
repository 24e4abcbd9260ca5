"""Intervals that hold for few seeds: of differences between gammas, and of means over pairs.

A similarity belongs to a pair, and a mean over pairs counts each network many times. Leaving out a network, or a
seed, takes all its pairs away, so the spread of what is left knows of that; pairs are never units of their own.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from gammascape.tables.statistics.fits import Floats


def student(freedom: int, confidence: float) -> float:
    """Half-width, in standard errors, of the central interval of Student's t with `freedom` degrees."""
    return float(stdtrit(freedom, (1 + confidence) / 2))


@dataclass(frozen=True)
class Levels:
    """Mean of each gamma, seeds taken out."""

    gamma: Floats
    """(gammas,) rising."""
    mean: Floats
    """(gammas,) as if every seed had been trained at every gamma."""
    error: Floats
    """(gammas, gammas) standard errors of differences; NaN where no seeds connect two gammas."""
    freedom: int
    """Degrees of freedom of the errors; 0 if they are unknown (and then NaN)."""


def fit_levels(gamma: Floats, seed: Floats, value: Floats) -> Levels:
    """Least squares of value = level of its gamma + effect of its seed; all inputs (points,).

    The seed's effect, which all gammas share, drops out of differences: they are paired. What is left scatters
    equally at all gammas, by assumption: its variance is estimated from all of them together, because two or
    three seeds do not tell the variance of one gamma.
    """
    gammas, at = np.unique(gamma, return_inverse=True)
    seeds, of = np.unique(seed, return_inverse=True)
    design = np.hstack((np.eye(len(gammas))[at], np.eye(len(seeds))[of]))
    inverse = np.linalg.pinv(design.T @ design)
    solution = inverse @ (design.T @ value)
    freedom = len(value) - int(np.linalg.matrix_rank(design))
    # Levels and effects are known up to a constant that they exchange.
    mean = solution[: len(gammas)] + solution[len(gammas) :].mean()
    error = np.full((len(gammas), len(gammas)), np.nan)
    if freedom:
        variance = float(((value - design @ solution) ** 2).sum() / freedom)
        block = inverse[: len(gammas), : len(gammas)]
        spread = np.diag(block)[:, None] + np.diag(block)[None] - 2 * block
        error = np.sqrt(np.maximum(spread, 0) * variance)
    # A difference of levels is known if it is a combination of the data.
    known = inverse @ (design.T @ design)
    differences = np.eye(len(gammas))[:, None] - np.eye(len(gammas))[None]
    padded = np.concatenate((differences, np.zeros((*error.shape, len(seeds)))), -1)
    error[np.abs(padded @ known - padded).max(-1) > 1e-8] = np.nan
    return Levels(gammas, mean, error, freedom)


class Interval(NamedTuple):
    """Two ends, or none where the units are too few."""

    low: float | None = None
    high: float | None = None
    freedom: int = 0
    """Degrees of freedom of Student's t; 0 without ends."""

    def p_above(self, value: float, confidence: float) -> float:
        """P-value of a truth above 0, given the value of this interval: 1 - confidence where it ends at 0.

        Raises:
            TypeError: without ends.
        """
        error = (self.high - self.low) / 2 / student(self.freedom, confidence)  # type: ignore[operator]
        away = value / error if error else np.copysign(np.inf, value)
        return min(1.0, 2 * float(stdtr(self.freedom, away)))


def jackknife(value: float, strata: Sequence[Floats], confidence: float) -> Interval:
    """Student's interval around `value`, from its values with one unit left out at a time.

    The variance is the stratified one of Efron and Stein (Annals of Statistics 9, 1981) and Jones (1974),
    sum_h (n_h - 1) / n_h sum_i (value_hi - mean_h)^2, its degrees of freedom are from Satterthwaite
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
    return Interval(value - half, value + half, freedom)


@cache
def _without_each(size: int) -> list[list[int]]:
    """All of `range(size)` but one, for each one."""
    return [[other for other in range(size) if other != one] for one in range(size)]


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
    if not same:
        if min(values.shape) < 2:
            return Interval()
        strata = [
            np.array([values.take(others, axis).mean() for others in _without_each(size)])
            for axis, size in enumerate(values.shape)
        ]
        return jackknife(float(np.nanmean(values)), strata, confidence)
    seeds = sorted({*seeds_a, *seeds_b}, key=repr)
    if len(seeds) < 3:
        return Interval()
    mean = float(np.nanmean(values))
    left = []
    for seed in seeds:
        rest = values[[s != seed for s in seeds_a]][:, [s != seed for s in seeds_b]]
        left.append(np.nanmean(rest) if np.isfinite(rest).any() else np.nan)
    return jackknife(mean, [np.array(left)], confidence)
