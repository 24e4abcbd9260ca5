"""Where a map asks for further gammas."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gammascape.study.keys.axes import GammaMap, Map
from gammascape.study.points import Mapped
from gammascape.tables.edges.gammas import further_gammas
from gammascape.tables.edges.refine import Wanted

from ...planted import line

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
SPREAD = GammaMap(finest=4)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("map")


def added(
    bench: Any, depth: int, loss: str, span: tuple[int, int], seeds: int = 1, blur: str = "none"
) -> set[Decimal]:
    """Gammas that a map of the toy adds to one per decade."""
    spread = GammaMap.model_validate({"from": span[0], "to": span[1]})
    begun = bench.toy_begun(Map(), depth, loss, spread.points(1))
    fates = bench.toy_fates(depth, loss, 100, range(seeds), blur)
    _, _, states = bench.mapped(fates, Map(), begun, [(s, 0) for s in range(seeds)], spread)
    assert {state.state for state in states} <= {"found", "none"}
    return {*begun} - {*spread.points(1)}


def wanted(table: pl.DataFrame, seeds: int = 1, **options: Any) -> dict[str, dict[str, str]]:
    """Further gammas, each with its etas and reasons."""
    spec = Map(**options)
    pairs = tuple((seed, 0) for seed in range(seeds))
    maps = {gamma: Mapped(spec, pairs, SPREAD) for gamma in SPREAD.points(4)}
    found: dict[str, dict[str, str]] = {}
    for one in further_gammas(table, maps, 0.5):
        etas = found.setdefault(f"{one.gamma.normalize():f}", {})
        etas[f"{one.eta.normalize():f}"] = one.why
    return found


def edge_at(places: Mapping[float, float]) -> pl.DataFrame:
    """Cells whose upper edges are bracketed to an eighth of a decade, and no others."""
    return pl.concat([line("tx", gamma, 0.125, at) for gamma, at in places.items()])


@pytest.mark.parametrize(("depth", "loss"), [(2, "mse"), (3, "mse"), (4, "mse"), (3, "xent")])
def test_around_the_crossover_of_the_toy(bench: Any, depth: int, loss: str) -> None:
    new = added(bench, depth, loss, (-4, 4))
    # Lower edges bend at gamma = 1, and upper ones near it.
    assert {Decimal("-0.5"), Decimal("0.5")} <= new
    assert len(new) <= 6


def test_around_the_crossover_of_edges_with_noise(bench: Any) -> None:
    new = added(bench, 4, "mse", (-3, 3), 2, "noise")
    assert new
    assert all(-1 < gamma < 2 for gamma in new)


@pytest.mark.parametrize(("depth", "span"), [(3, (-4, -1)), (2, (1, 4))])
@pytest.mark.parametrize("blur", ["none", "noise"])
def test_where_no_exponent_changes_there_are_none(
    bench: Any, depth: int, span: tuple[int, int], blur: str
) -> None:
    assert not added(bench, depth, "mse", span, 2, blur)


def test_both_gaps_beside_the_largest_change_are_halved_until_the_brackets_hide_it() -> None:
    slopes = {-2: -4, -1: -2, 0: 0, 1: 0.75, 2: 1.5, 3: 2, 4: 2.5}
    found = wanted(edge_at(slopes), edges=["eta_max_trained"])
    why = "new gamma between {} and {}, where the slope of eta_max_trained changes from 2 to 0.75"
    # Interpolated: -1 and 0.375, each in the middle of a bracket.
    assert found == {
        "-0.5": dict.fromkeys(["-1", "-0.875"], why.format(-1, 0)),
        "0.5": dict.fromkeys(["0.375", "0.5"], why.format(0, 1)),
    }
    # The other change, from 0.75 to 0.5, is an eighth of a decade.
    assert not wanted(edge_at({0: 0, 1: 0.75, 2: 1.5, 3: 2, 4: 2.5}), edges=["eta_max_trained"])
    # A gap of the finest grid stays.
    near = {-1: -2, -0.25: -0.5, 0: 0, 0.25: 0, 1: 0}
    assert not {"-0.125", "0.125"} & wanted(edge_at(near), edges=["eta_max_trained"]).keys()


def test_seeds_that_scatter_hide_a_bend() -> None:
    bend = {-1: -2.0, 0: 0.0, 1: 1.25}
    table = edge_at(bend)
    alike = table.with_columns(seed=pl.lit(1, pl.Int64))
    assert {*wanted(pl.concat([table, alike]), 2, edges=["eta_max_trained"])} == {"-0.5", "0.5"}
    apart = edge_at({gamma: at + 1 for gamma, at in bend.items()})
    apart = apart.with_columns(seed=pl.lit(1, pl.Int64))
    assert not wanted(pl.concat([table, apart]), 2, edges=["eta_max_trained"])
    # A seed of another grid decides nothing.
    assert {*wanted(pl.concat([table, apart]), edges=["eta_max_trained"])} == {"-0.5", "0.5"}


def test_where_the_window_closes() -> None:
    opened, closed = line("utx", 1, 1.0), line("uux", 2, 1.0)
    found = wanted(pl.concat([opened, closed]))
    (etas,) = found.values()
    assert {*found} == {"1.5"}
    assert {*etas.values()} == {"new gamma between 1 and 2, where the window closes"}
    # Around the edge of finite loss, which both have, and around the window of one.
    assert {float(eta) for eta in etas} >= {0.5, 0.625, 1.5, 1.625}
    # With two seeds, of which one trains, it is open.
    half = pl.concat([closed, line("utx", 2, 1.0).with_columns(seed=pl.lit(1, pl.Int64))])
    both = pl.concat([opened, opened.with_columns(seed=pl.lit(1, pl.Int64)), half])
    assert not wanted(both, 2)


def accurate(scores: Mapping[float, Sequence[float]]) -> pl.DataFrame:
    """Cells of the same edges; at the second eta the seeds have these accuracies, at the first less."""
    return pl.concat(
        [
            line("ttx", gamma, 1.0).with_columns(
                seed=pl.lit(seed, pl.Int64), test_accuracy=pl.Series([0.1, score, None])
            )
            for gamma, of_seeds in scores.items()
            for seed, score in enumerate(of_seeds)
        ]
    )


def test_beside_the_best_accuracy() -> None:
    found = wanted(accurate({0: [0.8], 1: [0.9], 2: [0.85], 3: [0.7]}))
    assert {*found} == {"0.5", "1.5"}
    assert set().union(*(etas.values() for etas in found.values())) == {
        "new gamma between 0 and 1, beside the best test accuracy",
        "new gamma between 1 and 2, beside the best test accuracy",
    }
    # An eta that only some seeds have says nothing.
    some = accurate({0: [0.8, 0.8], 1: [0.7, 0.7]})
    one = line("t", 1, 1.0, 5).with_columns(test_accuracy=pl.lit(1.0))
    assert {*wanted(pl.concat([some, one]), 2)} == {"0.5"}


def test_of_equal_accuracies_one_is_enough() -> None:
    # Each is as good as the others within the scatter of seeds, and 0.5 has neighbours at a quarter.
    place = {0.25: 0.8, 0.5: 0.81, 0.75: 0.8, 1: 0.8, 2: 0.81, 3: 0.81}
    table = accurate({gamma: [at - 0.02, at + 0.02] for gamma, at in place.items()})
    assert not wanted(table, 2)
    table = accurate({gamma: [at, at] for gamma, at in (place | {2: 0.82}).items()})
    assert {*wanted(table, 2)} == {"1.5", "2.5"}


def test_a_map_of_gamma_is_needed_and_cells_alone_decide() -> None:
    table = accurate({0: [0.8], 1: [0.9], 2: [0.85]})
    maps = {gamma: Mapped(Map(), ((0, 0),), SPREAD) for gamma in SPREAD.points(4)}
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=1)
    answers: list[list[Wanted]] = [further_gammas(one, maps, 0.5) for one in (table, shuffled)]
    assert answers[0] == answers[1] != []
    assert not further_gammas(table, {Decimal(0): Mapped(Map(), ((0, 0),))}, 0.5)
