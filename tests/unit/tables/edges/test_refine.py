"""Where a map asks for further cells, and that it ends in the edges of the full grid."""

import importlib
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gammascape.study.keys.axes import Map
from gammascape.study.points import Mapped
from gammascape.tables.edges.refine import MapState, Wanted, refine

from ...planted import line

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
GAMMA = Decimal(0)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("map")


def decided(
    *tables: pl.DataFrame, seeds: int = 1, begun: tuple[int, int] = (0, 3), **options: Any
) -> tuple[dict[str, str], list[MapState]]:
    """Points by eta with their reasons, and the states of the edges."""
    spec = Map(**{"inside": 1, "finest": 8, **options})
    maps = {GAMMA: Mapped(spec, tuple((seed, 0) for seed in range(seeds)))}
    wanted, states = refine(pl.concat(tables), maps, {GAMMA: [*map(Decimal, begun)]}, 0.5)
    return {f"{one.eta.normalize():f}": one.why for one in wanted}, states


def test_a_bracket_is_halved_and_the_two_cells_are_named() -> None:
    points, (state,) = decided(line("uttx", step=1.0), edges=["eta_max_finite"], beyond=0)
    assert points == {"2.5": "between 2 trained and 3 diverged"}
    assert (state.state, state.gap) == ("open", 1.0)
    points, (state,) = decided(line("uttx", step=0.25), edges=["eta_max_finite"], beyond=0)
    assert points == {"0.625": "between 0.5 trained and 0.75 diverged"}


def test_nothing_is_refined_below_the_finest_grid() -> None:
    points, states = decided(line("uttcx", step=0.125, start=0.5), beyond=0)
    assert not points
    assert {state.state for state in states} == {"found"}


def test_an_edge_that_is_not_bracketed_is_walked_after_to_the_stated_limit() -> None:
    points, (state,) = decided(
        line("ut", step=1.0), edges=["eta_max_trained"], begun=(0, 1), reach=2
    )
    assert points["2"] == "above 1 trained"
    assert (state.state, state.gap) == ("open", math.inf)
    points, (state,) = decided(
        line("uttt", step=1.0), edges=["eta_max_trained"], begun=(0, 1), reach=2
    )
    assert not points
    assert (state.state, state.why) == ("none", "it lies beyond the reach of the map")
    points, _ = decided(line("tx", step=1.0), edges=["eta_min"])
    assert points["-1"] == "below 0 trained"


def test_where_fates_alternate_the_first_and_the_last_change_are_refined() -> None:
    points, _ = decided(line("uttututxx", step=1.0), edges=["eta_max_trained"], beyond=0)
    assert points == {
        "2.5": "between 2 trained and 3 untrained",
        "6.5": "between 6 trained and 7 diverged",
    }


def test_where_nothing_trains_the_lowest_loss_is_searched_before_the_window_is_said_closed() -> (
    None
):
    points, states = decided(line("uux", step=1.0), edges=["eta_min", "eta_max_finite"], beyond=0)
    assert "between 0 untrained and 1 untrained, beside the lowest loss" in points["0.5"]
    points, states = decided(
        line("uux", step=0.125), edges=["eta_min", "eta_max_trained"], beyond=0
    )
    # The lowest cell has the lowest loss, so lower etas come first.
    assert points == {"-1": "below 0 untrained"}
    points, states = decided(
        line("uux", step=0.125), edges=["eta_min", "eta_max_trained"], beyond=0, reach=0
    )
    assert not points
    within = "no cell trains within the reach of the map"
    assert {(state.state, state.why) for state in states} == {("none", within)}
    inner = line("uux", step=0.125).with_columns(relative_loss=pl.Series([0.95, 0.9, None]))
    points, (state,) = decided(inner, edges=["eta_min"], beyond=0)
    assert not points
    assert (state.state, state.why) == ("none", "no cell trains")


def test_a_spike_in_all_that_trains_leaves_no_calm_edge() -> None:
    _, (state,) = decided(line("uccx", step=0.125), edges=["eta_no_spike"], beyond=0)
    assert (state.state, state.why) == ("none", "all that trains catapults")
    points, _ = decided(line("utcx", step=1.0), edges=["eta_no_spike"], beyond=0)
    assert points == {"1.5": "between 1 trained and 2 catapulted"}


def test_each_seed_has_its_edges_and_all_get_the_points() -> None:
    points, states = decided(
        line("uttx", step=1.0),
        line("utxx", step=1.0).with_columns(seed=pl.lit(1, pl.Int64)),
        seeds=2,
        edges=["eta_max_finite"],
        beyond=0,
    )
    assert points == {
        "1.5": "between 1 trained and 2 diverged, seed 1",
        "2.5": "between 2 trained and 3 diverged, seed 0",
    }
    assert len(states) == 2
    # A seed that another grid brought in decides nothing.
    points, states = decided(
        line("uttx", step=1.0),
        line("utxx", step=1.0).with_columns(seed=pl.lit(1, pl.Int64)),
        edges=["eta_max_finite"],
    )
    assert list(points) == ["2.5"]
    assert len(states) == 1


def test_between_the_edges_there_are_points_inside_and_beyond_them_coarse_ones() -> None:
    points, _ = decided(line("utttx", step=0.125, start=2), begun=(2, 3), inside=8, beyond=2)
    assert set(points) == {"1", "3", "4"}
    points, _ = decided(line("uttx", step=1.0), edges=["eta_max_finite"], inside=4, beyond=0)
    assert {"1.25", "1.5", "1.75"} <= set(points)


def test_a_flat_loss_is_not_sharpened() -> None:
    table = line("utttx", step=1.0).with_columns(
        relative_loss=pl.Series([0.9, 0.105, 0.1, 0.105, None])
    )
    points, (state,) = decided(table, edges=["eta_best"], beyond=0)
    assert not points
    assert state.state == "found"
    table = table.with_columns(relative_loss=pl.Series([0.9, 0.2, 0.1, 0.105, None]))
    points, _ = decided(table, edges=["eta_best"], beyond=0)
    assert points == {"1.5": "between 1 trained and 2 trained, beside the lowest loss"}


def test_points_depend_on_nothing_but_cells() -> None:
    maps = {GAMMA: Mapped(Map(), ((0, 0),))}
    table = line("utttcx", step=1.0)
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=1)
    answers: list[list[Wanted]] = [
        refine(one, maps, {GAMMA: [Decimal(0)]}, 0.5)[0] for one in (table, shuffled)
    ]
    assert answers[0] == answers[1]


def test_losses_tell_where_the_lower_edge_lies() -> None:
    def lower(word: str, *losses: float, start: float = 0) -> dict[str, str]:
        table = line(word, step=1.0, start=start)
        table = table.with_columns(relative_loss=pl.Series(losses))
        return decided(table, edges=["eta_min"], beyond=0, inside=1)[0]

    # -log(loss) grows as eta, so 0.04 crosses one half log10(3.22 / 0.69) = 0.67 decades below.
    assert list(lower("tt", 0.04, 1e-9)) == ["-0.75"]
    assert list(lower("utt", 0.9999, 0.04, 1e-9)) == ["0.25"]
    assert list(lower("ut", 0.6, 1e-9)) == ["0.125"]
    assert list(lower("ut", 0.79, 0.04)) == ["0.375"]
    # Neither tells; nor does a loss that rises with eta.
    assert list(lower("ut", 0.9999, 1e-9)) == ["0.5"]
    assert list(lower("tu", 0.04, 0.9)) == ["-1"]


def test_cells_that_are_near_enough_cover_a_place() -> None:
    # 0.625 decades between 2.375 and 3 are left as they are, the decade above is not; one cell beyond is enough.
    cells = [(1.75, "u"), (1.875, "t"), (2.375, "t"), (3.0, "t"), (4.0, "t"), (4.125, "x")]
    tables = [line(status, step=1.0, start=eta) for eta, status in cells]
    points, _ = decided(pl.concat(tables), edges=["eta_max_finite"], inside=2)
    assert set(points) == {"3.5"}


def test_between_training_and_a_far_edge_of_finite_loss_little_is_sampled() -> None:
    tables = line("ut", step=1.0), line("rx", step=1.0, start=6)
    points, _ = decided(*tables, edges=["eta_max_trained"], begun=(0, 7))
    assert points == {"2": "between 1 trained and 6 runaway"}


def test_a_walk_down_ends_three_decades_below_the_first_eta_without_nan() -> None:
    def walk(*tables: pl.DataFrame, reach: int = 6) -> tuple[dict[str, str], list[MapState]]:
        options: dict[str, Any] = {"protocol": "walk-down", "finest": 1, "reach": reach}
        return decided(*tables, seeds=len(tables), begun=(5, 6), **options)

    second = pl.lit(1, pl.Int64).alias("seed")
    above, below = line("xx", step=1.0, start=5), line("rx", step=1.0, start=5)
    points, (state,) = walk(above, below.with_columns(second))
    assert points == {"4": "walk down below 5 diverged"}
    assert (state.state, state.gap) == ("open", math.inf)
    # Each seed has found one, the second a decade above the first.
    both = line("rxx", step=1.0, start=4), line("ttx", step=1.0, start=4).with_columns(second)
    points, (state,) = walk(*both)
    assert list(points) == ["1", "2", "3"]
    assert points["1"] == "walk down three decades below 4, the first without NaN"
    points, (state,) = walk(line("uutttrx", step=1.0))
    assert not points
    assert (state.edge, state.state) == ("eta_max_finite", "found")
    points, _ = walk(line("tt", step=1.0, start=5))
    assert points == {"7": "walk down from above 6, which stays finite"}
    # What other grids have of some seeds, or coarsely, leaves no hole.
    other, walked = line("uutttrtxx", step=1.0, start=-2), line("tt", step=1.0)
    points, _ = walk(other, walked.with_columns(second))
    assert list(points) == ["-2", "-1", "2", "3", "4", "5"]
    points, _ = walk(pl.concat([line("uuttt", step=1.0), line("x", start=7)]))
    assert list(points) == ["5", "6"]
    # The search has its limits.
    for word, why in (("xx", "all cells diverge"), ("tt", "it lies beyond the reach of the map")):
        points, (state,) = walk(line(word, step=1.0, start=5), reach=0)
        assert not points
        assert (state.state, state.why) == ("none", why)


def test_a_walk_down_of_the_toy_finds_the_edge_of_finite_loss(bench: Any) -> None:
    fates, spec = bench.toy_fates(3, "mse", 100), Map(protocol="walk-down")
    cells, _, states = bench.mapped(fates, spec, bench.toy_begun(spec, 3, "mse"), [(0, 0)])
    assert {state.state for state in states} == {"found"}
    for _, of_gamma in cells.group_by("gamma_log10"):
        finite = of_gamma.filter(pl.col("status") != "diverged")["eta_log10"].max()
        above = of_gamma.filter(pl.col("eta_log10") > finite)
        assert above.height >= 1
        assert of_gamma["eta_log10"].min() == pytest.approx(finite - 3)
        assert of_gamma.filter(pl.col("eta_log10") <= finite).height == 25


@pytest.mark.parametrize("loss", ["mse", "xent"])
@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
def test_a_map_of_the_toy_has_the_edges_of_the_full_grid(bench: Any, depth: int, loss: Any) -> None:
    fates, spec = bench.toy_fates(depth, loss, 100), Map()
    full = bench.toy_full(fates, depth, loss)
    found = bench.agreement(fates, full, spec, bench.toy_begun(spec, depth, loss))
    # Deep toys have lone etas that diverge among finite ones, or the other way round: a coarse grid misses some.
    assert found.near >= found.edges - 2 * (depth >= 5)
    assert found.edges >= 60
    # Windows of six decades at T = 100, where the lower edge is less far, and of three and a half.
    assert found.cells <= 0.3 * bench.window_cells(loss, 6)
    assert found.cells <= 0.45 * bench.window_cells(loss, 3.5)
    assert all(state.state != "open" for state in found.states)


@pytest.mark.parametrize("blur", ["noise", "alternating"])
def test_rough_edges_end_too_and_lie_where_the_full_grid_has_them(bench: Any, blur: str) -> None:
    fates, spec = bench.toy_fates(3, "mse", 100, (0, 1), blur), Map()
    full = bench.toy_full(fates, 3, "mse")
    found = bench.agreement(fates, full, spec, bench.toy_begun(spec, 3, "mse"))
    # Half as many cells tell less of edges with noise.
    assert found.near >= (0.85 if blur == "noise" else 1) * found.edges
    assert all(state.state != "open" for state in found.states)
