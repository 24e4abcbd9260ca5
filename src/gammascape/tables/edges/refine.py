"""Further cells of a map: at brackets of edges, between edges, and beyond the sampled etas.

Points follow from the cells of a slice alone. An edge lies between two neighbouring cells of a line of equal gamma
and seeds; its bracket gets the points of the coarsest nested grid that has some in it, until the finest has none.
The border of training can be rough at any scale (Sohl-Dickstein, arXiv 2402.06184): where outcomes alternate, only
the first and the last change are refined.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from gammascape.study.keys.axes import LIMIT, Map, MapEdge
from gammascape.study.keys.exact import decimal_text, grid_points
from gammascape.study.points import Mapped
from gammascape.tables.edges.find import DECIDING, best_and_run, crossing, deciding
from gammascape.tables.edges.walk import walk_down

COLUMNS = (
    *("gamma_log10", "eta_log10", "seed", "data_seed"),
    *("status", "catapulted", *DECIDING),
)
"""Columns of the table `cells` on which points depend."""

_FLAT = 0.01
"""Difference of relative loss to a neighbour below which the best eta is not sharpened."""
_TELLING = 0.005, 0.8, 0.97
"""Relative losses that tell how far a cell is from the edge: from the first number up to the second by itself,
or up to the third beside another such loss."""
_WIDE = Decimal("0.5")
"""Widest gap, in decades, in which losses are not used."""


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
    """Reason why there is no edge."""
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
    """Reason for which there is no edge, once no point is needed."""
    what: str = ""
    halves: int = 0
    """Number of the finest grids not to use."""


@dataclass(frozen=True)
class _Line:
    """Cells that differ in eta alone, ascending."""

    etas: Sequence[Decimal]
    statuses: Sequence[str]
    catapulted: Sequence[bool]
    losses: Sequence[float | None]
    best: int | None
    run: range
    """Position of the lowest loss, and trained cells around it, as of `find.best_and_run`."""
    seed: str
    """Words about its seeds."""

    @property
    def top(self) -> int:
        return len(self.etas) - 1

    def having(self, status: str) -> list[Decimal]:
        return [eta for eta, own in zip(self.etas, self.statuses, strict=True) if own == status]

    def word(self, k: int, edge: MapEdge | None = None) -> str:
        spiked = edge == "eta_no_spike" and self.catapulted[k] and self.statuses[k] == "trained"
        return f"{decimal_text(self.etas[k])} {'catapulted' if spiked else self.statuses[k]}"

    def need(self, edge: MapEdge) -> _Need:
        trained = [status == "trained" for status in self.statuses]
        if edge == "eta_max_finite":
            return self._upper([status != "diverged" for status in self.statuses], None)
        if self.best is None or not self.run:
            return self._search()
        low, best = self.run[0], self.best
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
        steep = [k for k in (best - 1, best) if level > _FLAT < self._loss_beside(k, best) - level]
        return _Need(self._gaps(*steep), ends, self._beyond(ends), what, 1)

    def _loss_beside(self, gap: int, best: int) -> float:
        """Loss of the other cell of a gap beside the best one; infinite if it has none."""
        other = gap if gap < best else gap + 1
        loss = self.losses[other] if 0 <= other <= self.top else None
        return math.inf if loss is None else loss

    def crossing(self, k: int, level: float) -> float | None:
        """log10 eta at which the loss crosses a level between the untrained cell k and the next, if losses tell.

        log(-log loss) is linear in log eta as long as the loss falls exponentially with eta T, with slope 1 if
        at one rate. So one cell tells it too; k = -1 stands for the cell that is missing below the lowest.
        """
        # In a narrow gap a half is no worse, and does not creep where the loss falls at many rates.
        if k >= 0 and self.etas[k + 1] - self.etas[k] <= _WIDE:
            return None
        inner = self.losses[k + 1]
        outer = self.losses[k] if k >= 0 and self.statuses[k] == "untrained" else None
        if inner is not None and outer is not None and _TELLING[0] < inner < outer < _TELLING[2]:
            ends = (float(self.etas[k + 1]), inner), (float(self.etas[k]), outer)
            return crossing(*ends, level)
        if outer is not None and level < outer < _TELLING[1]:
            return float(self.etas[k]) + math.log10(math.log(level) / math.log(outer))
        # The best cell may lie where the loss rises with eta, at the other end of a narrow window.
        if inner is not None and _TELLING[0] < inner < level and k + 1 != self.best:
            away = math.log10(math.log(inner) / math.log(level)) / self._slope(k + 1)
            return float(self.etas[k + 1]) - away if away <= 1 else None
        return None

    def _slope(self, k: int) -> float:
        """Slope of log(-log loss) against log eta above a cell that tells; 1 at most, or if the next does not."""
        here, above = self.losses[k : k + 2]
        if here is None or above is None or not _TELLING[0] < above:
            return 1.0
        rise = math.log10(math.log(above) / math.log(here)) if above < 1 else 0.0
        return min(max(rise / float(self.etas[k + 1] - self.etas[k]), 1e-9), 1.0)

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
        within = " within the reach of the map" if down or up else ""
        return _Need(gaps, (-1,) * down + (1,) * up, f"no cell trains{within}", what)

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
        if mapped.map.protocol == "walk-down":
            walks = [dict(zip(line.etas, line.statuses, strict=True)) for line in lines]
            steps, none = walk_down(walks, mapped.map, reach)
            gap = 1 / mapped.map.finest if not none else math.inf
            points = [Wanted(gamma, eta, why, gap) for eta, why in steps]
            wanted |= {(gamma, point.eta): point for point in points}
            states.append(_state(gamma, "eta_max_finite", points, none))
            continue
        for line in lines:
            for edge in mapped.map.edges:
                need = line.need(edge)
                points = list(_points(gamma, line, edge, need, mapped.map, reach, trained_below))
                none = f"{need.none}{line.seed}" if need.none else ""
                states.append(_state(gamma, edge, points, none))
                found += points
        for point in (*found, *_body(gamma, lines, found, mapped.map, reach)):
            wanted.setdefault((gamma, point.eta), point)
    return [wanted[place] for place in sorted(wanted)], states


def _state(gamma: Decimal, edge: MapEdge, points: Sequence[Wanted], none: str) -> MapState:
    """State of an edge that still needs these points; `none` says why there is no edge."""
    if points:
        return MapState(gamma, edge, "open", "", max(point.gap for point in points))
    return MapState(gamma, edge, "none" if none else "found", none, 0.0)


def _line(rows: pl.DataFrame, seed: str) -> _Line:
    statuses, losses = rows["status"].to_list(), rows["relative_loss"].to_list()
    best, run = best_and_run(statuses, deciding(rows))
    etas = [_exact(eta) for eta in rows["eta_log10"]]
    return _Line(etas, statuses, rows["catapulted"].to_list(), losses, best, run, seed)


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
    densities = spec.densities[: len(spec.densities) - need.halves] or spec.densities
    for end in need.ends:
        k = line.top if end > 0 else 0
        why = f"{'above' if end > 0 else 'below'} {line.word(k)}{line.seed}"
        # As far again as it has gone already: each round takes longer than a few coarse cells.
        gone = (line.etas[k] - (reach[1] - spec.reach if end > 0 else reach[0] + spec.reach)) * end
        # Above a runaway cell others diverge soon.
        density = spec.inside if line.statuses[k] == "runaway" and gone < 1 else spec.coarsest
        far = line.etas[k] + end * max(1 / Decimal(density), Decimal(int(gone)))
        low, high = min(line.etas[k], far), max(line.etas[k], far)
        at = line.crossing(-1, trained_below) if (edge, end) == ("eta_min", -1) else None
        walked = grid_points(low, high, density) if at is None else [grid_below(at, spec.finest)]
        for eta in walked:
            if (eta - line.etas[k]) * end > 0 and reach[0] <= eta <= reach[1] and abs(eta) <= LIMIT:
                yield Wanted(gamma, eta, why, math.inf)
    for k in need.gaps:
        low, high = line.etas[k], line.etas[k + 1]
        why = f"between {line.word(k, edge)} and {line.word(k + 1, edge)}{need.what}{line.seed}"
        nested = points_between(low, high, densities)
        points: Sequence[Decimal] = next(filter(None, nested), [])
        # Of several coarse ones, the nearest to cells that train: an edge of training is seldom farther.
        points = points[-1:] if edge == "eta_min" else points[:1]
        at = line.crossing(k, trained_below) if edge == "eta_min" else None
        if at is not None and nested[-1]:
            # The finest point below the crossing, or the one above it: the next loss tells more.
            points = [max((e for e in nested[-1] if e <= at), default=nested[-1][0])]
        for eta in points:
            yield Wanted(gamma, eta, why, float(high - low))


def points_between(low: Decimal, high: Decimal, densities: Sequence[int]) -> list[list[Decimal]]:
    """Points of each grid between two places."""
    return [[x for x in grid_points(low, high, n) if low < x < high] for n in densities]


def grid_below(position: float, density: int) -> Decimal:
    """The point of a grid at or below a place."""
    place = Decimal(math.floor(position * density)) / density
    return grid_points(place, place, density)[0]


def _body(
    gamma: Decimal,
    lines: Sequence[_Line],
    edge_points: Sequence[Wanted],
    spec: Map,
    reach: tuple[Decimal, Decimal],
) -> Iterator[Wanted]:
    """Points between the edges of training, and beyond these and the edge of finite loss."""
    own = {eta for line in lines for eta in line.etas}
    known = sorted({*own, *(one.eta for one in edge_points)})
    trained = sorted({eta for line in lines for eta in line.having("trained")})
    diverged = min((eta for line in lines for eta in line.having("diverged")), default=min(own))
    if not trained:
        return
    low, high = trained[0], trained[-1]
    finite = max((high, *(eta for eta in own if eta < diverged)))
    words = f"{decimal_text(low)} to {decimal_text(high)}, where cells train"
    places = [(f"within {words}", spec.inside, low, high)]
    places += [
        (f"beside {words}", spec.coarsest, max(low - spec.beyond, reach[0]), low),
        *(
            (f"beside {words}", spec.coarsest, eta, min(eta + spec.beyond, reach[1]))
            for eta in (high, finite)
        ),
    ]
    for why, density, first, last in places:
        for eta in grid_points(first, last, density):
            below = max((k for k in known if k <= eta), default=first)
            above = min((k for k in known if k >= eta), default=last)
            # Cells on both sides that are near enough cover the place, whether on its grid or not.
            step, slack = 1 / Decimal(density), 1 / Decimal(spec.finest)
            enough = step + slack if known[0] < eta < known[-1] else step - slack
            if abs(eta) <= LIMIT and above - below > enough:
                yield Wanted(gamma, eta, why, float(above - below))
