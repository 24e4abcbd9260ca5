"""Charts that are built faster are checked as strictly."""

import copy
from collections.abc import Iterator
from typing import Any

import altair as alt
import pytest

from gammascape.figures.style import lean

ODD: tuple[Any, ...] = (None, True, -1, 2.5, "odd", [], [1, "a"], {}, {"odd": 1})
CHART = (
    alt.Chart(alt.Data(values=[{"a": 1, "b": "x"}, {"a": None, "b": "y"}]), height=20)
    .mark_point(filled=True, size=30)
    .encode(
        x=alt.X("a:Q", title=None).scale(domain=[0, 3], zero=False).axis(values=[1, 2], grid=False),
        color=alt.condition("datum.a > 1", alt.value("red"), "b:N"),
        opacity=alt.value(0.5),
    )
    .properties(title=alt.TitleParams("words", anchor="start"))
)
SCHEMA: dict[str, Any] = alt.VegaLiteSchema._rootschema


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each object or list inside, and each of its keys."""
    for key in [*value] if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def test_a_chart_has_errors_where_altair_finds_some() -> None:
    spec = CHART.to_dict()
    right = set()
    for number, (part, key) in enumerate(places(spec)):
        if number % 4:
            continue
        before, part[key] = part[key], copy.deepcopy(ODD[number % len(ODD)])
        found = [of(spec, SCHEMA, SCHEMA) for of in (lean._errors, lean._errors_if_any)]
        right.add(not found[0])
        assert [not errors for errors in found] == [not found[0]] * 2
        part[key] = before
    assert right == {True, False}


def test_a_wrong_chart_is_refused_in_altair_s_words() -> None:
    with pytest.raises(alt.utils.schemapi.SchemaValidationError, match="'big' is an invalid value"):
        CHART.mark_point(size="big").to_dict()


def test_a_chart_made_of_a_copy_leaves_the_first_as_it_is() -> None:
    first = CHART.to_dict()
    alt.layer(CHART, CHART.mark_line().encode(y="a:Q")).resolve_scale(y="independent").to_dict()
    assert CHART.encode(x="b:N").to_dict() != first
    assert CHART.to_dict() == first
