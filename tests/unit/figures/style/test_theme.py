"""Layers that several figures share."""

import math

import altair as alt
import polars as pl
import pytest

from gammascape.figures.style import theme

from ..specs import marks, nodes, spec_of, subtitle

FIGURE = theme.Figure("test", "A caption.")


def drawn(rows: pl.DataFrame, axis: str) -> alt.LayerChart:
    base = alt.Chart(theme.cut(rows, (0.0, 1.0))).encode(x="at:Q")
    return alt.layer(*theme.intervals(base, axis=axis), base.mark_point().encode(y="at:Q"))


@pytest.mark.parametrize("axis", ["x", "y"])
def test_an_interval_that_leaves_the_frame_ends_in_an_arrowhead_and_is_said(axis: str) -> None:
    rows = pl.DataFrame({"at": [1, 2, 3, 4], "low": [-2.0, 0.2, None, 0.5], "high": [0.5, 9, 9, 1]})
    chart = FIGURE.finish(alt.vconcat(drawn(rows, axis)), "Title", ["counts"])
    assert [mark["shape"] for mark in marks(chart) if "shape" in mark] == list(theme._HEADS[axis])
    assert "arrowheads: what goes on beyond the frame" in subtitle(chart)
    [bars] = spec_of(chart)["datasets"].values()
    known = [(row["low"], row["high"]) for row in bars if row["low"] is not None]
    assert known == [(0.0, 0.5), (0.2, 1.0), (0.5, 1.0)]
    assert [row["below"] for row in bars] == [0.0, None, None, None]
    # A bar without an end is none, and where it would go is not known.
    filters = [node["filter"] for node in nodes(spec_of(chart)) if "filter" in node]
    assert "isValid(datum.low) && isValid(datum.high)" in filters


def test_what_fits_has_no_arrowhead_and_no_words_about_one() -> None:
    rows = pl.DataFrame({"at": [1, 2], "low": [0.0, None], "high": [1.0, None]})
    chart = FIGURE.finish(drawn(rows, "y"), "Title", ["counts"])
    assert not any("shape" in mark for mark in marks(chart))
    assert subtitle(chart) == "counts"


@pytest.mark.parametrize(
    ("slope", "text"), [(2, "²"), (2 / 3, "²⁄³"), (-0.5, "⁻¹⁄²"), (0.333, "⁰·³³"), (-2.0, "⁻²")]
)
def test_exponents_are_raised(slope: float, text: str) -> None:
    assert theme.exponent_text(slope) == text


@pytest.mark.parametrize("low", [0.012, 0.9, 0.97, 1.0, 3.0])
@pytest.mark.parametrize("ratio", [1.05, 1.2, 1.9, 2.4, 10, 300, 1e7])
def test_every_axis_has_more_than_one_tick(low: float, ratio: float) -> None:
    ticks = theme.round_values(low, low * ratio)
    assert 2 <= len(ticks) <= 12
    # A tick may lie a thousandth outside, as a domain is rounded.
    assert all(0.998 * low <= tick <= 1.002 * low * ratio for tick in ticks)
    assert ticks == sorted(set(ticks))
    ends = math.log10(low), math.log10(low * ratio)
    if ends[1] - ends[0] > 0.3:
        assert len(theme.decades(*ends)) >= 2
    assert len(theme.steps_x(ratio).to_dict()["axis"]["values"]) >= 2


def test_ticks_over_many_decades_are_powers_of_ten_in_words() -> None:
    wide, narrow = (
        theme.log_scaled(alt.Y("y:Q"), low, 10.0).to_dict()["axis"] for low in (1e-6, 1e-2)
    )
    assert "round(log(datum.value)" in wide["labelExpr"]
    assert "format" not in wide
    assert narrow["format"] == "~g"
