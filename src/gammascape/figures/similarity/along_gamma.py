"""Similarity of networks of equal gamma against gamma, at equal steps and at equal loss."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.similarity.map import GROUP
from gammascape.figures.style import theme
from gammascape.figures.style.tables import budget_line, count_of, extent, study_line, with_margin

WIDTH, HEIGHT = 330, 230
_COMPARED = ("architectures", "models", "seeds")
_WORDS = {
    "architectures": "different architectures",
    "models": "one architecture, other options",
    "seeds": "one model, other seed",
}
_COLOURS = {"architectures": "#222222", "models": "#d55e00", "seeds": "#0072b2"}
_LEFT_OUT = {"architectures": "one architecture", "models": "one model", "seeds": "one network"}
_SHORT = {"cka": "CKA", "correlation": "the correlation of functions"}
_ROWS = {"cka": "CKA of last hidden layers", "correlation": "correlation of functions"}
_LIGHT_TO_DARK = ("#a5a000", "#3fae5a", "#21908d", "#3b528b", "#440154")
_MEASURES = {
    "cka": "their last hidden layers (linear CKA, 1 for equal representations)",
    "correlation": "their outputs (correlation)",
}


def similarity_trend(trend: pl.DataFrame, summary: pl.DataFrame) -> ChartType:
    """Similarity at equal gamma against gamma: equal steps beside equal loss, representations above functions.

    Data sets, losses and budgets are never mixed: each has two rows of its own.
    """
    trend = _widest(trend.filter(pl.col("layers").is_null() | (pl.col("layers") == "last")))
    summary = _widest(summary.filter(pl.col("layers").is_null() | (pl.col("layers") == "last")))
    if trend.is_empty():
        return theme.Figure("similarity_trend", "").empty_chart(
            "No two networks have the same γ", "0 networks"
        )
    levels = trend.drop_nulls("level")["level"].unique().sort(descending=True).cast(pl.String)
    # A level looks the same in all groups: the darker, the more has been learned.
    looks = dict(zip(levels, zip(_LIGHT_TO_DARK, theme.SERIES_SHAPES, strict=False), strict=False))
    parts = trend.sort(GROUP, maintain_order=True).partition_by(GROUP, maintain_order=True)
    charts = []
    for part in parts:
        # Outputs that are constant cannot be compared, nor layers.
        measures = [measure for measure in _ROWS if measure in part["measure"]]
        drawn = [_row(part, measure, looks, measure == measures[-1]) for measure in measures]
        chart = alt.vconcat(*drawn, spacing=12)
        heading = f"{part['dataset'][0]}, {budget_line(part)}"
        charts.append(chart.properties(title=heading) if len(parts) > 1 else chart)
    return theme.Figure("similarity_trend", _caption(trend)).finish(
        alt.vconcat(*charts, spacing=34),
        _title(summary),
        [_counts(trend), _intervals(trend), study_line(trend)],
        width=92,
    )


def _caption(trend: pl.DataFrame) -> str:
    """Caption of the rows and columns that are drawn."""
    measures = [words for name, words in _MEASURES.items() if name in trend["measure"]]
    places = ("Above: ", "; below: ") if measures[1:] else ("Compared are ",)
    text = (
        "How alike two trained networks of the same feature learning strength γ are, against γ. "
        f"{''.join(map(str.__add__, places, measures))}. "
    )
    if "loss" in trend["at"]:
        text += (
            "Left: at the end of the runs; right: when the loss first falls to a share of the loss of f = 0, so "
            "that a network that has learned less does not look less alike for that reason. "
        )
    else:
        text += "All at the end of the runs. "
    if trend["value_low"].count():
        text += "Bars are intervals by leaving out networks or architectures. "
    if trend["shuffled_high"].count():
        text += "The grey band is what shuffled inputs give. "
    return text.rstrip()


def _widest(table: pl.DataFrame) -> pl.DataFrame:
    """Choose the interval that claims most of a number: architectures or models before seeds."""
    key = [*GROUP, "at", "level", "measure", "compared"]
    key += ["gamma_log10"] if "gamma_log10" in table.columns else []
    # Sorted by name, 'seeds' is the last.
    return table.sort(*key, "resampled", nulls_last=True).unique(
        key, keep="first", maintain_order=True
    )


def _row(
    part: pl.DataFrame, measure: str, looks: Mapping[str, tuple[str, str]], last: bool
) -> ChartType:
    shown = part.filter(measure=measure)
    xs = with_margin(part["gamma_log10"], 0.3)
    ys = [min(0.0, extent(shown["value"])[0]), 1.0]
    steps = shown.filter(at="steps").with_columns(series=pl.col("compared").replace_strict(_WORDS))
    kinds = {
        _WORDS[kind]: (_COLOURS[kind], shape)
        for kind, shape in zip(_COMPARED, theme.SERIES_SHAPES, strict=False)
        if kind in steps["compared"]
    }
    panel = partial(_panel, value=_ROWS[measure], last=last, xs=xs, ys=ys)
    panels = [panel(steps, "at equal steps: the end of the runs", "networks of equal γ", kinds)]
    widest = next(kind for kind in _COMPARED if kind in part["compared"])
    loss = shown.filter(at="loss", compared=widest)
    if not loss.is_empty():
        loss = loss.with_columns(series=pl.col("level").cast(pl.String))
        here = {level: look for level, look in looks.items() if level in loss["series"]}
        words = f"at equal loss: {_WORDS[widest]}"
        panels.append(panel(loss, words, "loss / loss of f = 0", here))
    row: alt.HConcatChart = alt.hconcat(*panels, spacing=30).resolve_scale(
        color="independent", shape="independent", stroke="independent"
    )
    return row


def _panel(
    table: pl.DataFrame,
    title: str,
    legend: str,
    looks: Mapping[str, tuple[str, str]],
    *,
    value: str,
    last: bool,
    xs: list[float],
    ys: list[float],
) -> ChartType:
    """A panel; `looks` are colour and shape of each series, and the `last` one says what all have in common."""
    # Bars of several series at one gamma stand beside one another.
    apart = 0.015 * (xs[1] - xs[0])
    names = list(looks)
    drawn = table.with_columns(
        x=pl.col("gamma_log10") + pl.col("series").replace_strict(theme.side_by_side(names, apart)),
        low=pl.col("value_low"),
        high=pl.col("value_high"),
        whole=pl.col("model_pairs") == pl.col("model_pairs").max().over("compared"),
    )
    drawn = theme.cut(drawn, ys)
    shown = alt.Legend(orient="bottom", direction="horizontal", columns=5) if last else None
    scales = [
        alt.Scale(domain=names, range=list(look)) for look in zip(*looks.values(), strict=True)
    ]
    colour = alt.Color("series:N", title=legend, scale=scales[0], legend=shown)
    shape = alt.Shape("series:N", title=legend, scale=scales[1], legend=shown)
    x = theme.in_decades(alt.X("x:Q"), theme.GAMMA if last else "", xs)
    y = alt.Y("value:Q", title=f"{value} (dimensionless)").scale(domain=ys, nice=False)
    base: alt.Chart = alt.Chart(drawn).encode(
        x=x,
        tooltip=[
            alt.Tooltip("series:N", title=legend),
            alt.Tooltip("gamma_log10:Q", title="log₁₀ γ"),
            alt.Tooltip("value:Q", title=value, format=".3f"),
            alt.Tooltip("value_low:Q", title="from", format=".3f"),
            alt.Tooltip("value_high:Q", title="to", format=".3f"),
            alt.Tooltip("p_value:Q", title="share of shuffles that reach it", format=".3f"),
            alt.Tooltip("model_pairs:Q", title="pairs of models"),
        ],
    )
    plain = base.encode(color=colour)
    marked = base.encode(color=colour, shape=shape, y=y)
    return alt.layer(
        *_chance(drawn, xs, ys),
        *theme.intervals(plain, 1.6, opacity=0.55),
        plain.mark_line(strokeWidth=2.0).encode(y=y),
        marked.transform_filter("datum.whole").mark_point(filled=True, size=50, opacity=1),
        plain.transform_filter("!datum.whole")
        .mark_point(filled=True, size=50, opacity=1, fill="white", strokeWidth=1.4)
        .encode(y=y, shape=shape, stroke=alt.Stroke("series:N", scale=scales[0], legend=None)),
    ).properties(
        width=WIDTH,
        height=HEIGHT,
        title=alt.TitleParams(title, fontSize=11, fontWeight="normal"),
    )


def _chance(table: pl.DataFrame, xs: list[float], ys: list[float]) -> tuple[Any, Any]:
    """The band that shuffled inputs reach, and its name."""
    high = table.group_by("gamma_log10").agg(pl.col("shuffled_high").max()).sort("gamma_log10")
    first, last = high["shuffled_high"][0], high["shuffled_high"][-1]
    band = pl.DataFrame(
        {
            "x": [xs[0], *high["gamma_log10"], xs[1]],
            "reached": [first, *high["shuffled_high"], last],
            "floor": ys[0],
        }
    )
    shaded = alt.Chart(band).mark_area(color="#bdbdbd", fillOpacity=0.6)
    note = alt.Chart(band[-1:]).mark_text(
        text="shuffled inputs, 95 %",
        align="right",
        dx=-4,
        dy=-7,
        color=theme.QUIET,
        fontSize=theme.SIZES["note"],
    )
    return (
        shaded.encode(x=theme.spanning(alt.X("x:Q"), xs), y="reached:Q", y2="floor:Q"),
        note.encode(x="x:Q", y="reached:Q"),
    )


def _title(summary: pl.DataFrame) -> str:
    """The verdict at the level of loss that most networks have reached, and at equal steps.

    On CKA; on functions where there is none.
    """
    measure = next(name for name in _ROWS if name in summary["measure"])
    of_measure = summary.filter(measure=measure)
    widest = next(kind for kind in _COMPARED if kind in of_measure["compared"])
    of_measure = of_measure.filter(compared=widest)
    group = of_measure.sort("model_pairs", "gammas", descending=True).select(GROUP).row(0)
    of_measure = of_measure.filter(**dict(zip(GROUP, group, strict=True)))
    # Of levels that equally many have reached, the lowest.
    rows = of_measure.filter(at="loss").drop_nulls("slope")
    rows = rows.sort("gammas", "model_pairs", -pl.col("level"), descending=True)
    found = [*rows.head(1).rows(named=True), *of_measure.filter(at="steps").rows(named=True)]
    found = [row for row in found if row["slope"] is not None]
    where = f" on {group[0]}" if summary["dataset"].n_unique() > 1 else ""
    subject = {
        "architectures": "Different architectures",
        "models": "Networks of one architecture",
        "seeds": "Networks of other seeds",
    }[widest]
    if not found:
        return f"{subject} are compared at one γ{where}"
    first = found[0]
    if widest != "seeds" and first["resampled"] == "seeds":
        # The interval holds for these models alone.
        subject = {"architectures": "These architectures", "models": "These networks"}[widest]
    numbers = "; ".join(_change(row) for row in found)
    if first["verdict"] == "undecided":
        sure = "" if first["slope_low"] is not None else ", without an interval,"
        return (
            f"Whether {subject[0].lower()}{subject[1:]} become more similar with γ{where} stays undecided: per "
            f"decade of γ {_SHORT[measure]} changes{sure} by {numbers}"
        )
    more = "more" if first["verdict"] == "grows" else "less"
    return f"{subject} become {more} similar with γ{where}: per decade {_SHORT[measure]} changes by {numbers}"


def _change(row: dict[str, Any]) -> str:
    at = "at equal steps" if row["at"] == "steps" else f"at equal loss ({row['level']} of f = 0)"
    text = f"{row['slope']:+.2f}"
    if row["slope_low"] is not None:
        level = f"{100 * row['confidence']:.0f} % interval "
        text += f" ({level}{row['slope_low']:+.2f} to {row['slope_high']:+.2f})"
    return f"{text} {at}".replace("-", "−")


def _counts(trend: pl.DataFrame) -> str:
    networks, pairs, probes = (
        int(extent(trend[name])[1]) for name in ("networks", "model_pairs", "probes")
    )
    return (
        f"at most {count_of(networks, 'network')} and {count_of(pairs, 'pair')} of models at one γ, each at its "
        f"best η · {count_of(probes, 'probe input')}"
    )


def _intervals(trend: pl.DataFrame) -> str:
    """Meaning of the bars, and the reason where there are none."""
    names = [name for name in _COMPARED if name in trend["resampled"]]
    without = " · no bar: too few to leave one out" if trend["value_low"].null_count() else ""
    most = pl.col("model_pairs").max().over(*GROUP, "compared")
    if trend.select((pl.col("model_pairs") < most).any()).item():
        without += " · hollow: some pairs have no value there"
    if not names:
        return without.removeprefix(" · ")
    level = round(100 * float(trend["confidence"][0]))
    units = " or ".join(_LEFT_OUT[name] for name in names)
    return f"bars: {level} % intervals by leaving out {units} at a time{without}"
