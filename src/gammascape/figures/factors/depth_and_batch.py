"""Exponents against depth, and prefactors against width, batch size or steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from altair.typing import ChartType

from gammascape.figures.factors.axis import axis_of, dodged
from gammascape.figures.style import theme
from gammascape.figures.style.tables import extent, with_margin
from gammascape.theory.edges import law_slopes

WIDTH, HEIGHT = 300, 230
_NOTE: Mapping[str, Any] = {"align": "left", "fontSize": theme.SIZES["note"]}
_UPPER = ("eta_max_finite", "eta_max_trained", "eta_no_spike")
_EDGES = ("eta_max_trained", "eta_no_spike", "eta_best", "eta_min")
_WINDOWS = {"lazy": "lazy (small γ)", "rich": "ultra-rich (large γ)"}
_LAWS = theme.LAW_COLOURS | {"2": "#000000"}


def depth(rows: pl.DataFrame) -> ChartType | None:
    """Fitted exponents of the edges against depth, beside the laws; None without intervals."""
    fits = rows.filter(pl.col("quantity") == "slope", pl.col("edge").is_in(_UPPER))
    fits = fits.drop_nulls("low")
    if fits.is_empty():
        return None
    edges = [edge for edge in _UPPER if edge in fits["edge"]]
    fits = dodged(fits, "depth", "edge", edges)
    windows = [window for window in _WINDOWS if window in fits["window"]]
    panels = []
    for window in windows:
        part = fits.filter(window=window)
        laws = _law_curves(rows, window)
        shown = [*part["estimate"], *laws["slope"]]
        domain = [min(shown) - 0.3, max(shown) + 0.3]
        x = axis_of(rows, "depth", margin=0.27)
        y = alt.Y("estimate:Q", title="exponent d log η / d log γ (dimensionless)")
        y = theme.spanning(y, domain)
        colours = theme.series_scale(list(_LAWS), list(_LAWS.values()))
        dashes = alt.Scale(domain=list(_LAWS), range=[[1, 0], [6, 3], [2, 2], [1, 0]])
        line = alt.Chart(laws).mark_line(strokeWidth=1.8)
        line = line.encode(
            x=x,
            y=theme.spanning(alt.Y("slope:Q"), domain),
            color=alt.Color("law:N", scale=colours, legend=None),
            strokeDash=alt.StrokeDash("law:N", scale=dashes, legend=None),
        )
        # The laws are named where they begin, at the smallest depth.
        names = laws.filter(pl.col("at") == laws["at"].min())
        text = (
            alt.Chart(names)
            .mark_text(align="right", dx=-10, fontSize=theme.SIZES["note"], color=theme.INK)
            .encode(x=x, y="slope:Q", text="law:N")
        )
        layers = [line, text, *_edge_layers(part, x, y, domain, edges, window == windows[-1])]
        panels.append(_panel(layers, _WINDOWS[window]))
    return alt.hconcat(*panels, spacing=24)


def _law_curves(rows: pl.DataFrame, window: str) -> pl.DataFrame:
    low, high = extent(rows["factor_value"])
    depth = np.linspace(low, high, 60)
    laws = {"2": np.full_like(depth, 2.0)} if window == "lazy" else law_slopes(depth)
    return pl.concat(
        [pl.DataFrame({"at": depth, "slope": slope, "law": law}) for law, slope in laws.items()]
    )


def prefactors(factor: str, rows: pl.DataFrame) -> ChartType | None:
    """Fitted prefactors of the edges against a factor; None without any."""
    names = {
        "prefactor_log10": "prefactor of η (dimensionless)",
        "prefactor_per_sample_log10": "prefactor of η / B (1 / sample)",
    }
    fits = rows.filter(pl.col("quantity").is_in(list(names)), pl.col("edge").is_in(_EDGES))
    if fits.is_empty():
        return None
    edges = [edge for edge in _EDGES if edge in fits["edge"]]
    fits = dodged(fits, factor, "edge", edges)
    names = {name: axis for name, axis in names.items() if name in fits["quantity"]}
    windows = [window for window in _WINDOWS if window in fits["window"]]
    panels = []
    for quantity, axis in names.items():
        last = quantity == list(names)[-1]
        part = fits.filter(quantity=quantity)
        domain = with_margin(part["estimate"], 0.5)
        for window in windows:
            x = axis_of(rows, factor, title=last)
            y = theme.in_decades(alt.Y("estimate:Q"), axis, domain, 6)
            inside = part.filter(window=window)
            layers = _edge_layers(inside, x, y, domain, edges, last and window == windows[-1])
            if factor == "batch_size":
                layers = [*_proportional(inside, x, domain, -1.0 if last else 1.0), *layers]
            first = quantity == next(iter(names))
            panels.append(_panel(layers, _WINDOWS[window] if first else "", 200))
    return alt.concat(*panels, columns=len(windows), spacing=20)


def _proportional(
    rows: pl.DataFrame, x: alt.X, domain: Sequence[float], slope: float
) -> list[alt.Chart]:
    """A guide: the edge of the smallest batch times B (or, divided by B, what a constant edge would be)."""
    edge = "eta_max_trained" if "eta_max_trained" in rows["edge"] else rows["edge"][0]
    line = rows.filter(edge=edge).sort("factor_value")
    start = line["factor_value"].log(10)[0]
    ends = pl.DataFrame({"at": [start, rows["factor_value"].log(10).max()]})
    ends = ends.with_columns(
        y=line["estimate"][0] + slope * (pl.col("at") - start),
        note=pl.lit("η ∝ B" if slope > 0 else "η constant"),
    )
    base = alt.Chart(ends).encode(x=x, y=theme.spanning(alt.Y("y:Q"), domain))
    label = base.transform_filter(alt.datum.at == start).encode(text="note:N")
    return [
        base.mark_line(strokeDash=[4, 3], color=theme.QUIET, strokeWidth=1.2, clip=True),
        label.mark_text(dx=34, dy=-24 if slope > 0 else 4, color=theme.QUIET, **_NOTE),
    ]


def _edge_layers(
    rows: pl.DataFrame, x: alt.X, y: alt.Y, domain: list[float], edges: Sequence[str], legend: bool
) -> list[alt.Chart]:
    """Symbols with intervals in the colours of the edges, cut off at the frame, `domain`."""
    data = rows.select(
        pl.col("edge").replace(theme.EDGE_WORDS).alias("measured"),
        *("at", "estimate", "low", "high", "factor_value", "slice"),
    )
    shown = alt.Legend(title="edge", orient="bottom", columns=2) if legend else None
    colour, shape = theme.edge_encodings(edges, shown)
    base = alt.Chart(theme.cut(data, domain)).encode(x=x)
    return [
        *theme.intervals(base, color=colour.legend(None)),
        base.mark_point(filled=True, size=55, opacity=1).encode(
            y=y,
            color=colour,
            shape=shape,
            tooltip=["slice:N", "measured:N", alt.Tooltip("estimate:Q", format=".3f")],
        ),
    ]


def _panel(layers: Sequence[alt.Chart], title: str, height: int = HEIGHT) -> ChartType:
    heading = alt.TitleParams(text=title, anchor="middle", fontSize=12, fontWeight="normal")
    chart = alt.layer(*layers).resolve_scale(
        color="independent", shape="independent", strokeDash="independent"
    )
    panel: alt.LayerChart = chart.properties(width=WIDTH, height=height, title=heading)
    return panel
