"""By how much laws of leading order may be missed."""

from collections.abc import Mapping

import numpy as np
import pytest

from gammascape.theory import toy
from gammascape.theory.laws import COLLAPSE, DYNAMICS, EDGES, LEAST_MARGIN, UNIT, Slope

FAR = np.arange(7, 10.1, 0.5)
NEAR = np.arange(1, 2.1, 0.25)


@pytest.mark.parametrize("depth", [3, 4, 6])
def test_margins_of_far_windows_are_the_least_and_of_near_ones_larger(depth: int) -> None:
    predicted = {"eta_max_trained": 2 / depth, "eta_min": 1.0}
    for edge, exponent in predicted.items():
        law = EDGES[edge, "rich"]
        far, near = (law.margin(x, exponent, depth, "mse", 0.5) for x in (FAR, NEAR))
        assert far == pytest.approx(LEAST_MARGIN, abs=0.02)
        assert near > far
        assert law.margin(NEAR, exponent, depth, "xent", 0.5) > LEAST_MARGIN


def test_the_shape_is_what_the_toy_adds_to_its_law() -> None:
    law = EDGES["eta_min", "rich"]
    exact = np.log10(toy.eta_min(10**NEAR, 2, "mse", 100, 0.7))
    shape = law.shape(NEAR, 1.0, 2, "mse", 0.7)
    assert np.ptp(exact - NEAR - shape) < 1e-12
    assert shape.mean() == pytest.approx(0, abs=1e-12)
    # gamma ln gamma at depth 2: the exponent is 1 + 1 / ln gamma, and more where the loss has little to fall.
    assert law.margin(FAR, 1.0, 2, "mse", 0.5) == pytest.approx(
        LEAST_MARGIN + np.log(10) ** -1 / 8.5, abs=0.01
    )


def test_laws_without_a_closed_form_have_the_least_margin() -> None:
    peak = DYNAMICS["catapult_peak", "lazy"]
    assert peak.margin(-NEAR, -2.0, None, "mse", 0.5) == LEAST_MARGIN
    assert not peak.shape(-NEAR, -2.0, None, "mse", 0.5).any()


def test_a_model_without_depth_has_the_widest_margin_of_those_with_one() -> None:
    law = DYNAMICS["sharpness_init", "rich"]
    unknown, *known = (law.margin(NEAR, -1.0, depth, "mse", 0.5) for depth in (None, 2, 3, 5))
    assert unknown == max(known)


def test_equal_steps_are_what_a_collapse_is_told_from() -> None:
    assert COLLAPSE.alternatives(3) == [pytest.approx(-1 / 3)]
    assert COLLAPSE.alternatives(None) == []


@pytest.mark.parametrize(
    ("laws", "quantity", "predicted", "miss"),
    [
        (EDGES, "eta_min", 1, 0.203),
        (EDGES, "eta_max_trained", 2 / 3, 0.040),
        (DYNAMICS, "sharpness_init", -1, 0.055),
        (DYNAMICS, "sharpening_factor", 1 / 3, 0.095),
        (DYNAMICS, "relative_change", 1 / 3, 0.121),
    ],
)
def test_a_network_whose_gamma_has_another_unit_is_within_the_margin(
    laws: Mapping[tuple[str, str], Slope], quantity: str, predicted: float, miss: float
) -> None:
    law, x = laws[quantity, "rich"], np.arange(1, 3.1, 0.25)
    for shift in (-UNIT, UNIT):
        slope = np.polyfit(x, law.shape(x + shift, predicted, 3, "mse", 0.5), 1)[0]
        assert abs(slope) + LEAST_MARGIN <= law.margin(x, predicted, 3, "mse", 0.5)
    assert law.margin(x, predicted, 3, "mse", 0.5) == pytest.approx(LEAST_MARGIN + miss, abs=1e-3)
