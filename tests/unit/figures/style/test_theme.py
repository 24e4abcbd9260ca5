"""Layers that several figures share."""

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
    assert "arrowheads: intervals that go on" in subtitle(chart)
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
