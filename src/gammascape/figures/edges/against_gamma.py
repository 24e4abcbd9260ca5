"""The edges of training against gamma, slice by slice, with fitted and predicted slopes."""

from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme
from gammascape.tables.statistics.verdict import judge_value
from gammascape.theory.laws import EDGES

WIDTH, HEIGHT = 400, 350
ROW_BUDGET = 4000
# Edges of one gamma often share a grid point; they are drawn side by side around it.
_SHIFTS = dict(zip(theme.EDGE_ORDER, (-0.15, -0.09, -0.03, 0.03, 0.09, 0.15), strict=True))
_CAPTION = (
    "Measured edges of the learning rate η (up) against the feature learning strength γ (across), "
    "one panel per slice and one symbol per seed{}; bars reach to the neighbouring grid points"
)
_HOLLOW = ": filled where the sampled η bracket the edge, hollow where it lies at the end of the sampled range"
_LINES = (
    ", lines are fitted to the η at which half of the runs train, in the lazy and in the rich window, "
    "{}and their slopes stand in the corners with an interval and, in round brackets, the slope that theory "
    "predicts"
)


def edges(thresholds: pl.DataFrame, scaling: pl.DataFrame) -> ChartType:
    """Chart of all slices in `thresholds`, with those fits of `scaling` that have an interval."""
    scaling = scaling.drop_nulls("slope_low")
    thresholds = thresholds.drop_nulls("eta_log10")
    if thresholds.is_empty():
        return theme.Figure("edges", "").empty_chart(
            "No edge of training was found: no cell of the study trained", "0 edges, 0 seeds"
        )
    thresholds = tables.with_series(thresholds)
    names = dict(thresholds.select("slice", "series").unique().iter_rows())
    shown = thresholds
    if thresholds.height > ROW_BUDGET:
        shown = thresholds.filter(pl.col("seed") == pl.col("seed").min().over("slice"))
    # Panels share one legend: each of them names all edges, also those that it lacks.
    order = [edge for edge in theme.EDGE_ORDER if edge in set(shown["edge"])]
    panels = []
    for series in tables.series_names(shown):
        fits = scaling.filter(pl.col("slice").replace(names) == series)
        panels.append(_panel(series, shown.filter(series=series), fits, order))
    chart = alt.concat(*panels, columns=2 if len(panels) > 1 else 1, spacing=28)
    interval = ""
    if not scaling.is_empty():
        interval = f" · intervals: {100 * tables.extent(scaling['confidence'])[1]:g} %"
    cells = thresholds["cell"].n_unique()
    some = "" if shown.height == thresholds.height else " · symbols: first seed only"
    bounds = not shown["bounded"].all()
    beyond = "edges with hollow symbols lying anywhere beyond, " if bounds else ""
    lines = "" if scaling.is_empty() else _LINES.format(beyond)
    trains = "eta_max_trained" in order
    return theme.Figure("edges", f"{_CAPTION.format(_HOLLOW if bounds else '')}{lines}.").finish(
        chart,
        _title(scaling, len(panels), " that trains" if trains else ""),
        [
            f"{tables.count_of(thresholds.height, 'edge')} at {tables.count_of(cells, 'cell')}, "
            f"{tables.counts_of(slice=len(panels), seed=tables.seed_count(thresholds))}{some}{interval}",
            tables.study_line(thresholds),
            *(["hollow: at the end of the sampled range, so only a bound"] if bounds else []),
        ],
        width=100 if len(panels) > 1 else 66,
    )


def _title(scaling: pl.DataFrame, slices: int, which: str) -> str:
    """Number of intervals of the slope of the largest trained eta that hold the predicted one, alone or not."""
    tested = scaling.filter(edge="eta_max_trained", window="rich")
    tested = tested.drop_nulls(["predicted_slope", "slope_low"])
    if tested.is_empty():
        return f"Edges of the learning rate{which}, in {tables.count_of(slices, 'slice')}"
    inside = pl.col("predicted_slope").is_between("slope_low", "slope_high")
    told = sum(map(_tells, tested.filter(inside).iter_rows(named=True)))
    held, fits = tested.filter(inside).height, tested.height
    if fits == 1:
        alone = "alone" if told else "and other laws' slopes"
        words = f"holds the predicted slope {alone}" if held else "misses the predicted slope"
        return f"Largest η that trains at large γ: the fitted interval {words}"
    return (
        f"Largest η that trains at large γ: {held} of {fits} fitted intervals hold the predicted slope, "
        f"{told} of them alone and {held - told} with other laws' slopes"
    )


def _tells(fit: dict[str, Any]) -> bool:
    """Return whether an interval excludes all that the slope could be instead."""
    law, predicted = EDGES[fit["edge"], fit["window"]], fit["predicted_slope"]
    others = [other for other in law.alternatives(fit["depth_exponent"]) if other != predicted]
    ends = fit["slope_low"], fit["slope_high"]
    return judge_value(predicted, others, *ends, fit["margin"]) == "agrees"


def _sharpness(points: pl.DataFrame) -> list[str]:
    """Distance of the η around the edges, and the range of η over which outcomes alternate."""
    eta, low, high = (pl.col(f"{name}_log10") for name in ("eta", "lower", "upper"))
    bracket = pl.when(edge="eta_min").then(eta - low).otherwise(high - eta)
    known = points.filter("bounded", ~pl.col("edge").is_in(["eta_best", "eta_crit"]))
    known = known.with_columns(bracket=bracket)
    if known.is_empty():
        return []
    ends = dict.fromkeys(f"{end:.3g}" for end in tables.extent(known["bracket"]))
    unit = "decade" if list(ends)[-1] == "1" else "decades"
    lines = [f"η around edges: {' to '.join(ends)} {unit} apart"]
    mixed = known.filter(pl.col("zone_log10") > 0).sort("zone_log10", "edge")
    if not mixed.is_empty():
        edge, zone = mixed.select("edge", "zone_log10").row(-1)
        lines += [f"outcomes mixed over up to {zone:.2g} decades ({theme.EDGE_WORDS[edge]})"]
    return lines


def _panel(series: str, points: pl.DataFrame, fits: pl.DataFrame, order: list[str]) -> ChartType:
    title = theme.named(
        series,
        subtitle=_sharpness(points),
        subtitleFontSize=theme.SIZES["note"],
        subtitleColor=theme.QUIET,
    )
    points = points.with_columns(
        (pl.col("gamma_log10") + pl.col("edge").replace_strict(_SHIFTS)).alias("x"),
        pl.col("lower_log10").fill_null(pl.col("eta_log10")),
        pl.col("upper_log10").fill_null(pl.col("eta_log10")),
        pl.col("edge").replace(theme.EDGE_WORDS).alias("measured"),
    ).select("x", "gamma_log10", "eta_log10", "lower_log10", "upper_log10", "measured", "bounded")
    points = points.sort(pl.all())
    xs = _span(points["gamma_log10"], points["gamma_log10"], 0.4)
    ys = _span(points["lower_log10"], points["upper_log10"], 0.5)
    if not fits.is_empty():
        ys = [ys[0] - 0.07 * (ys[1] - ys[0]), ys[1] + 0.1 * (ys[1] - ys[0])]  # room for the slopes
    x = theme.in_decades(alt.X("x:Q"), theme.GAMMA, xs)
    y = theme.in_decades(alt.Y("eta_log10:Q"), theme.ETA, ys)
    legend = alt.Legend(title="measured edge", orient="top", columns=3, labelLimit=300)
    colour, shape = theme.edge_encodings(order, legend)
    base = alt.Chart(points).encode(x=x, color=colour)
    tooltip = ["measured:N", "gamma_log10:Q", "eta_log10:Q", "bounded:N"]
    symbols = base.encode(y=y, shape=shape, tooltip=tooltip)
    layers: list[alt.Chart] = [
        base.mark_rule(strokeWidth=1, strokeOpacity=0.5).encode(
            y="lower_log10:Q", y2="upper_log10:Q"
        ),
        *_fit_layers(fits),
        *_slope_layers(fits, xs, ys),
        symbols.transform_filter("datum.bounded").mark_point(filled=True, size=38, opacity=1),
        symbols.transform_filter("!datum.bounded").mark_point(
            filled=False, size=34, opacity=1, strokeWidth=1.2, fill="white"
        ),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title)


def _fit_layers(fits: pl.DataFrame) -> list[alt.Chart]:
    """The fitted lines over their windows."""
    lines = [
        {
            "x": end,
            "eta_log10": fit["prefactor_log10"] + fit["slope"] * end,
            "measured": theme.EDGE_WORDS[fit["edge"]],
            "window": fit["window"],
        }
        for fit in fits.sort("edge", "window").iter_rows(named=True)
        for end in (fit["from_log10"], fit["to_log10"])
    ]
    if not lines:
        return []
    chart = alt.Chart(pl.DataFrame(lines, infer_schema_length=None)).mark_line(strokeWidth=1.6)
    return [chart.encode(x="x:Q", y="eta_log10:Q", color="measured:N", detail="window:N")]


def _slope_layers(fits: pl.DataFrame, xs: list[float], ys: list[float]) -> list[alt.Chart]:
    """The slopes in words, in the two corners that rising edges leave free."""
    layers: list[alt.Chart] = []
    for window in ("lazy", "rich"):
        ordered = [
            fit
            for edge in theme.EDGE_ORDER
            for fit in fits.filter(window=window, edge=edge).iter_rows(named=True)
        ]
        if not ordered:
            continue
        reach = tables.reach_words(fits.filter(window=window))
        notes = [(f"slopes, {window}: {reach}", theme.INK)]
        notes += [(_slope_note(fit), theme.EDGE_COLOURS[fit["edge"]]) for fit in ordered]
        upper = window == "lazy"
        line_height = 14 * (ys[1] - ys[0]) / HEIGHT
        top = ys[1] if upper else ys[0] + line_height * (len(notes) - 1)
        rows = [
            {
                "x": xs[0 if upper else 1],
                "eta_log10": top - line_height * k,
                "note": text,
                "ink": ink,
            }
            for k, (text, ink) in enumerate(notes)
        ]
        layers.append(
            alt.Chart(pl.DataFrame(rows))
            .mark_text(
                fontSize=theme.SIZES["note"],
                align="left" if upper else "right",
                baseline="top" if upper else "bottom",
                dx=6 if upper else -6,
                dy=6 if upper else -6,
            )
            .encode(x="x:Q", y="eta_log10:Q", text="note:N", color=alt.Color("ink:N", scale=None))
        )
    return layers


def _slope_note(fit: dict[str, Any]) -> str:
    """'largest trained η: 0.66 [0.63, 0.70] (2/3)'."""
    ends = f"[{fit['slope_low']:.2f}, {fit['slope_high']:.2f}]"
    text = f"{theme.EDGE_WORDS[fit['edge']]}: {fit['slope']:.2f} {ends}"
    if fit["predicted_slope"] is not None:
        text += f" ({theme.slope_text(fit['predicted_slope'])})"
    return text


def _span(low: pl.Series, high: pl.Series, margin: float) -> list[float]:
    return [tables.extent(low)[0] - margin, tables.extent(high)[1] + margin]
