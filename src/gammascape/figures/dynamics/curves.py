"""Loss against time at the best learning rate of each gamma, in steps and in rescaled time."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme

WIDTH, HEIGHT = 460, 340
RICH_FROM = 1.0  # log10 gamma from which the collapse is expected
_FEWEST_POINTS = 30
_HALF = 0.5
_COLOURS = re.compile(r", coloured from small γ \(dark\) to large γ \(bright\)| \((bright|dark)\)")
_RUN = ["gamma_log10", "seed", "data_seed"]
_LOSS = theme.Figure(
    "curves",
    "Smoothed training loss relative to the loss of the output zero (up) against the step "
    "(across), both on log scales, one line per seed at the learning rate that ended lowest for "
    "each feature learning strength γ, coloured from small γ (dark) to large γ (bright).",
)
_COLLAPSE = theme.Figure(
    "collapse",
    "Smoothed training loss relative to the loss of the output zero (up) against the rescaled "
    "time τ = ηt/γ (across), with η the best learning rate and t the step: theory expects that at "
    "large γ (bright) the loss falls at the same τ whatever γ is, while at small γ (dark) it falls "
    "at a τ proportional to γ.",
)


def loss_curves(curves: pl.DataFrame) -> ChartType:
    """Chart of one slice of `curves`: relative loss against step."""
    return _chart(_LOSS, curves, "step", lambda low, high: theme.steps_x(high), _halving_words)


def collapse(curves: pl.DataFrame) -> ChartType:
    """Chart of one slice of `curves`: relative loss against tau = eta t / gamma."""

    def x(low: float, high: float) -> alt.X:
        words = "rescaled time τ = ηt/γ (dimensionless)"
        return theme.in_decades(alt.X("tau_log10:Q"), words, [low, high])

    return _chart(_COLLAPSE, curves, "tau_log10", x, _collapse_words)


def _chart(
    figure: theme.Figure,
    curves: pl.DataFrame,
    time: str,
    axis: Callable[[float, float], alt.X],
    words: Callable[[pl.DataFrame], str],
) -> ChartType:
    """Loss against the column `time`; `axis` makes its axis from the extent, `words` the title."""
    if curves.is_empty():
        return figure.empty_chart(
            "No cell of this slice has a loss curve to show", "0 cells, 0 seeds"
        )
    tables.only_slice(curves)
    drawn = curves.filter(pl.col("step") >= 1, pl.col("relative_loss") > 0)
    shown, note = _thin(drawn.with_columns(pl.col("tau").log10().alias("tau_log10")))
    span = (0.0, 1.0) if shown.is_empty() else tables.extent(shown[time])
    runs, gammas = curves.select(_RUN).unique().height, curves["gamma_log10"].n_unique()
    if gammas == 1:
        figure = replace(figure, caption=_COLOURS.sub("", figure.caption))
    return figure.finish(
        _lines(shown, axis(*span), time),
        f"{tables.subject(curves)}: {words(curves)}",
        [
            f"{tables.count_of(runs, 'cell')} (best η at each of {gammas} γ), "
            f"{tables.count_of(tables.seed_count(curves), 'seed')}{note}",
            tables.budget_line(curves),
        ],
    )


def halving(curves: pl.DataFrame) -> pl.DataFrame:
    """Median over seeds of the first `step` and `tau` at which a run is at half its baseline.

    One row per gamma; gammas of which no run gets there are left out.
    """
    return (
        curves.sort("step")
        .filter(pl.col("relative_loss") <= _HALF)
        .group_by(_RUN)
        .agg(pl.col("step", "tau").first())
        .group_by("gamma_log10")
        .agg(pl.col("step", "tau").median())
        .sort("gamma_log10")
    )


def _halving_words(curves: pl.DataFrame) -> str:
    reached = halving(curves)
    if reached.is_empty():
        return "the loss does not fall to half of its baseline at any γ"
    first, last = reached.row(0, named=True), reached.row(-1, named=True)
    words = f"the loss halves by step {first['step']:,.0f} at γ = {_gamma(first)}"
    if reached.height > 1:
        words += f" and by step {last['step']:,.0f} at γ = {_gamma(last)}"
    return words


def _collapse_words(curves: pl.DataFrame) -> str:
    reached = halving(curves)
    rich = reached.filter(pl.col("gamma_log10") >= RICH_FROM)
    if rich.height < 2:
        return "loss in rescaled time τ = ηt/γ"
    low, high = tables.extent(rich["tau"])
    return (
        f"the loss halves at τ = {_two_digits(low)} to {_two_digits(high)} "
        f"for γ = {_gamma(rich.row(0, named=True))} to {_gamma(rich.row(-1, named=True))}"
    )


def _two_digits(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{float(f'{value:.1e}'):g}"


def _gamma(row: dict[str, Any]) -> str:
    return theme.power_of_ten(row["gamma_log10"])


def _thin(curves: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Few enough rows to draw: fewer seeds, then fewer gammas, then fewer points of each line."""
    notes = ""
    most_runs = tables.ROW_LIMIT // _FEWEST_POINTS
    if curves.select(_RUN).unique().height > most_runs:
        curves = tables.of_first_seed(curves)
        notes += " · first seed only"
    gammas = curves["gamma_log10"].unique().sort().to_list()
    kept = tables.every_kth(gammas, most_runs)
    if len(kept) < len(gammas):
        curves = curves.filter(pl.col("gamma_log10").is_in(kept))
        notes += f" · {len(kept)} of {len(gammas)} γ"
    runs = max(1, curves.select(_RUN).unique().height)
    # The last point of a line stays, and the others are dropped evenly.
    every = (pl.len() / (tables.ROW_LIMIT // runs)).ceil().cast(pl.Int64)
    return curves.sort(*_RUN, "step").filter(tables.every_nth_from_last(every, _RUN)), notes


def _lines(shown: pl.DataFrame, x: alt.X, field: str) -> ChartType:
    lowest, highest, gammas = 0.5, 1.0, [0.0]
    if not shown.is_empty():
        least, most = tables.extent(shown["relative_loss"])
        lowest = min(lowest, least)
        # A catapult may climb far above the baseline; the fall below it is what is compared.
        highest = max(highest, min(most, 10.0))
        gammas = shown["gamma_log10"].unique().sort().to_list()
    y = alt.Y("relative_loss:Q", title="relative training loss (dimensionless)")
    low, high = max(lowest, 1e-12) * 0.9, 1.1 * highest
    y = theme.log_scaled(y, low, high)
    rows, colour = shown.select(*_RUN, field, "relative_loss"), theme.gamma_colour(gammas, 200)
    looks: dict[str, Any] = {"strokeWidth": 1.6, "strokeOpacity": 0.9}
    lines = alt.Chart(rows).mark_line(
        **looks, clip=theme.has_points_outside(rows, relative_loss=(low, high))
    )
    lines = lines.encode(x=x, y=y, color=colour, detail=[f"{name}:Q" for name in _RUN])
    heads = theme.arrow_layers(rows, _RUN, "relative_loss", high)
    chart: ChartType = alt.layer(lines, *(head.encode(x=x, color=colour) for head in heads))
    return chart.properties(width=WIDTH, height=HEIGHT)
