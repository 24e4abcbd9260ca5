"""The gamma that is best on finite data, against the number of samples and the width."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.special import stdtr

from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped
from gammascape.tables.performance.choice import TIED, shared_error
from gammascape.tables.performance.gain import as_gain, best_gammas, better
from gammascape.tables.performance.scores import JUDGED
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.intervals import fit_levels, student
from gammascape.tables.statistics.slopes import fit_plane
from gammascape.tables.statistics.verdict import p_differs, power

OPTIMUM_SCHEMA = columns("group:str") | SLICE_COLUMNS | columns(
    "samples:int width:int measure:str quantity:str estimate low high confidence predicted "
    "alternatives:floats margin p_differs power points:int censored:int seeds:int reason:str"
)  # fmt: skip

BEST, INTERMEDIATE, FITTED = "best_gamma_log10", "intermediate", "fitted_accuracy"
SLOPES = {"samples": 2.0, "width": 1.0}
"""Exponents of the best gamma by Yeom, Ha and Lee (arXiv 2602.00827): 1/gamma ~ samples^-2 width^-1."""
MARGIN = 0.5
"""Margin around their exponents, which are of two-layer networks in another parametrization: the unit of
gamma differs by up to the square root of the width. No dependence at all lies further away."""
_SEED = ["seed", "data_seed"]


def optimum_table(
    scores: pl.DataFrame,
    dynamics: pl.DataFrame,
    finite: Iterable[Mapping[str, Any]],
    confidence: float,
) -> pl.DataFrame:
    """The best gamma of each slice that uses its samples again and again, and its exponents, for each measure.

    best_gamma_log10  the best gamma, as in the table gain; its interval holds the gammas that cannot be told from
                      it, and reaches half of the way to their neighbours
    intermediate      by how much the best gamma between the smallest and the largest is better than the better of
                      these two, as `gain` of the table gain; its interval allows for choosing among gammas
    slope_samples     exponent of the best gamma in the number of samples, all slices of a group together, and
    slope_width       in the width: of planes through these intervals (`statistics.slopes.fit_plane`)

    Measures are test accuracy or loss after all steps at the eta that other seeds choose, and `fitted_accuracy`:
    test accuracy when the training data are fitted (`fit_test_accuracy` of the table dynamics), at the best eta.

    Args:
        scores: the table of `tables.performance.scores.score_table`.
        dynamics: the table of `tables.dynamics.events.dynamics_table`.
        finite: group, slice, samples and width of slices (`study.finite.finite_slices`).
        confidence: level of the intervals.
    """
    members = pl.DataFrame(
        list(finite), schema=columns("group:str slice:str samples:int width:int")
    )
    taken = [*SLICE_COLUMNS, *_SEED, "gamma_log10", "measure", "value"]
    chosen = scores.filter("chosen", pl.col("budget") == pl.col("steps"))
    chosen = chosen.with_columns(judged=JUDGED).select(*taken, "judged")
    fitted = dynamics.filter(path="best").with_columns(
        measure=pl.lit(FITTED), value="fit_test_accuracy", judged="fit_test_accuracy"
    )
    rows: list[dict[str, Any]] = []
    known = pl.concat([chosen, fitted.select(chosen.columns)]).drop_nulls("value")
    known = members.join(known, on="slice", how="inner", maintain_order="left")
    for shared, of_group in grouped(known, ["group", "measure"]):
        scale = "accuracy" if shared["measure"] == FITTED else shared["measure"]
        points: list[dict[str, Any]] = []
        for labels, part in grouped(of_group, [*SLICE_COLUMNS, "samples", "width"]):
            head = shared | labels | {"confidence": confidence}
            found = list(_of_slice(scale, part, confidence))
            points += [labels | found[0]]
            rows += [head | row for row in found]
        head = shared | {"confidence": confidence}
        rows += [head | row for row in _slopes(points, confidence)]
    return pl.DataFrame(rows, schema=OPTIMUM_SCHEMA, infer_schema_length=None)


def _ends(gammas: Floats) -> Floats:
    """Middles between gammas, infinite beyond the last: (gammas + 1,)."""
    return np.concatenate(([-np.inf], (gammas[1:] + gammas[:-1]) / 2, [np.inf]))


def _of_slice(measure: str, part: pl.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    seeds, gamma = part.select(_SEED).n_unique(), part["gamma_log10"].to_numpy()
    of_seed = part.select(pl.struct(_SEED).rank("dense")).to_series().to_numpy()
    judged = better(measure, part["judged"].to_numpy())
    choice, at, alike = best_gammas(gamma, of_seed, judged, confidence)
    row: dict[str, Any] = {"quantity": BEST, "estimate": float(choice.gamma[at]), "seeds": seeds}
    row |= {"points": len(choice.gamma), "low": None, "high": None}
    if alike:
        ends = _ends(choice.gamma)
        first, last = np.searchsorted(choice.gamma, [min(alike), max(alike)])
        known = (float(end) if np.isfinite(end) else None for end in (ends[first], ends[last + 1]))
        row["low"], row["high"] = known
        row["censored"] = (row["low"] is None) + (row["high"] is None)
    if at in (0, len(choice.gamma) - 1):
        row["reason"] = (
            "the best gamma is the smallest or the largest, and a better one may lie beyond"
        )
    yield row
    value = better(measure, part["value"].to_numpy())
    levels = fit_levels(gamma, of_seed, value)
    inner = len(levels.gamma) - 2
    if inner < 1:
        return
    best = 1 + int(levels.mean[1:-1].argmax())
    ahead = levels.mean[1:-1, None] - levels.mean[[0, -1]]
    gain = float(ahead[best - 1].min())
    row = {"quantity": INTERMEDIATE, "estimate": as_gain(measure, gain), "seeds": seeds}
    row |= {"points": inner + 2}
    error = np.nan_to_num(levels.error[1:-1][:, [0, -1]], nan=np.inf) * shared_error(seeds)
    if levels.freedom and error.max() > TIED:
        # The differences of each gamma between to both ends hold together.
        half = student(levels.freedom, 1 - (1 - confidence) / (2 * inner)) * error
        low, high = (float((ahead + sign * half).min(1).max()) for sign in (-1, 1))
        row |= {"low": as_gain(measure, low), "high": as_gain(measure, high)}
        row["p_differs"] = _p_below(ahead, error, levels.freedom)
    yield row


def _p_below(ahead: Floats, error: Floats, freedom: int) -> float:
    """P-value of "some gamma between is as good as both ends": every one has to lose against one of them."""
    lost = stdtr(freedom, ahead / error).min(1).max()
    return min(1.0, 2 * ahead.size * float(lost))


def _slopes(points: Sequence[Mapping[str, Any]], confidence: float) -> Iterator[dict[str, Any]]:
    factors = [name for name in SLOPES if len({point[name] for point in points}) > 1]
    points = [point for point in points if (point["low"], point["high"]) != (None, None)]
    x = np.array([[np.log10(point[name]) for name in factors] for point in points])
    lower, upper = (
        np.array([beyond if point[end] is None else point[end] for point in points])
        for end, beyond in (("low", -np.inf), ("high", np.inf))
    )
    bounded = np.isfinite(lower) & np.isfinite(upper)
    counts = {"points": len(points), "censored": int((~bounded).sum())}
    if bounded.sum() < len(factors) + 2:
        reason = "the best gamma has an interval at too few numbers of samples and widths"
        yield from (counts | {"quantity": f"slope_{n}", "reason": reason} for n in factors)
        return
    for name, slope in zip(factors, fit_plane(x, lower, upper, confidence), strict=True):
        predicted = SLOPES[name]
        low, high = slope.interval(confidence)
        yield counts | {
            "quantity": f"slope_{name}",
            "estimate": slope.mean(),
            "low": low,
            "high": high,
            "predicted": predicted,
            "alternatives": [0.0],
            "margin": MARGIN,
            "p_differs": p_differs(slope, predicted, MARGIN),
            "power": power(slope, predicted, [0.0], MARGIN, confidence),
        }
