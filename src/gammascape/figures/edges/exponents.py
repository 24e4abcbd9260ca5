"""The fitted exponents of the largest learning rates, slice by slice, against the laws'."""

from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme
from gammascape.theory.edges import law_slopes

WIDTH, ROW_HEIGHT = 300, 46
_EDGES = ("eta_max_finite", "eta_max_trained", "eta_no_spike")
_WINDOWS = {"lazy": "lazy", "rich": "ultra-rich"}
_FITS = (
    "Slopes of log η against log γ, fitted to the measured largest learning rates, with their intervals, in the "
    "{} window of γ, one row per slice"
)
_LAWS = "; marks beside them are the slopes of the laws"
_WEIGHTS = (
    "; percentages at the right are the weights of the laws 2/L, 3/L and 2/(L+1) and of a free slope by BIC, for "
    "the largest trained η"
)


def exponents(scaling: pl.DataFrame, models: pl.DataFrame) -> ChartType:
    """Chart of the upper edges in `scaling`, with the comparison of laws in `models`; both may be empty."""
    fits = scaling.filter(pl.col("edge").is_in(_EDGES)).drop_nulls("slope_low")
    if fits.is_empty():
        return theme.Figure("exponents", "").empty_chart(
            "No exponent has an interval: no window has a largest η bracketed at three gammas",
            "0 fits",
        )
    fits = tables.with_series(fits)
    names = tables.series_names(fits)
    shown = [window for window in _WINDOWS if window in fits["window"]]
    panels = [
        _panel(fits, models, window, names, (window == shown[0], window == shown[-1]))
        for window in shown
    ]
    level = 100 * tables.extent(fits["confidence"])[1]
    compared = models.filter(pl.col("slice").is_in(fits["slice"].to_list()), edge="eta_max_trained")
    windows = " and the ".join(_WINDOWS[window] for window in shown)
    caption = f"{_FITS.format(windows)}{_LAWS}{_WEIGHTS if compared.height else ''}."
    return theme.Figure("exponents", caption).finish(
        alt.hconcat(*panels, spacing=24),
        _title(fits, models),
        [
            f"{tables.count_of(fits.height, 'fit')} in {tables.count_of(len(names), 'slice')}, "
            f"{tables.count_of(int(tables.extent(fits['seeds'])[1]), 'seed')} at most · intervals: {level:g} %",
            tables.study_line(fits),
        ],
        width=100,
    )


def _title(fits: pl.DataFrame, models: pl.DataFrame) -> str:
    """Number of slices in which 2/L is preferred, or else a summary of the fits."""
    compared = models.filter(edge="eta_max_trained")
    slices = compared["slice"].n_unique()
    if slices == 0:
        return f"Exponents of the largest learning rates in {tables.count_of(fits['slice'].n_unique(), 'slice')}"
    best = compared.filter("best_by_bic", law="2/L").height
    return (
        f"Largest η that trains at large γ: of 2/L, 3/L, 2/(L+1) and a free exponent, "
        f"2/L is the best by BIC in {best} of {tables.count_of(slices, 'slice')}"
    )


def _panel(
    fits: pl.DataFrame,
    models: pl.DataFrame,
    window: str,
    names: list[str],
    ends: tuple[bool, bool],
) -> ChartType:
    """One window; `ends`: whether it is the first and the last panel."""
    first, last = ends
    part = fits.filter(window=window).with_columns(
        pl.col("edge").replace(theme.EDGE_WORDS).alias("measured")
    )
    laws = _law_rows(part, window)
    shown = [*part["slope"], *laws["slope"]]
    low, high = min(shown) - 0.35, max(shown) + 0.35
    # Intervals of few points are wider than what is to be seen.
    bars = part.select("series", "measured", "slope", low="slope_low", high="slope_high")
    bars = theme.cut(bars.sort("series", "measured"), (low, high))
    x = theme.spanning(alt.X("slope:Q"), (low, high))
    x = x.axis(title="slope d log η / d log γ (dimensionless)", tickCount=6)
    y = alt.Y("series:N", sort=names, scale=alt.Scale(domain=names))
    y = y.axis(title="model" if first else None, labels=first, grid=True, tickBand="extent")
    words = [theme.EDGE_WORDS[edge] for edge in _EDGES]
    offset = alt.YOffset("measured:N", scale=alt.Scale(domain=words, paddingOuter=0.3))
    # One legend for both panels, below the last.
    legend = alt.Legend(title="measured edge", orient="bottom") if last else None
    colour, shape = theme.edge_encodings(_EDGES, legend)
    base = alt.Chart(bars).encode(y=y, yOffset=offset)
    layers: list[Any] = [
        *_law_layers(laws, names),
        *theme.intervals(base, 1.6, axis="x", color=colour.legend(None)),
        base.mark_point(filled=True, size=46, opacity=1).encode(
            x=x,
            color=colour,
            shape=shape,
            tooltip=["series:N", "measured:N", alt.Tooltip("slope:Q", format=".3f")],
        ),
    ]
    if window == "rich":
        layers += _weight_layers(models, fits, high, names)
    title = f"{_WINDOWS[window]}, {tables.reach_words(part)}"
    if window == "lazy":
        title += f"; marks: {' and '.join(sorted(set(laws['law'])))}"
    chart: alt.LayerChart = (
        alt.layer(*layers)
        .resolve_scale(color="independent", shape="independent")
        .properties(width=WIDTH, height=ROW_HEIGHT * len(names), title=theme.named(title))
    )
    return chart


def _law_rows(part: pl.DataFrame, window: str) -> pl.DataFrame:
    """The slope of each law in each row; in the lazy window all laws are theory's."""
    rows = []
    for row in part.unique("series").sort("series").iter_rows(named=True):
        depth = row["depth_exponent"]
        if window == "lazy":
            laws = {"2": 2.0} | ({"1": 1.0} if row["loss"] == "xent" else {})
        else:
            laws = {} if depth is None else law_slopes(depth)
        rows += [
            {"series": row["series"], "law": law, "slope": value} for law, value in laws.items()
        ]
    return pl.DataFrame(rows, schema={"series": pl.String, "law": pl.String, "slope": pl.Float64})


def _law_layers(laws: pl.DataFrame, names: list[str]) -> list[alt.Chart]:
    if laws.is_empty():
        return []
    lazy = not set(laws["law"]) & set(theme.LAW_COLOURS)
    present = sorted(set(laws["law"])) if lazy else list(theme.LAW_COLOURS)
    colours = [theme.INK] * len(present) if lazy else list(theme.LAW_COLOURS.values())
    legend = None
    if not lazy:
        legend = alt.Legend(title="slope of the law", orient="bottom", symbolType="square")
    chart = alt.Chart(laws).mark_tick(
        thickness=2.5, size=ROW_HEIGHT - 6, opacity=1, fillOpacity=0.9
    )
    return [
        chart.encode(
            x="slope:Q",
            y=alt.Y("series:N", sort=names),
            color=alt.Color("law:N", scale=alt.Scale(domain=present, range=colours), legend=legend),
        )
    ]


def _weight_layers(
    models: pl.DataFrame, fits: pl.DataFrame, right: float, names: list[str]
) -> list[alt.Chart]:
    """The weights of the laws in words, right of the frame."""
    series = dict(fits.select("slice", "series").unique().iter_rows())
    compared = models.filter(pl.col("slice").is_in(list(series)), edge="eta_max_trained")
    rows = []
    for (key,), group in compared.group_by("slice", maintain_order=True):
        shares = [f"{law} {100 * w:.0f} %" for law, w in group.select("law", "bic_weight").rows()]
        rows.append({"series": series[key], "at": right, "note": ", ".join(shares)})
    if not rows:
        return []
    text = alt.Chart(pl.DataFrame(rows)).mark_text(
        align="left", dx=8, fontSize=theme.SIZES["note"], color=theme.INK, clip=False
    )
    return [text.encode(x="at:Q", y=alt.Y("series:N", sort=names), text="note:N")]
