"""Axes hold exact points of one absolute grid, wherever a range or window begins."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gammascape.study.keys.axes import EtaAxis, GammaAxis, Range, Window
from gammascape.study.keys.exact import decimal_text, is_decimal_text
from gammascape.theory.edges import Loss

bounds = st.decimals(-12, 12, places=2)
densities = st.integers(1, 12)
losses: st.SearchStrategy[Loss] = st.sampled_from(["mse", "xent"])
depths = st.sampled_from([2, 3, 4, 5, None])


def points(low: Decimal, high: Decimal, per_decade: int) -> tuple[Decimal, ...]:
    given_ = {"from": low, "to": high, "per_decade": per_decade}
    return Range.model_validate(given_).points()


def texts(values: tuple[Decimal, ...]) -> list[str]:
    return [decimal_text(value) for value in values]


@pytest.mark.parametrize(
    ("value", "text"),
    [("1", "1"), ("1.0", "1"), ("1.00", "1"), ("-2.50", "-2.5"), ("-0.0", "0"), ("100", "100"),
     ("0.333333", "0.333333"), ("1E+1", "10"), ("1E-6", "0.000001")],
)  # fmt: skip
def test_a_decimal_has_one_text(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


@given(st.decimals(-30, 30, places=6))
def test_the_text_of_a_decimal_is_recognised_and_exact(value: Decimal) -> None:
    text = decimal_text(value)
    assert is_decimal_text(text)
    assert Decimal(text) == value


def test_the_points_of_a_range_are_multiples_of_its_step() -> None:
    assert texts(points(Decimal(-1), Decimal(1), 2)) == ["-1", "-0.5", "0", "0.5", "1"]
    assert texts(points(Decimal("-0.4"), Decimal("0.7"), 3)) == [
        "-0.333333",
        "0",
        "0.333333",
        "0.666667",
    ]


def test_a_rounded_bound_includes_the_point_it_was_copied_from() -> None:
    bound = Decimal("0.333333")
    assert texts(points(bound, Decimal("0.666667"), 3)) == ["0.333333", "0.666667"]


@given(bounds, bounds, densities)
def test_every_point_of_a_range_lies_in_it(one: Decimal, other: Decimal, density: int) -> None:
    low, high = sorted((one, other))
    assume(high - low >= 1)
    found = points(low, high, density)
    assert all(low <= point <= high for point in found)
    assert list(found) == sorted(set(found))
    assert len(found) >= int((high - low) * density)


@given(bounds, bounds, bounds, densities)
def test_changing_a_range_never_moves_a_point(
    one: Decimal, two: Decimal, three: Decimal, density: int
) -> None:
    low, middle, high = sorted((one, two, three))
    assume(high - middle >= 1 and middle - low >= 1)
    wide, narrow = points(low, high, density), points(low, middle, density)
    assert set(narrow) == {point for point in wide if point <= middle}


@given(bounds, bounds, densities, st.integers(2, 4))
def test_raising_the_density_by_a_factor_keeps_every_point(
    one: Decimal, other: Decimal, density: int, factor: int
) -> None:
    low, high = sorted((one, other))
    assume(high - low >= 1)
    assert set(points(low, high, density)) <= set(points(low, high, density * factor))


def window(lower: Decimal | int, upper: Decimal | int, density: int, **more: Any) -> Window:
    given_ = {"lower": lower, "upper": upper, "per_decade": density, **more}
    return Window.model_validate(given_)


@given(bounds, densities, losses, depths, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_changing_a_window_never_moves_a_point(
    gamma: Decimal, density: int, loss: Loss, depth: int | None, low: int, mid: int, high: int
) -> None:
    narrow = window(-low, mid, density).points(gamma, loss, depth)
    wide = window(-low - high, mid + high, density).points(gamma, loss, depth)
    grid = {Decimal(k) / density for k in range(-60 * density, 60 * density + 1)}
    assert {round(point, 6) for point in grid} >= set(wide)
    if not closed(gamma, depth, loss):
        assert set(narrow) <= set(wide)


def closed(gamma: Decimal, depth: int | None, loss: Loss) -> bool:
    """Whether the lower edge is above the upper one by more than any offset of the test."""
    return gamma > 0 and Fraction(gamma) * (1 - Fraction(2, depth or 2)) > 0


@pytest.mark.parametrize(
    ("gamma", "loss", "depth", "expected"),
    [
        ("-3", "mse", 3, (-8, -4)),  # 2g on both sides
        ("-3", "xent", 3, (-8, -1)),  # the upper edge is g
        ("0", "mse", 3, (-2, 2)),
        ("3", "mse", 3, (1, 4)),  # lower g, upper 2g/3
        ("3", "xent", 3, (1, 4)),
        ("4", "mse", 4, (2, 4)),
        ("3", "mse", 2, (1, 5)),
        ("3", "mse", None, (1, 5)),  # no depth exponent: g
    ],
)
def test_a_window_spans_from_the_lower_to_the_upper_edge(
    gamma: str, loss: Loss, depth: int | None, expected: tuple[int, int]
) -> None:
    found = window(-2, 2, 1).points(Decimal(gamma), loss, depth)
    assert found == tuple(map(Decimal, range(expected[0], expected[1] + 1)))


def test_a_window_whose_edges_have_crossed_shows_the_neighbourhood() -> None:
    # lower: 9 - 1 = 8; upper: 2/3 * 9 + 1 = 7.
    found = window(-1, 1, 1).points(Decimal(9), "mse", 3)
    assert texts(found) == ["7", "8"]


def test_a_window_that_follows_the_upper_edge_is_a_band_around_it() -> None:
    band = window(-1, 1, 1, follow="upper")
    assert texts(band.points(Decimal(-3), "mse", 3)) == ["-7", "-6", "-5"]
    assert texts(band.points(Decimal(-3), "xent", 3)) == ["-4", "-3", "-2"]
    assert texts(band.points(Decimal(3), "mse", 3)) == ["1", "2", "3"]


def test_a_rich_exponent_serves_models_without_a_depth_exponent_only() -> None:
    halved = window(-1, 1, 1, follow="upper", rich_exponent=0.5)
    assert texts(halved.points(Decimal(4), "mse", None)) == ["1", "2", "3"]
    assert texts(halved.points(Decimal(4), "mse", 2)) == ["3", "4", "5"]


@pytest.mark.parametrize("gamma", ["-0.333333", "0.666667", "-1.333333", "2.333333"])
def test_an_edge_of_a_rounded_gamma_still_lies_on_the_grid(gamma: str) -> None:
    edge = window(0, 0, 3, follow="upper")
    assert len(edge.points(Decimal(gamma), "mse", 2)) == 1


@pytest.mark.parametrize("given_", [-3, -3.0, [-3], [-3.0]])
def test_one_value_and_a_list_of_one_are_the_same_axis(given_: object) -> None:
    axis = {"log10": given_}
    assert texts(GammaAxis.model_validate(axis).points()) == ["-3"]
    assert texts(EtaAxis.model_validate(axis).points(Decimal(5), "mse", 3)) == ["-3"]
