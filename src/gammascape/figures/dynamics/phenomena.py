"""Catapults at small gamma and silent alignment at large gamma, for each pair of model and data."""

import math
from statistics import median
from typing import Any, cast

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme

WIDTH, LOSS_HEIGHT, BELOW_HEIGHT = 330, 150, 120
MOST_GAMMAS, MOST_PAIRS = 5, 4
_PAIR = ["model", "dataset", "loss"]
_ORDER = [True, True, False]
_CATAPULT, _SILENT = "catapult", "silent alignment"
_CAPTIONS = {
    _CATAPULT: "runs at small γ and at one ratio η/γ² above the edge of stability, Nηλ = 2; the loss relative "
    "to the loss of the output zero climbs, to a height that goes as γ⁻², the sharpness λ falls, and the run "
    "settles once it stays below.",
    _SILENT: "runs at large γ and η = c γ²⁄ᴸ, loss and alignment of the last hidden layer's kernel with the "
    "targets; dashed lines in the lower panel mark when the loss of that γ has made half of its fall: a curve "
    "that is half way up left of its line aligned silently.",
}


def phenomena(curves: pl.DataFrame, dynamics: pl.DataFrame) -> ChartType:
    """Charts of the table `phenomena`, with marks from the table `dynamics`."""
    if curves.is_empty():
        return theme.Figure("phenomena", "").empty_chart(
            "No run catapulted with its sharpness measured, and none at large γ had its alignment measured",
            "0 cells, 0 seeds",
        )
    curves = _complete(curves)
    drawn = _chosen(curves)
    pairs = curves.select(_PAIR).unique().sort(_PAIR, descending=_ORDER).rows()
    columns: list[ChartType] = []
    for pair in pairs:
        of_pair = drawn.filter(**dict(zip(_PAIR, pair, strict=True)))
        blocks = [
            _block(of_pair.filter(phenomenon=name), dynamics, name)
            for name in (_CATAPULT, _SILENT)
            if name in drawn["phenomenon"]
        ]
        columns.append(alt.vconcat(*blocks, spacing=26).resolve_scale(color="independent"))
    cells = drawn["cell"].n_unique()
    shown = [words for name, words in _CAPTIONS.items() if name in drawn["phenomenon"]]
    places = ("Upper half: ", " Lower half: ") if shown[1:] else ("Shown are ",)
    halves = "".join(map(str.__add__, places, shown))
    caption = (
        f"One column for each pair of model and data, one seed. {halves} Sharpness and alignment are measured "
        "after 0, 1, 2, 5, 10, ... steps."
    )
    return theme.Figure("phenomena", caption).finish(
        alt.hconcat(*columns, spacing=34).resolve_scale(color="independent"),
        _title(curves, dynamics, len(pairs)),
        [
            f"{tables.count_of(cells, 'cell')} of {curves['cell'].n_unique()}, one seed of each pair, at most "
            f"{MOST_GAMMAS} γ",
            tables.study_line(curves),
        ],
        width=108,
    )


def _complete(curves: pl.DataFrame) -> pl.DataFrame:
    """The pairs with both phenomena; where there is none, all; the first MOST_PAIRS of them."""
    kinds = curves.group_by(_PAIR).agg(pl.col("phenomenon").n_unique())
    most = kinds["phenomenon"].max()
    pairs = kinds.filter(pl.col("phenomenon") == most).sort(_PAIR, descending=_ORDER)
    return curves.join(pairs.head(MOST_PAIRS), on=_PAIR, how="semi", maintain_order="left")


def _chosen(curves: pl.DataFrame) -> pl.DataFrame:
    """The first seed, and few gammas, of each pair and phenomenon; fewer points where there are too many."""
    kept = []
    for _, part in curves.group_by([*_PAIR, "phenomenon"], maintain_order=True):
        # One slice: the one with the most networks.
        counts = part.group_by("slice").agg(pl.col("cell").n_unique()).sort("cell", "slice")
        part = tables.of_first_seed(part.filter(slice=counts["slice"][-1]))
        gammas = tables.every_kth(part["gamma_log10"].unique().sort().to_list(), MOST_GAMMAS)
        kept.append(part.filter(pl.col("gamma_log10").is_in(gammas)))
    table = pl.concat(kept)
    every = -(-table.height // tables.ROW_LIMIT)
    line = ["cell", "phenomenon", "quantity"]
    few = tables.every_nth_from_last(every, line)
    return table.sort(*line, "step").filter(few | (pl.col("quantity") != "relative_loss"))


def _block(part: pl.DataFrame, dynamics: pl.DataFrame, phenomenon: str) -> ChartType:
    """Loss above the observable, on one time axis."""
    if part.is_empty():
        empty: alt.Chart = (
            alt.Chart(pl.DataFrame({"note": [f"no {phenomenon} measured"]}))
            .mark_text(color=theme.QUIET)
            .encode(text="note:N")
            .properties(width=WIDTH, height=LOSS_HEIGHT + BELOW_HEIGHT)
        )
        return empty
    longest = max(tables.extent(part["step"])[1], 2.0)
    gammas = part["gamma_log10"].unique().sort().to_list()
    names = [f"γ = {theme.power_of_ten(gamma)}" for gamma in gammas]
    part = part.with_columns(
        pl.col("gamma_log10").replace_strict(gammas, names, return_dtype=pl.String).alias("name")
    )
    colour = (
        alt.Color("name:N", sort=names)
        .scale(domain=names, range=_shades(len(names)))
        .legend(title=None, symbolType="stroke", orient="bottom", direction="horizontal")
    )
    marks = _marks(part, dynamics)
    bare, x = (theme.steps_x(longest, labels) for labels in (False, True))
    loss = part.filter(pl.col("quantity") == "relative_loss", pl.col("value") > 0)
    below = part.filter(pl.col("quantity") != "relative_loss")
    upper = _loss(loss, bare, colour, _words(part, marks, phenomenon))
    catapult = phenomenon == _CATAPULT
    lower = _sharpness(below, x, colour) if catapult else _alignment(below, marks, x, colour)
    block: alt.VConcatChart = alt.vconcat(upper, lower, spacing=6).resolve_scale(color="shared")
    return block


def _shades(count: int) -> list[str]:
    """Dark to bright, from viridis without its yellow end."""
    shades = ["#440154", "#3b528b", "#21918c", "#5ec962", "#b5a812"]
    return shades[:count] if count > 2 else [shades[0], shades[2]][:count]


def _loss(loss: pl.DataFrame, x: alt.X, colour: alt.Color, words: str) -> ChartType:
    loss = loss.with_columns(pl.col("value").log(10))
    low, high = tables.extent(loss["value"])
    pad = 0.02 + 0.05 * (max(high, 0.0) - low)
    domain = [low - pad, max(high, 0.0) + pad]
    y = theme.spanning(alt.Y("value:Q"), domain)
    y = y.axis(theme.log10_axis("relative loss (dimensionless)", domain, 5))
    chart: alt.Chart = (
        alt.Chart(loss.select("name", "step", "value"))
        .mark_line(strokeWidth=1.6)
        .encode(x=x, y=y, color=colour)
        .properties(
            width=WIDTH,
            height=LOSS_HEIGHT,
            title=theme.named(words.split("\n"), anchor="start", fontSize=11),
        )
    )
    return chart


def _sharpness(below: pl.DataFrame, x: alt.X, colour: alt.Color) -> ChartType:
    below = below.filter(pl.col("value") > 0)
    below = below.with_columns(pl.col("value").log(10))
    limit_at = math.log10(theme.STABLE_BELOW)
    low, high = tables.extent(below["value"])
    domain = [min(low, limit_at) - 0.15, max(high, limit_at) + 0.15]
    y = theme.spanning(alt.Y("value:Q"), domain)
    y = y.axis(theme.log10_axis("Nηλ (dimensionless)", domain, 5))
    limit = theme.stable_limit(limit_at, baseline="top", dy=3)
    return alt.layer(_lines(below, x, y, colour), *limit).properties(
        width=WIDTH, height=BELOW_HEIGHT
    )


def _alignment(below: pl.DataFrame, marks: pl.DataFrame, x: alt.X, colour: alt.Color) -> ChartType:
    low, high = tables.extent(below["value"])
    y = alt.Y("value:Q", title="alignment (dimensionless)").scale(
        domain=[min(0.0, low), max(high, min(1.0, 1.1 * high))], nice=False
    )
    layers: list[Any] = []
    fallen = marks.drop_nulls("fall_step").select("name", pl.col("fall_step").alias("step"))
    if not fallen.is_empty():
        rule = alt.Chart(fallen).mark_rule(strokeDash=[4, 3], strokeWidth=1.3)
        layers.append(rule.encode(x=x, color=colour))
    layers.append(_lines(below, x, y, colour))
    return alt.layer(*layers).properties(width=WIDTH, height=BELOW_HEIGHT)


def _lines(rows: pl.DataFrame, x: alt.X, y: alt.Y, colour: alt.Color) -> alt.Chart:
    chart = alt.Chart(rows.select("name", "step", "value"))
    lines = chart.mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=18))
    return cast(alt.Chart, lines.encode(x=x, y=y, color=colour))


def _marks(part: pl.DataFrame, dynamics: pl.DataFrame) -> pl.DataFrame:
    """The rows of dynamics of these cells, one for each, with their names."""
    cells = part.select("cell", "name").unique().sort("cell")
    return cells.join(dynamics.unique("cell"), on="cell", how="left")


def _words(part: pl.DataFrame, marks: pl.DataFrame, phenomenon: str) -> str:
    pair = f"{part['model'][0]} on {part['dataset'][0]} ({part['loss'][0]})"
    if phenomenon == _CATAPULT:
        low, high = tables.extent(marks["peak_ratio"].log(10))
        sharp = part.filter(pl.col("quantity") != "relative_loss").sort("step")
        first, last = (
            median(sharp.group_by("cell").agg(end)["value"].to_list())
            for end in (pl.col("value").first(), pl.col("value").last())
        )
        return (
            f"Catapult, {pair}:\npeak {theme.two_digits(low)} to {theme.two_digits(high)} times the first "
            f"loss, Nηλ from {first:.1f} to {last:.1f}"
        )
    ratios = marks["alignment_ratio"].drop_nulls()
    if ratios.is_empty():
        return f"Alignment, {pair}:\nhardly rises, or the loss does not fall"
    low, high = tables.extent(ratios)
    span = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    return f"Alignment, {pair}:\nhalf up at {span} of the step of half the fall of the loss"


def _title(curves: pl.DataFrame, dynamics: pl.DataFrame, pairs: int) -> str:
    """Number of pairs in which each phenomenon is seen, all seeds and gammas together."""
    marks = (
        curves.select(*_PAIR, "phenomenon", "cell")
        .unique()
        .join(dynamics.unique("cell").select("cell", "alignment_ratio"), on="cell")
    )
    flown = marks.filter(phenomenon=_CATAPULT).select(_PAIR).n_unique()
    medians = (
        marks.filter(phenomenon=_SILENT).group_by(_PAIR).agg(pl.col("alignment_ratio").median())
    )
    early = medians.filter(pl.col("alignment_ratio") < 1).height
    known = medians["alignment_ratio"].drop_nulls().len()
    words = f"Catapults at small γ in {flown} of {tables.count_of(pairs, 'pair')} of model and data"
    if known:
        words += f"; alignment rises ahead of the fall of the loss at large γ in {early} of {known}"
    return words
