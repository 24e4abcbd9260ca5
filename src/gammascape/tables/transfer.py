"""Transfer of the best gamma and eta at the smallest width, depth, batch or steps to larger ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis
from gammascape.study.factors import SCALES
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.factors import BEST_GAMMA, abscissa
from gammascape.tables.performance.choice import best_option, choose_elsewhere, chosen_interval
from gammascape.tables.performance.gain import MARGIN, as_gain, better
from gammascape.tables.performance.scores import JUDGED
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.slopes import fit_mean, fit_slope

TRANSFER_SCHEMA = (
    columns("factor:str group:str factor_value")
    | SLICE_COLUMNS
    | columns(
        "measure:str best_gamma_log10 best_gamma_low_log10 best_gamma_high_log10 best_eta_log10 "
        "best_eta_low_log10 best_eta_high_log10 gamma_log10 eta_log10 eta_low_log10 eta_high_log10 "
        "carried_log10 lost lost_low lost_high verdict:str slope slope_low slope_high fit_error "
        "predicted_log10 predicted_low_log10 predicted_high_log10 extrapolation_error seeds:int "
        "confidence"
    )
)

HOLDS, LOSES, DIVERGES, UNKNOWN = "holds", "loses", "diverges", "unknown"
LEAST_LOST = {"accuracy": MARGIN, "test_loss": 1.05}
"""Points of accuracy, or ratio of losses, up to which nothing counts as lost."""
_SEED = ["seed", "data_seed"]
_POINT = ["gamma_log10", "eta_log10"]


def transfer_table(
    cells: pl.DataFrame, scores: pl.DataFrame | None, regimes: pl.DataFrame, analysis: Analysis
) -> pl.DataFrame:
    """Compare the slices along depth, width, batch size or steps: one row for each slice, factor and measure.

    best_gamma, best_eta    of this slice; the interval of gamma is from the table regimes
    eta                     best at `gamma_log10`, which is the best gamma of the smallest value
    carried                 the best sampled eta of the smallest value
    lost                    by training with the smallest value's gamma and eta, over gamma and eta that the other
                            seeds of this slice find best: points of accuracy, or a ratio of losses; between two
                            sampled etas on a line through log loss
    slope                   of log10 eta against the factor (`tables.factors.abscissa`), from all values
    fit_error               scatter of eta about this line, in decades: root of the sum of squares over n - 2
    predicted               eta from the smaller values alone: their line, or the value where there is one
    extrapolation_error     eta less predicted, in decades

    A seed's best eta lies between the neighbours of the best sampled one: intervals are from
    `statistics.slopes`, and allow for the grid, except for `lost` (`choice.chosen_interval`).

    Args:
        cells: cells of all slices.
        scores: scores of all slices that are trained; None if there are none.
        regimes: the table `regimes`.
        analysis: the study's confidence level.
    """
    rows: list[dict[str, Any]] = []
    known = regimes.filter(pl.col("factor").is_in(SCALES), quantity=BEST_GAMMA)
    if scores is not None:
        for key, group in grouped(known, ["factor", "group", "measure"]):
            if key["measure"] in LEAST_LOST and group.height > 1:
                slices = list(group.sort("factor_value").iter_rows(named=True))
                rows += _group([_Plane(row, cells, scores) for row in slices], analysis.confidence)
    return pl.DataFrame(rows, schema=TRANSFER_SCHEMA, infer_schema_length=None)


class _Plane:
    """Scores of a slice, the higher the better: `value` chooses, `told` is reported; diverged runs have none."""

    def __init__(self, row: Mapping[str, Any], cells: pl.DataFrame, scores: pl.DataFrame) -> None:
        self.row, self.measure = row, row["measure"]
        self.cells = cells.filter(slice=row["slice"])
        part = scores.filter(slice=row["slice"], measure=self.measure, budget=row["steps"])
        part = part.drop("chosen_by").drop_nulls("value")
        given = {"told": part["value"], "value": part.select(JUDGED).to_series()}
        self.scores = part.with_columns(
            **{name: better(self.measure, score.to_numpy()) for name, score in given.items()}
        )

    def best_eta(self, gamma: float) -> float | None:
        """Best sampled log10 eta at a gamma, of those that most seeds have."""
        means = self.scores.filter(gamma_log10=gamma).group_by("eta_log10")
        found = means.agg(pl.col("value").mean(), seeds=pl.len())
        found = found.filter(pl.col("seeds") == pl.col("seeds").max())
        return best_option(dict(found.select("eta_log10", "value").iter_rows()))

    def between(self, gamma: float) -> pl.DataFrame:
        """Neighbours of each seed's best sampled eta, `low` and `high`; infinite at the border."""
        etas = self.cells.filter(gamma_log10=gamma)["eta_log10"].unique().sort()
        steps = pl.DataFrame({"eta_log10": etas}).with_columns(
            low=pl.col("eta_log10").shift(1, fill_value=-np.inf),
            high=pl.col("eta_log10").shift(-1, fill_value=np.inf),
        )
        own = self.scores.filter(gamma_log10=gamma).sort(
            "value", "eta_log10", descending=[True, False]
        )
        return (
            own.unique(_SEED, keep="first", maintain_order=True)
            .join(steps, on="eta_log10")
            .sort(_SEED)
        )

    def lost(self, gamma: float, eta: float) -> Floats | None:
        """Loss of each seed at a point; None if one has no score there."""
        chosen = choose_elsewhere(self.scores, ["measure"], _POINT)
        there = self.scores.filter(gamma_log10=gamma).sort("eta_log10")
        lost = []
        for seed, value in zip(
            chosen.select(_SEED).iter_rows(named=True), chosen["told"], strict=True
        ):
            own = there.filter(**seed)
            if own.is_empty() or not own["eta_log10"][0] <= eta <= own["eta_log10"][-1]:
                return None
            lost.append(value - np.interp(eta, own["eta_log10"], own["told"]))
        return np.array(lost) if lost else None

    def verdict(self, lost: Mapping[str, float | None], gamma: float, eta: float) -> str:
        """Verdict on a point: as good here as the best one, worse, diverging, or unknown."""
        low, high = lost["lost_low"], lost["lost_high"]
        if lost["lost"] is None:
            failed = self.cells.filter(
                pl.col("eta_log10") <= eta, gamma_log10=gamma, status="diverged"
            )
            return UNKNOWN if failed.is_empty() else DIVERGES
        if low is None or high is None:
            return UNKNOWN
        least = LEAST_LOST[self.measure]
        return HOLDS if high <= least else LOSES if low > as_gain(self.measure, 0.0) else UNKNOWN


def lost_at(
    row: Mapping[str, Any],
    cells: pl.DataFrame,
    scores: pl.DataFrame,
    gamma: float,
    eta: float,
    analysis: Analysis,
) -> dict[str, Any]:
    """Loss by a point of another study in a slice: `lost`, its interval and `verdict` of `transfer_table`.

    Args:
        row: slice, steps and measure.
        cells, scores: tables that have this slice.
        gamma, eta: log10 of the point.
        analysis: the study's confidence level.
    """
    plane = _Plane(row, cells, scores)
    point = {"gamma_log10": gamma, "carried_log10": eta, "confidence": analysis.confidence}
    return _carried(plane, plane.lost(gamma, eta), (), point)


def _group(planes: Sequence[_Plane], confidence: float) -> list[dict[str, Any]]:
    first = planes[0]
    gamma = first.row["estimate"]
    eta = first.best_eta(gamma)
    if eta is None:
        return []
    values = pl.Series([plane.row["factor_value"] for plane in planes])
    at = abscissa(first.row["factor"], BEST_GAMMA, values)[1]
    cells = [plane.between(gamma) for plane in planes]
    points = pl.concat([part.with_columns(x=pl.lit(x)) for part, x in zip(cells, at, strict=True)])
    line = _line(points, confidence)
    row: dict[str, Any] = {"gamma_log10": gamma, "carried_log10": eta}
    means = [fit_mean(part["low"], part["high"], confidence) for part in cells]
    if line is not None:
        row |= with_ends("slope", line.value, (line.low, line.high))
        off = [
            m.value - line.value * x - line.intercept for m, x in zip(means, at, strict=True) if m
        ]
        if len(off) > 2:
            row["fit_error"] = float(np.sqrt(np.square(off).sum() / (len(off) - 2)))
    lost = [plane.lost(gamma, eta) for plane in planes]
    seen = [one for one in lost[1:] if one is not None and len(one) > 1]
    rows = []
    for k, (plane, mean, own) in enumerate(zip(planes, means, lost, strict=True)):
        row = row | {name: plane.row[name] for name in TRANSFER_SCHEMA if name in plane.row}
        there = plane.between(plane.row["estimate"])
        best = fit_mean(there["low"], there["high"], confidence)
        for name, fit in (("eta", mean), ("best_eta", best)):
            ends = (None, None) if fit is None else (fit.low, fit.high)
            row |= with_ends(name, None if fit is None else fit.value, ends, "_log10")
        row |= with_ends(
            "best_gamma", plane.row["estimate"], (plane.row["low"], plane.row["high"]), "_log10"
        )
        rows.append(row | (_carried(plane, own, seen, row) if k else {}))
        if k and mean is not None:
            rows[-1] |= _predicted(
                points.filter(pl.col("x") < at[k]), at[k], mean.value, confidence
            )
    return rows


def _line(points: pl.DataFrame, confidence: float) -> Any:
    """The line through best etas, a level for each seed; None with fewer than two values."""
    seed = points.select(pl.struct(_SEED).rank("dense")).to_series()
    return fit_slope(points["x"], seed, points["low"], points["high"], confidence)


def _carried(
    plane: _Plane, own: Floats | None, seen: Sequence[Floats], row: Mapping[str, Any]
) -> dict[str, Any]:
    lost: dict[str, Any] = dict.fromkeys(("lost", "lost_low", "lost_high"))
    if own is not None:
        mean = float(own.mean())
        # Seeds that all find the carried point best lose nothing, without scatter; others that tie tell none.
        nothing = (mean, mean) * (len(own) > 1 and not own.any())
        ends = chosen_interval(own, row["confidence"], seen) or nothing
        found = [as_gain(plane.measure, value) for value in (mean, *ends)]
        lost |= dict(zip(lost, found, strict=False))
    return lost | {"verdict": plane.verdict(lost, row["gamma_log10"], row["carried_log10"])}


def _predicted(
    smaller: pl.DataFrame, x: float, measured: float, confidence: float
) -> dict[str, Any]:
    """Best eta at a value of the factor from smaller values alone."""
    line = _line(smaller, confidence)
    if line is None:
        mean = fit_mean(smaller["low"], smaller["high"], confidence)
        if mean is None or smaller["x"].n_unique() > 1:
            return {}
        value, ends = mean.value, (mean.low, mean.high)
    else:
        value = line.value * x + line.intercept
        ends = (None, None) if line.line is None else line.line.height(x).interval(confidence)
    return with_ends("predicted", value, ends, "_log10") | {"extrapolation_error": measured - value}
