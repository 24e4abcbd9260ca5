"""What advice reads of the tables of one slice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import polars as pl

from gammascape.study import Analysis, Edge
from gammascape.tables.performance.choice import TIED, chosen_interval
from gammascape.tables.performance.gain import better
from gammascape.tables.performance.scores import HIGHER_IS_BETTER, JUDGED

EDGE: Edge = "eta_max_trained"
"""Edge that a margin is kept from, and that is carried."""
Row = dict[str, Any]


@dataclass(frozen=True)
class SliceTables:
    """The tables of one slice, `edges` those of all seeds together; `trends` and `transfer` are
    those of its groups."""

    analysis: Analysis
    trends: pl.DataFrame
    transfer: pl.DataFrame
    cells: pl.DataFrame
    edges: pl.DataFrame
    scaling: pl.DataFrame
    budget: pl.DataFrame
    scores: pl.DataFrame
    performance: pl.DataFrame
    gain: pl.DataFrame

    @cached_property
    def steps(self) -> int:
        """T."""
        return int(self.cells["steps"][0])

    @cached_property
    def gammas(self) -> list[float]:
        """Sampled log10 gammas, rising."""
        return self.cells["gamma_log10"].unique().sort().to_list()

    @cached_property
    def target(self) -> float:
        """The lowest loss that half of the gammas or more reach; infinite for none."""
        steps = self.performance.filter(measure="steps")
        reached = steps.group_by("target").agg(pl.col("value").is_not_null().mean())
        return min(reached.filter(pl.col("value") >= 0.5)["target"], default=float("inf"))

    @cached_property
    def measure(self) -> str:
        """What gamma and eta are chosen by."""
        last = self.performance.filter(pl.col("budget") == self.steps).drop_nulls("value")
        return next((name for name in HIGHER_IS_BETTER if name in last["measure"]), "steps")

    def at(self, table: pl.DataFrame, measure: str, target: float | None = None) -> pl.DataFrame:
        """Rows of a measure after all steps; of steps, until the target."""
        if measure == "steps":
            return table.filter(measure=measure, target=target or self.target)
        return table.filter(measure=measure, budget=self.steps)

    def reached(self, gamma: float, measure: str, target: float | None = None) -> Row:
        """Row of the table performance; without values where there is none."""
        found = self.at(self.performance, measure, target).filter(gamma_log10=gamma)
        return next(found.iter_rows(named=True), dict.fromkeys(found.columns))

    def edge(self, gamma: float, name: str = EDGE) -> Row:
        """Row of the table of edges; without values where there is none."""
        found = self.edges.filter(gamma_log10=gamma, edge=name)
        return next(found.iter_rows(named=True), dict.fromkeys(found.columns))

    def etas(self, gamma: float) -> list[float]:
        """Sampled log10 etas, rising."""
        return self.cells.filter(gamma_log10=gamma)["eta_log10"].unique().sort().to_list()

    def ranked(self, gamma: float, budget: int | None = None) -> dict[float, float]:
        """log10 eta -> mean score over seeds, the higher the better, of those that most seeds have."""
        rows = self.at(self.scores, self.measure)
        if budget is not None:
            rows = self.scores.filter(measure=self.measure, budget=budget)
        rows = rows.filter(gamma_log10=gamma).drop_nulls("value")
        judged = rows.select(JUDGED).to_series().to_numpy()
        known = rows.with_columns(value=pl.Series(better(self.measure, judged)))
        means = known.group_by("eta_log10").agg(pl.col("value").mean(), seeds=pl.len())
        most = means.filter(pl.col("seeds") == pl.col("seeds").max()).sort("eta_log10")
        return dict(most.select("eta_log10", "value").iter_rows())

    @cached_property
    def _scatter(self) -> dict[float, float]:
        """Half-width, by log10 gamma, of the interval of the scores that choose; as in the table performance.

        With a validation split these scatter by its samples too, which the scores on the test set do not know of.
        """
        chosen = self.at(self.scores, self.measure).filter("chosen")
        chosen = chosen.filter(pl.col("value").is_not_null().all().over("gamma_log10"))
        found = {
            gamma: better(self.measure, part.select(JUDGED).to_series().to_numpy())
            for (gamma,), part in chosen.group_by("gamma_log10")
        }
        alike, level = list(found.values()), self.analysis.confidence
        ends = {gamma: chosen_interval(own, level, alike) for gamma, own in found.items()}
        return {gamma: (own[1] - own[0]) / 2 for gamma, own in ends.items() if own is not None}

    def best_eta(self, gamma: float) -> tuple[float | None, list[float]]:
        """The best log10 eta, of equal ones the middle, and those around it that cannot be told from it.

        There are none of these without an interval.
        """
        scores = self.ranked(gamma)
        # Of equally good ones, which test sets have, the middle is furthest from where training fails.
        most = max(scores.values(), default=0.0) - TIED
        equal = sorted(eta for eta, score in scores.items() if score >= most)
        best = equal[(len(equal) - 1) // 2] if equal else None
        scatter = self._scatter.get(gamma)
        if best is None or scatter is None:
            return best, []
        told = [eta for eta in scores if scores[eta] < scores[best] - scatter]
        low = max((eta for eta in told if eta < best), default=-float("inf"))
        high = min((eta for eta in told if eta > best), default=float("inf"))
        return best, [eta for eta in scores if low < eta < high]


def around(among: Sequence[float], points: Iterable[float]) -> tuple[float | None, float | None]:
    """Ends half of the way from some sampled points to the next ones, or at the last; None for none."""
    if not among:
        return None, None
    middles = [(a + b) / 2 for a, b in pairwise(sorted(points))]
    low = max((m for m in middles if m < min(among)), default=min(among))
    return low, min((m for m in middles if m > max(among)), default=max(among))


def less(a: float | None, b: float | None) -> float | None:
    """Difference; None where one is not known."""
    return None if a is None or b is None else a - b
