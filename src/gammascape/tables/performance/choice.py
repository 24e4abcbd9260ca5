"""Scores that survive a choice: made by some seeds, and scored on another.

The best of many equally good networks scores higher than they do, on the samples and the seed that it was
chosen by. One that the other seeds chose does not: its score has the mean of what a user gets who chooses
by that many seeds. One seed alone has nobody to choose for it, and its score is too high.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy.special import stdtrit

from gammascape.tables.statistics.fits import Floats

_SEED = ("seed", "data_seed")
TIED = 1e-9
"""Error below which seeds differ by rounding alone: a test image, or a step, decides far more."""


def best_option(scores: Mapping[float, float]) -> float | None:
    """Option with the highest score; of equally good ones the middle, which is furthest from where training fails.

    Test sets have equally good ones. Of an even number of them it is the lower of the two in the middle.
    """
    most = max(scores.values(), default=0.0)
    equal = sorted(option for option, score in scores.items() if score >= most - TIED)
    return equal[(len(equal) - 1) // 2] if equal else None


def choose_elsewhere(
    scores: pl.DataFrame, key: Sequence[str], options: Sequence[str]
) -> pl.DataFrame:
    """Score of each seed at the options that all other seeds together find best.

    The highest `value` is best. The others are averaged on its scale, so losses and steps are to be given as
    negative logarithms. Options that fewer of the others have reached (null, as a target that is never met) come
    after the others, and options that the seed itself has no row of are not chosen. Of equal ones the smallest
    is taken.

    Args:
        scores: one row for each network: `key`, seed, data_seed, `options` and `value`; other columns are kept.
        key: columns within which is chosen, at least one, without seeds.
        options: columns of what is chosen: eta, or gamma and eta.

    Returns:
        One row for each key and seed, with `chosen_by`, the number of seeds that chose, which have a value
        somewhere: 0 where no other seed has, and one chose for itself and scores too high.
    """
    at = [*key, *options]
    value = pl.col("value")
    known = value.is_not_null().cast(pl.Int64)
    able = pl.struct(_SEED).filter(value.is_not_null()).n_unique().over(key).cast(pl.Int64)
    seeds = able - known.max().over([*key, *_SEED])
    counts = known.sum().over(at) - known
    others = (value.sum().over(at) - value.fill_null(0)) / pl.when(counts > 0).then(counts)
    ranked = scores.with_columns(
        chosen_by=seeds,
        _count=pl.when(seeds > 0).then(-counts).otherwise(-known),
        _mean=-pl.when(seeds > 0).then(others).otherwise(value),
    ).sort("_count", "_mean", *options, nulls_last=True)
    chosen = ranked.group_by(*key, *_SEED, maintain_order=True).first()
    return chosen.select(*scores.columns, "chosen_by").sort(*key, *_SEED)


def mark_chosen(scores: pl.DataFrame, key: Sequence[str], options: Sequence[str]) -> pl.DataFrame:
    """Scores with `chosen`, whether a row is one of `choose_elsewhere`, and `chosen_by`; same arguments."""
    own = [*key, *_SEED]
    found = choose_elsewhere(scores, key, options).select(*own, *options, "chosen_by", chosen=True)
    return scores.join(found, on=[*own, *options], how="left", nulls_equal=True).with_columns(
        pl.col("chosen").fill_null(value=False), pl.col("chosen_by").max().over(own)
    )


def shared_error(seeds: int) -> float:
    """Factor by which errors of means of scores, and of their differences, grow as seeds choose for one another.

    Two seeds have all but one of their judges in common. If all options are equally good, the worst case, a mean
    of scores has up to 1 + 0.8 sqrt(seeds) times the variance of a mean of independent ones (simulated for 2 to 60
    options and 2 to 10 seeds): it is taken to have that much.
    """
    return float(np.sqrt(1 + 0.8 * np.sqrt(seeds)))


def chosen_interval(
    values: Floats, confidence: float, alike: Sequence[Floats] = ()
) -> tuple[float, float] | None:
    """Student's interval of the mean of scores at options that the other seeds chose, (seeds,).

    Two seeds tell too little of their scatter: the variance pooled over `alike`, these scores and other
    gammas', counts, with its degrees of freedom, or their own if it is larger. The standard error is widened by
    `shared_error`.

    Returns:
        None for one seed, and where all seeds tie: they tell no scatter.
    """
    seeds = len(values)
    if seeds < 2:
        return None
    groups = alike or [values]
    freedom = sum(len(group) - 1 for group in groups)
    pooled = sum(float(np.square(group - group.mean()).sum()) for group in groups) / freedom
    error = np.sqrt(max(pooled, values.var(ddof=1)) / seeds) * shared_error(seeds)
    if error < TIED:
        return None
    half = stdtrit(freedom, (1 + confidence) / 2) * error
    return float(values.mean() - half), float(values.mean() + half)


def told_apart(own: Floats, alike: Sequence[Floats], confidence: float) -> float | None:
    """Lead of the best of several means of scores over another that is surely not the best in truth.

    Options between two that it does not exceed by so much may be the best too: the truly best one lies between
    them in 95 % of simulated tables or more at a confidence of 95 %, for 9 to 33 options whose scores fall off as
    a parabola, if nothing else tells them apart (benchmarks/coverage.py). Offsets of seeds are no error, as all
    options have them. The variance is that pooled over `alike`, or the own if it is larger.

    Args:
        own: scores (options, seeds) of those options that scatter alike.
        alike: the same of these and of other choices.

    Returns:
        None where nothing is known of errors: one seed, one option, or ties.
    """
    squares, freedoms = zip(*(_residuals(scores) for scores in (own, *alike)), strict=True)
    freedom = sum(freedoms[1:])
    if freedom < 1:
        return None
    variance = max(sum(squares[1:]) / freedom, squares[0] / max(1, freedoms[0]))
    error = np.sqrt(2 * variance / own.shape[1])
    return None if error < TIED else float(error * stdtrit(freedom, (1 + confidence) / 2))


def _residuals(scores: Floats) -> tuple[float, int]:
    """Squares that means of options and of seeds leave of scores (options, seeds), and degrees of freedom."""
    if not scores.size:
        return 0.0, 0
    means = scores.mean(0) + scores.mean(1, keepdims=True) - scores.mean()
    return float(np.square(scores - means).sum()), (len(scores) - 1) * (scores.shape[1] - 1)
