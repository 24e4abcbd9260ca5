"""Dynamics of training against gamma: halving time, catapult peaks, sharpening, alignment against loss."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme

WIDTH, HEIGHT = 320, 230
_KEYS = ("slice", "series", "cell", "seed", "data_seed")
_TITLES = {
    "catapult_peak": ("lazy", "catapult peaks go as γ{}"),
    "half_step": ("rich", "steps until half of the loss at large γ as γ{}"),
    "trained_step": ("rich", "steps until trained at large γ as γ{}"),
    "sharpening_factor": ("rich", "sharpening as γ{}"),
}
"""Fitted quantity -> its window, and words for its exponent."""


@dataclass(frozen=True)
class _Panel:
    """Points `x`, `y` (log10) of `series`, with lines of predicted slope through the middle of each."""

    title: str
    y_title: str
    points: pl.DataFrame
    caption: str
    quantity: str = ""
    """Fitted quantity that the panel shows."""
    x_title: str = theme.GAMMA
    guides: pl.DataFrame | None = None


def dynamics(dynamics: pl.DataFrame, scaling: pl.DataFrame) -> ChartType:
    """Panels of the tables `dynamics` and `dynamics_scaling` that have something to show, two in a row."""
    table = tables.with_series(dynamics) if not dynamics.is_empty() else dynamics
    panels = [] if dynamics.is_empty() else _panels(table, scaling)
    if not panels:
        counts = tables.counts_of(cell=table["cell"].n_unique() if table.height else 0)
        return theme.Figure("dynamics", "").empty_chart(
            "Nothing to compare: no quantity is known at two γ, at large γ or in catapults", counts
        )
    # A slice that no panel shows is named nowhere.
    drawn = pl.concat(panel.points.select(_KEYS) for panel in panels)
    names = tables.series_names(drawn)
    colour, shape = theme.series_encodings(
        names, alt.Legend(title=tables.series_title(table), orient="right")
    )
    charts = [_chart(panel, colour, shape) for panel in panels]
    rows = [alt.hconcat(*charts[k : k + 2], spacing=30) for k in range(0, len(charts), 2)]
    cells = drawn["cell"].n_unique()
    seeds = drawn.select("seed", "data_seed").n_unique()
    caption = f"One mark for each run: {'; '.join(panel.caption for panel in panels)}."
    if any(panel.guides is not None and panel.quantity for panel in panels):
        caption += " Dashed lines have the predicted slopes."
    return theme.Figure("dynamics", caption).finish(
        alt.vconcat(*rows, spacing=24),
        _title(scaling, {panel.quantity for panel in panels}),
        [
            f"{tables.count_of(cells, 'cell')} in {tables.counts_of(slice=len(names), seed=seeds)}",
            tables.study_line(dynamics),
        ],
        width=100,
    )


def _panels(table: pl.DataFrame, scaling: pl.DataFrame) -> list[_Panel]:
    scaled = table.filter(path="scaled", window="rich")
    level, words = ("half", "1/2")
    if scaled["half_tau"].null_count() > scaled["trained_tau"].null_count():
        level, words = ("trained", "a trained cell's")
    both = table.unique("cell", maintain_order=True).drop_nulls(["alignment_step", "fall_step"])
    found = [
        _Panel(
            f"τ at which the relative loss is {words}",
            "τ = ηt/γ (dimensionless)",
            _points(scaled, f"{level}_tau"),
            "τ = ηt/γ at which the loss reaches a level, at large γ and η = c γ²⁄ᴸ, which is the same for all γ "
            "if loss curves collapse in τ",
            f"{level}_step",
        ),
        _with_guides(
            "Catapults",
            "peak / first loss (dimensionless)",
            _points(table.filter(path="catapult"), "peak_ratio"),
            "peak of the loss over the first loss, of runs at one ratio η/γ² that catapult",
            "catapult_peak",
            scaling,
        ),
        _with_guides(
            "Sharpening, end over start",
            "sharpening factor (dimensionless)",
            _points(scaled, "sharpening_factor"),
            "sharpness after over that before training",
            "sharpening_factor",
            scaling,
        ),
        _silent(both),
    ]
    # One gamma shows no trend.
    return [panel for panel in found if panel.points["x"].n_unique() > 1]


def _points(table: pl.DataFrame, column: str) -> pl.DataFrame:
    return table.filter(pl.col(column) > 0).select(
        *_KEYS, pl.col("gamma_log10").alias("x"), pl.col(column).log(10).alias("y")
    )


def _silent(both: pl.DataFrame) -> _Panel:
    points = both.select(
        *_KEYS, pl.col("fall_step").log(10).alias("x"), pl.col("alignment_step").log(10).alias("y")
    )
    guide = None
    if not points.is_empty():
        low, high = tables.extent(pl.concat([points["x"], points["y"]]))
        guide = _line("", low, low, high, high)
    return _Panel(
        "Alignment against fall; dashed: equal",
        "step of half the rise of alignment",
        points,
        "the step at which the alignment of the last hidden kernel has made half of its rise against that at "
        "which the loss has made half of its fall, below the dashed diagonal where alignment is silent",
        x_title="step of half the fall of the loss",
        guides=guide,
    )


def _with_guides(
    title: str,
    y_title: str,
    points: pl.DataFrame,
    caption: str,
    quantity: str,
    scaling: pl.DataFrame,
) -> _Panel:
    predicted = scaling.filter(quantity=quantity, window=_TITLES[quantity][0])
    lines, slopes = [], set()
    for row in predicted.drop_nulls("predicted_slope").iter_rows(named=True):
        part = points.filter(slice=row["slice"])
        # As in the fit: a run of a seed with one gamma may be of another kind than the others.
        several = part.filter(pl.col("x").n_unique().over("seed", "data_seed") > 1)
        part = part if several.is_empty() else several
        if part["x"].n_unique() < 2:
            continue
        low, high = tables.extent(part["x"])
        slope = row["predicted_slope"]
        slopes.add(slope)
        x, y = (float(str(part[name].mean())) for name in ("x", "y"))
        lines.append(
            _line(part["series"][0], low, y + slope * (low - x), high, y + slope * (high - x))
        )
    guides = pl.concat(lines) if lines else None
    words = " and ".join(f"γ{theme.exponent_text(s)}" for s in sorted(slopes))
    title = f"{title}; dashed: {words}" if words else title
    return _Panel(title, y_title, points, caption, quantity, guides=guides)


def _line(series: str, x0: float, y0: float, x1: float, y1: float) -> pl.DataFrame:
    return pl.DataFrame({"series": [series, series], "x": [x0, x1], "y": [y0, y1]})


def _chart(panel: _Panel, colour: alt.Color, shape: alt.Shape) -> ChartType:
    xs, ys = (tables.with_margin(panel.points[column], 0.15) for column in ("x", "y"))
    x = theme.spanning(alt.X("x:Q"), xs).axis(theme.log10_axis(panel.x_title, xs, 10))
    y = theme.spanning(alt.Y("y:Q"), ys).axis(theme.log10_axis(panel.y_title, ys, 7))
    layers: list[Any] = []
    if panel.guides is not None:
        diagonal = panel.guides["series"].unique().to_list() == [""]
        base = alt.Chart(panel.guides).encode(x=x, y=y, detail="series:N")
        clip = theme.has_points_outside(panel.guides, x=xs, y=ys)
        dashed = base.mark_line(strokeDash=[5, 3], strokeWidth=1.2, clip=clip, color=theme.QUIET)
        layers.append(dashed if diagonal else dashed.encode(color=colour))
    layers.append(
        alt.Chart(panel.points.drop("slice", "seed", "data_seed"))
        .mark_point(filled=True, size=48, opacity=1, fillOpacity=0.9)
        .encode(x=x, y=y, color=colour, shape=shape, tooltip=["series:N", "cell:N"])
    )
    return alt.layer(*layers).properties(
        width=WIDTH, height=HEIGHT, title=theme.named(panel.title, anchor="start", fontSize=11)
    )


def _title(scaling: pl.DataFrame, shown: set[str]) -> str:
    """The measured exponents of what is shown: of one slice, or from the lowest to the highest of several."""
    parts = []
    for quantity, (window, words) in _TITLES.items():
        fits = scaling.filter(quantity=quantity, window=window).drop_nulls("slope_low")
        if fits.is_empty() or quantity not in shown:
            continue
        low, high = tables.extent(fits["slope"])
        ends = dict.fromkeys(theme.superscript(f"{end:.2f}") for end in (low, high))
        parts.append(words.format(" to γ".join(ends)))
    if not parts:
        return "What happens during training, against γ"
    text = ", ".join(parts)
    return text[0].upper() + text[1:]
