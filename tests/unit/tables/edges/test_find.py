"""Edges of one line of cells: which cell, between which etas, and where in between."""

import numpy as np
import polars as pl
import pytest

from gammascape.runs.outcome import Thresholds
from gammascape.tables.edges.find import edges_of_line, threshold_table
from gammascape.tables.edges.pooled import logistic, pooled_table
from gammascape.theory.toy import descend, eta_critical, eta_min, loss_of

from ...planted import line, on_grid, threshold_rows
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
        assert low <= row["estimate_low_log10"] < row["estimate_log10"]
        assert row["estimate_log10"] < row["estimate_high_log10"] <= high
        assert row["estimate_high_log10"] - row["estimate_low_log10"] < high - low


def test_a_threshold_close_to_one_and_a_loss_of_zero_can_be_interpolated() -> None:
    cells = line("uTtu").with_columns(
        relative_loss=pl.Series([1.0, 0.0, 0.4, 1.01], dtype=pl.Float64)
    )
    for edge in edges_of_line(cells, 0.9999):
        if edge["bounded"]:
            assert np.isfinite(edge["estimate_log10"])


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
                        row = next(e for e in edges_of_line(cells, 0.5) if e["edge"] == "eta_min")
                        errors.append(abs(row["estimate_log10"] - exact[k]) / step)
                        inside.append(
                            row["estimate_low_log10"] <= exact[k] <= row["estimate_high_log10"]
                        )
    assert len(errors) > 300
    # The middle of the grid interval would be off by a quarter of a step in the median.
    assert np.median(errors) < 0.06
    assert np.mean(inside) >= 0.95


def test_seeds_that_disagree_are_put_together_by_a_logistic_fit() -> None:
    y = np.array([[0.1, 0.2, 0.7, 0.8, 1.2]])
    [row] = pooled_table(threshold_rows(np.array([1.0]), y, 0.5), 0.95).to_dicts()
    assert row["method"] == "logistic"
    assert row["estimate_low_log10"] < y.mean() < row["estimate_high_log10"]
    [same] = pooled_table(threshold_rows(np.array([1.0]), y[:, :2], 0.5), 0.95).to_dicts()
    assert (same["method"], same["estimate_log10"], same["seeds"]) == ("grid", 0.25, 2)


def test_seeds_without_a_bracketed_edge_are_counted_and_left_out() -> None:
    rows = threshold_rows(np.array([1.0]), np.array([[0.1, 0.6, 0.7]]), 0.5)
    rows = rows.with_columns(bounded=pl.col("seed") > 0)
    [row] = pooled_table(rows, 0.95).to_dicts()
    assert (row["seeds"], row["unbounded"], row["method"]) == (2, 1, "grid")
    assert pooled_table(rows.with_columns(bounded=pl.lit(False)), 0.95).is_empty()


def test_the_bounds_of_logistic_fits_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    tables, held = 300, 0
    for _ in range(tables):
        centre = rng.uniform(0, 0.5)
        lower, upper = on_grid(rng.logistic(centre, 0.2, 10), 0.5)
        _, low, high, _ = logistic(lower, upper, 0.9)
        held += low <= centre <= high
    # 90 % of 300 is 270; three standard deviations of the binomial are 16. Ten seeds on a coarse grid are
    # few for the theory of likelihoods, which is worth a few per cent more.
    assert 270 - 16 - 9 <= held <= 270 + 16 + 9


def test_another_threshold_moves_the_interpolated_edge() -> None:
    cells = line("uTtx")
    at = [
        found(threshold_table(cells, 3, Thresholds(trained_below=level)), "eta_min")[
            "estimate_log10"
        ]
        for level in (0.3, 0.5, 0.8)
    ]
    assert at == sorted(at, reverse=True)
