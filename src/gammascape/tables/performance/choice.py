"""Scores that survive a choice: made by some seeds, or half of a test set, and scored on others.

The best of many equally good networks scores higher than they do, on the samples and the seed that it was
chosen by. One that the other seeds chose does not: its score has the mean of what a user gets who chooses
by that many seeds. Halves of the test set take the luck of samples out, not that of the network: they are
what one seed can do, without an interval.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from gammascape.tables.statistics.fits import Floats

_SEED = ("seed", "data_seed")
_SHARED = 0.8


def choose_elsewhere(
    scores: pl.DataFrame, key: Sequence[str], options: Sequence[str], *, higher_is_better: bool
) -> pl.DataFrame:
    """For each seed its score at the options that all other seeds together find best.

    The others are averaged on the scale of `value`, so losses and steps are to be given as logarithms.
    Options that fewer of the others have reached (null, as a target that is never met) come after those of
    more, and options that the seed itself has no row of are not chosen. Of equal ones the smallest is
    taken.

    Args:
        scores: one row for each network: `key`, seed, data_seed, `options` and `value`; other columns are kept.
        key: columns within which is chosen, at least one, without seeds.
        options: columns of what is chosen: eta, or gamma and eta.
        higher_is_better: whether the highest `value` is best.

    Returns:
        One row for each key and seed, with `chosen_by`, the number of seeds that chose: 0 where there is but
        one seed, which then chose for itself and scores too high.
    """
    at = [*key, *options]
    value = pl.col("value")
    seeds = pl.struct(_SEED).n_unique().over(key) - 1
    known = value.is_not_null().cast(pl.Int64)
    counts = known.sum().over(at) - known
    others = (value.sum().over(at) - value.fill_null(0)) / pl.when(counts > 0).then(counts)
    ranked = scores.with_columns(
        chosen_by=seeds.cast(pl.Int64),
        _count=pl.when(seeds > 0).then(-counts).otherwise(-known),
        _mean=pl.when(seeds > 0).then(others).otherwise(value) * (-1 if higher_is_better else 1),
    ).sort("_count", "_mean", *options, nulls_last=True)
    chosen = ranked.group_by(*key, *_SEED, maintain_order=True).first()
    return chosen.select(*scores.columns, "chosen_by").sort(*key, *_SEED)


def crossed_halves(first: ArrayLike, second: ArrayLike) -> float:
    """Score of the best option, chosen on one half of the test set and scored on the other; mean of both ways.

    Args:
        first, second: (options,) scores on the halves; the higher is the better.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    return float(second[first.argmax()] + first[second.argmax()]) / 2


def chosen_interval(values: Floats, confidence: float) -> tuple[float, float] | None:
    """Student's interval of the mean of scores at options that the other seeds chose, (seeds,).

    These scores are not independent, as two seeds have all but one of their judges in common. If all options are
    equally good, the worst case, their mean has up to 1 + 0.8 sqrt(seeds) times the variance of independent ones
    (simulated for 2 to 60 options and 2 to 10 seeds): it is taken to have that much.

    Returns:
        None for one seed, which tells no scatter.
    """
    seeds = len(values)
    if seeds < 2:
        return None
    variance = values.var(ddof=1) / seeds * (1 + _SHARED * np.sqrt(seeds))
    half = stdtrit(seeds - 1, (1 + confidence) / 2) * np.sqrt(variance)
    return float(values.mean() - half), float(values.mean() + half)


def gain_interval(
    scores: pl.DataFrame, confidence: float, *, higher_is_better: bool, reference: float = 0.0
) -> tuple[float, tuple[float, float] | None] | None:
    """What the gamma that other seeds choose is better than `reference`, and its interval (`chosen_interval`).

    Gamma and eta are chosen together, and the eta of the reference apart, by the same seeds. The difference
    within a seed is free of what all its networks share. It is that of a choice by one seed less, so a
    little smaller than of the truly best gamma: by less than the interval's error where gammas lie closer
    than that.

    Args:
        scores: rows of one slice, measure and budget: gamma_log10, eta_log10, seed, data_seed, value.
        confidence: level of the interval.
        higher_is_better: whether the highest `value` is best.
        reference: log10 of the gamma that is compared with.

    Returns:
        Gain, in units of `value` and positive if better, and its ends, None for one seed; None without the
        reference, or another gamma.
    """
    chosen = choose_elsewhere(
        scores.with_columns(at_reference=pl.col("gamma_log10") == reference),
        ["at_reference"],
        ["gamma_log10", "eta_log10"],
        higher_is_better=higher_is_better,
    )
    base, best = (chosen.filter(at_reference=at) for at in (True, False))
    if base.is_empty() or best.is_empty():
        return None
    both = base.join(best, on=_SEED).drop_nulls(["value", "value_right"])
    gains = (both["value_right"] - both["value"]).to_numpy() * (1 if higher_is_better else -1)
    return (float(gains.mean()), chosen_interval(gains, confidence)) if len(gains) else None
