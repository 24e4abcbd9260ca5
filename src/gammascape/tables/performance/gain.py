"""Gain of the best gamma over gamma = 1, with intervals that allow for choosing it among several."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr, stdtr

from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.performance.choice import TIED, choose_elsewhere, shared_error
from gammascape.tables.performance.performance import from_linear, to_linear
from gammascape.tables.performance.scores import HIGHER_IS_BETTER, JUDGED
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.intervals import Levels, fit_levels, student

GAIN_SCHEMA = SLICE_COLUMNS | columns(
    "measure:str budget:int target value_at_one best_gamma_log10 best_value gain gain_low "
    "gain_high gain_held_out best_gammas_log10:floats gain_above_one gain_above_one_low "
    "gain_above_one_high margin p_differs power interval:str confidence gammas:int "
    "gammas_without:int seeds:int"
)

MARGIN = 0.5
"""Points of accuracy by which a gamma above 1 may be worse and still count as good as gamma = 1: what 25 of 5,000
test images decide, and less than two trainings of one network differ by in the studies of this repository."""
_KEYS = [*SLICE_COLUMNS, "measure", "budget", "target"]
_SEED = ["seed", "data_seed"]
_REFERENCE = 0.0
"""log10 of the gamma that is compared with."""
_LEAST_POOLED = 3


def gain_table(scores: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """The gain of the best gamma over gamma = 1, one row for each slice, measure and budget or target.

    `gain` is in points of accuracy, and for losses and steps the ratio of that at gamma = 1 to that at the best
    gamma: at equal steps, and for steps at an equal loss. Each gamma has the scores that the other seeds chose. A
    gamma at which some seed does not reach the target, all its runs diverge or none was trained is not compared
    (`gammas_without`), and taken to be worse than those that are. Where none is compared all else is null.
    Gammas are compared within seeds, and their scatter is estimated together (`statistics.intervals.fit_levels`),
    from the better half of them and gamma = 1: those that barely train scatter by other laws, and which gammas
    have the better means says nothing of the scatter of normal errors. The others are taken to be worse. Errors
    are widened for what seeds have in common that choose for one another (`choice.shared_error`).

    The best of several equal gammas looks better than it is, so an interval of one difference does not hold.
    The differences of the gammas to gamma = 1 get intervals that hold together (Bonferroni's: each has the
    confidence 1 - (1 - confidence) / (gammas - 1), the gammas that were left out counted too). If they hold, the
    gain of the gamma that is truly best lies between the largest of their lower ends and the largest of their
    upper ends, gamma = 1 itself counting as a gain of nothing, however the best gamma was found. One seed tells no
    scatter, nor do seeds that tie: they have no interval.

    `gain_above_one` is the same of the best gamma above 1, which may lose. Of accuracies, `p_differs` is the
    p-value of "it loses at most `margin`", and `power` how often a study like this one would find that it does
    if both were equally good: a lower bound, as other gammas above 1 may be good too.

    With a validation split gammas are chosen by the scores on it, and all values are told on the test set.

    `gain_held_out` has no such bias, and no interval: for each seed the other seeds choose gamma and eta together,
    and eta at gamma = 1, and the gain is taken from this one; the mean. `best_gammas_log10` are the gammas that
    are not worse than the best one by more than its error, at the same confidence.

    Args:
        scores: the table of `tables.performance.scores.score_table`.
        confidence: level of the intervals.
    """
    rows = []
    held_out = {tuple(at.values()): _held_out(at["measure"], both) for at, both in _tuned(scores)}
    for at, part in grouped(scores, _KEYS):
        chosen = part.filter("chosen")
        seeds = chosen.select(_SEED).n_unique()
        compared = chosen.filter(pl.col("value").count().over("gamma_log10") == seeds)
        gammas = compared["gamma_log10"].n_unique()
        without = chosen["gamma_log10"].n_unique() - gammas
        row: dict[str, Any] = {"gammas": gammas, "gammas_without": without}
        row |= {"confidence": confidence, "seeds": seeds if gammas else 0}
        if gammas:
            row |= _gain(at["measure"], compared, confidence)
            row["gain_held_out"] = held_out.get(tuple(at.values()))
        rows.append(at | row)
    return pl.DataFrame(rows, schema=GAIN_SCHEMA, infer_schema_length=None).sort(_KEYS)


@dataclass(frozen=True)
class _Differences:
    """Gammas that are compared, with errors."""

    levels: Levels

    def to(self, gamma: float) -> tuple[Floats, Floats]:
        """Leads of all gammas over one, with standard errors, (gammas,) each; infinite where not known."""
        at = int(np.flatnonzero(self.levels.gamma == gamma)[0])
        errors = np.nan_to_num(self.levels.error[at], nan=np.inf)
        return self.levels.mean - self.levels.mean[at], errors

    def width(self, confidence: float, several: int) -> float:
        """Number of errors that a difference must exceed for `several` intervals to hold together."""
        return student(self.levels.freedom, 1 - (1 - confidence) / max(1, several))


def _gain(measure: str, group: pl.DataFrame, confidence: float) -> dict[str, Any]:
    gamma = group["gamma_log10"].to_numpy()
    seed = group.select(pl.struct(_SEED).rank("dense")).to_series().to_numpy()
    value = better(measure, group["value"].to_numpy())
    judged = better(measure, group.select(JUDGED).to_series().to_numpy())
    levels = fit_levels(gamma, seed, value)
    choice, best, alike = best_gammas(gamma, seed, judged, confidence)
    others = max(1, len(levels.gamma) - 1)
    row: dict[str, Any] = {
        "best_gamma_log10": float(levels.gamma[best]),
        "best_value": from_linear(measure, _sign(measure) * float(levels.mean[best])),
    }
    half = _compared(levels, (gamma, seed, value), _better_half(levels))
    if half is not None:
        row["interval"] = "seeds"
    row["best_gammas_log10"] = alike
    at_one = np.flatnonzero(levels.gamma == _REFERENCE)
    if not len(at_one):
        return row
    one = float(levels.mean[at_one[0]])
    row["value_at_one"] = from_linear(measure, _sign(measure) * one)
    row["gain"] = as_gain(measure, float(levels.mean[best]) - one)
    # Accuracies are between 0 and 1.
    possible = (-one, max(0.0, 1 - one)) if measure == "accuracy" else (-np.inf, np.inf)
    if half is not None:
        row |= with_ends("gain", row["gain"], _largest(measure, half, confidence, others, possible))
    above = levels.gamma > _REFERENCE
    if above.any():
        at = np.flatnonzero(above)[choice.mean[above].argmax()]
        first = levels.gamma[at]
        row["gain_above_one"] = as_gain(measure, float(levels.mean[at]) - one)
        # Of gammas above 1 the best is compared, however bad.
        among = np.union1d(_better_half(levels), [first])
        pooled = _compared(levels, (gamma, seed, value), among)
        if pooled is not None:
            row |= _above_one(measure, pooled, confidence, int(above.sum()), possible)
    return row


def best_gammas(
    gamma: Floats, seed: Floats, value: Floats, confidence: float
) -> tuple[Levels, int, list[float] | None]:
    """Levels of gammas, position of the best, and the gammas that cannot be told from it; all inputs (points,).

    Args:
        gamma: log10 gamma.
        seed: any number that differs between seeds.
        value: the larger the better.
        confidence: with which all gammas that are left out are worse.

    Returns:
        None for the last where seeds tell no scatter.
    """
    levels = fit_levels(gamma, seed, value)
    best = _best(levels)
    compared = _compared(levels, (gamma, seed, value), _better_half(levels))
    if compared is None:
        return levels, best, None
    ahead, error = compared.to(levels.gamma[best])
    # The worse half is not worse by being so: it gets the largest error of the others. Gammas whose error is not
    # known cannot be told from the best.
    behind, errors = levels.mean[best] - levels.mean, np.full(len(levels.gamma), error.max())
    at = np.isin(levels.gamma, compared.levels.gamma)
    behind[at], errors[at] = -ahead, error
    told = behind > compared.width(confidence, max(1, len(levels.gamma) - 1)) * errors
    return levels, best, levels.gamma[~told].tolist()


def _above_one(
    measure: str,
    pooled: _Differences,
    confidence: float,
    several: int,
    possible: tuple[float, float],
) -> dict[str, Any]:
    above = pooled.levels.gamma > _REFERENCE
    low, high = _largest(measure, pooled, confidence, several, possible, above)
    row: dict[str, Any] = {"gain_above_one_low": low, "gain_above_one_high": high}
    if measure != "accuracy":
        return row
    ahead, error = (part[above] for part in pooled.to(_REFERENCE))
    margin = MARGIN / 100
    with np.errstate(divide="ignore"):
        # All of them have to lose: the largest p-value of any.
        behind = 2 * several * stdtr(pooled.levels.freedom, (ahead + margin) / error).max()
        least = error[ahead.argmax()]
        power = ndtr((margin - pooled.width(confidence, several) * least) / least)
    return row | {"margin": MARGIN, "p_differs": min(1.0, float(behind)), "power": float(power)}


def _best(levels: Levels) -> int:
    """Choose the gamma nearest to 1 of equally good ones."""
    equal = np.flatnonzero(levels.mean >= levels.mean.max() - 1e-12)
    return int(min(equal, key=lambda index: abs(levels.gamma[index] - _REFERENCE)))


def _compared(
    levels: Levels, points: tuple[Floats, Floats, Floats], among: Floats
) -> _Differences | None:
    """Some of the gammas; None where seeds tell no scatter."""
    if not levels.freedom:
        return None
    gamma, seed, value = points
    kept = np.isin(gamma, among)
    pooled = fit_levels(gamma[kept], seed[kept], value[kept])
    if not pooled.freedom or np.nanmax(pooled.error) < TIED:
        return None
    widened = pooled.error * shared_error(len(np.unique(seed)))
    return _Differences(Levels(pooled.gamma, pooled.mean, widened, pooled.freedom))


def _better_half(levels: Levels) -> Floats:
    """The better half of the gammas, at least three, and gamma = 1."""
    count = max(_LEAST_POOLED, (len(levels.gamma) + 1) // 2)
    return np.union1d(levels.gamma[np.argsort(-levels.mean)[:count]], [_REFERENCE])


def _largest(
    measure: str,
    pooled: _Differences,
    confidence: float,
    several: int,
    possible: tuple[float, float],
    among: Any = slice(None),
) -> tuple[float, float]:
    """Bounds of the largest true difference to gamma = 1, within what is `possible`, as a gain."""
    ahead, error = (part[among] for part in pooled.to(_REFERENCE))
    half = pooled.width(confidence, several) * error
    low, high = (float(np.clip(end.max(), *possible)) for end in (ahead - half, ahead + half))
    return as_gain(measure, low), as_gain(measure, high)


def _tuned(scores: pl.DataFrame) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    """Scores of each row of the table, one for each seed, at the gamma and eta that the other seeds choose.

    `told` and `told_right` are those at the best gamma and at gamma = 1, on the scale of `better`.
    """
    measures = scores["measure"].to_numpy()
    linear = []
    for name, score in (("told", "value"), ("value", JUDGED)):
        value = scores.select(score).to_series().to_numpy().copy()
        for measure in set(measures):
            value[measures == measure] = better(measure, value[measures == measure])
        linear.append(pl.Series(name, value, nan_to_null=True))
    scores = scores.drop("chosen_by").with_columns(*linear)
    tuned, base = (
        choose_elsewhere(some, _KEYS, ["gamma_log10", "eta_log10"])
        for some in (scores, scores.filter(gamma_log10=_REFERENCE))
    )
    return grouped(tuned.join(base, on=[*_KEYS, *_SEED], nulls_equal=True), _KEYS)


def _held_out(measure: str, both: pl.DataFrame) -> float | None:
    """Mean over seeds of the gain of gamma and eta that the other seeds choose; None if they cannot tell."""
    gains = both["told"] - both["told_right"]
    # A seed that misses the target, or chose for itself, leaves the mean unknown.
    if gains.null_count() or both["chosen_by"].min() == 0:
        return None
    return as_gain(measure, float(gains.to_numpy().mean()))


def _sign(measure: str) -> float:
    return 1.0 if HIGHER_IS_BETTER[measure] else -1.0


def better(measure: str, value: Floats) -> Floats:
    """Values on the scale of `performance.to_linear`, the larger the better."""
    return _sign(measure) * to_linear(measure, value)


def as_gain(measure: str, difference: float) -> float:
    """Points of accuracy, or a ratio, from a difference on the scale of `performance.to_linear`."""
    return 100 * difference if measure == "accuracy" else float(10.0**difference)
