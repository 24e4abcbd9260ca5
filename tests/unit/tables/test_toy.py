"""Tables of a toy slice say what theory says, with the columns of trained slices."""

import numpy as np
import polars as pl
import pytest

from gammascape.runs.outcome import Thresholds
from gammascape.study import Analysis
from gammascape.tables.cells import CELL_SCHEMA
from gammascape.tables.dynamics.curves import CURVE_SCHEMA
from gammascape.tables.edges.exponents import scaling_table
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.toy import toy_cell_table, toy_curve_table
from gammascape.theory import toy as theory
from gammascape.theory.toy import Loss

STEP = 0.125
STEPS = 300


def labels(loss: Loss) -> dict[str, object]:
    return {
        "slice": f"toy3-one-{loss}-B1-T{STEPS}",
        "model": "toy3",
        "dataset": "one",
        "loss": loss,
        "batch_size": 1,
        "steps": STEPS,
        "passes": None,
    }


def cells(loss: Loss, gammas: list[float]) -> pl.DataFrame:
    points = []
    for gamma in gammas:
        edge = float(np.log10(theory.eta_critical(10.0**gamma, 3, loss)))
        middle = round(edge / STEP) * STEP
        points += [(f"{gamma:g}", f"{middle + k * STEP:g}", f"g{gamma}k{k}") for k in range(-36, 9)]
    return toy_cell_table(points, 3, labels(loss), Thresholds())


@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_the_edges_of_the_table_bracket_those_of_theory(loss: Loss) -> None:
    table = cells(loss, [-3.0, -1.0, 1.0, 2.0])
    assert dict(table.schema) == CELL_SCHEMA
    edges = threshold_table(table, 3)
    for row in edges.filter(edge="eta_min").iter_rows(named=True):
        expected = np.log10(theory.eta_min(10 ** row["gamma_log10"], 3, loss, STEPS))
        # The loss of the table is a mean over the last 5 % of the steps, which is 0.02 decades earlier.
        assert row["bounded"]
        assert row["lower_log10"] < expected + 0.02
        assert expected < row["eta_log10"] + 0.02
    lazy = edges.filter(pl.col("edge") == "eta_max_trained", pl.col("gamma_log10") == -3)
    expected = np.log10(theory.eta_critical(1e-3, 3, loss))
    # The cycle above eta_critical is below half of the start for 0.03 decades more with xent.
    assert lazy["eta_log10"][0] <= expected + 0.05
    assert expected < lazy["upper_log10"][0]


def test_its_fits_are_compared_with_the_depth_of_the_toy() -> None:
    edges = threshold_table(cells("mse", [-4.0, -3.0, -2.0, 1.0, 2.0, 3.0]), 3)
    fits = scaling_table(edges, Analysis())
    upper = {row["window"]: row for row in fits.filter(edge="eta_max_trained").to_dicts()}
    assert upper["lazy"]["slope"] == pytest.approx(2, abs=0.05)
    assert upper["rich"]["slope"] == pytest.approx(
        2 / 3, abs=0.07
    )  # half a grid step over two decades
    assert upper["rich"]["predicted_slope"] == pytest.approx(2 / 3)
    # eta_critical = (2 / L^2) gamma^2.
    assert upper["lazy"]["prefactor_at_predicted_log10"] == pytest.approx(
        np.log10(2 / 9), abs=STEP / 2
    )


def test_a_run_that_explodes_has_diverged_and_has_no_loss() -> None:
    table = cells("mse", [0.0]).sort("eta_log10")
    last = table.row(-1, named=True)
    assert (last["status"], last["final_loss"], last["test_loss"]) == ("diverged", None, None)
    assert table.row(0, named=True)["status"] == "untrained"
    assert "trained" in set(table["status"])


def test_curves_fall_at_the_tau_of_theory() -> None:
    edges = threshold_table(cells("mse", [2.0, 3.0]), 3)
    # Far below the edge gradient descent follows the flow.
    slow = edges.filter(edge="eta_min").with_columns(edge=pl.lit("eta_best"))
    curves = toy_curve_table(slow.with_columns(pl.col("eta_log10") + 0.25))
    assert dict(curves.schema) == CURVE_SCHEMA
    for (gamma,), curve in curves.group_by("gamma_log10"):
        fallen = curve.filter(pl.col("relative_loss") <= 0.5)["tau"].to_numpy()
        expected = theory.collapse_tau(10.0 ** float(str(gamma)), 3, "mse")
        # A bin of the curve is 10 % of tau.
        assert fallen.min() == pytest.approx(float(expected), rel=0.15)


def test_a_slice_in_which_nothing_trains_has_no_curves() -> None:
    edges = threshold_table(cells("mse", [0.0]).filter(pl.col("status") == "diverged"), 3)
    assert toy_curve_table(edges).height == 0


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("step", [0.5, 0.125])
def test_no_exponent_of_a_computed_toy_differs_from_its_law(depth: int, step: float) -> None:
    points = []
    for gamma in np.arange(1, 3.1, 0.25):
        low = np.log10(theory.eta_min(10**gamma, depth, "mse", STEPS)) - 0.7
        high = np.log10(theory.eta_critical(10**gamma, depth, "mse")) + 1
        points += [
            (f"{gamma:g}", f"{k * step:g}", f"g{gamma}k{k}")
            for k in range(int(low / step), int(high / step) + 1)
        ]
    table = toy_cell_table(points, depth, labels("mse"), Thresholds())
    edges = threshold_table(table, depth)
    assert edges["toy"].all()
    fits = scaling_table(edges, Analysis()).filter(pl.col("margin").is_not_null())
    assert set(fits["edge"]) == {"eta_min", "eta_max_trained"}
    for row in fits.iter_rows(named=True):
        assert row["p_differs"] > 0.05
        assert row["slope_low"] < row["predicted_slope"] < row["slope_high"]
        # An exact estimate has the law without its corrections, which are 0.02 to 0.3 here.
        assert row["estimate_slope"] == pytest.approx(row["predicted_slope"], abs=0.2 * step + 0.04)
