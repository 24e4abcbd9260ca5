"""Gain of the best gamma over gamma = 1, with intervals that allow for choosing it among several."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped
from gammascape.tables.performance.performance import from_linear, to_linear
from gammascape.tables.performance.scores import HIGHER_IS_BETTER
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.intervals import Levels, fit_levels, normal, student

GAIN_SCHEMA = SLICE_COLUMNS | columns(
    "measure:str budget:int target value_at_one best_gamma_log10 best_value gain gain_low "
    "gain_high gain_held_out best_gammas_log10:floats interval:str confidence gammas:int "
    "seeds:int"
)

_AT = [*SLICE_COLUMNS, "measure", "budget", "target"]
_REFERENCE = 0.0
"""log10 of the gamma that is compared with."""
_LEAST_POOLED = 3


def gain_table(scores: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """The gain of the best gamma over gamma = 1, one row for each slice, measure and budget or target.

    `gain` is in points of accuracy, and for losses and steps the ratio of that at gamma = 1 to that at the best
    gamma: at equal steps, and for steps at an equal loss. Gammas are compared within seeds, and their scatter is
    estimated together (`statistics.intervals.fit_levels`), from the better half of them and gamma = 1: those that
    barely train scatter by other laws, and which gammas have the better means says nothing of the scatter of
    normal errors. The others are taken to be worse.

    The best of several equal gammas looks better than it is, so the interval is not that of one difference.
    The differences of the gammas to gamma = 1 get intervals that hold together (Bonferroni's: each has the
    confidence 1 - (1 - confidence) / (gammas - 1), the gammas that were left out counted too). If they hold, the
    gain of the gamma that is truly best lies between the largest of their lower ends and the largest of their
    upper ends, gamma = 1 itself counting as a gain of nothing, however the best gamma was found. With one seed
    the error of an accuracy is that of the test set alone (`interval` test set), as if two gammas had different
    test sets, which is too wide; losses and steps then have no interval.

    `gain_held_out` has no such bias, and no interval: for each seed the best gamma is found among the other
    seeds and its gain taken from this one; the mean. `best_gammas_log10` are the gammas that are not worse
    than the best one by more than its error, at the same confidence.

    Args:
        scores: the table of `tables.performance.scores.score_table`.
        confidence: level of the intervals.
    """
    known = scores.filter(pl.col("value").is_not_null())
    rows = [at | _gain(at["measure"], part, confidence) for at, part in grouped(known, _AT)]
    return pl.DataFrame(rows, schema=GAIN_SCHEMA).sort(_AT)


@dataclass(frozen=True)
class _Errors:
    """How far gammas can be told apart."""

    kind: str
    levels: Levels
    """The gammas that are compared."""
    width: float
    """How many errors a difference must exceed."""


def _gain(measure: str, group: pl.DataFrame, confidence: float) -> dict[str, Any]:
    gamma = group["gamma_log10"].to_numpy()
    seed = group.select(pl.struct("seed", "data_seed").rank("dense")).to_series().to_numpy()
    # Of all measures the larger is the better.
    sign = 1.0 if HIGHER_IS_BETTER[measure] else -1.0
    value = sign * to_linear(measure, group["value"].to_numpy())
    levels = fit_levels(gamma, seed, value)
    best = _best(levels)
    row: dict[str, Any] = {
        "best_gamma_log10": float(levels.gamma[best]),
        "best_value": from_linear(measure, sign * float(levels.mean[best])),
        "confidence": confidence,
        "gammas": len(levels.gamma),
        "seeds": len(np.unique(seed)),
    }
    errors = _errors(levels, (gamma, seed, value), group["test_samples"][0], confidence)
    if errors is not None:
        row["interval"] = errors.kind
        row["best_gammas_log10"] = _best_gammas(errors)
    at_one = np.flatnonzero(levels.gamma == _REFERENCE)
    if not len(at_one):
        return row
    one = float(levels.mean[at_one[0]])
    row["value_at_one"] = from_linear(measure, sign * one)
    row["gain"] = as_gain(measure, float(levels.mean[best]) - one)
    if errors is not None:
        low, high = _ends(errors)
        # No accuracy is above 1.
        row["gain_low"], row["gain_high"] = (
            as_gain(measure, min(end, 1 - one) if measure == "accuracy" else end)
            for end in (low, high)
        )
    held_out = _held_out(gamma, seed, value)
    row["gain_held_out"] = None if held_out is None else as_gain(measure, held_out)
    return row


def _best(levels: Levels) -> int:
    """Of equally good gammas the one nearest to 1."""
    equal = np.flatnonzero(levels.mean >= levels.mean.max() - 1e-12)
    return int(min(equal, key=lambda at: abs(levels.gamma[at] - _REFERENCE)))


def _errors(
    levels: Levels, points: tuple[Floats, Floats, Floats], samples: int | None, confidence: float
) -> _Errors | None:
    """Errors over seeds; for accuracies of one seed those of a test set of `samples`; else None."""
    joint = 1 - (1 - confidence) / max(1, len(levels.gamma) - 1)
    if levels.freedom:
        gamma, seed, value = points
        kept = np.isin(gamma, _better_half(levels))
        pooled = fit_levels(gamma[kept], seed[kept], value[kept])
        if pooled.freedom:
            return _Errors("seeds", pooled, student(pooled.freedom, joint))
        return None
    if samples is None or len(np.unique(points[1])) > 1:
        return None
    variance = levels.mean * (1 - levels.mean) / samples
    error = np.sqrt(variance[:, None] + variance[None])
    np.fill_diagonal(error, 0)
    return _Errors("test set", Levels(levels.gamma, levels.mean, error, 0), normal(joint))


def _better_half(levels: Levels) -> Floats:
    """The better half of the gammas, at least three, and gamma = 1."""
    count = max(_LEAST_POOLED, (len(levels.gamma) + 1) // 2)
    return np.union1d(levels.gamma[np.argsort(-levels.mean)[:count]], [_REFERENCE])


def _best_gammas(errors: _Errors) -> list[float]:
    levels = errors.levels
    best = _best(levels)
    behind = levels.mean[best] - levels.mean - errors.width * levels.error[best]
    # Gammas whose error is not known (NaN) cannot be told from the best.
    kept: list[float] = levels.gamma[~(behind > 0)].tolist()
    return kept


def _ends(errors: _Errors) -> tuple[float, float]:
    """Bounds of the largest true difference to gamma = 1."""
    levels = errors.levels
    one = int(np.flatnonzero(levels.gamma == _REFERENCE)[0])
    ahead = levels.mean - levels.mean[one]
    half = errors.width * np.nan_to_num(levels.error[one], nan=np.inf)
    return float((ahead - half).max()), float((ahead + half).max())


def _held_out(gamma: Floats, seed: Floats, value: Floats) -> float | None:
    """Mean over seeds of the gain of the gamma that the other seeds choose; None if no seed can tell."""
    gains = []
    for own in np.unique(seed):
        mine = seed == own
        mean = dict(zip(gamma[mine].tolist(), value[mine].tolist(), strict=True))
        others = ~mine & np.isin(gamma, gamma[mine])
        if _REFERENCE not in mean or not others.any():
            continue
        levels = fit_levels(gamma[others], seed[others], value[others])
        gains.append(mean[float(levels.gamma[_best(levels)])] - mean[_REFERENCE])
    return float(np.mean(gains)) if gains else None


def as_gain(measure: str, difference: float) -> float:
    """Points of accuracy, or a ratio, from a difference on the scale of `performance.to_linear`."""
    return 100 * difference if measure == "accuracy" else float(10.0**difference)
