"""The exponents that theory predicts for each edge."""

import pytest

from gammascape.study import EDGES, Edge, Regime, predicted_slope
from gammascape.theory.edges import Loss


@pytest.mark.parametrize(
    ("edge", "loss", "lazy", "rich"),
    [
        ("eta_min", "mse", 2, 1),
        ("eta_min", "xent", 2, 1),
        ("eta_crit", "mse", 2, 1),
        ("eta_crit", "xent", 2, 1),
        ("eta_no_spike", "mse", 2, 0.5),
        ("eta_no_spike", "xent", 2, 0.5),
        ("eta_max_trained", "mse", 2, 0.5),
        ("eta_max_trained", "xent", 2, 0.5),
        ("eta_max_finite", "mse", 2, 0.5),
        ("eta_max_finite", "xent", 1, 0.5),
        ("eta_best", "mse", 2, 0.5),
        ("eta_best", "xent", 2, 0.5),
    ],
)
def test_slopes_of_a_network_of_depth_four(
    edge: Edge, loss: Loss, lazy: float, rich: float
) -> None:
    assert predicted_slope(edge, loss, "lazy", 4) == lazy
    assert predicted_slope(edge, loss, "rich", 4) == rich


@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_without_a_depth_exponent_only_the_upper_edges_in_the_rich_window_are_unknown(
    loss: Loss,
) -> None:
    regimes: tuple[Regime, ...] = ("lazy", "rich")
    unknown = {
        (edge, regime)
        for edge in EDGES
        for regime in regimes
        if predicted_slope(edge, loss, regime, None) is None
    }
    assert unknown == {(edge, "rich") for edge in EDGES if edge not in ("eta_min", "eta_crit")}


def test_the_upper_edge_of_a_deeper_network_is_flatter() -> None:
    assert predicted_slope("eta_max_trained", "mse", "rich", 3) == pytest.approx(2 / 3)
    assert predicted_slope("eta_max_trained", "mse", "rich", 2) == 1
