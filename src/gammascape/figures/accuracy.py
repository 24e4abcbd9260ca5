"""The best result of each gamma, slice by slice: test accuracy, or loss where there is none."""

from dataclasses import dataclass

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures import theme
from gammascape.figures.tables import (
    ROW_LIMIT,
    count_of,
    extent,
    seed_count,
    series_names,
    series_title,
    study_line,
    with_series,
)

WIDTH, HEIGHT = 460, 340
_SEED = ["series", "gamma_log10", "seed", "data_seed"]


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What is on the vertical axis, and in which direction it is better."""

    name: str
    axis: str
    best: str
    higher_is_better: bool
    log: bool


_ACCURACY = _Quantity("test accuracy", "best test accuracy (%)", "is most accurate", True, False)
_LOSS = _Quantity(
    "relative final loss",
    "lowest relative final loss (dimensionless)",
    "reaches its lowest loss",
    False,
    True,
)


def accuracy(cells: pl.DataFrame) -> ChartType:
    """Chart of the best test accuracy over eta against gamma, from `cells` of one study.

    Slices without a test accuracy (regression) are left out; when none has one, the lowest
    relative final loss is shown instead.
    """
    cells = with_series(cells)
    scored = cells.filter(pl.col("test_accuracy").is_not_null())
    quantity = _LOSS if scored.is_empty() else _ACCURACY
    if quantity is _ACCURACY:
        used = cells.filter(pl.col("slice").is_in(scored["slice"].unique().to_list()))
        best = scored.group_by(_SEED).agg((100 * pl.col("test_accuracy").max()).alias("value"))
    else:
        used = cells
        finite = cells.filter(pl.col("relative_loss") > 0)
        best = finite.group_by(_SEED).agg(pl.col("relative_loss").min().alias("value"))
    best = best.sort(_SEED)
    mean = best.group_by("series", "gamma_log10").agg(pl.col("value").mean())
    mean = mean.sort("series", "gamma_log10")
    return theme.finish(
        _chart(best, mean, quantity, series_title(used)),
        figure="accuracy",
        title=_title(mean, quantity, series_title(used)),
        subtitle=[
            f"{count_of(used.height, 'cell')}, {count_of(seed_count(used), 'seed')} at most, "
            f"{count_of(mean['series'].n_unique(), 'slice')}"
            " · lines: mean over seeds, symbols: each seed",
            study_line(used),
        ],
        caption=_caption(quantity),
    )


def _chart(best: pl.DataFrame, mean: pl.DataFrame, quantity: _Quantity, series: str) -> ChartType:
    names = series_names(mean)
    gammas = mean["gamma_log10"]
    xs = [0.0, 1.0]
    if not mean.is_empty():
        xs = [extent(gammas)[0] - 0.3, extent(gammas)[1] + 0.3]
    x = (
        alt.X("gamma_log10:Q")
        .scale(domain=xs, nice=False, zero=False)
        .axis(theme.decades_axis("feature learning strength γ (dimensionless)", xs))
    )
    # Padding keeps the highest symbol inside the frame.
    y = alt.Y("value:Q", title=quantity.axis).scale(zero=False, padding=8, nice=False)
    if quantity.log:
        low, high = 0.5, 1.0
        if not best.is_empty():
            low, high = extent(best["value"])
            low, high = 0.8 * low, 1.25 * high
        y = y.scale(type="log", domain=[low, high], nice=False)
        y = y.axis(values=theme.round_values(low, high), format="~g")
    legend = alt.Legend(title=series)
    colour = alt.Color("series:N", scale=theme.series_scale(names), legend=legend)
    shapes = theme.series_scale(names, theme.SERIES_SHAPES)
    # Where colours come a second time, lines are dashed.
    dashes = [[1, 0] if k < len(theme.SERIES_COLOURS) else [6, 3] for k in range(len(names))]
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=dashes), legend=None)
    line = alt.Chart(mean).mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash)
    # Past the limit only the lines are drawn: they are what the symbols average to.
    seeds = best if best.height + mean.height <= ROW_LIMIT else best.clear()
    symbols = (
        alt.Chart(seeds)
        .mark_point(filled=True, size=38, opacity=0.9)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=alt.Shape("series:N", scale=shapes, legend=legend),
            tooltip=["series:N", "gamma_log10:Q", "seed:N", alt.Tooltip("value:Q", format=".4~g")],
        )
    )
    return alt.layer(line, symbols).properties(width=WIDTH, height=HEIGHT)


def _title(mean: pl.DataFrame, quantity: _Quantity, series: str) -> str:
    """At which gamma the slices are best, and how much better than at their smallest gamma."""
    if mean.is_empty():
        return f"No cell has a {quantity.name}"
    descending = quantity.higher_is_better
    tops = mean.sort("value", descending=descending).group_by("series", maintain_order=True).first()
    firsts = mean.sort("gamma_log10").group_by("series", maintain_order=True).first()
    low, high = extent(tops["gamma_log10"])
    where = f"at γ = {theme.power_of_ten(low)}"
    if high > low:
        where = f"at γ between {theme.power_of_ten(low)} and {theme.power_of_ten(high)}"
    who = "Every model" if series == "model" else "Every slice"
    if tops.height == 1:
        who = str(tops["series"][0])
    title = f"{who} {quantity.best} {where}"
    if quantity.log or mean["gamma_log10"].n_unique() < 2:
        return title
    pair = tops.join(firsts, on="series", suffix="_first")
    gains = pair["value"] - pair["value_first"]
    least, most = extent(gains)
    by = f"{least:.1f}" if tops.height == 1 else f"{least:.1f} to {most:.1f}"
    return f"{title}, by {by} points over the smallest γ"


def _caption(quantity: _Quantity) -> str:
    if quantity is _ACCURACY:
        return (
            "Highest test accuracy over the sampled learning rates η (up), which are chosen on the "
            "same test set, against the feature learning strength γ (across), one line per slice."
        )
    return (
        "Lowest final training loss over the sampled learning rates η (up), relative to the loss "
        "of the output zero, against the feature learning strength γ (across), one line per slice."
    )
