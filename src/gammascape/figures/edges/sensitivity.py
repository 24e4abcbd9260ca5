"""Shifts of the edges when the thresholds of the study are halved or doubled."""

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import theme
from gammascape.figures.style.tables import count_of, extent, study_line, with_series

WIDTH, ROW_HEIGHT = 210, 34
_WORDS = {
    "trained_below": "trained below",
    "runaway_above": "runaway above",
    "catapult_above": "catapult above",
}
_FACTORS = {0.5: "lower", 2.0: "higher"}
_COLOURS = {"lower": "#0072b2", "higher": "#d55e00"}
_SHAPES = {"lower": "triangle-left", "higher": "triangle-right"}
_STILL = 0.005
"""Shift in decades below which nothing is said to move."""


def sensitivity(table: pl.DataFrame) -> ChartType:
    """Chart of the table `sensitivity` of one study, which may be empty."""
    changed = table.filter(pl.col("factor") != 1, window="all")
    moved = changed.drop_nulls("shift_log10")
    if moved.is_empty():
        why = "has an estimate under another threshold" if table.height else "is bracketed"
        return theme.Figure("sensitivity", "").empty_chart(f"No edge of training {why}", "0 shifts")
    moved = with_series(moved).with_columns(
        pl.col("factor").replace_strict(_FACTORS, return_dtype=pl.String).alias("change"),
        pl.col("edge").replace(theme.EDGE_WORDS).alias("measured"),
    )
    reach = max(0.05, extent(moved["shift_log10"].abs())[1]) * 1.15
    panels = [_panel(moved, table, name, reach) for name in _WORDS]
    slopes = table.filter(pl.col("factor") != 1).drop_nulls("change")
    changes = "no slope was fitted"
    if slopes.height:
        changes = f"largest change of a slope: {extent(slopes['change'].abs())[1]:.2f}"
    lost, won = (int(changed[name].sum()) for name in ("lost", "won"))
    return theme.Figure("sensitivity", _caption(moved, table)).finish(
        alt.hconcat(*panels, spacing=18),
        _title(moved, lost + won > 0),
        [
            f"{count_of(int(moved['common'].sum()), 'shift')} in "
            f"{count_of(moved['slice'].n_unique(), 'slice')} · {changes} · "
            f"{count_of(lost, 'edge')} no longer bracketed, {won} more than before",
            study_line(moved),
        ],
        width=100,
    )


def _caption(moved: pl.DataFrame, table: pl.DataFrame) -> str:
    """Caption: what is shown, and by how much thresholds are varied."""
    slices = "one symbol per slice" if moved["slice"].n_unique() > 1 else "in one slice"
    found = [
        "Mean shift of each measured edge of the learning rate, in decades of η, when one threshold of the study "
        f"is halved or doubled and all cells are judged again, {slices}"
    ]
    values = {
        name: table.filter(threshold=name).group_by("slice", "factor").agg(pl.col("value").first())
        for name in _WORDS
    }
    ratios = [
        w for n, w in _WORDS.items() if n != "trained_below" and (values[n]["value"] > 1).any()
    ]
    if ratios:
        what = "ratios" if ratios[1:] else "a ratio"
        found.append(f"Of {' and '.join(ratios)}, {what} to the start, the part above 1 is varied")
    trained = values["trained_below"].pivot("factor", index="slice", values="value")
    if (trained["2.0"] < 2 * trained["1.0"] - 1e-9).any():
        found.append(
            "The share of the loss below which a run is trained goes at most half of the way to the best "
            "constant answer's"
        )
    shifts = {n: moved.filter(threshold=n)["shift_log10"].abs() for n in _WORDS}
    still = [
        _WORDS[name] for name, part in shifts.items() if len(part) and extent(part)[1] < _STILL
    ]
    gone = [_WORDS[name] for name, part in shifts.items() if part.is_empty()]
    if still:
        found.append(f"No edge moves with {' or '.join(still)}")
    if gone:
        found.append(f"No edge has an estimate with another {' or '.join(gone)}")
    return ". ".join([*found, ""]).rstrip()


def _title(moved: pl.DataFrame, others: bool) -> str:
    worst = moved.sort(pl.col("shift_log10").abs(), descending=True).row(0, named=True)
    size = abs(worst["shift_log10"])
    if size < _STILL:
        return (
            f"No edge moves with any threshold{', but some appear or disappear' if others else ''}"
        )
    return (
        f"Edges move by at most {size:.2f} decades of η on average with a lower or higher threshold "
        f"({worst['measured']}, {_WORDS[worst['threshold']]} {worst['value']:.3g})"
    )


def _panel(moved: pl.DataFrame, table: pl.DataFrame, name: str, reach: float) -> ChartType:
    values = table.filter(threshold=name).group_by("factor").agg(pl.col("value").unique().sort())
    part = moved.filter(threshold=name).select("series", "measured", "change", "shift_log10")
    present = [theme.EDGE_WORDS[e] for e in theme.EDGE_ORDER if e in set(moved["edge"])]
    first = name == next(iter(_WORDS))
    y = alt.Y("measured:N", sort=present, scale=alt.Scale(domain=present))
    y = y.axis(title=None, labels=first, grid=True, labelLimit=200)
    x = alt.X("shift_log10:Q").scale(domain=[-reach, reach], nice=False)
    x = x.axis(title="shift of log₁₀ η (decades)", tickCount=5)
    changes = list(_COLOURS)
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(color=theme.INK, strokeWidth=1)
    symbols = alt.Chart(part.sort(pl.all())).mark_point(filled=True, size=52, opacity=0.75)
    # Slices may differ in what doubled means.
    label = ", ".join(
        " to ".join(dict.fromkeys(f"{end:.4g}" for end in (some[0], some[-1])))
        for some in values.sort("factor")["value"]
    )
    return alt.layer(
        zero.encode(x=alt.X("x:Q")),
        symbols.encode(
            x=x,
            y=y,
            yOffset=alt.YOffset("change:N", scale=alt.Scale(domain=changes, paddingOuter=0.4)),
            color=alt.Color(
                "change:N",
                scale=theme.series_scale(changes, list(_COLOURS.values())),
                legend=alt.Legend(title="threshold", orient="top"),
            ),
            shape=alt.Shape("change:N", scale=theme.series_scale(changes, list(_SHAPES.values()))),
            tooltip=["series:N", "measured:N", "change:N", "shift_log10:Q"],
        ),
    ).properties(
        width=WIDTH, height=ROW_HEIGHT * len(present), title=theme.named(f"{_WORDS[name]}: {label}")
    )
