"""Edges of one line of cells: which cell, between which etas, and where in between."""

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr

from gammascape.runs.outcome import Thresholds
from gammascape.tables.edges.find import cells_of, threshold_table
from gammascape.tables.edges.pooled import pooled_table
from gammascape.theory.toy import descend, eta_critical, eta_min, loss_of

from ...planted import line, on_grid
from ...toys import edge_log10


def found(table: pl.DataFrame, edge: str) -> dict[str, object]:
    [row] = table.filter(pl.col("edge") == edge).to_dicts()
    return row


@pytest.mark.parametrize(
    ("statuses", "calm", "bounded"),
    [
        ("utTtcx", 3, True),
        # A cell that trained after a spike ends the calm part, whatever comes above it.
        ("utcTtx", 1, True),
        ("utTtx", 3, True),
        ("utTt", 3, False),
    ],
)
def test_the_edge_without_spikes_ends_where_the_first_cell_of_the_run_catapults(
    statuses: str, calm: int, bounded: bool
) -> None:
    row = found(threshold_table(line(statuses), 3), "eta_no_spike")
    assert (row["eta_log10"], row["bounded"]) == (calm / 2, bounded)


def test_a_run_that_begins_with_a_spike_has_no_calm_edge() -> None:
    table = threshold_table(line("ucTx"), 3)
    assert "eta_no_spike" not in table["edge"].to_list()


def test_the_critical_eta_is_two_over_width_times_sharpness_and_needs_no_grid() -> None:
    cells = line("uTtx").with_columns(sharpness_init=pl.lit(2.5))
    row = found(threshold_table(cells, 3), "eta_crit")
    assert row["eta_log10"] == row["estimate_log10"] == pytest.approx(np.log10(2 / (8 * 2.5)))
    assert (row["bounded"], row["method"]) == (True, "measured")
    nothing = line("xxx").with_columns(sharpness_init=pl.lit(2.5))
    assert threshold_table(nothing, 3)["edge"].to_list() == ["eta_crit"]
    # A network at a saddle may have no positive curvature; then there is no such edge.
    assert (
        "eta_crit"
        not in threshold_table(line("uTtx").with_columns(sharpness_init=pl.lit(-1.0)), 3)[
            "edge"
        ].to_list()
    )


def test_an_edge_beside_a_run_that_broke_down_stays_on_the_grid() -> None:
    for above in ("x", "r", "d"):
        row = found(threshold_table(line("uTt" + above), 3), "eta_max_trained")
        assert (row["method"], row["estimate_log10"]) == ("grid", 1.25)


def test_interpolated_edges_lie_between_the_cells_that_bracket_them() -> None:
    table = threshold_table(line("uTtu"), 3)
    for edge, low, high in (("eta_min", 0.0, 0.5), ("eta_max_trained", 1.0, 1.5)):
        row = found(table, edge)
        assert row["method"] == "interpolated"
        # How far interpolation can be trusted is not known: the ends are the grid's.
        assert (row["estimate_low_log10"], row["estimate_high_log10"]) == (low, high)
        assert low < row["estimate_log10"] < high


def test_a_threshold_close_to_one_and_a_loss_of_zero_can_be_interpolated() -> None:
    cells = line("uTtu").with_columns(
        relative_loss=pl.Series([1.0, 0.0, 0.4, 1.01], dtype=pl.Float64)
    )
    table = threshold_table(cells, 3, Thresholds(trained_below=0.9999)).filter("bounded")
    assert table.height == 4
    assert table["estimate_log10"].is_finite().all()


def test_interpolation_finds_the_exact_lower_edge_of_the_toy_within_its_interval() -> None:
    """Depths, losses, gammas from lazy to rich, three grids and three positions of each."""
    errors, inside = [], []
    gammas = 10.0 ** np.arange(-3, 3.1, 1.0)
    for loss in ("mse", "xent"):
        for depth in (2, 3, 4):
            steps = 200
            middle = np.sqrt(
                eta_critical(gammas, depth, loss) * eta_min(gammas, depth, loss, steps)
            )
            exact = edge_log10("eta_min", gammas, depth, loss, steps, np.log10(middle))
            for step in (0.25, 0.5, 1.0):
                for offset in np.linspace(0, step, 3, endpoint=False):
                    low, high = on_grid(exact - offset, step)
                    runs = [
                        descend(gammas, 10 ** (at + offset), depth, loss, steps, window=10)
                        for at in (low, high)
                    ]
                    ends = [run.final_loss / loss_of(0.0, loss) for run in runs]
                    for k in range(len(gammas)):
                        if not ends[0][k] > 0.5 >= ends[1][k]:
                            continue
                        cells = line("uT", step=step, start=low[k] + offset).with_columns(
                            relative_loss=pl.Series([ends[0][k], ends[1][k]])
                        )
                        row = found(threshold_table(cells, depth), "eta_min")
                        errors.append(abs(row["estimate_log10"] - exact[k]) / step)
                        inside.append(
                            row["estimate_low_log10"] <= exact[k] <= row["estimate_high_log10"]
                        )
    assert len(errors) > 300
    # The middle of the grid interval would be off by a quarter of a step in the median.
    assert np.median(errors) < 0.06
    assert all(inside)


def test_an_edge_of_mixed_outcomes_is_a_level_and_its_neighbours_share_the_blur() -> None:
    clear = line("uuuTttxxxx", gamma=1.0, step=0.125)
    mixed = line("uuuTtxtxxx", gamma=2.0, step=0.125)
    table = threshold_table(pl.concat([clear, mixed]), 3).filter(edge="eta_max_trained")
    blurred, level = table.sort("gamma_log10").to_dicts()
    assert (blurred["method"], level["method"]) == ("blurred", "level")
    assert 0 < blurred["zone_log10"] < level["zone_log10"]
    # The run ends at 4/8; the failure beyond it is one of two.
    assert level["eta_log10"] == 0.5 < level["estimate_log10"] < 0.875
    # Of the level the estimate is fitted, of the other edge its interval.
    lower, upper = cells_of(table.sort("gamma_log10"))
    assert (lower[1], upper[1]) == (level["estimate_log10"], level["estimate_log10"])
    assert (lower[0], upper[0]) == (blurred["estimate_low_log10"], blurred["estimate_high_log10"])


def test_each_side_of_gamma_one_has_a_blur_of_its_own() -> None:
    mixed, sharp = line("uttututuu"), line("utttttuuu")
    cells = pl.concat(
        [
            mixed.with_columns(gamma_log10=pl.lit(2.0)),
            sharp.with_columns(gamma_log10=pl.lit(1.0)),
            sharp.with_columns(gamma_log10=pl.lit(-1.0)),
        ]
    )
    edges = threshold_table(cells, 3).filter(edge="eta_max_trained")
    methods = dict(edges.select("gamma_log10", "method").iter_rows())
    assert (methods[2.0], methods[1.0]) == ("level", "blurred")
    assert methods[-1.0] in ("grid", "interpolated")


def test_edges_do_not_depend_on_the_density_of_etas() -> None:
    """With a blur of 0.2 decades the end of the run moves by the tenth of a decade that is not allowed."""
    rng, found_at = np.random.default_rng(0), {}
    for step in (1 / 4, 1 / 16):
        parts = []
        for gamma in range(60):
            start = -1.5 + step * rng.uniform()
            eta = np.arange(start, 1.5, step)
            trains = rng.uniform(size=len(eta)) < ndtr(-eta / 0.2)
            # Always trained and always untrained at the ends, so that every line has both.
            statuses = "".join("t" if good else "x" for good in trains)
            parts.append(line("uT" + statuses[2:-1] + "x", float(gamma), step, start))
        table = threshold_table(pl.concat(parts), 3).filter(edge="eta_max_trained")
        found_at[step] = (table["estimate_log10"].mean(), table["eta_log10"].mean() + step / 2)
    levels, runs = zip(*found_at.values(), strict=True)
    # The error of the mean over 60 lines is 0.2 / sqrt(60), or less: two of three deviations.
    assert np.abs(levels).max() < 0.08
    assert runs[1] < runs[0] - 0.08


def test_an_edge_beyond_the_sampled_etas_has_one_end() -> None:
    row = found(threshold_table(line("uTtt"), 3), "eta_max_trained")
    ends = [row[f"estimate{end}_log10"] for end in ("", "_low", "_high")]
    assert (row["bounded"], ends) == (False, [None, 1.5, None])
    lower, upper = cells_of(threshold_table(line("uTtt"), 3).filter(edge="eta_max_trained"))
    assert (lower[0], upper[0]) == (1.5, np.inf)


def pooled(y: list[float], top: float = 9.0) -> list[dict[str, object]]:
    """The upper edge of seeds with edges y, on a grid of 1/2 that ends at `top`."""
    seeds = []
    for seed, edge in enumerate(y):
        etas = np.arange(0, min(3.0, top) + 0.1, 0.5)
        statuses = "".join("t" if eta < edge else "x" for eta in etas)
        one = line(("T" + statuses[1:]) if edge > 0 else "x" * len(etas))
        seeds.append(one.with_columns(seed=pl.lit(seed, pl.Int64)))
    cells = pl.concat(seeds)
    table = pooled_table(cells, threshold_table(cells, 3), 0.95)
    return table.filter(edge="eta_max_trained").to_dicts()


def test_seeds_are_put_together_with_those_beyond_the_sampled_etas() -> None:
    [row] = pooled([0.6, 0.7, 1.2])
    assert row["estimate_log10"] == pytest.approx((0.75 + 0.75 + 1.25) / 3)
    assert row["estimate_low_log10"] < row["estimate_log10"] < row["estimate_high_log10"]  # type: ignore[operator]
    assert (row["seeds"], row["censored"], row["without"], row["method"]) == (3, 0, 0, "grid")
    assert row["zone_log10"] > 0  # type: ignore[operator]
    [beyond] = pooled([0.6, 0.7, 2.2, -1.0], top=1.5)
    assert (beyond["seeds"], beyond["censored"], beyond["without"]) == (3, 1, 1)
    # One of them lies above 1.5.
    assert beyond["estimate_log10"] > 0.9  # type: ignore[operator]
    [alone] = pooled([0.6])
    assert (alone["estimate_log10"], alone["estimate_low_log10"]) == (0.75, None)
    assert pooled([2.2], top=1.5) == []


def test_another_threshold_moves_the_interpolated_edge() -> None:
    cells = line("uTtx")
    at = [
        found(threshold_table(cells, 3, Thresholds(trained_below=level)), "eta_min")[
            "estimate_log10"
        ]
        for level in (0.3, 0.5, 0.8)
    ]
    assert at == sorted(at, reverse=True)
