"""Tables of one slice, as advice reads them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis, Edge
from gammascape.tables.performance.choice import best_option, told_apart
from gammascape.tables.performance.gain import better
from gammascape.tables.performance.scores import HIGHER_IS_BETTER, JUDGED
from gammascape.tables.statistics.fits import Floats

EDGE: Edge = "eta_max_trained"
"""Edge that a margin is kept from, and that is carried."""
Row = dict[str, Any]
_POINT, _SEED = ("gamma_log10", "eta_log10"), ("seed", "data_seed")


@dataclass(frozen=True)
class SliceTables:
    """The tables of one slice, `edges` of all seeds together; `trends` and `transfer` are of its groups."""

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
        """Measure by which gamma and eta are chosen."""
        last = self.performance.filter(pl.col("budget") == self.steps).drop_nulls("value")
        return next((name for name in HIGHER_IS_BETTER if name in last["measure"]), "steps")

    def final_rows(
        self, table: pl.DataFrame, measure: str, target: float | None = None
    ) -> pl.DataFrame:
        """Rows of a measure after all steps; of steps, until the target."""
        if measure == "steps":
            return table.filter(measure=measure, target=target or self.target)
        return table.filter(measure=measure, budget=self.steps)

    def best_score(self, gamma: float, measure: str, target: float | None = None) -> Row:
        """Row of the table performance; without values where there is none."""
        found = self.final_rows(self.performance, measure, target).filter(gamma_log10=gamma)
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
        rows = self.final_rows(self.scores, self.measure)
        if budget is not None:
            rows = self.scores.filter(measure=self.measure, budget=budget)
        rows = rows.filter(gamma_log10=gamma).drop_nulls("value")
        judged = rows.select(JUDGED).to_series().to_numpy()
        known = rows.with_columns(value=pl.Series(better(self.measure, judged)))
        means = known.group_by("eta_log10").agg(pl.col("value").mean(), seeds=pl.len())
        most = means.filter(pl.col("seeds") == pl.col("seeds").max()).sort("eta_log10")
        return dict(most.select("eta_log10", "value").iter_rows())

    @cached_property
    def _grids(self) -> dict[float, Floats]:
        """Scores that choose, the higher the better, by log10 gamma: (etas at which all seeds train, seeds)."""
        trained = self.cells.filter(status="trained").select(*_POINT, *_SEED)
        scores = self.final_rows(self.scores, self.measure).join(
            trained, on=[*_POINT, *_SEED], how="semi"
        )
        judged = better(self.measure, scores.select(JUDGED).to_series().to_numpy())
        known = scores.select(*_POINT, *_SEED, value=judged).sort(*_POINT, *_SEED)
        found = {}
        for (gamma,), part in known.group_by("gamma_log10", maintain_order=True):
            seeds = part.select(*_SEED).n_unique()
            whole = part.filter(pl.col("value").is_finite().sum().over("eta_log10") == seeds)
            found[gamma] = whole["value"].to_numpy().reshape(-1, seeds)
        return found

    def best_eta(self, gamma: float) -> tuple[float | None, list[float]]:
        """The best log10 eta, of equal ones the middle, and those that may as well be the best.

        There are none of these where nothing is known of errors. With a validation split, errors are its
        scores'.
        """
        scores = self.ranked(gamma)
        most, best, grids = max(scores.values(), default=0.0), best_option(scores), self._grids
        own = grids.get(gamma, np.zeros((0, 1)))
        least = told_apart(own, [*grids.values()], self.analysis.confidence)
        alike = [] if least is None else [e for e, score in scores.items() if score >= most - least]
        return best, alike


def midway_bounds(
    among: Sequence[float], points: Iterable[float]
) -> tuple[float | None, float | None]:
    """Ends half of the way from some sampled points to the next ones, or at the last; None for none."""
    if not among:
        return None, None
    middles = [(a + b) / 2 for a, b in pairwise(sorted(points))]
    low = max((m for m in middles if m < min(among)), default=min(among))
    return low, min((m for m in middles if m > max(among)), default=max(among))
