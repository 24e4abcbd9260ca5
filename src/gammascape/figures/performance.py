"""Performance and cost of each gamma at its best eta, and the gain of tuning gamma over gamma = 1."""

from typing import NamedTuple

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme

WIDTH, HEIGHT, ROW_HEIGHT = 360, 290, 24
_DODGE = 0.05
"""Decades of gamma by which intervals of two series stand beside each other, at most."""


class _Quantity(NamedTuple):
    """Quantity of the vertical axis, and the direction in which it is better."""

    measure: str
    name: str
    axis: str
    best: str
    gain: str
    nothing: float = 1.0
    """The gain of gamma = 1 over itself."""
    scale: float = 1.0
    """Factor of values on the axis."""

    @property
    def log(self) -> bool:
        """True if less is better, in ratios."""
        return self.measure != "accuracy"


# fmt: off
_ACCURACY = _Quantity("accuracy", "test accuracy", "best test accuracy (%)", "is most accurate",
                      "gain in accuracy over γ = 1 (points)", 0.0, 100.0)
_LOSS = _Quantity("test_loss", "test loss", "lowest test loss", "reaches its lowest test loss",
                  "test loss at γ = 1 over the lowest (ratio)")
_STEPS = _Quantity("steps", "number of steps", "", "is fastest", "steps at γ = 1 over the fewest (ratio)")
# fmt: on


def performance(scores: pl.DataFrame, pooled: pl.DataFrame, gain: pl.DataFrame) -> ChartType:
    """Chart of the tables `scores`, `performance` (here `pooled`) and `gain` of one study.

    Slices without a test accuracy (regression) are left out; when none has one, the test loss is shown instead.
    Steps are those to the lowest training loss that is reached at half of the points (slice, gamma) or more.
    """
    scores = scores.filter("chosen", pl.col("value").is_not_null())
    last = pl.col("budget") == pl.col("steps")
    quantity = _ACCURACY if "accuracy" in pooled["measure"] else _LOSS
    best = pooled.filter(last, pl.col("measure") == quantity.measure, pl.col("value").is_not_null())
    if best.is_empty():
        return theme.Figure("performance", "").empty_chart(
            f"No cell has a {quantity.name}", "0 cells"
        )
    best = tables.with_series(best)
    names, title = tables.series_names(best), tables.series_title(best)
    named = dict(best.select("slice", "series").iter_rows())
    # Other tables may lack a slice, and what tells slices apart depends on which there are.
    scores, used, gain = (
        table.filter(pl.col("slice").is_in(list(named))).with_columns(
            series=pl.col("slice").replace_strict(named, return_dtype=pl.String)
        )
        for table in (scores, pooled, gain)
    )
    # One gamma gains nothing over itself.
    several = best.filter(pl.col("gamma_log10").n_unique().over("slice") > 1)["slice"].unique()
    gain = gain.filter(pl.col("slice").is_in(several.implode()))
    seeds = scores.filter(last, pl.col("measure") == quantity.measure)
    legend = alt.Legend(title=title, symbolOpacity=1)
    above = [_against_gamma(best, seeds, quantity, names, legend)]
    gained = gain.filter(last, pl.col("measure") == quantity.measure)
    target = _target(used)
    columns = [[*above, *_gains(gained, quantity, names)]]
    if target is not None:
        at = pl.col("target") == target
        cost = used.filter(at, pl.col("value").is_not_null())
        ratios = gain.filter(at)
        steps = _against_gamma(
            cost, None, _STEPS, names, None, f"fewest steps to {target:g} of the loss of f = 0"
        )
        columns.append([steps, *_gains(ratios, _STEPS, names)])
        gained = pl.concat([gained, ratios])
    gained = gained.filter(pl.col("gain").is_not_null(), pl.col("series").is_in(names))
    bars = pl.concat([best["low"], *([cost["low"]] if target is not None else [])]).count()
    interval = f", bars: {100 * best['confidence'][0]:g} % intervals (none for one seed or a tie)"
    stacked = [alt.vconcat(*panels, spacing=18) for panels in columns]
    cells = best.select(pl.col("cells").sum()).item()
    many = tables.seed_count(seeds) > 1
    return theme.Figure("performance", _caption(quantity, target, gained, many)).finish(
        alt.hconcat(*stacked, spacing=24),
        _title(best, gain.filter(last), quantity, title),
        [
            f"{tables.count_of(cells, 'cell')}, {tables.count_of(tables.seed_count(seeds), 'seed')} at most, "
            f"{tables.count_of(len(names), 'slice')}"
            f"{' · lines: mean over seeds' if many else ''}{interval if bars else ''}",
            tables.study_line(used),
        ],
        width=100,
    )


def _target(pooled: pl.DataFrame) -> float | None:
    steps = pooled.filter(pl.col("measure") == "steps")
    shares = steps.group_by("target").agg(pl.col("value").is_not_null().mean().alias("share"))
    often = shares.filter(pl.col("share") >= 0.5)["target"]
    return None if often.is_empty() else tables.extent(often)[0]


def _against_gamma(
    mean: pl.DataFrame,
    seeds: pl.DataFrame | None,
    quantity: _Quantity,
    names: list[str],
    legend: alt.Legend | None,
    title: str = "",
) -> ChartType:
    xs = tables.with_margin(mean["gamma_log10"], 0.3)
    x = theme.in_decades(alt.X("gamma_log10:Q"), theme.GAMMA, xs)
    every = mean["value"] if seeds is None else pl.concat([mean["value"], seeds["value"]])
    low, high = (quantity.scale * end for end in tables.extent(every.drop_nulls()))
    if quantity.log:
        domain = [0.8 * low, 1.25 * high]
    else:
        pad = 0.05 * (high - low) or 1.0
        domain = [low - pad, high + pad]
    y = alt.Y("value:Q", title=title or quantity.axis)
    y = theme.log_scaled(y, *domain) if quantity.log else theme.spanning(y, domain)
    shift = theme.side_by_side(names, min(_DODGE, 0.3 / len(names)))
    rows = mean.select(
        "series",
        "gamma_log10",
        (
            pl.col("gamma_log10") + pl.col("series").replace_strict(shift, return_dtype=pl.Float64)
        ).alias("beside"),
        *((quantity.scale * pl.col(name)).alias(name) for name in ("value", "low", "high")),
        "eta_log10",
    )
    rows = theme.cut(rows.sort("series", "gamma_log10"), domain)
    colour, shape = theme.series_encodings(names, legend)
    # Where colours come a second time, lines are dashed.
    dashes = [[1, 0] if k < len(theme.SERIES_COLOURS) else [6, 3] for k in range(len(names))]
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=dashes), legend=None)
    base = alt.Chart(rows).encode(x=x, color=colour)
    # Past the limit only the lines are drawn: they are what the symbols average to.
    points = rows
    if seeds is not None:
        points = seeds.select(
            "series",
            "gamma_log10",
            (quantity.scale * pl.col("value")).alias("value"),
            "eta_log10",
            "seed",
        )
        points = points.sort("series", "gamma_log10", "seed")
        points = points if points.height + rows.height <= tables.ROW_LIMIT else points.clear()
    symbols = alt.Chart(points).encode(
        x=x,
        y=y,
        color=colour,
        shape=shape,
        tooltip=["series:N", "gamma_log10:Q", "eta_log10:Q", alt.Tooltip("value:Q", format=".4~g")],
    )
    chart: ChartType = alt.layer(
        *theme.intervals(base.encode(x="beside:Q"), 1.2, opacity=0.45),
        base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash),
        symbols.mark_point(filled=True, size=38, opacity=1, fillOpacity=0.9),
    ).properties(width=WIDTH, height=HEIGHT)
    return chart


def _gains(gain: pl.DataFrame, quantity: _Quantity, names: list[str]) -> list[ChartType]:
    """The gain over gamma = 1, slice by slice: its interval, and the gain in seeds that did not choose gamma."""
    rows = gain.filter(pl.col("gain").is_not_null(), pl.col("series").is_in(names)).select(
        "series", "gain", "gain_low", "gain_high", "gain_held_out", "best_gamma_log10"
    )
    if rows.is_empty():
        return []
    # An interval of two seeds may be wider than all that is to be seen.
    shown = [*rows["gain"], *rows["gain_held_out"].drop_nulls(), quantity.nothing]
    widest = [*rows["gain_high"].drop_nulls(), *shown]
    span = max(shown) - min(shown)
    if quantity.log:
        low, high = 0.9 * min(shown), min(max(widest) * 1.1, 4 * max(shown))
    else:
        low, high = min(shown) - 0.3, min(max(widest) + 0.3, max(shown) + max(3 * span, 3.0))
    x = alt.X("gain:Q", title=quantity.gain)
    x = x.scale(
        type="log" if quantity.log else "linear", domain=[low, high], nice=False, zero=False
    )
    x = x.axis(values=theme.round_values(low, high), format="~g") if quantity.log else x
    # Slices without gamma = 1 have nothing to gain over.
    present = [name for name in names if name in set(rows["series"])]
    y = alt.Y("series:N", sort=present, title=None, scale=alt.Scale(domain=present))
    rows = rows.with_columns(low="gain_low", high="gain_high")
    base = alt.Chart(theme.cut(rows, (low, high))).encode(y=y)
    zero = alt.Chart(pl.DataFrame({"gain": [quantity.nothing]}))
    colour = alt.Color("series:N", scale=theme.series_scale(names), legend=None)
    words = "diamond: best γ"
    if rows["gain_held_out"].count():
        words += " · circle: seeds that did not choose it"
    title = theme.named(words, anchor="start", fontSize=theme.SIZES["label"], fontWeight="normal")
    return [
        alt.layer(
            zero.mark_rule(color=theme.QUIET, strokeDash=[4, 3]).encode(x="gain:Q"),
            *theme.intervals(base, 2, opacity=0.6, axis="x", color=colour),
            base.transform_filter("isValid(datum.gain_held_out)")
            .mark_point(filled=False, size=70, shape="circle", color=theme.INK)
            .encode(x=alt.X("gain_held_out:Q")),
            base.mark_point(filled=True, size=50, opacity=1, shape="diamond").encode(
                x=x,
                color=colour,
                tooltip=["series:N", "best_gamma_log10:Q", alt.Tooltip("gain:Q", format=".3~g")],
            ),
        ).properties(width=WIDTH, height=ROW_HEIGHT * len(present), title=title)
    ]


def _title(best: pl.DataFrame, gain: pl.DataFrame, quantity: _Quantity, series: str) -> str:
    """Best gamma of the slices, and its gain over gamma = 1."""
    value = pl.col("value")
    # All gammas that are best where some tie.
    tops = best.filter(value == (value.min() if quantity.log else value.max()).over("series"))
    low, high = tables.extent(tops["gamma_log10"])
    where = f"at γ = {theme.power_of_ten(low)}"
    if high > low:
        where = f"at γ between {theme.power_of_ten(low)} and {theme.power_of_ten(high)}"
    slices = tables.count_of(best["series"].n_unique(), "slice")
    if best["gamma_log10"].n_unique() == 1:
        return f"{quantity.name.capitalize()} of {slices} {where}"
    if tops.height == best.height:
        return f"{quantity.name.capitalize()} of {slices}: the same {where}"
    who = "Every model" if series == "model" else "Every slice"
    if best["series"].n_unique() == 1:
        who = str(tops["series"][0])
    title = f"{who} {quantity.best} {where}"
    known = gain.filter(pl.col("measure") == quantity.measure, pl.col("gain").is_not_null())
    if quantity.log or known.is_empty() or best["gamma_log10"].n_unique() < 2:
        return title
    least, most = (f"{end:.1f}" for end in tables.extent(known["gain"]))
    if float(most) == 0:
        return title
    by = least if least == most else f"up to {most}" if float(least) == 0 else f"{least} to {most}"
    title = f"{title}, by {by} points over γ = 1"
    surely = known.filter(pl.col("gain_low") > quantity.nothing).height
    if surely == 0:
        return f"{title}: undecided whether by more than 0"
    return title if surely == known.height else f"{title}, surely in {surely} of {known.height}"


def _caption(quantity: _Quantity, target: float | None, gained: pl.DataFrame, several: bool) -> str:
    """Caption, with steps where they reach a target, and gains where there are some."""
    chosen = "that the other seeds find best" if several else "that is best for the seed itself"
    words = f"{quantity.name} after all steps at the sampled learning rate η {chosen}, against "
    words += "the feature learning strength γ; one seed alone has its own best, which is too good. "
    words = f"Left: {words}" if target is not None else f"{words[0].upper()}{words[1:]}"
    if target is not None:
        words += (
            f"Right: steps, at η chosen in the same way, until the training loss is {target:g} of the "
            "loss of the output zero, the plateau included. "
        )
    if gained.height:
        words += "Below: what the best γ gains over γ = 1 (diamonds)"
    if gained["gain_low"].count():
        words += ", with intervals that allow for choosing it among several"
    if gained["gain_held_out"].count():
        words += ", and the mean gain of a seed for which the others choose γ and η (circles)"
    return f"{words.rstrip('. ')}."
