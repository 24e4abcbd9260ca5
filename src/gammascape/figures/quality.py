"""Generated digits beside MNIST's test set: looks, legibility, newness."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import theme
from gammascape.figures.style.tables import count_of

WIDTH, HEIGHT = 370, 240
_PICTURE = (420, 126)
_TEST, _SAMPLES = "MNIST test set", "generated"
_NAMES = (_TEST, _SAMPLES)
_SUBJECTS = {"diffusion": "digits of the diffusion model", "deform": "deformed digits"}
_FIGURE = theme.Figure(
    "quality",
    "Top: the first digits of each class. Left: how many of each class a network reads as labelled that "
    "was trained on MNIST's training images. Right: cumulative shares of the distance to the nearest of "
    "these training images; a curve to the left of the curve of the test set means digits that are copied, "
    "one to the right digits that are unlike any.",
)


def quality(measures: Mapping[str, Any], kind: str) -> ChartType:
    """Chart of what `gammascape.generate.quality` measured on a set of digits made by generator `kind`."""
    accuracy, nearest = measures["accuracy"], measures["nearest"]
    pictures = alt.hconcat(
        _picture(measures["pictures"]["test"], _TEST),
        _picture(measures["pictures"]["samples"], _SAMPLES),
        spacing=24,
    )
    measured = alt.hconcat(_by_class(accuracy), _distances(nearest), spacing=48)
    subject = _SUBJECTS.get(kind, "generated digits")
    legible, real = f"{accuracy['samples']:.1%}", f"{accuracy['test']:.1%}"
    images = count_of(measures["samples"], "generated image")
    return _FIGURE.finish(
        alt.vconcat(pictures, measured, spacing=24),
        f"{legible} of the {subject} are read as labelled, {real} of MNIST's",
        [
            f"{images} · distances of {nearest['subset']:,} of them and of "
            f"{nearest['test_subset']:,} test images",
            f"{nearest['close_share']:.1%} of these are closer to a training image than 99 % of the "
            "test images are",
        ],
        width=100,
    )


def _picture(url: str, name: str) -> alt.Chart:
    width, height = _PICTURE
    heading = alt.TitleParams(name, fontSize=theme.SIZES["label"])
    chart: alt.Chart = (
        alt.Chart(pl.DataFrame({"url": [url]}), view=alt.ViewBackground(stroke=None))
        .mark_image(width=width, height=height)
        .encode(url="url:N", x=alt.value(width / 2), y=alt.value(height / 2))
        .properties(width=width, height=height, title=heading)
    )
    return chart


def _colour() -> alt.Color:
    legend = alt.Legend(title=None, orient="bottom", symbolStrokeWidth=2)
    return alt.Color("set:N", scale=theme.series_scale(_NAMES), sort=list(_NAMES), legend=legend)


def _by_class(accuracy: Mapping[str, Any]) -> alt.Chart:
    rows = [
        {"digit": digit, "set": name, "value": 100 * value}
        for key, name in zip(("test_classes", "samples_classes"), _NAMES, strict=True)
        for digit, value in enumerate(accuracy[key])
        if value is not None
    ]
    frame = pl.DataFrame(rows, schema={"digit": pl.Int64, "set": pl.String, "value": pl.Float64})
    lowest = min((row["value"] for row in rows), default=0.0)
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_point(filled=True, size=60, opacity=1, fillOpacity=0.9)
        .encode(
            x=alt.X("digit:O", title="class", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title="read as labelled (%)").scale(
                domain=[min(90.0, lowest - 1), 100.2], nice=False
            ),
            color=_colour(),
            shape=alt.Shape(
                "set:N", scale=theme.series_scale(_NAMES, theme.SERIES_SHAPES), sort=list(_NAMES)
            ),
            tooltip=["set:N", "digit:O", alt.Tooltip("value:Q", format=".2f")],
        )
        .properties(width=WIDTH, height=HEIGHT)
    )
    return chart


def _distances(nearest: Mapping[str, Any]) -> ChartType:
    rows = [
        {"set": name, "distance": value, "share": 100 * number / (len(values) - 1)}
        for values, name in (
            (nearest["test_quantiles"], _TEST),
            (nearest["samples_quantiles"], _SAMPLES),
        )
        for number, value in enumerate(values)
    ]
    x = alt.X(
        "distance:Q", title="distance to the nearest training image (L2, pixels in 0..1)"
    ).scale(zero=False)
    curves = (
        alt.Chart(pl.DataFrame(rows))
        .mark_line(strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y("share:Q", title="images at most as far (%)").scale(domain=[0, 100]),
            color=_colour(),
            order="share:Q",
        )
    )
    limit = pl.DataFrame(
        {"distance": [nearest["close_limit"]], "note": ["1 % of the test set is nearer"]}
    )
    rule = alt.Chart(limit).mark_rule(strokeDash=[3, 3], color=theme.QUIET).encode(x=x)
    note = (
        alt.Chart(limit)
        .mark_text(align="left", dx=4, color=theme.QUIET, fontSize=theme.SIZES["note"])
        .encode(x=x, y=alt.value(8), text="note:N")
    )
    return alt.layer(curves, rule, note).properties(width=WIDTH, height=HEIGHT)
