"""Test accuracy against gamma at each value of a factor, and the best gamma against the factor."""

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.factors.axis import FACTORS, MEASURES, axis_of, dodged, name_of, place
from gammascape.figures.style import theme
from gammascape.figures.style.tables import extent, with_margin


def scores_and_best_gamma(
    factor: str, rows: pl.DataFrame, performance: pl.DataFrame | None
) -> ChartType | None:
    """Scores, best gamma and gain against label noise or the number of samples; None without scores."""
    if performance is None:
        return None
    slices = rows.select("slice", "factor_value").unique()
    reached = performance.filter(pl.col("budget") == pl.col("steps"), pl.col("value").is_not_null())
    reached = reached.join(slices, on="slice")
    measure = "accuracy" if "accuracy" in reached["measure"] else "test_loss"
    reached = reached.filter(measure=measure)
    if reached.is_empty():
        return None
    right = [_best_gamma(factor, rows)]
    gain = rows.filter(quantity="gain", measure=measure)
    if not gain.is_empty():
        right.append(_gain(factor, rows, gain, measure))
    chart: alt.HConcatChart = alt.hconcat(
        _best_score(factor, reached, measure), alt.vconcat(*right, spacing=14), spacing=28
    ).resolve_scale(color="independent", shape="independent")
    return chart


def _best_score(factor: str, rows: pl.DataFrame, measure: str) -> ChartType:
    """The best over eta against gamma, one line for each value of the factor."""
    values = sorted(rows["factor_value"].unique())
    names = {value: name_of(factor, value) for value in values}
    scale = 100.0 if measure == "accuracy" else 1.0
    shift = theme.side_by_side(values, 0.06)
    low, high = extent(scale * rows["value"])
    span = high - low
    shown = [scale * v for v in (*rows["low"], *rows["high"]) if v is not None]
    # Intervals are shown whole unless they would press the values together.
    low = max(min([low, *shown]), low - span / 2)
    high = min(max([high, *shown]), high + span / 2)
    pad = 0.06 * span or 1.0
    domain = [low - pad, min(high + pad, 100.0) if measure == "accuracy" else high + pad]
    data = rows.select(
        pl.col("factor_value").replace_strict(names, return_dtype=pl.String).alias("series"),
        pl.col("gamma_log10")
        + pl.col("factor_value").replace_strict(shift, return_dtype=pl.Float64),
        (scale * pl.col("value")).alias("value"),
        (scale * pl.col("low")).alias("low"),
        (scale * pl.col("high")).alias("high"),
        "seeds",
    ).sort("series", "gamma_log10")
    xs = with_margin(data["gamma_log10"], 0.3)
    x = theme.in_decades(alt.X("gamma_log10:Q"), theme.GAMMA, xs)
    title = "best test accuracy (%)" if measure == "accuracy" else "lowest test loss"
    y = theme.spanning(alt.Y("value:Q", title=title), domain)
    order = list(names.values())
    legend = alt.Legend(title=FACTORS[factor].title, orient="bottom")
    colour, shape = theme.series_encodings(order, legend)
    base = alt.Chart(theme.cut(data, domain)).encode(x=x)
    return alt.layer(
        *theme.intervals(base, 1.2, color=colour),
        base.mark_line(strokeWidth=2).encode(y=y, color=colour),
        base.mark_point(filled=True, size=45, opacity=1).encode(
            y=y,
            color=colour,
            shape=shape,
            tooltip=["series:N", alt.Tooltip("value:Q", format=".4~g"), "seeds:Q"],
        ),
    ).properties(width=380, height=2 * 150 + 14)


def _best_gamma(factor: str, rows: pl.DataFrame) -> ChartType:
    """The best gamma by both measures; intervals reach over all gammas that are not worse."""
    best = rows.filter(quantity="best_gamma_log10")
    measures = [measure for measure in MEASURES if measure in best["measure"]]
    best = dodged(best, factor, "measure", measures)
    data = best.with_columns(by=pl.col("measure").replace(MEASURES))
    shown = [v for v in (*data["estimate"], *data["low"], *data["high"]) if v is not None]
    domain = [min(shown) - 0.5, max(shown) + 0.5]
    y = theme.in_decades(alt.Y("estimate:Q"), "best γ", domain, 6, tickCount=10)
    words = [MEASURES[measure] for measure in measures]
    legend = alt.Legend(title="best by", orient="right")
    colour = alt.Scale(domain=words, range=["#222222", "#d55e00"][: len(words)])
    data = data.select("at", "by", "estimate", "low", "high", "slice")
    base = alt.Chart(theme.cut(data, domain)).encode(
        x=axis_of(rows, factor, title=False), color=alt.Color("by:N", scale=colour, legend=legend)
    )
    shape = alt.Scale(domain=words, range=["circle", "square"][: len(words)])
    return alt.layer(
        *theme.intervals(base),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            y=y, shape=alt.Shape("by:N", scale=shape, legend=legend), tooltip=["slice:N", "by:N"]
        ),
    ).properties(width=220, height=150)


def _gain(factor: str, rows: pl.DataFrame, gain: pl.DataFrame, measure: str) -> ChartType:
    """The gain over gamma = 1."""
    data = gain.with_columns(at=place(factor))
    nothing = 0.0 if measure == "accuracy" else 1.0
    low, high = extent(
        pl.concat([data["estimate"], data["low"], data["high"]]).extend(pl.Series([nothing]))
    )
    domain = [low - 0.05 * (high - low), high + (0.1 * (high - low) or 1.0)]
    title = "gain over γ = 1 (points)" if measure == "accuracy" else "gain over γ = 1 (ratio)"
    y = theme.spanning(alt.Y("estimate:Q", title=title), domain)
    data = data.select("at", "estimate", "low", "high", "slice")
    base = alt.Chart(theme.cut(data, domain)).encode(x=axis_of(rows, factor))
    zero = alt.Chart(pl.DataFrame({"estimate": [nothing]}))
    return alt.layer(
        zero.mark_rule(color=theme.QUIET, strokeDash=[4, 3]).encode(y=y),
        *theme.intervals(base, color=alt.value("#222222")),
        base.mark_point(filled=True, size=60, opacity=1, color="#222222").encode(
            y=y, tooltip=["slice:N", alt.Tooltip("estimate:Q", format=".3f")]
        ),
    ).properties(width=220, height=150)
