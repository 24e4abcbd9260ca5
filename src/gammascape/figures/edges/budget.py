"""Window of learning rates, largest and best gamma, against the budget of steps."""

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme

WIDTH, HEIGHT = 330, 300
_SERIES = {
    "largest γ that trains": ("#c04a00", "triangle-up"),
    "window extrapolated to zero": ("#767676", "square"),
    "γ of the lowest loss": ("#0072b2", "diamond"),
}
_WINDOWS = (
    "Left: decades between the smallest and the largest learning rate η that train, against the "
    "feature learning strength γ, for every budget T of steps that the runs contain (mean over "
    "seeds). Right: "
)
_MEANINGS = {
    "largest γ that trains": "the largest γ at which any sampled η trains, with a bar up to the next γ "
    "that was shown not to, or out of the frame where none was",
    "window extrapolated to zero": "the γ at which the windows on the left reach zero, with its interval",
    "γ of the lowest loss": "the γ of the lowest loss, with its range over seeds",
    "theory": "dashed is the closing of the window that the toy model of this depth predicts, "
    "prefactor included",
}


def budget(table: pl.DataFrame, apex: pl.DataFrame) -> ChartType:
    """Chart of one slice from its tables `budget` and `apex`; ValueError when they hold several."""
    if table.is_empty():
        return theme.Figure("budget", "").empty_chart("No cell was trained", "0 cells")
    tables.only_slice(table)
    cells = int(table.filter(pl.col("budget") == pl.col("budget").max())["cells"].sum())
    right, shown = _gammas(table, apex)
    # Where no seed has both edges, no window is known.
    windows = [_windows(table)] if table["window_log10"].count() else []
    chart = alt.hconcat(*windows, right, spacing=36)
    seeds = tables.seed_count(table)
    return _figure(shown, _WINDOWS if windows else "", seeds).finish(
        chart.resolve_scale(color="independent", shape="independent"),
        _title(table, apex),
        [
            f"{tables.counts_of(cell=cells, seed=seeds)}, judged at "
            f"{tables.count_of(apex.height, 'budget')} of T steps",
            tables.budget_line(table),
        ],
        width=96,
    )


def _figure(shown: list[str], before: str, seeds: int) -> theme.Figure:
    """The figure, with a caption of the series that it shows."""
    text = before + "; ".join(_MEANINGS[name] for name in shown)
    if seeds == 1:
        text = text.replace(", with its range over seeds", "")
    return theme.Figure("budget", f"{text[:1].upper()}{text[1:]}.")


def _title(table: pl.DataFrame, apex: pl.DataFrame) -> str:
    known = apex.drop_nulls("largest_open_log10").sort("budget")
    if known.is_empty():
        return f"{tables.subject(table)}: nothing trains within the budget"
    first, last = known.row(0, named=True), known.row(-1, named=True)
    ends = [theme.power_of_ten(row["largest_open_log10"]) for row in (first, last)]
    if ends[0] == ends[1]:
        return f"{tables.subject(table)}: γ up to {ends[1]} trains from {first['budget']} steps on"
    return (
        f"{tables.subject(table)}: the largest γ that trains rises from {ends[0]} after "
        f"{first['budget']} to {ends[1]} after {last['budget']} steps"
    )


def _windows(table: pl.DataFrame) -> ChartType:
    mean = (
        table.drop_nulls("window_log10")
        .group_by("budget", "gamma_log10")
        .agg(pl.col("window_log10").mean())
        .sort("budget", "gamma_log10")
        .head(tables.ROW_LIMIT)
    )
    xs = tables.with_margin(table["gamma_log10"], 0.3)
    steps = sorted(set(mean["budget"]))
    x = theme.in_decades(alt.X("gamma_log10:Q"), theme.GAMMA, xs)
    y = alt.Y("window_log10:Q", title="log₁₀(largest / smallest trained η) (decades)")
    y = y.scale(zero=True, padding=8)
    colour = alt.Color(
        "budget:Q",
        scale=alt.Scale(type="log", scheme="viridis", reverse=True),
        legend=alt.Legend(
            title="budget T (steps)", values=steps, format="~s", type="symbol", symbolType="circle"
        ),
    )
    base = alt.Chart(mean).encode(x=x, y=y, color=colour)
    return alt.layer(
        base.mark_line(strokeWidth=1.6).encode(detail="budget:N"),
        base.mark_point(filled=True, size=34, opacity=1).encode(
            tooltip=["budget:Q", "gamma_log10:Q", alt.Tooltip("window_log10:Q", format=".2f")]
        ),
    ).properties(width=WIDTH, height=HEIGHT)


def _gammas(table: pl.DataFrame, apex: pl.DataFrame) -> tuple[ChartType, list[str]]:
    """Panel of gammas against the budget, and the names of what it shows."""
    low, high = tables.extent(table["gamma_log10"])
    ys = [low - 0.5, high + 1.5]
    names = list(_SERIES)
    found = [_points(apex, names[0], "largest_open_log10", None, "smallest_closed_log10")]
    intervals = (("gamma_max", "low", "high"), ("gamma_best", "least", "largest"))
    for name, (column, *of) in zip(names[1:], intervals, strict=True):
        ends = (f"{column}{end}_log10" for end in ("", *(f"_{word}" for word in of)))
        found.append(_points(apex, name, *ends))
    points = pl.concat(found).filter(pl.col("gamma_log10").is_between(ys[0], ys[1]))
    points = theme.cut(points, ys)
    names = [name for name in names if name in points["measured"]]
    budgets = sorted(set(apex["budget"]))
    domain = [0.8 * budgets[0], 1.25 * budgets[-1]]
    x = alt.X("budget:Q").scale(type="log", domain=domain, nice=False)
    x = x.axis(
        title="budget T (steps)", values=theme.round_values(*domain), format="~s", labelOverlap=True
    )
    y = theme.in_decades(alt.Y("gamma_log10:Q"), theme.GAMMA, ys)
    colour = alt.Color(
        "measured:N",
        scale=theme.series_scale(names, [_SERIES[name][0] for name in names]),
        legend=alt.Legend(title="measured", orient="right"),
    )
    shapes = theme.series_scale(names, [_SERIES[name][1] for name in names])
    base = alt.Chart(points).encode(x=x, color=colour)
    layers: list[alt.Chart] = [
        *theme.intervals(base, opacity=0.6),
        *(theory := _theory(apex, ys)),
        base.mark_point(filled=True, size=52, opacity=1).encode(
            y=y,
            shape=alt.Shape("measured:N", scale=shapes),
            tooltip=["measured:N", "budget:Q", alt.Tooltip("gamma_log10:Q", format=".2f")],
        ),
    ]
    shown = [*names, *(["theory"] if theory else [])]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), shown


def _points(apex: pl.DataFrame, name: str, column: str, low: str | None, high: str) -> pl.DataFrame:
    return apex.drop_nulls(column).select(
        pl.lit(name).alias("measured"),
        "budget",
        pl.col(column).alias("gamma_log10"),
        pl.col(low or column).fill_null(-99.0).alias("low"),
        # A bar without an upper end leaves the frame: what is drawn is a bound.
        pl.col(high).fill_null(99.0).alias("high"),
    )


def _theory(apex: pl.DataFrame, ys: list[float]) -> list[alt.Chart]:
    """The predicted closing of the window, as far as it lies in the frame, with its law in words."""
    column = "predicted_gamma_max_log10"
    line = (
        apex.filter(pl.col(column).is_between(ys[0], ys[1])).select("budget", column).sort("budget")
    )
    if line.height < 2:
        return []
    depth = int(apex["depth_exponent"][0])
    law = "γ = exp(2T)" if depth == 2 else f"γ ∝ T{theme.exponent_text(depth / (depth - 2))}"
    base = alt.Chart(line).encode(x="budget:Q", y=f"{column}:Q")
    text = alt.Chart(line.head(1).with_columns(law=pl.lit(f"toy: {law}")))
    words = text.encode(x="budget:Q", y=f"{column}:Q", text="law:N")
    return [
        base.mark_line(color=theme.INK, strokeDash=[6, 4], strokeWidth=1.6),
        *theme.haloed(words, theme.INK, 4, align="left", dx=8, dy=12, fontSize=12),
    ]
