"""Next cells to train, as entries of a study's `grids` or as a command, with their device time."""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from gammascape.durations import count_of, duration
from gammascape.study.keys.axes import Map
from gammascape.tables.advice.read import Row, SliceTables
from gammascape.tables.cells import difference

ENOUGH = 3
"""Seeds from which on scatter is known."""
_LONGER = 4
"""Factor of a longer run."""
_MOST = 5
"""Gammas that get more seeds, at most."""
_WIDER = 2
"""Factor of the next width."""
_CARRIED = 4
"""Gammas that gammascape scale takes over, at most."""


def next_rows(
    tables: SliceTables, choice: Row, gammas: Sequence[Row], unsure: bool
) -> Iterator[Row]:
    """Cells that would answer open questions, as YAML, and the next width; `unsure`: seeds could tell the gain."""
    gamma, eta = choice["gamma_log10"], choice["eta_log10"]
    best = {row["gamma_log10"]: row["eta_log10"] for row in gammas if row["eta_log10"] is not None}
    if eta is None:
        return
    etas, gaps = tables.etas(gamma), _step(tables.gammas)
    ends = ((tables.gammas[0], -gaps), (tables.gammas[-1], gaps))
    beyond = {
        end + away: _carried(tables, choice, end + away) for end, away in ends if end == gamma
    }
    if 0.0 not in tables.gammas:
        near = min(best, key=abs)
        beyond[0.0] = best[near]
    points = {g: _with_neighbours(tables, gamma, at) for g, at in beyond.items()}
    for end, sign in ((etas[0], -1), (etas[-1], 1)):
        if end == eta:
            points.setdefault(gamma, []).extend(end + k * sign * _step(etas) for k in (1, 2))
    if points:
        yield _row(tables, "further points", points)
    seeds = max(ENOUGH, 2 * choice["seeds"]) if unsure else ENOUGH
    if seeds > choice["seeds"]:
        low, high = choice["gamma_low_log10"], choice["gamma_high_log10"]
        some = {g for g in best if low is not None and low <= g <= high} | {gamma, 0.0} & {*best}
        near_first = sorted(some, key=lambda g: (g not in (gamma, 0.0), abs(g - gamma)))[:_MOST]
        points = {g: _with_neighbours(tables, g, best[g]) for g in sorted(near_first)}
        yield _row(tables, "more seeds", points, seeds=seeds - choice["seeds"])
    late = [row["gamma_log10"] for row in gammas if row["verdict"] == "out of steps"]
    later = [g for g in late if g >= gamma and g in best][:2]
    if later:
        points = {
            g: _with_neighbours(tables, g, best[g]) for g in {gamma: 0, **dict.fromkeys(later)}
        }
        yield _row(tables, "more steps", points, longer=_LONGER)
    yield _next_width(tables, len(best))


def coupled(pairs: Collection[tuple[int, int]]) -> bool:
    """Return whether the stream of data changes with the seed; a single pair does not show it."""
    return len(pairs) > 1 and all(seed == stream for seed, stream in pairs)


def seed_lines(seeds: Sequence[int], streams: Sequence[int], together: bool) -> str:
    """Keys of a grid for its seeds and streams of data; `together`: each seed has its own stream."""
    return f"    seed: {[*seeds]}\n    data_seed: {'seed' if together else [*streams]}"


def _next_width(tables: SliceTables, gammas: int) -> Row:
    """The next network of the way up, with narrow maps of eta; a step costs at most as the square of the width."""
    runs = tables.cells.select("seed", "data_seed").n_unique()
    narrow = Map(edges=("eta_max_trained", "eta_best"), beyond=0)
    cells = min(gammas, _CARRIED) * runs * narrow.expected(begun=3)
    seconds = cells * _WIDER**2 * _seconds_of_one(tables)
    text = (
        f"Next width, if gammascape check-model finds the network in mu-P: about {count_of(cells, 'cell')}, "
        f"at most {duration(seconds)} on the device."
    )
    row = {"kind": "next", "name": "next width", "text": text, "cells": cells, "seconds": seconds}
    return row | {"todo": f"gammascape scale STUDY --width {_WIDER}x"}


def _seconds_of_one(tables: SliceTables) -> float:
    """Mean device time of a cell that took all steps."""
    whole = tables.cells.filter(steps_done=tables.steps)["seconds"]
    return float(whole.sum() / max(1, whole.len()))


def _step(points: Sequence[float]) -> float:
    """Distance of neighbouring points, the median; half a decade for one."""
    gaps = sorted(b - a for a, b in pairwise(points))
    return gaps[len(gaps) // 2] if gaps else 0.5


def _with_neighbours(tables: SliceTables, gamma: float, eta: float) -> list[float]:
    """An eta and its neighbours in the density of the sampled ones."""
    return [eta + k * _step(tables.etas(gamma)) for k in (-1, 0, 1)]


def _carried(tables: SliceTables, choice: Row, gamma: float) -> float:
    """The chosen eta at a gamma beyond the last one: along the edge there, on the grid of etas."""
    own, step = choice["gamma_log10"], _step(tables.etas(choice["gamma_log10"]))
    near = min((g for g in tables.gammas if g != own), key=lambda g: abs(g - own), default=own)
    rise = difference(*(tables.edge(g)["estimate_log10"] for g in (own, near)))
    slope = 1.0 if rise is None or own == near else rise / (own - near)
    return float(choice["eta_log10"] + step * round(slope * (gamma - own) / step))


def _row(
    tables: SliceTables,
    name: str,
    points: dict[float, list[float]],
    *,
    seeds: int = 0,
    longer: int = 1,
) -> Row:
    """These etas at gammas, for all seeds or for so many more, with all steps or more."""
    first = tables.cells.row(0, named=True)
    pairs = tables.cells.select("seed", "data_seed").unique().sort("seed", "data_seed")
    same = coupled(pairs.rows())
    streams = pairs["data_seed"].unique().sort().to_list()
    own, each = pairs["seed"].unique().sort().to_list(), 1 if same else len(streams)
    if seeds:
        # Those that some of these gammas lack, too.
        last = min(max(tables.cells.filter(gamma_log10=gamma)["seed"]) for gamma in points)
        more = [own[-1] + 1 + k for k in range(math.ceil(seeds / each))]
        own = [seed for seed in own if seed > last] + more
    lines = [
        f"  - model: {first['model']}\n    dataset: {first['dataset']}\n    loss: {first['loss']}\n"
        f"    gamma: {{log10: {gamma:.6g}}}\n"
        f"    eta: {{log10: [{', '.join(f'{round(eta, 6) + 0.0:g}' for eta in sorted(etas))}]}}\n"
        f"    batch_size: {first['batch_size']}\n    steps: {tables.steps * longer}\n"
        + seed_lines(own, streams, same)
        for gamma, etas in points.items()
    ]
    trained = (
        [] if longer > 1 else tables.cells.select("gamma_log10", "eta_log10", "seed").iter_rows()
    )
    known = {(gamma, round(eta, 6), seed) for gamma, eta, seed in trained}
    asked = {(g, round(eta, 6), seed) for g in points for eta in points[g] for seed in own}
    cells = len(asked - known) * each
    seconds = cells * longer * _seconds_of_one(tables)
    text = (
        f"{name.capitalize()}: {count_of(cells, 'cell')}, about {duration(seconds)} on the device."
    )
    row = {"kind": "next", "name": name, "text": text, "todo": "\n".join(lines)}
    return row | {"seconds": seconds, "cells": cells}
