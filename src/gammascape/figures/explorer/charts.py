"""Charts of the explorer without their data, which the page's script fills in and picks by name."""

from functools import cache
from typing import Any, Literal

import altair as alt
from altair.typing import ChartType

from gammascape.figures.style import theme

HEIGHT, LOW_HEIGHT = 380, 150
TRAINED, UNTRAINED = "#35b779", "#414487"
STATUS_COLOURS = {"trained": TRAINED, "untrained": UNTRAINED, **theme.STATUS_TILES}
_POSITION = {"x": "x:Q", "y": "y:Q"}
Scale = Literal["log", "linear"]


@cache
def charts() -> dict[str, dict[str, Any]]:
    """Vega-Lite of each chart by name: plane for colours of each kind, curves for scales of x and y, likeness."""
    found = {f"plane {kind}": _plane(kind) for kind in ("log", "linear", "status")}
    scales: tuple[Scale, Scale] = ("log", "linear")
    found |= {f"curves {x} {y}": _curves(x, y) for x in scales for y in scales}
    found["likeness"] = _likeness()
    return {name: chart.to_dict() for name, chart in found.items()}


def _plane(kind: str) -> ChartType:
    """Tiles and edges; parameters set the ends of the axes and of the colours, `brush` is what is dragged over."""
    # Of a field named x, the ends of a brush in the data and on the screen would share a name.
    axes = {
        channel: of(f"{channel}1:Q")
        .scale(domain=[_parameter(low), _parameter(high)], nice=False, zero=False)
        .axis(title=title, values=_parameter(values), minExtent=least, **_LABELS)
        for channel, of, low, high, title, values, least in (
            ("x", alt.X, "left", "right", theme.GAMMA, "gammas", 0),
            ("y", alt.Y, "bottom", "top", theme.ETA, "etas", 42),
        )
    }
    if kind == "status":
        words = alt.Scale(domain=[*STATUS_COLOURS], range=[*STATUS_COLOURS.values()])
        colour = alt.Color("status:N", scale=words)
        shown: dict[str, Any] = {"columns": 3}
    else:
        ends: dict[str, Any] = {"type": kind, "domain": [_parameter("low"), _parameter("high")]}
        scale = alt.Scale(
            **ends, scheme=theme.LOSS_SCHEME, reverse=_parameter("reverse"), clamp=True
        )
        colour = alt.Color("value:Q", scale=scale)
        shown = {"gradientLength": 260, "values": _parameter("ticks"), "labelExpr": _NUMBER}
    tiles, edges, lines, marked = (
        alt.Chart(alt.NamedData(name)) for name in ("tiles", "edges", "lines", "marked")
    )
    sides = {"x2": "x2:Q", "y2": "y2:Q"}
    rect = tiles.mark_rect(stroke="white", strokeWidth=0.4, cursor="pointer").encode(
        **axes, **sides
    )
    known = "isValid(datum.value)"
    layers = [
        rect.transform_filter(f"!{known}").encode(color=_plain(alt.Color, "flat:N")),
        rect.transform_filter(known)
        .encode(color=colour.legend(title=None, orient="bottom", **shown))
        .add_params(alt.selection_interval(name="brush")),
        tiles.transform_filter("datum.sign")
        .mark_text(fontSize=9)
        .encode(x="middle:Q", y="eta:Q", text="sign:N", color=_plain(alt.Color, "ink:N")),
    ]
    for data, option, width, dash in (
        (lines, "guides", 2.0, [7, 4]),
        (edges, "edges", 1.0, [1, 0]),
    ):
        base = data.encode(**_POSITION, detail="name:N")
        seen: dict[str, Any] = {"clip": True, "opacity": _parameter(option)}
        layers.append(base.mark_line(color=theme.HALO, strokeWidth=width + 2.5, **seen))
        layers.append(base.mark_line(color="black", strokeWidth=width, strokeDash=dash, **seen))
    points = base.mark_point(fill="white", stroke="black", size=34, strokeWidth=1, **seen)
    layers.append(points.encode(shape=_plain(alt.Shape, "shape:N")))
    # A bright outline within a dark one shows on any tile.
    frame = marked.mark_rect(fillOpacity=0, cursor="pointer", clip=True).encode(
        **_POSITION, **sides
    )
    for colour_of, width_of in ((alt.value("black"), "outer:Q"), (None, "inner:Q")):
        stroke = colour_of or _plain(alt.Stroke, "stroke:N")
        layers.append(frame.encode(stroke=stroke, strokeWidth=_plain(alt.StrokeWidth, width_of)))
    plane: ChartType = (
        alt.layer(*layers)
        .resolve_scale(color="independent", stroke="independent")
        .add_params(*(alt.param(name=name, value=value) for name, value in _START.items()))
        .properties(width="container", height=HEIGHT, autosize=_FIT)
    )
    return plane


_FIT = alt.AutoSizeParams(type="fit-x", contains="padding", resize=True)
# A format would leave labels of a log scale out.
_NUMBER = (
    "abs(datum.value) >= 1e5 || (datum.value && abs(datum.value) < 1e-3)"
    " ? format(datum.value, '.2~e') : format(datum.value, '.3~r')"
)
_LABELS: dict[str, Any] = {"labelExpr": theme.DECADES, "labelOverlap": "greedy"}
_LABELS |= {"labelFlush": False, "grid": False}
_START: dict[str, Any] = {
    **{"left": 0, "right": 1, "bottom": 0, "top": 1, "low": 0.1, "high": 1, "reverse": False},
    **{"gammas": [], "etas": [], "ticks": [], "edges": 1, "guides": 1},
}


def _parameter(name: str) -> alt.ExprRef:
    return alt.ExprRef(expr=name)


def _plain(channel: Any, field: str) -> Any:
    """A channel whose field holds what is drawn, such as a colour."""
    return channel(field, scale=None)


def _curves(x: Scale, y: Scale) -> ChartType:
    """Lines of the chosen networks, each in the colour of its row; dashes tell layers apart."""
    axis: dict[str, Any] = {
        "title": None,
        "tickCount": 5,
        "labelOverlap": "greedy",
        "labelExpr": _NUMBER,
    }
    axis["labelSeparation"] = 4
    ends: dict[str, Any] = {"zero": False}
    base = alt.Chart(alt.NamedData("curves")).encode(
        x=alt.X("x:Q").scale(type=x, nice=False, **ends if x == "linear" else {}).axis(**axis),
        y=alt.Y("y:Q")
        .scale(type=y, nice=False, **ends if y == "linear" else {})
        .axis(minExtent=46, **axis),
        detail="line:N",
        color=_plain(alt.Color, "colour:N"),
        opacity=_plain(alt.Opacity, "opacity:Q"),
    )
    lines = base.mark_line(strokeWidth=1.6, clip=True).encode(
        strokeDash=_plain(alt.StrokeDash, "dash:N")
    )
    points = base.transform_filter("datum.sparse").mark_point(filled=True, size=16, clip=True)
    return alt.layer(lines, points).properties(width="container", height=LOW_HEIGHT, autosize=_FIT)


def _likeness() -> ChartType:
    """A matrix of layers of networks; a pair that the table lacks has no tile."""
    base = alt.Chart(alt.NamedData("likeness")).encode(
        x=alt.X("b:N", sort=alt.EncodingSortField("nth_b", op="min")).axis(
            title=None, labelAngle=-40, labelLimit=400
        ),
        y=alt.Y("a:N", sort=alt.EncodingSortField("nth_a", op="min")).axis(
            title=None, labelLimit=400
        ),
    )
    colour = alt.Color("cka:Q").scale(scheme="viridis", domain=[0, 1], clamp=True)
    tile = base.mark_rect().encode(color=colour.legend(title="CKA", gradientLength=90))
    text = base.mark_text(fontSize=theme.SIZES["note"]).encode(
        text=alt.Text("cka:Q", format=".2f"),
        color=alt.condition("datum.cka > 0.6", alt.value("black"), alt.value("white")),
    )
    return alt.layer(tile, text).properties(width=alt.Step(34), height=alt.Step(22))
