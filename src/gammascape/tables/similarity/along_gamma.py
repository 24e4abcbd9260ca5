"""Test whether networks of equal gamma become more similar with gamma: levels, slopes and verdicts."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gammascape.study import Analysis
from gammascape.tables.cells import TASK_COLUMNS, columns, ends_of, windows, with_ends
from gammascape.tables.similarity.baseline import SimilarityWithBaseline, against
from gammascape.tables.similarity.networks import Network
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.intervals import Interval, jackknife

_LABELS = TASK_COLUMNS | columns("at:str level measure:str layers:str compared:str resampled:str")
TREND_SCHEMA = _LABELS | columns(
    "gamma_log10 value value_low value_high shuffled_mean shuffled_high p_value "
    "class_shuffled_mean class_shuffled_high class_p_value model_pairs:int "
    "networks:int probes:int confidence"
)
SUMMARY_SCHEMA = _LABELS | columns(
    "gammas:int model_pairs:int networks:int lazy rich difference difference_low "
    "difference_high slope slope_low slope_high verdict:str p_differs probes:int confidence"
)

Compared = Literal["architectures", "models", "seeds"]


@dataclass(frozen=True)
class EqualGamma:
    """All networks of one gamma."""

    gamma: float
    networks: tuple[Network, ...]
    alike: SimilarityWithBaseline
    """Values of all pairs; a network's similarity with itself is not read."""


@dataclass(frozen=True)
class Trends:
    """Rows of the tables trend and summary."""

    levels: list[dict[str, Any]]
    slopes: list[dict[str, Any]]


def trends(points: Sequence[EqualGamma], analysis: Analysis) -> Trends:
    """Similarity against gamma, of networks that differ in architecture, in options of one, or in seed alone.

    Similarities are averaged over the seeds of two models, and then over pairs of models. The slope is per decade
    of gamma, by least squares with an intercept for each pair of models, so a gamma at which one pair has no value
    does not bend it. `difference` is the mean over the pairs that have values in both windows, ultra-rich minus
    lazy. Intervals come from `jackknife`, once with each network (a model with a seed, at all gammas) left
    out and once with each architecture (or model), where there are enough of them.
    """
    found = Trends([], [])
    for compared in ("architectures", "models", "seeds"):
        pairs = _Pairs.collect(points, compared)
        if pairs is None:
            continue
        for resampled, units in pairs.resampling():
            labels = {"compared": compared, "resampled": resampled}
            found.levels.extend(labels | row for row in pairs.level_rows(units, analysis))
            found.slopes.append(labels | pairs.summary_row(units, analysis))
    return found


@dataclass(frozen=True)
class _Pairs:
    """Pairs of networks of equal gamma, and what they have in common."""

    compared: Compared
    gammas: Floats
    models: tuple[tuple[str, str], ...]
    """The pairs of models that occur."""
    lines: tuple[Network, ...]
    """One network of each line."""
    place: NDArray[np.int64]
    """(n, 4): gamma, pair of models, and the two lines of each pair of networks."""
    values: Floats
    """(n,)"""
    shuffled: Floats
    """(shuffles, n)"""
    within: Floats | None
    """The same, shuffled within classes."""

    @classmethod
    def collect(cls, points: Sequence[EqualGamma], compared: Compared) -> "_Pairs | None":
        """The pairs that are compared; None without any."""
        lines: dict[Hashable, Network] = {}
        models: dict[tuple[str, str], int] = {}
        place, values, shuffled, within = [], [], [], []
        gammas = sorted({point.gamma for point in points})
        for point in points:
            at = gammas.index(point.gamma)
            for network in point.networks:
                lines.setdefault(network.line, network)
            names = list(lines)
            for i, a in enumerate(point.networks):
                for j, b in enumerate(point.networks[:i]):
                    if _relation(a, b) == compared:
                        first, second = sorted((a.model, b.model))
                        pair = models.setdefault((first, second), len(models))
                        place.append((at, pair, names.index(a.line), names.index(b.line)))
                        values.append(point.alike.values[i, j])
                        shuffled.append(point.alike.shuffled[:, i, j])
                        if point.alike.within is not None:
                            within.append(point.alike.within[:, i, j])
        if not place:
            return None
        return cls(
            compared,
            np.array(gammas),
            tuple(models),
            tuple(lines.values()),
            np.array(place),
            np.array(values),
            np.array(shuffled, dtype=np.float64).T,
            np.array(within, dtype=np.float64).T if len(within) == len(values) else None,
        )

    def resampling(self) -> list[tuple[str | None, Sequence[Sequence[int]]]]:
        """Units that can be left out: a name, and for each stratum and unit the lines of the unit.

        Without anything that can, one entry without strata.
        """
        taking_part = sorted(set(self.place[:, 2:].ravel().tolist()))
        of_model: dict[str, list[int]] = {}
        of_kind: dict[str, list[int]] = {}
        for line in taking_part:
            network = self.lines[line]
            of_model.setdefault(network.model, []).append(line)
            of_kind.setdefault(network.kind, []).append(line)
        found: list[tuple[str | None, Any]] = []
        # A pair of seeds needs a third; a pair of models, a third model.
        if all(len(lines) >= (3 if self.compared == "seeds" else 2) for lines in of_model.values()):
            found.append(("seeds", [[[line] for line in lines] for lines in of_model.values()]))
        wide = of_kind if self.compared == "architectures" else of_model
        if len(wide) >= (2 if self.compared == "seeds" else 3):
            name = "architectures" if self.compared == "architectures" else "models"
            found.append((name, [list(wide.values())]))
        return found or [(None, [])]

    def level_rows(self, units: Any, analysis: Analysis) -> list[dict[str, Any]]:
        """The level of each gamma that has one."""
        rows = []
        everything = self._matrix()
        for at, gamma in enumerate(self.gammas):
            chosen = self.place[:, 0] == at
            if not chosen.any():
                continue
            value = float(np.nanmean(everything[:, at]))
            interval = self._jackknifed(partial(_level, at), units, analysis)
            pairs = self.place[chosen, 1]
            sizes = np.bincount(pairs, minlength=len(self.models))
            weights = 1 / sizes[pairs] / np.count_nonzero(sizes)
            within = None if self.within is None else self.within[:, chosen] @ weights
            beside = against(value, self.shuffled[:, chosen] @ weights)
            beside |= against(value, within, "class_shuffled")
            rows.append(
                {
                    "gamma_log10": float(gamma),
                    **with_ends("value", value, interval),
                    **{name: float(found) for name, found in beside.items()},
                    "model_pairs": int(np.count_nonzero(sizes)),
                    "networks": len(set(self.place[chosen, 2:].ravel().tolist())),
                }
            )
        return rows

    def summary_row(self, units: Any, analysis: Analysis) -> dict[str, Any]:
        """Slope, difference of the ends, and the verdict."""
        spans = [span for _, span in windows(analysis)]
        gammas = np.array(self.gammas, float)
        inside = [(low <= gammas) & (gammas <= high) for low, high in map(ends_of, spans)]

        def difference(matrix: Floats) -> float:
            lazy, rich = _ends(matrix, inside)
            return _mean(rich - lazy)

        def slope(matrix: Floats) -> float:
            return _slope(matrix, self.gammas)

        matrix = self._matrix()
        both = np.array(_ends(matrix, inside))
        both = both[:, np.isfinite(both).all(0)]
        found = {"difference": difference, "slope": slope}
        intervals = {
            name: self._jackknifed(function, units, analysis) for name, function in found.items()
        }
        row: dict[str, Any] = {
            "gammas": int(np.isfinite(matrix).any(0).sum()),
            "model_pairs": len(self.models),
            "networks": len(set(self.place[:, 2:].ravel().tolist())),
            "lazy": _number(_mean(both[0])),
            "rich": _number(_mean(both[1])),
            "verdict": _verdict([i for i in intervals.values() if i.low is not None]),
            "p_differs": None,
        }
        for name, function in found.items():
            value = function(matrix)
            row |= with_ends(name, _number(value), intervals[name])
            if intervals[name].low is not None:
                # It falls only if both fall.
                p = intervals[name].p_above(value, analysis.confidence)
                row["p_differs"] = max(p, row["p_differs"] or 0.0)
        return row

    def _matrix(self, without: Sequence[int] = ()) -> Floats:
        """(pairs of models, gammas): mean over pairs of seeds, without some lines; NaN where there is none."""
        kept = ~np.isin(self.place[:, 2:], list(without)).any(1)
        at, pair = self.place[kept, 0], self.place[kept, 1]
        shape = (len(self.models), len(self.gammas))
        cell = pair * shape[1] + at
        counts = np.bincount(cell, minlength=shape[0] * shape[1])
        sums = np.bincount(cell, self.values[kept], minlength=shape[0] * shape[1])
        with np.errstate(invalid="ignore"):
            found: Floats = (sums / counts).reshape(shape)
        return found

    def _jackknifed(
        self, function: Callable[[Floats], float], units: Any, analysis: Analysis
    ) -> Interval:
        value = function(self._matrix())
        if not np.isfinite(value):
            return Interval()
        strata = [np.array([function(self._matrix(unit)) for unit in part]) for part in units]
        return jackknife(value, strata, analysis.confidence)


def _relation(a: Network, b: Network) -> Compared:
    if a.kind != b.kind:
        return "architectures"
    return "models" if a.model != b.model else "seeds"


def _level(column: int, matrix: Floats) -> float:
    return _mean(matrix[:, column])


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _ends(matrix: Floats, windows: Sequence[NDArray[np.bool_]]) -> tuple[Floats, Floats]:
    """Mean of each row in the lazy and in the ultra-rich window."""
    lazy, rich = (
        np.array([_mean(row) for row in matrix[:, window]], dtype=np.float64) for window in windows
    )
    return lazy, rich


def _slope(matrix: Floats, gammas: Floats) -> float:
    """Least squares with an intercept for each row; NaN without two gammas in a row."""
    known = np.isfinite(matrix)
    counts = np.maximum(known.sum(1, keepdims=True), 1)
    x = np.where(known, gammas, 0)
    y = np.where(known, matrix, 0)
    x = np.where(known, x - x.sum(1, keepdims=True) / counts, 0)
    y = np.where(known, y - y.sum(1, keepdims=True) / counts, 0)
    spread = float((x**2).sum())
    return float((x * y).sum()) / spread if spread > 0 else float("nan")


def _verdict(intervals: Sequence[Interval]) -> str:
    """Verdict on the side of zero on which all intervals lie."""
    if intervals and all(i.low is not None and i.low > 0 for i in intervals):
        return "grows"
    if intervals and all(i.high is not None and i.high < 0 for i in intervals):
        return "falls"
    return "undecided"


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
