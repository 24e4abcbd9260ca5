"""Edges of training as levels of a probability, which do not depend on how densely eta was sampled.

An edge is the log10 eta at which half of the runs train. Along eta the probability to train is

    Phi((x - lower) / its blur) * Phi((upper - x) / its blur),        x = log10 eta,

with a share of LAPSES of runs that do otherwise wherever they are. The end of an uninterrupted run of
trained cells is no such level: where outcomes are mixed, the more cells are looked at the earlier is one of
them untrained.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from gammascape.tables.statistics.fits import Floats

Side = Literal["lower", "upper"]

LAPSES = 0.02
"""Twice the share of runs at each side of an edge that do what those at the other side do."""
ZONE = 2 * 1.2815515655446004
"""Width, in blurs, of the zone in which between 10 and 90 % of runs train."""
_BLURS = np.geomspace(0.02, 1.0, 16)
_CENTRES, _REACH, _ROUNDS = 161, 1.0, 3
_ALIKE = 0.5
"""Standard deviation of log(blur) of lines about their common one."""
_SCATTER = np.exp(-(np.log(_BLURS[:, None] / _BLURS) ** 2) / (2 * _ALIKE**2))
_SCATTER /= _SCATTER.sum(1, keepdims=True)
"""Chance of a line's blur (columns) about each common one (rows)."""
_MIRRORED: dict[Side, float] = {"lower": -1.0, "upper": 1.0}


@dataclass(frozen=True)
class EdgeLevel:
    """Level at which half of the runs train; all in decades of eta."""

    estimate: float
    low: float
    """Ends of the interval: the bracket if outcomes are not mixed; infinite where the sampled etas end before."""
    high: float
    zone: float
    """Width of the zone in which between 10 and 90 % of runs train; 0 if outcomes are not mixed."""
    mixed: bool


def edge_levels(
    line: ArrayLike, eta: ArrayLike, trained: ArrayLike, confidence: float
) -> list[dict[Side, EdgeLevel] | None]:
    """The two edges of each line of cells that differ in eta alone.

    Outcomes of a line are mixed if cells at one side of an edge did what cells further on the other side
    did. If no line has mixed ones, the middle of a bracket is as good as any place in it. Else blurs of lines
    scatter about a common one by a factor of 1.6 (flat prior of its logarithm, between 0.02 and 1 decade),
    and each edge has the posterior of a flat prior, given the other edge: a coarse line, which shows no blur,
    has one like the others'. Outcomes count as independent given the edges. An edge that may lie beyond
    the sampled etas, as the outermost cell trained, has one end, whatever failed further inside.

    A bracket is sure to hold the edge only if training is a function of eta. A blur that no line shows, below
    about half a step, can put the edge outside: one of 0.2 decades does in 27 % at a step of 1/2.

    Args:
        line: (cells,) any number that differs between lines.
        eta: (cells,) log10 eta, in any order and of any density.
        trained: (cells,)
        confidence: level of the intervals.

    Returns:
        The edges in the order of sorted lines, None for a line without a trained cell.
    """
    x, good, of = np.asarray(eta, dtype=float), np.asarray(trained, dtype=bool), np.asarray(line)
    parts = [(x[of == own], good[of == own]) for own in np.unique(of)]
    known = [(eta, trained) for eta, trained in parts if trained.any()]
    found: dict[Side, list[EdgeLevel]] = {}
    for side, sign in _MIRRORED.items():
        found[side] = [_bracket(sign * eta, trained) for eta, trained in known]
    mixed = [side for side, edges in found.items() if any(edge.mixed for edge in edges)]
    begun = {side: edges for side, edges in found.items() if side not in mixed}
    ahead = {
        side: [
            _ahead(_MIRRORED[side] * eta, bracket)
            for (eta, _), bracket in zip(known, found[side], strict=True)
        ]
        for side in mixed
    }
    for _ in range(_ROUNDS if mixed else 0):
        for side in mixed:
            sign, others = _MIRRORED[side], begun.get("lower" if side == "upper" else "upper")
            likelihoods = [
                _likelihood(
                    sign * eta, trained, *ahead[side][k], None if others is None else others[k]
                )
                for k, (eta, trained) in enumerate(known)
            ]
            # Of lines, the log-likelihood of their own blur, and of the common one; (lines, blurs).
            seen = _below_zero(np.array([_log_sum(likelihood) for _, likelihood in likelihoods]))
            common = np.log(np.exp(seen) @ _SCATTER.T)
            blurs = seen + np.log(np.exp(_below_zero(common.sum(0) - common)) @ _SCATTER)
            begun[side] = [
                _posterior(
                    *likelihoods[k], blurs[k], found[side][k], (sign * eta).max(), confidence
                )
                for k, (eta, _) in enumerate(known)
            ]
    edges = iter(
        [
            {side: _mirrored(begun[side][k], sign) for side, sign in _MIRRORED.items()}
            for k in range(len(known))
        ]
    )
    return [next(edges) if trained.any() else None for _, trained in parts]


def _mirrored(edge: EdgeLevel, sign: float) -> EdgeLevel:
    low, high = sorted((sign * edge.low, sign * edge.high))
    return EdgeLevel(sign * edge.estimate, low, high, edge.zone, edge.mixed)


def _middle(x: Floats, good: NDArray[np.bool_]) -> float:
    return float(x[good].min() + x[good].max()) / 2


def _bracket(x: Floats, good: NDArray[np.bool_]) -> EdgeLevel:
    """The upper edge, as far as it follows from the order of the cells."""
    last = float(x[good].max())
    failed = x[(x >= _middle(x, good)) & ~good]
    first = float(failed.min()) if len(failed) else np.inf
    return EdgeLevel((last + first) / 2, last, first, 0.0, first <= last)


def _ahead(x: Floats, bracket: EdgeLevel) -> tuple[Floats, Floats]:
    """Places of an upper edge, (centres,), and the chance that cells lie below one, (centres, blurs, cells)."""
    ends = np.array([bracket.low, bracket.high])
    ends = ends[np.isfinite(ends)]
    centres = np.linspace(ends.min() - _REACH, ends.max() + _REACH, _CENTRES)
    return centres, _chance((centres[:, None, None] - x) / _BLURS[:, None])


def _likelihood(
    x: Floats, good: NDArray[np.bool_], centres: Floats, chance: Floats, other: EdgeLevel | None
) -> tuple[Floats, Floats]:
    """Places of an upper edge, (centres,), and their log-likelihood with each blur, (centres, blurs).

    Until the lower edge, `other`, is known, cells below the middle of those that trained say nothing.
    """
    if other is None:
        used = x >= _middle(x, good)
        good, chance = good[used], chance.compress(used, -1)
    elif np.isfinite(other.estimate):
        # Mirrored: what is an upper edge of -x is a lower one of x.
        chance = chance * _chance((x + other.estimate) / max(other.zone / ZONE, float(_BLURS[0])))
    return centres, np.log(np.where(good, chance, 1 - chance)).sum(-1)


def _below_zero(log_likelihood: Floats) -> Floats:
    found: Floats = log_likelihood - log_likelihood.max(1, keepdims=True)
    return found


def _log_sum(log_likelihood: Floats) -> Floats:
    top = log_likelihood.max()
    found: Floats = np.log(np.exp(log_likelihood - top).sum(0)) + top
    return found


def _chance(away: Floats) -> Floats:
    found: Floats = LAPSES / 2 + (1 - LAPSES) * ndtr(away)
    return found


def _posterior(
    centres: Floats,
    log_likelihood: Floats,
    blurs: Floats,
    bracket: EdgeLevel,
    top: float,
    confidence: float,
) -> EdgeLevel:
    """An upper edge below the sampled eta `top`, with the log weights (blurs,) of its blur."""
    of_blur = np.exp(blurs - blurs.max())
    of_blur /= of_blur.sum()
    weights = np.exp(log_likelihood - log_likelihood.max(0))
    of_centre = (weights / weights.sum(0)) @ of_blur
    # The share below a centre has half of its own weight.
    share = np.cumsum(of_centre) - of_centre / 2
    low, high = np.interp([(1 - confidence) / 2, (1 + confidence) / 2], share, centres)
    zone = ZONE * float(np.exp(of_blur @ np.log(_BLURS)))
    at = float(of_centre @ centres)
    unbounded = at >= top or (high >= top == bracket.low) or not np.isfinite(bracket.high)
    return EdgeLevel(
        np.inf if unbounded else at,
        min(float(low), bracket.low) if unbounded else float(low),
        np.inf if unbounded else float(high),
        zone,
        bracket.mixed,
    )
