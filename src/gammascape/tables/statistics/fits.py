"""Broken lines through edges that are known to lie in intervals."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Edges (one for each gamma and seed), put together gamma by gamma."""

    gamma: Floats
    """(n,) distinct log10 gammas, rising."""
    middle: Floats
    """(n,) mean over seeds of the middles of the intervals."""
    seeds: Floats
    """(n,) how many seeds."""
    width: Floats
    """(n,) mean width of the intervals."""
    deviations: Floats
    """(points,) middles less the mean of their gamma, scaled so that their mean square is the variance."""


def gather(gamma: Floats, lower: Floats, upper: Floats) -> Points:
    """Put points together; all inputs (points,)."""
    distinct, place, counts = np.unique(gamma, return_inverse=True, return_counts=True)
    middles = (lower + upper) / 2
    middle = np.bincount(place, middles) / counts
    apart = middles - middle[place]
    spare = len(gamma) - len(distinct)
    return Points(
        gamma=distinct,
        middle=middle,
        seeds=counts.astype(float),
        width=np.bincount(place, upper - lower) / counts,
        deviations=apart * np.sqrt(len(gamma) / spare) if spare else np.zeros(len(gamma)),
    )


def fit_lines(points: Points, y: Floats) -> tuple[Floats, Floats]:
    """Least squares, weighted by seeds: slopes and intercepts of the rows of y (rows, n)."""
    weights = points.seeds / points.seeds.sum()
    centre = weights @ points.gamma
    lever = weights * (points.gamma - centre)
    slopes: Floats = y @ lever / (lever @ points.gamma)
    intercepts: Floats = y @ weights - slopes * centre
    return slopes, intercepts


@dataclass(frozen=True)
class Broken:
    """Continuous lines of two slopes; all (rows,)."""

    knot: Floats
    """log10 gamma at which the slope changes."""
    height: Floats
    """y at the knot."""
    before: Floats
    after: Floats
    rss: Floats
    """Sum of squares of the residuals, weighted by seeds."""


KNOTS_PER_DECADE = 20


def knots_of(points: Points) -> Floats:
    """Candidate knots: from the second to the second last gamma, so that each side has two points."""
    low, high = points.gamma[1], points.gamma[-2]
    return np.linspace(low, high, max(2, round((high - low) * KNOTS_PER_DECADE) + 1))


def fit_broken(points: Points, y: Floats) -> Broken:
    """Least squares over slopes, height and knot for the rows of y (rows, n), n >= 4 gammas.

    For each candidate knot the fit is linear; of all the best is taken.
    """
    knots = knots_of(points)
    root = np.sqrt(points.seeds)
    # (knots, n, 3): 1, the part before the knot, the part after it.
    away = points.gamma - knots[:, None]
    design = np.stack((np.ones_like(away), np.minimum(away, 0), np.maximum(away, 0)), -1)
    solve = np.linalg.pinv(design * root[:, None])
    target = y * root
    coefficients = np.einsum("kpn,rn->rkp", solve, target)
    # |y|^2 - |projection|^2 loses digits where the fit is exact; the residual itself does not.
    rss = np.empty(coefficients.shape[:2])
    for k in range(len(knots)):
        rest = target - coefficients[:, k] @ (design[k] * root[:, None]).T
        rss[:, k] = (rest**2).sum(1)
    best = rss.argmin(1)
    rows = np.arange(len(y))
    chosen = coefficients[rows, best]
    return Broken(knots[best], chosen[:, 0], chosen[:, 1], chosen[:, 2], rss[rows, best])


def broken_values(broken: Broken, gamma: Floats) -> Floats:
    """The broken lines at gamma (n,): (rows, n)."""
    away = gamma - broken.knot[:, None]
    values: Floats = (
        broken.height[:, None]
        + broken.before[:, None] * np.minimum(away, 0)
        + broken.after[:, None] * np.maximum(away, 0)
    )
    return values


def seeded(text: str) -> np.random.Generator:
    """Random numbers that depend on what is fitted alone, so that the same table gives the same intervals."""
    return np.random.default_rng(zlib.crc32(text.encode()))


def interval(values: Floats, confidence: float) -> tuple[float, float]:
    """The central share `confidence` of draws."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
