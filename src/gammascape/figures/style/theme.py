"""Looks of figures: fonts, sizes, colours, names in words, axes in powers of ten, and layers that recur."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from typing import Any, Literal, TypeVar, cast

import altair as alt
import polars as pl
from altair.typing import ChartType

Channel = TypeVar("Channel", alt.X, alt.Y)

GAMMA = "feature learning strength γ (dimensionless)"
ETA = "learning rate η (dimensionless)"

# DejaVu Sans and Verdana are equally wide, and have the raised digits that axes are labelled with.
FONT = "'DejaVu Sans', Verdana, sans-serif"
INK = "#222222"
QUIET = "#5c5c5c"
HALO = "#ffffff"
SIZES = {"title": 13, "subtitle": 11, "label": 10.5, "note": 10}
_TEXT: Mapping[str, Any] = {
    **dict.fromkeys(("labelFontSize", "titleFontSize"), SIZES["label"]),
    "titleFontWeight": "normal",
}
_INKED: Mapping[str, Any] = {"titleColor": INK, "labelColor": INK}

# Okabe and Ito's colours, without their yellow (unreadable on white) and with the green far from
# the vermillion: the order in which neighbours differ most for colour-blind readers.
SERIES_COLOURS = ("#0072b2", "#e69f00", "#333333", "#cc79a7", "#56b4e9", "#d55e00", "#009e73")
SERIES_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
LOSS_SCHEME: Literal["viridis"] = "viridis"

STATUS_ORDER = ("trained", "untrained", "runaway", "dead", "diverged")
# Statuses without a place on the loss scale: a flat tile, and a mark that survives grey printing.
STATUS_TILES = {"runaway": "#f6c9a8", "dead": "#8d8d96", "diverged": "#ececec"}
STATUS_MARKS = {"runaway": "triangle-up", "dead": "circle", "diverged": "M-1,-1L1,1M1,-1L-1,1"}
STATUS_INKS = {"runaway": "#a34400", "dead": "#111111", "diverged": "#9a9a9a"}
STATUS_WORDS = {
    "runaway": "runaway (finite, loss above the start)",
    "dead": "dead (no unit active)",
    "diverged": "diverged (not finite)",
}

_EDGES = {
    "eta_max_finite": ("largest finite η", "#767676", "square"),
    "eta_max_trained": ("largest trained η", "#c04a00", "triangle-up"),
    "eta_no_spike": ("largest η without a spike", "#b0679a", "circle"),
    "eta_crit": ("η = 2 / sharpness at the start", "#00795a", "cross"),
    "eta_best": ("best η", "#000000", "diamond"),
    "eta_min": ("smallest trained η", "#0072b2", "triangle-down"),
}
EDGE_ORDER = tuple(_EDGES)
EDGE_WORDS, EDGE_COLOURS, EDGE_SHAPES = (
    {edge: looks[k] for edge, looks in _EDGES.items()} for k in range(3)
)

LAW_COLOURS = {"2/L": "#000000", "3/L": "#e69f00", "2/(L+1)": "#56b4e9"}
_RAISED: dict[str, int | str | None] = dict(zip("0123456789-−./", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻·⁄", strict=True))
DECADES = "'10' + " + reduce(
    lambda text, raised: f"replace({text}, regexp('[{raised[0]}]', 'g'), '{raised[1]}')",
    _RAISED.items(),
    "format(datum.value, '~')",
)
"""Vega expression that writes a log10 as a power of ten, 10⁰ and 10¹ included."""
_BEYOND = "what goes on beyond the frame"
_HEADS = {
    "x": ("M0,-1L-0.8,0L0,1", "M0,-1L0.8,0L0,1"),
    "y": ("M-1,0L0,0.8L1,0", "M-1,0L0,-0.8L1,0"),
}
"""Axis -> arrowheads towards small and large values, unlike all symbols of data."""


@dataclass(frozen=True)
class Figure:
    """Name and caption of a figure, which every chart of it carries."""

    name: str
    caption: str

    def finish(
        self, chart: ChartType, title: str, subtitle: Sequence[str], width: int = 66
    ) -> ChartType:
        """Give the outermost chart its words and its style.

        The caption becomes the spec's `description`; title, subtitle and caption are repeated as plain
        text in `usermeta`, where a page can read them. `width`: characters in a line of the title.
        """
        if _any_goes_on(chart):
            subtitle = [*subtitle, f"arrowheads: {_BEYOND}"]
        heading = alt.TitleParams(
            text=_balanced(title, width),
            subtitle=[line for text in subtitle for line in _pieced(text, int(1.28 * width))],
            anchor="start",
            frame="bounds",
            fontSize=SIZES["title"],
            subtitleFontSize=SIZES["subtitle"],
            subtitleColor=QUIET,
            color=INK,
            offset=12,
        )
        words = {
            "figure": self.name,
            "title": title,
            "subtitle": list(subtitle),
            "caption": self.caption,
        }
        styled = chart.properties(
            title=heading,
            description=self.caption,
            usermeta={"gammascape": words},
            background="white",
            padding=12,
        ).configure(
            font=FONT,
            axis=alt.AxisConfig(
                **_TEXT, **_INKED, gridColor="#e6e6e6", domainColor="#888888", tickColor="#888888"
            ),
            legend=alt.LegendConfig(**_TEXT, **_INKED, labelLimit=260, titleLimit=260),
            view=alt.ViewConfig(stroke="#bbbbbb"),
            header=alt.HeaderConfig(**_TEXT),
        )
        return cast(ChartType, styled)

    def empty_chart(self, title: str, counts: str) -> ChartType:
        """The words of a figure with nothing to draw, and a note; `drawn` is false in `usermeta`."""
        chart: alt.Chart = (
            alt.Chart(pl.DataFrame({"note": ["nothing to draw"]}))
            .mark_text(fontSize=SIZES["title"], color=QUIET)
            .encode(text="note:N")
            .properties(width=400, height=80)
        )
        words = replace(self, caption=f"{title}.").finish(chart, title, [counts])
        words.usermeta["gammascape"]["drawn"] = False
        return words


def _join_equations(text: str) -> str:
    """The text with 'γ = 10⁴' and the like kept on one line."""
    return text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def _pieced(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, broken between the pieces that ' · ' joins if they fit."""
    lines: list[str] = []
    for piece in text.split(" · "):
        if lines and len(lines[-1]) + len(" · ") + len(piece) <= width:
            lines[-1] += f" · {piece}"
        else:
            lines += textwrap.wrap(_join_equations(piece), width)
    return lines


def _balanced(text: str, width: int) -> list[str]:
    """Split a text into as few lines as `width` allows, about equally long."""
    lines = textwrap.wrap(_join_equations(text), width)
    for narrower in range(width - 1, width // 2, -1):
        candidate = textwrap.wrap(_join_equations(text), narrower)
        if len(candidate) > len(lines):
            break
        lines = candidate
    return lines


def superscript(exponent: int | str) -> str:
    """-12 -> '⁻¹²', '2/3' -> '²⁄³', '0.50' -> '⁰·⁵⁰'."""
    return str(exponent).translate(str.maketrans(_RAISED))


def power_of_ten(log10: float) -> str:
    """Write a number in prose: -4 -> '10⁻⁴', 0 -> '1', 1 -> '10', -2.5 -> '10⁻²·⁵'."""
    if log10 in (0, 1):
        return f"{10**log10:g}"
    return f"10{superscript(f'{log10:g}')}"


def power_law(slope: float, prefactor_log10: float) -> str:
    """The law eta = prefactor gamma^slope in words of a figure: 'η = 0.32 γ²', 'η = 5.1·10⁻⁴ γ²⁄³'."""
    return f"η = {two_digits(prefactor_log10)} γ{'' if slope == 1 else exponent_text(slope)}"


def two_digits(log10: float) -> str:
    """10^log10 with two digits: '0.32', '47', '5.1·10⁻⁴'; a power of ten outside of 0.01 to 100."""
    text = f"{10**log10:.1e}"
    mantissa, exponent = text.split("e")
    if -2 <= int(exponent) <= 1:
        return f"{float(text):g}"
    return f"{mantissa}·10{superscript(int(exponent))}"


def exponent_text(slope: float) -> str:
    """A slope as an exponent: whole numbers raised, simple fractions kept as fractions."""
    fraction = Fraction(slope).limit_denominator(64)
    return superscript(f"{slope:.2f}" if abs(float(fraction) - slope) > 1e-6 else str(fraction))


def slope_text(slope: float) -> str:
    """A slope on the line: 2 -> '2', 2/3 -> '2/3'."""
    fraction = Fraction(slope).limit_denominator(64)
    return str(fraction) if abs(float(fraction) - slope) <= 1e-6 else f"{slope:.2f}"


def decades(low: float, high: float, most: float = 10) -> list[float]:
    """Ticks: at most about `most` round log10 values between low and high."""
    for step in (1.0, 2.0, 4.0, 8.0):
        if (high - low) / step <= most:
            break
    # One label alone does not say how far it is to any other value.
    if math.floor(high) <= math.ceil(low):
        step = 0.25 if high - low >= 0.5 else 0.1
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [step * k for k in range(first, last + 1)]


def decades_axis(title: str, domain: Sequence[float], most: int = 10, **options: Any) -> alt.Axis:
    """An axis over log10 values whose labels are powers of ten."""
    return alt.Axis(
        title=title,
        values=decades(domain[0], domain[1], most),
        labelExpr=DECADES,
        labelFlush=False,
        **options,
    )


def round_values(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... between low and high, or finer values where fewer than two lie there: log ticks."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    candidates = [f * 10.0**k for k in range(first, last + 1) for f in factors]
    values = [float(f"{v:g}") for v in candidates if low * 0.999 <= v <= high * 1.001]
    if len(values) < 2:
        tens = 10.0 ** math.floor(math.log10(high - low))
        for unit in (tens, tens / 2, tens / 5):
            values = [
                float(f"{unit * k:g}")
                for k in range(math.ceil(low / unit), math.floor(high / unit) + 1)
            ]
            if len(values) > 1:
                break
    return values


def log10_axis(title: str, domain: Sequence[float], most: int = 7, **options: Any) -> alt.Axis:
    """An axis over log10 values: powers of ten over two decades and more, else the numbers themselves."""
    span = domain[1] - domain[0]
    if span > 2:
        return decades_axis(title, domain, most, **options)
    low, high = 10 ** domain[0], 10 ** domain[1]
    values = round_values(low, high)
    if span < 0.5:
        unit = 10.0 ** (math.floor(domain[1]) - (1 if 10 ** (domain[1] % 1) < 2 else 0))
        values = [unit * k for k in range(math.ceil(low / unit), math.floor(high / unit) + 1)]
    return alt.Axis(
        title=title,
        values=[math.log10(value) for value in values],
        labelExpr="format(pow(10, datum.value), '.2~r')",
        labelFlush=False,
        **options,
    )


def spanning(channel: Channel, domain: Sequence[float]) -> Channel:
    """A position with this domain as it is, neither rounded nor reaching to zero."""
    return channel.scale(domain=list(domain), nice=False, zero=False)


def log_scaled(channel: Channel, low: float, high: float) -> Channel:
    """A position on a log scale from `low` to `high`, labelled at round values."""
    channel = channel.scale(type="log", domain=[low, high], nice=False)
    labels: dict[str, Any] = {"format": "~g"}
    if high > 1e4 * low:
        labels = {"labelExpr": DECADES.replace("datum.value", "round(log(datum.value) / LN10)")}
    return channel.axis(values=round_values(low, high), **labels)


def in_decades(
    channel: Channel, title: str, domain: Sequence[float], most: int = 10, **options: Any
) -> Channel:
    """A position over log10 values, from end to end of `domain`, with `decades_axis`."""
    return spanning(channel, domain).axis(decades_axis(title, domain, most, **options))


def steps_x(longest: float, labels: bool = True) -> alt.X:
    """The axis of steps, counted from 1, on a log scale; without labels above another panel."""
    values = [float(10**k) for k in range(8) if 10**k <= longest]
    values = values if len(values) > 1 else round_values(1, max(longest, 2))
    x = alt.X("step:Q", title="step t" if labels else None)
    x = x.scale(type="log", domain=[1, max(longest, 2)], nice=False)
    return x.axis(values=values, format=",d", labels=labels)


def gamma_colour(gammas: Sequence[float], length: int, every: bool = False) -> alt.Color:
    """Dark to bright from small to large gamma; `length` in pixels is of the legend, of every one if asked."""
    ends = [gammas[0], gammas[-1]] if len(gammas) > 1 else [gammas[0] - 0.5, gammas[0] + 0.5]
    scheme = alt.SchemeParams(name="viridis", extent=[0, 0.9])
    colour = alt.Color("gamma_log10:Q").scale(scheme=scheme, domain=ends)
    values = list(gammas) if every else decades(*ends)
    return colour.legend(title="γ", values=values, labelExpr=DECADES, gradientLength=length)


def side_by_side(names: Sequence[Any], step: float) -> dict[Any, float]:
    """Positions of several symbols at one place, `step` from the next."""
    return {name: (k - (len(names) - 1) / 2) * step for k, name in enumerate(names)}


STABLE_BELOW = 2.0
"""Nηλ up to which gradient descent stays on a quadratic."""


def stable_limit(height: float, **place: Any) -> list[alt.Chart]:
    """The line Nηλ = 2 at `height`, up to which gradient descent stays on a quadratic, and its name."""
    data = pl.DataFrame({"value": [height], "step": [1.0], "words": ["Nηλ = 2"]})
    base = alt.Chart(data).encode(y="value:Q")
    note = base.mark_text(align="left", dx=4, fontSize=SIZES["note"], color=INK, **place)
    return [
        base.mark_rule(color=INK, strokeDash=[5, 3], strokeWidth=1.2),
        note.encode(x="step:Q", text="words:N"),
    ]


def named(text: str | list[str], **options: Any) -> alt.TitleParams:
    """The title of a panel."""
    shown: dict[str, Any] = {"anchor": "middle", "fontSize": 12, "frame": "group"} | options
    return alt.TitleParams(text=text, **shown)


def haloed(text: alt.Chart, colour: str, width: float, **place: Any) -> list[alt.Chart]:
    """Words that show on any ground."""
    halo = text.mark_text(**place, stroke=HALO, strokeWidth=width)
    return [halo, text.mark_text(**place, color=colour)]


def edge_encodings(edges: Sequence[str], legend: alt.Legend | None) -> tuple[alt.Color, alt.Shape]:
    """The colour and the shape that each edge has in every figure, for the field `measured`."""
    scales = [named_scale(edges, EDGE_WORDS, look) for look in (EDGE_COLOURS, EDGE_SHAPES)]
    return _encodings("measured:N", scales, legend)


def cut(rows: pl.DataFrame, domain: Sequence[float]) -> pl.DataFrame:
    """Rows whose intervals `low` to `high` end at the frame; `below` and `above` are where they go on."""
    least, most = domain
    return rows.with_columns(
        pl.col("low", "high").clip(least, most),
        below=pl.when(pl.col("low") < least).then(least),
        above=pl.when(pl.col("high") > most).then(most),
    )


def intervals(
    base: alt.Chart, width: float = 1.4, opacity: float = 1.0, axis: str = "y", **options: Any
) -> list[alt.Chart]:
    """Bars of the rows of `cut`, with an arrowhead where one goes on; `options` are of the encoding."""
    bars = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
    ends = {axis: "low:Q", f"{axis}2": "high:Q"}
    layers = [bars.mark_rule(strokeWidth=width, strokeOpacity=opacity).encode(**ends, **options)]
    for end, head in zip(("below", "above"), _HEADS[axis], strict=True):
        if cast(pl.DataFrame, base.data)[end].null_count() < base.data.height:
            arrows = _arrowheads(base.transform_filter(f"isValid(datum.{end})"), head)
            layers.append(arrows.encode(**{axis: f"{end}:Q"}, **options))
    return layers


def has_points_outside(rows: pl.DataFrame, **axes: Sequence[float]) -> bool:
    """Return whether a column of `rows` leaves its axis, given as (low, high), so that marks must be cut.

    A clipped line is a picture of its own in a PNG: thirty take a second.
    """
    inside = (pl.col(name).is_between(low, high) for name, (low, high) in axes.items())
    return not rows.select(pl.all_horizontal(*inside).all()).item()


def arrow_layers(rows: pl.DataFrame, line: Sequence[str], y: str, top: float) -> list[alt.Chart]:
    """An arrowhead where a line of `rows` that leaves the frame at `top` is highest; `line` tells lines apart."""
    above = rows.filter(pl.col(y) > top).sort(y, descending=True).unique(line, maintain_order=True)
    if above.is_empty():
        return []
    highest = alt.Chart(above.with_columns(pl.lit(top).alias(y)))
    return [_arrowheads(highest, _HEADS["y"][1]).encode(y=f"{y}:Q")]


def _arrowheads(base: alt.Chart, shape: str) -> alt.Chart:
    """Marks by which `Figure.finish` knows that a figure has arrowheads."""
    looks: dict[str, Any] = {"filled": False, "opacity": 1, "strokeWidth": 1.8, "size": 45}
    return cast(alt.Chart, base.mark_point(**looks, shape=shape, description=_BEYOND))


def _any_goes_on(chart: Any) -> bool:
    """Return whether an arrowhead is drawn in a chart."""
    kinds = ("layer", "hconcat", "vconcat", "concat")
    parts = [part for kind in kinds if kind in chart._kwds for part in chart[kind]]
    mark = chart._kwds.get("mark")
    return any(map(_any_goes_on, parts)) or getattr(mark, "description", None) == _BEYOND


def series_scale(names: Sequence[str], table: Sequence[str] = SERIES_COLOURS) -> alt.Scale:
    """One colour (or shape) of `table` for each name, in order, again from the start if need be."""
    return alt.Scale(domain=list(names), range=[table[i % len(table)] for i in range(len(names))])


def series_encodings(
    names: Sequence[str], legend: alt.Legend | None
) -> tuple[alt.Color, alt.Shape]:
    """The colour and the shape of each series, for the field `series`."""
    scales = [series_scale(names, table) for table in (SERIES_COLOURS, SERIES_SHAPES)]
    return _encodings("series:N", scales, legend)


def _encodings(
    field: str, scales: Sequence[alt.Scale], legend: alt.Legend | None
) -> tuple[alt.Color, alt.Shape]:
    colour, shape = scales
    return (
        alt.Color(field, scale=colour, legend=legend),
        alt.Shape(field, scale=shape, legend=legend),
    )


def named_scale(
    names: Sequence[str], words: Mapping[str, str], looks: Mapping[str, str]
) -> alt.Scale:
    """Scale over the words for `names` with the look that each name has in every figure."""
    return alt.Scale(domain=[words[name] for name in names], range=[looks[name] for name in names])
