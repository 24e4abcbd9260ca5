"""Vary the thresholds of a study: shifts of edges and slopes when one is halved or doubled."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from gammascape.runs.outcome import Facts, Thresholds, judge
from gammascape.study import EDGES, Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns, in_window, windows
from gammascape.tables.edges.exponents import scaling_table, shared_of
from gammascape.tables.edges.find import threshold_table

SENSITIVITY_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int threshold:str factor value edge:str window:str shift_log10 "
    "largest_shift_log10 common:int lost:int won:int slope slope_low slope_high change"
)

_POINT = ["edge", "seed", "data_seed", "gamma_log10"]


def sensitivity_table(
    cells: pl.DataFrame,
    depth_exponent: int | None,
    class_prior: float | None,
    thresholds: Thresholds,
    analysis: Analysis,
) -> pl.DataFrame:
    """Judge the cells of one slice again with each threshold halved and doubled, and find edges and slopes anew.

    One row for each threshold, factor, edge and window (`lazy`, `rich`, and `all`, which has no slope). Shifts are
    means over the edges that have an estimate both ways; `lost` and `won` count those with one before or after
    alone. Rows of `factor` 1 hold what is compared with.

    Args:
        cells: the table of `tables.cells.cell_table`.
        depth_exponent: L of the model, or None.
        class_prior: as in `study.Slice`.
        thresholds: of the study.
        analysis: the study's windows and confidence level.
    """
    level = analysis.confidence
    before = threshold_table(judged(cells, thresholds), depth_exponent, thresholds, level)
    if before.is_empty():
        return pl.DataFrame(schema=SENSITIVITY_SCHEMA)
    shared, slopes = shared_of(before), scaling_table(before, analysis)
    rows: list[dict[str, Any]] = []
    for name, factor, changed in variations(thresholds, class_prior or 1.0):
        after, fits = before, slopes
        if factor != 1:
            after = threshold_table(judged(cells, changed), depth_exponent, changed, level)
            moved = after.join(before, on=after.columns, how="anti", nulls_equal=True)["edge"]
            gone = before.join(after, on=after.columns, how="anti", nulls_equal=True)["edge"]
            other = pl.col("edge").is_in([*moved, *gone])
            fits = pl.concat([slopes.filter(~other), scaling_table(after.filter(other), analysis)])
        head = shared | {"threshold": name, "factor": factor, "value": asdict(changed)[name]}
        rows += [head | row for row in _differences(before, after, slopes, fits, analysis)]
    return pl.DataFrame(rows, schema=SENSITIVITY_SCHEMA)


def judged(cells: pl.DataFrame, thresholds: Thresholds) -> pl.DataFrame:
    """The cells with the status and the flag that `runs.outcome.judge` gives them under other thresholds."""
    found = [
        judge(
            Facts(
                finite=row["status"] != "diverged",
                seen_nan=False,
                initial_loss=row["initial_loss"],
                final_loss=row["relative_loss"],
                baseline_loss=1.0,
                peak_loss=row["peak_loss"],
                active_fraction=float(row["status"] != "dead"),
            ),
            thresholds,
        )
        for row in cells.iter_rows(named=True)
    ]
    return cells.with_columns(
        pl.Series("status", [outcome.status for outcome in found], pl.String),
        pl.Series("catapulted", [outcome.catapulted for outcome in found], pl.Boolean),
    )


def variations(
    thresholds: Thresholds, prior: float = 1.0
) -> Iterator[tuple[str, float, Thresholds]]:
    """Each threshold as it is, halved and doubled: (name, factor, thresholds).

    `runaway_above` and `catapult_above` are ratios to a start, of which the part above 1 is varied.
    `trained_below` doubled goes at most half of the way, in log loss, to what needs no training: answering the
    class frequencies, whose relative loss is `prior`. Where it is at or above this already, that is 1, the loss
    of f = 0.
    """
    for name, value in asdict(thresholds).items():
        for factor in (0.5, 1.0, 2.0):
            varied = 1 + factor * (value - 1)
            if name == "trained_below":
                top = prior if value < prior else 1.0
                varied = value if factor == 1 else min(factor * value, (value * top) ** 0.5)
            yield name, factor, replace(thresholds, **{name: varied})


def _differences(
    before: pl.DataFrame,
    after: pl.DataFrame,
    slopes: pl.DataFrame,
    fits: pl.DataFrame,
    analysis: Analysis,
) -> Iterator[dict[str, Any]]:
    columns = [*_POINT, "estimate_log10"]
    both = (
        before.select(columns)
        .drop_nulls()
        .join(after.select(columns).drop_nulls(), on=_POINT, how="full", coalesce=True)
        .with_columns(shift=pl.col("estimate_log10_right") - pl.col("estimate_log10"))
    )
    for edge in EDGES:
        for window, span in (*windows(analysis), ("all", None)):
            part = both.filter(in_window(span), edge=edge)
            if part.is_empty():
                continue
            old, new = (table.filter(edge=edge, window=window) for table in (slopes, fits))
            fit = new.row(0, named=True) if new.height else {}
            yield {
                "edge": edge,
                "window": window,
                "shift_log10": part["shift"].mean(),
                "largest_shift_log10": part["shift"].abs().max(),
                "common": part["shift"].count(),
                "lost": part["estimate_log10_right"].null_count(),
                "won": part["estimate_log10"].null_count(),
                **{name: fit.get(name) for name in ("slope", "slope_low", "slope_high")},
                "change": fit["slope"] - old["slope"][0] if fit and old.height else None,
            }
