"""Plateaus of a loss curve, the drops between them, and when the curve first passes a level."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from gammascape.tables.statistics.fits import Floats

TOLERANCE = 0.04
"""Height of the band, in decades of loss, in which a plateau lies; levels closer than it are the same."""
LEAST_LENGTH = 0.5
"""Length of the shortest plateau, in decades of time."""
_INSIDE = 0.9
_MEDIAN_OF = 5
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Plateau:
    """A stretch of log time in which the relative loss is constant within TOLERANCE."""

    start: float
    """First and last step, counted from 1."""
    end: float
    height: float
    """Median relative loss."""
    class_prior: bool
    """True if this is the loss of the best constant output, for which no feature is needed."""


@dataclass(frozen=True)
class Drop:
    """A fall from one level to the next lower one: from plateau to plateau, the first loss or the last one."""

    step: float
    """Step at which the loss is half way, in log loss."""
    size: float
    """Decades of loss."""
    class_prior: bool
    """True if only the frequencies of the classes were learned."""


@dataclass(frozen=True)
class Stairs:
    """A loss curve as plateaus and drops, both in the order of time."""

    plateaus: tuple[Plateau, ...]
    drops: tuple[Drop, ...]


def find_stairs(step: Floats, relative: Floats, prior: float | None = None) -> Stairs:
    """Plateaus and drops of one curve.

    A stretch is a plateau if it is LEAST_LENGTH long, and its ends and nine tenths of its bins lie within
    TOLERANCE / 2 of its median; the longest are taken first, those that overlap them are not, and neighbours of
    the same height are one. A running median of five bins takes the noise of batches away before.

    Args:
        step: (n,) mean step of logarithmic bins, counted from 1, rising.
        relative: (n,) mean loss over the loss of f = 0.
        prior: relative loss of the best constant output, None if the loss of f = 0 is no higher.
    """
    x = np.log10(step)
    y = median_filter(np.log10(np.maximum(relative, _SMALLEST)), _MEDIAN_OF, mode="nearest")
    spans = _merged(_disjoint(_flat(x, y)), y)
    plateaus = tuple(
        Plateau(float(step[i]), float(step[j]), height, _is_prior(height, prior))
        for i, j in spans
        for height in [float(10 ** np.median(y[i : j + 1]))]
    )
    return Stairs(plateaus, _drops(x, y, spans, plateaus))


def escape_of(stairs: Stairs, prior: float | None) -> float | None:
    """The end of the last plateau that is not below the loss of the best constant output; None without any."""
    floor = 10 ** (-TOLERANCE / 2) * (1.0 if prior is None else prior)
    ends = [p.end for p in stairs.plateaus if p.height >= floor]
    return ends[-1] if ends else None


def first_passage(step: Floats, relative: Floats, level: float) -> float | None:
    """First step with the curve at or below `level`, interpolated in log step and log loss; None if never."""
    below = np.flatnonzero(relative <= level)
    if not len(below):
        return None
    k = int(below[0])
    if k == 0:
        return float(step[0])
    y = np.log10(np.maximum(relative[k - 1 : k + 1], _SMALLEST))
    x = np.log10(step[k - 1 : k + 1])
    share = (y[0] - np.log10(level)) / (y[0] - y[1])
    return float(10 ** (x[0] + share * (x[1] - x[0])))


def _flat(x: Floats, y: Floats) -> list[tuple[int, int]]:
    """All stretches [i, j] that are plateaus, the longest first."""
    found = []
    for i in range(len(x)):
        for j in range(int(np.searchsorted(x, x[i] + LEAST_LENGTH)), len(x)):
            # Ends further apart than the band cannot both lie near the median.
            if abs(y[i] - y[j]) > TOLERANCE:
                continue
            away = np.abs(y[i : j + 1] - np.median(y[i : j + 1])) <= TOLERANCE / 2
            if away[0] and away[-1] and away.mean() >= _INSIDE:
                found.append((i, j))
    return sorted(found, key=lambda span: x[span[0]] - x[span[1]])


def _disjoint(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    for i, j in spans:
        if all(j < a or b < i for a, b in taken):
            taken.append((i, j))
    return sorted(taken)


def _merged(spans: Sequence[tuple[int, int]], y: Floats) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for i, j in spans:
        if merged:
            a, b = merged[-1]
            if abs(np.median(y[a : b + 1]) - np.median(y[i : j + 1])) < TOLERANCE:
                merged[-1] = (a, j)
                continue
        merged.append((i, j))
    return merged


def _drops(
    x: Floats, y: Floats, spans: Sequence[tuple[int, int]], plateaus: Sequence[Plateau]
) -> tuple[Drop, ...]:
    # Levels with the bins between which the curve leaves one and reaches the next.
    last = len(y) - 1
    levels = [(float(y[0]), 0, 0, False)]
    levels += [
        (float(np.log10(p.height)), i, j, p.class_prior)
        for (i, j), p in zip(spans, plateaus, strict=True)
    ]
    levels.append((float(y[last]), last, last, False))
    drops = []
    for (upper, _, leaves, _), (lower, reaches, _, prior) in itertools.pairwise(levels):
        if upper - lower < TOLERANCE:
            continue
        middle = (upper + lower) / 2
        between = np.flatnonzero(y[leaves : reaches + 1] <= middle)
        at = leaves + int(between[0]) if len(between) else reaches
        drops.append(Drop(float(10 ** x[at]), upper - lower, prior))
    return tuple(drops)


def _is_prior(height: float, prior: float | None) -> bool:
    # The best constant output of constant targets has no loss.
    return bool(prior and abs(np.log10(height / prior)) <= TOLERANCE / 2)
