"""Charts of the explorer without their data, which the page's script fills in and picks by name."""

from typing import Any, Literal

import altair as alt
from altair.typing import ChartType

from gammascape.figures.style import theme

HEIGHT, LOW_HEIGHT = 380, 150
TRAINED, UNTRAINED = "#35b779", "#414487"
STATUS_COLOURS = {"trained": TRAINED, "untrained": UNTRAINED, **theme.STATUS_TILES}
_AT = {"x": "x:Q", "y": "y:Q"}
Scale = Literal["log", "linear"]


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
    axes: dict[str, Any] = {
        "x": alt.X("x1:Q")
        .scale(domain=[_of("left"), _of("right")], nice=False, zero=False)
        .axis(title=theme.GAMMA, values=_of("gammas"), **_LABELS),
        "y": alt.Y("y1:Q")
        .scale(domain=[_of("bottom"), _of("top")], nice=False, zero=False)
        .axis(title=theme.ETA, values=_of("etas"), minExtent=42, **_LABELS),
    }
    tiles = alt.Chart(alt.NamedData("tiles")).encode(**axes, x2="x2:Q", y2="y2:Q")
    rect: dict[str, Any] = {"stroke": "white", "strokeWidth": 0.4, "cursor": "pointer"}
    if kind == "status":
        words = alt.Scale(domain=[*STATUS_COLOURS], range=[*STATUS_COLOURS.values()])
        colour = alt.Color("status:N", scale=words)
    else:
        colour = alt.Color(
            "value:Q",
            scale=alt.Scale(
                type=kind,  # type: ignore[arg-type]
                scheme=theme.LOSS_SCHEME,
                domain=[_of("low"), _of("high")],
                reverse=_of("reverse"),
                clamp=True,
            ),
        )
    wide: dict[str, Any] = {"columns": 3}
    if kind != "status":
        wide = {"gradientLength": 260, "values": _of("ticks"), "labelExpr": _NUMBER}
    colour = colour.legend(title=None, orient="bottom", **wide)
    known = "isValid(datum.value)"
    flat = tiles.transform_filter(f"!{known}").mark_rect(**rect)
    signs = alt.Chart(alt.NamedData("tiles")).transform_filter("datum.sign")
    lines = alt.Chart(alt.NamedData("edges")).encode(**_AT, detail="name:N")
    guides = alt.Chart(alt.NamedData("lines")).encode(**_AT, detail="name:N")
    marked = alt.Chart(alt.NamedData("marked"))
    edged: dict[str, Any] = {"clip": True, "opacity": _of("edges")}
    dashed: dict[str, Any] = {"clip": True, "opacity": _of("guides")}
    layers = [
        flat.encode(color=alt.Color("flat:N", scale=None)),
        tiles.transform_filter(known)
        .mark_rect(**rect)
        .encode(color=colour)
        .add_params(alt.selection_interval(name="brush")),
        signs.mark_text(fontSize=9).encode(
            x="middle:Q", y="eta:Q", text="sign:N", color=alt.Color("ink:N", scale=None)
        ),
        guides.mark_line(color=theme.HALO, strokeWidth=4, **dashed),
        guides.mark_line(color=theme.INK, strokeWidth=2, strokeDash=[7, 4], **dashed),
        lines.mark_line(color=theme.HALO, strokeWidth=3.5, **edged),
        lines.mark_line(color="black", strokeWidth=1, **edged),
        lines.mark_point(fill="white", stroke="black", size=34, strokeWidth=1, **edged).encode(
            shape=alt.Shape("shape:N", scale=None)
        ),
        # White within dark shows on any tile.
        marked.mark_rect(fillOpacity=0, cursor="pointer", stroke="black", clip=True).encode(
            **_AT, x2="x2:Q", y2="y2:Q", strokeWidth=alt.StrokeWidth("outer:Q", scale=None)
        ),
        marked.mark_rect(fillOpacity=0, cursor="pointer", clip=True).encode(
            **_AT,
            x2="x2:Q",
            y2="y2:Q",
            stroke=alt.Stroke("stroke:N", scale=None),
            strokeWidth=alt.StrokeWidth("inner:Q", scale=None),
        ),
    ]
    names = "left right bottom top gammas etas low high ticks reverse edges guides"
    plane: ChartType = (
        alt.layer(*layers)
        .resolve_scale(color="independent", stroke="independent")
        .add_params(*(alt.param(name=name, value=_START.get(name, 1)) for name in names.split()))
        .properties(width="container", height=HEIGHT, autosize=_FIT)
    )
    return plane


_FIT = alt.AutoSizeParams(type="fit-x", contains="padding", resize=True)
# A format would leave labels of a log scale out.
_NUMBER = (
    "abs(datum.value) >= 1e5 || (datum.value && abs(datum.value) < 1e-3)"
    " ? format(datum.value, '.2~e') : format(datum.value, '.3~r')"
)
_LABELS: dict[str, Any] = {
    "labelExpr": theme.DECADES,
    "labelOverlap": "greedy",
    "labelFlush": False,
    "grid": False,
}
_START: dict[str, Any] = {
    "left": 0,
    "bottom": 0,
    "gammas": [],
    "etas": [],
    "ticks": [],
    "low": 0.1,
    "reverse": False,
}


def _of(name: str) -> alt.ExprRef:
    return alt.ExprRef(expr=name)


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
        color=alt.Color("colour:N", scale=None),
        opacity=alt.Opacity("opacity:Q", scale=None),
    )
    lines = base.mark_line(strokeWidth=1.6, clip=True).encode(
        strokeDash=alt.StrokeDash("dash:N", scale=None)
    )
    points = base.transform_filter("datum.sparse").mark_point(filled=True, size=16, clip=True)
    return alt.layer(lines, points).properties(width="container", height=LOW_HEIGHT, autosize=_FIT)


def _likeness() -> ChartType:
    """A matrix of layers of networks; a pair that the table lacks has no tile."""
    base = alt.Chart(alt.NamedData("likeness")).encode(
        x=alt.X("b:N", sort=alt.EncodingSortField("nth_b", op="min")).axis(
            title=None, labelAngle=-40, labelLimit=170
        ),
        y=alt.Y("a:N", sort=alt.EncodingSortField("nth_a", op="min")).axis(
            title=None, labelLimit=170
        ),
    )
    colour = alt.Color("cka:Q").scale(scheme="viridis", domain=[0, 1], clamp=True)
    tile = base.mark_rect().encode(color=colour.legend(title="CKA", gradientLength=90))
    text = base.mark_text(fontSize=theme.SIZES["note"]).encode(
        text=alt.Text("cka:Q", format=".2f"),
        color=alt.condition("datum.cka > 0.6", alt.value("black"), alt.value("white")),
    )
    return alt.layer(tile, text).properties(width=alt.Step(34), height=alt.Step(22))
