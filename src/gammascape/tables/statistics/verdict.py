"""Verdicts that can go both ways, of many claims at once, and what a design could have decided."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln

from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.slopes import Posterior

Verdict = Literal["agrees", "differs", "undecided"]


def judge_value(
    predicted: float, alternatives: Sequence[float], low: float, high: float, margin: float
) -> Verdict:
    """Judge a predicted value by an interval and what the value could be instead.

    It differs if the interval lies further than `margin` from it. It agrees if that is not so and all
    alternatives lie further than `margin` from the interval: something was excluded. Without alternatives
    nothing can be.

    Args:
        predicted, alternatives: values of the law and of others.
        low, high: ends of the interval.
        margin: by how much the law may miss the truth, as it holds to leading order; argued for each claim.
    """
    if not low - margin <= predicted <= high + margin:
        return "differs"
    excluded = all(not low - margin <= other <= high + margin for other in alternatives)
    return "agrees" if alternatives and excluded else "undecided"


def judge_above(low: float | None, high: float | None, bound: float = 0.0) -> Verdict:
    """Judge a claim that a quantity lies above a bound (less a margin: that it is no worse)."""
    if low is None or high is None:
        return "undecided"
    return "agrees" if low > bound else "differs" if high < bound else "undecided"


def p_differs(posterior: Posterior, predicted: float, margin: float) -> float:
    """P-value of a value within `margin` of the predicted one: twice the smaller of the two tails.

    It is at most 1 - confidence where the interval of that confidence lies further than `margin` away.
    """
    above, below = posterior.below(predicted + margin), 1 - posterior.below(predicted - margin)
    return min(1.0, 2 * min(above, below))


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values (claims,): with chance at most a, any claim that holds gets one of a or less.

    Step-down procedure of Holm (1979), whatever the dependence of the claims.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted: Floats = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def power(
    posterior: Posterior,
    predicted: float,
    alternatives: Sequence[float],
    margin: float,
    confidence: float,
) -> float:
    """Chance that a study like this one would say that the value agrees if it holds.

    Its estimates would scatter around the predicted value as the posterior does around its mean, each with
    an interval as wide as the one it has.
    """
    mean = posterior.mean()
    low, high = posterior.interval(confidence)
    down, up = mean - low + margin, high - mean + margin
    # Estimates at which the interval holds the value and no alternative.
    least = max([predicted - up, *(other + down for other in alternatives if other < predicted)])
    most = min([predicted + down, *(other - up for other in alternatives if other > predicted)])
    if not alternatives or most <= least:
        return 0.0
    shift = mean - predicted
    # Weights add up to 1 within rounding.
    return min(1.0, posterior.below(most + shift) - posterior.below(least + shift))


_SHARES, _CORRELATIONS = 400, 40
_ONE = 0.75
"""Prior weight of runs of a seed that are one and the same observation, a correlation of 1."""


def share_interval(
    successes: ArrayLike, runs: ArrayLike, confidence: float
) -> tuple[float, float] | None:
    """The interval of a share where runs of one seed go together.

    The shares of seeds scatter by a beta distribution: the posterior of its mean under a flat prior of the mean,
    and one of the correlation of two runs of a seed that is flat but for three quarters at 1: all are one.

    Args:
        successes, runs: (seeds,) each.
        confidence: level of the interval.

    Returns:
        None for one seed with several runs: whether they are one or many it cannot tell.
    """
    k, n = np.asarray(successes, dtype=float), np.asarray(runs, dtype=float)
    if len(k) < 2 and n.max() > 1:
        return None
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.interp(tails, _below(k, n), np.arange(_SHARES + 1) / _SHARES)
    # A share that was seen lies in its interval.
    return float(low) if k.any() else 0.0, float(high) if (k < n).any() else 1.0


def p_share_above(successes: ArrayLike, runs: ArrayLike, bound: float) -> float:
    """P-value of a share of at least `bound`: at most 1 - confidence if the interval lies below."""
    k, n = np.asarray(successes, dtype=float), np.asarray(runs, dtype=float)
    below = np.interp(bound, np.arange(_SHARES + 1) / _SHARES, _below(k, n))
    return min(1.0, 2 * (1 - float(below)))


def _below(k: Floats, n: Floats) -> Floats:
    """The posterior's probability of shares below 0, 1 / _SHARES, ..., 1."""
    return _below_of(tuple(k), tuple(n))


@lru_cache(maxsize=16)
def _below_of(successes: tuple[float, ...], runs: tuple[float, ...]) -> Floats:
    """`_below`: an interval and a p-value ask for the same."""
    k, n = np.array(successes), np.array(runs)
    share = (np.arange(_SHARES) + 0.5) / _SHARES
    correlation = ((np.arange(_CORRELATIONS) + 0.5) / _CORRELATIONS)[:, None, None]
    a = (share[:, None] * (1 - correlation)) / correlation
    b = ((1 - share[:, None]) * (1 - correlation)) / correlation
    # Many seeds have the same outcome.
    some, of = np.unique((k, n), axis=1, return_inverse=True)
    together = (betaln(some[0] + a, some[1] - some[0] + b) - betaln(a, b)).take(of.ravel(), -1)
    log_likelihood = together.sum(-1)
    peak = log_likelihood.max()
    weights = (1 - _ONE) * np.exp(log_likelihood - peak).mean(0)
    every = int((k == n).sum())
    if every + (k == 0).sum() == len(k):
        # Only then seeds may be one run each.
        weights += _ONE * np.exp(every * np.log(share) + (len(k) - every) * np.log1p(-share) - peak)
    found: Floats = np.concatenate(([0.0], np.cumsum(weights) / weights.sum()))
    return found
