"""Where a map needs further cells: at brackets of edges, between edges, and beyond the sampled etas.

Points follow from the cells of a slice alone. An edge lies between two neighbouring cells of a line of equal gamma
and seeds; its bracket gets the points of the coarsest nested grid that has some in it, until the finest has none.
The border of training can be rough at any scale (Sohl-Dickstein, arXiv 2402.06184): where outcomes alternate, only
the first and the last change are refined.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import polars as pl

from gammascape.study.keys.axes import LIMIT, Map, MapEdge
from gammascape.study.keys.exact import decimal_text, grid_points
from gammascape.study.points import Mapped

COLUMNS = (
    *("gamma_log10", "eta_log10", "seed", "data_seed"),
    *("status", "catapulted", "relative_loss"),
)
"""Columns of the table `cells` on which points depend."""


_FLAT = 0.01
"""Difference of relative loss to a neighbour below which the best eta is not sharpened."""
_TELLING = 0.005, 0.97
"""Relative losses between which a loss tells how far its cell is from the edge."""


@dataclass(frozen=True)
class Wanted:
    """An eta to sample at one gamma."""

    gamma: Decimal
    eta: Decimal
    why: str
    gap: float
    """Decades between the two cells that it lies between; infinite beyond the outermost cells."""


@dataclass(frozen=True)
class MapState:
    """State of an edge of one line."""

    gamma: Decimal
    edge: MapEdge
    state: Literal["found", "open", "none"]
    why: str
    """Why it has none."""
    gap: float
    """Width of the bracket of an open edge, in decades."""


@dataclass(frozen=True)
class _Need:
    """Places where a line needs points for an edge."""

    gaps: Sequence[int] = ()
    """Gaps between the cells k and k + 1."""
    ends: Sequence[int] = ()
    """Ends to walk out from: -1 the lowest cell, 1 the highest."""
    none: str = ""
    """Why there is no edge, once no point is needed."""
    what: str = ""
    halves: int = 0
    """How many of the finest grids not to use."""


@dataclass(frozen=True)
class _Line:
    """Cells that differ in eta alone, ascending."""

    etas: Sequence[Decimal]
    statuses: Sequence[str]
    catapulted: Sequence[bool]
    losses: Sequence[float | None]
    best: int | None
    """Position of the lowest loss among cells that trained or stayed untrained."""
    seed: str
    """Words about its seeds."""

    @property
    def top(self) -> int:
        return len(self.etas) - 1

    @property
    def low(self) -> int | None:
        """Lowest of the uninterrupted run of trained cells around the best; None if none trained."""
        low = self.best
        if low is None or self.statuses[low] != "trained":
            return None
        while low > 0 and self.statuses[low - 1] == "trained":
            low -= 1
        return low

    def having(self, status: str) -> list[Decimal]:
        return [eta for eta, own in zip(self.etas, self.statuses, strict=True) if own == status]

    def word(self, k: int, edge: MapEdge | None = None) -> str:
        spiked = edge == "eta_no_spike" and self.catapulted[k] and self.statuses[k] == "trained"
        return f"{decimal_text(self.etas[k])} {'catapulted' if spiked else self.statuses[k]}"

    def need(self, edge: MapEdge) -> _Need:
        trained = [status == "trained" for status in self.statuses]
        if edge == "eta_max_finite":
            return self._upper([status != "diverged" for status in self.statuses], None)
        low, best = self.low, self.best
        if low is None or best is None:
            return self._search()
        if edge == "eta_max_trained":
            return self._upper(trained, best)
        if edge == "eta_no_spike":
            calm = [a and not b for a, b in zip(trained, self.catapulted, strict=True)]
            if calm[low]:
                return self._upper(calm, low)
            return _Need(none="all that trains catapults")
        if edge == "eta_min":
            first = trained.index(True)
            ends = (-1,) * (self.statuses[0] != "untrained")
            return _Need(self._gaps(low - 1, first - 1), ends, self._beyond(ends))
        ends = (-1,) * (best == 0) + (1,) * (best == self.top)
        what = ", beside the lowest loss"
        level = self.losses[best] or 0.0
        steep = [k for k in (best - 1, best) if self._loss_beside(k, best) > level + _FLAT]
        return _Need(self._gaps(*steep), ends, self._beyond(ends), what, 1)

    def _loss_beside(self, gap: int, best: int) -> float:
        """Loss of the other cell of a gap beside the best one; infinite if it has none."""
        other = gap if gap < best else gap + 1
        loss = self.losses[other] if 0 <= other <= self.top else None
        return math.inf if loss is None else loss

    def crossing(self, k: int, level: float) -> float | None:
        """log10 eta at which the loss crosses a level between the untrained cell k and the next, if they tell."""
        outer, inner = self.losses[k], self.losses[k + 1]
        if self.statuses[k] != "untrained" or outer is None or inner is None:
            return None
        if not _TELLING[0] < inner < outer < _TELLING[1]:
            return None
        low, at, high = (math.log(-math.log(loss)) for loss in (outer, level, inner))
        share = min(max((at - low) / (high - low), 0.0), 1.0)
        return float(self.etas[k]) + share * float(self.etas[k + 1] - self.etas[k])

    def _upper(self, good: Sequence[bool], start: int | None) -> _Need:
        """Last change from good to bad cells, and the first one from the cell `start` on."""
        if not any(good):
            return _Need(ends=(-1,), none="all cells diverge")
        start = good.index(True) if start is None else start
        last = max(k for k in range(self.top + 1) if good[k])
        first = next((k - 1 for k in range(start, last) if not good[k]), last)
        ends = (1,) * (last == self.top)
        return _Need(self._gaps(first, last), ends, self._beyond(ends))

    def _search(self) -> _Need:
        """Look for a narrow window around the lowest loss where no cell trains."""
        lost = self.best is None
        down = lost or self.best == 0 or self.statuses[0] != "untrained"
        up = lost or self.best == self.top or self.statuses[-1] != "diverged"
        gaps = () if self.best is None else self._gaps(self.best - 1, self.best)
        what = ", beside the lowest loss while none trains"
        return _Need(gaps, (-1,) * down + (1,) * up, "no cell trains", what)

    def _gaps(self, *gaps: int) -> list[int]:
        return sorted({k for k in gaps if 0 <= k < self.top})

    def _beyond(self, ends: Sequence[int]) -> str:
        return "it lies beyond the reach of the map" if ends else ""


def refine(
    cells: pl.DataFrame,
    maps: Mapping[Decimal, Mapped],
    begun: Mapping[Decimal, Sequence[Decimal]],
    trained_below: float,
) -> tuple[list[Wanted], list[MapState]]:
    """Etas that the maps of one slice need beyond its cells, and the state of each edge of each line.

    An eta is wanted for all seeds of its gamma, which one pack trains.

    Args:
        cells: the table of `tables.cells.cell_table`.
        maps: by log10 gamma.
        begun: the log10 etas of the first round, ascending, by log10 gamma.
        trained_below: relative loss at or below which a cell is trained.
    """
    wanted: dict[tuple[Decimal, Decimal], Wanted] = {}
    states: list[MapState] = []
    table = cells.select(COLUMNS).sort("gamma_log10", "eta_log10")
    for (value,), rows in table.group_by("gamma_log10", maintain_order=True):
        gamma = _exact(value)
        if gamma not in maps:
            continue
        mapped = maps[gamma]
        several = len(mapped.seeds) > 1
        apart = len({seed for seed, _ in mapped.seeds}) == len(mapped.seeds)
        lines = [
            _line(of_pair, f", seed {seed}{'' if apart else f'/{data_seed}'}" if several else "")
            for seed, data_seed in sorted(mapped.seeds)
            if (of_pair := rows.filter(seed=seed, data_seed=data_seed)).height
        ]
        reach = begun[gamma][0] - mapped.map.reach, begun[gamma][-1] + mapped.map.reach
        found: list[Wanted] = []
        for line in lines:
            for edge in mapped.map.edges:
                need = line.need(edge)
                points = list(_points(gamma, line, edge, need, mapped.map, reach, trained_below))
                state: Any = "open" if points else "none" if need.none else "found"
                gap = max((point.gap for point in points), default=0.0)
                why = f"{need.none}{line.seed}" if state == "none" else ""
                states.append(MapState(gamma, edge, state, why, gap))
                found += points
        for point in (*found, *_body(gamma, lines, mapped.map, reach)):
            wanted.setdefault((gamma, point.eta), point)
    return [wanted[place] for place in sorted(wanted)], states


def _line(rows: pl.DataFrame, seed: str) -> _Line:
    statuses, losses = rows["status"].to_list(), rows["relative_loss"].to_list()
    able = [k for k, status in enumerate(statuses) if status in ("trained", "untrained")]
    best = min(able, key=lambda k: (losses[k], k), default=None)
    etas = [_exact(eta) for eta in rows["eta_log10"]]
    return _Line(etas, statuses, rows["catapulted"].to_list(), losses, best, seed)


def _exact(value: Any) -> Decimal:
    return Decimal(str(round(value, 6)))


def _points(
    gamma: Decimal,
    line: _Line,
    edge: MapEdge,
    need: _Need,
    spec: Map,
    reach: tuple[Decimal, Decimal],
    trained_below: float,
) -> Iterator[Wanted]:
    for end in need.ends:
        k = line.top if end > 0 else 0
        why = f"{'above' if end > 0 else 'below'} {line.word(k)}{line.seed}"
        # As far again as it has gone already: each round takes longer than a few coarse cells.
        gone = (line.etas[k] - (reach[1] - spec.reach if end > 0 else reach[0] + spec.reach)) * end
        low, high = sorted((line.etas[k], line.etas[k] + end * max(1, int(gone))))
        for eta in _grid(low, high, spec.coarsest):
            if eta != line.etas[k] and reach[0] <= eta <= reach[1] and abs(eta) <= LIMIT:
                yield Wanted(gamma, eta, why, math.inf)
    densities = spec.densities[: len(spec.densities) - need.halves] or spec.densities
    for k in need.gaps:
        low, high = line.etas[k], line.etas[k + 1]
        why = f"between {line.word(k, edge)} and {line.word(k + 1, edge)}{need.what}{line.seed}"
        nested = [[e for e in _grid(low, high, n) if low < e < high] for n in densities]
        points: Sequence[Decimal] = next(filter(None, nested), [])
        at = line.crossing(k, trained_below) if edge == "eta_min" else None
        if at is not None and len(nested[-1]) > 2:
            points = sorted(nested[-1], key=lambda eta: abs(float(eta) - at))[:2]
        for eta in points:
            yield Wanted(gamma, eta, why, float(high - low))


def _body(
    gamma: Decimal, lines: Sequence[_Line], spec: Map, reach: tuple[Decimal, Decimal]
) -> Iterator[Wanted]:
    """Points between the edges, and those beyond them."""
    known = sorted({eta for line in lines for eta in line.etas})
    trained = sorted({eta for line in lines for eta in line.having("trained")})
    diverged = [eta for line in lines for eta in line.having("diverged")]
    if not trained:
        return
    low, high = trained[0], trained[-1]
    words = f"{decimal_text(low)} to {decimal_text(high)}, where cells train"
    for eta in _grid(low, high, spec.inside):
        if eta not in known:
            gap = min(k for k in known if k > eta) - max(k for k in known if k < eta)
            yield Wanted(gamma, eta, f"within {words}", float(gap))
    high = max((high, *(eta for eta in known if diverged and eta < min(diverged))))
    ends = max(reach[0], low - spec.beyond), min(reach[1], high + spec.beyond)
    for eta in _grid(*ends, spec.coarsest):
        if eta not in known and abs(eta) <= LIMIT:
            yield Wanted(gamma, eta, f"beside {words}", 1.0)


def _grid(low: Decimal, high: Decimal, density: int) -> tuple[Decimal, ...]:
    return grid_points(Fraction(low), Fraction(high), density)
