"""Choose the cells that are compared across gamma: at the best eta, and on paths eta = c gamma^p."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from gammascape.study import Analysis, predicted_slope
from gammascape.tables.cells import SLICE_COLUMNS, columns, windows, within
from gammascape.tables.edges.find import best_cells

EtaPath = Literal["best", "scaled", "catapult"]

PATH_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int path:str window:str exponent constant_log10 offset_log10 gamma_log10 "
    "eta_log10 seed:int data_seed:int cell:str status:str"
)

_CALM = ("trained", "untrained")
_EPSILON = 1e-6


@dataclass(frozen=True)
class _Law:
    """eta = 10^constant gamma^exponent."""

    exponent: float
    constant: float


def path_table(cells: pl.DataFrame, thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """The cells on each path of all slices, one row for each path, gamma and seed.

    best      the best eta of each gamma and seed
    scaled    eta = c gamma^2 in the lazy and c gamma^(2/L) in the ultra-rich window, c being that with the most
              trained cells, the middle one (of two the lower) of those alike in this
    catapult  eta = c gamma^2 in the lazy window, c being that with the most cells that catapulted and neither
              diverged nor died, the middle one (of two the upper) of those alike in this

    Where sharpness was measured in trained cells of all gammas at which cells trained, only these are counted:
    a study that measures it along one law means that law.

    On a path each gamma has the sampled eta nearest to the law if that is at most half a grid step away;
    `offset_log10` is how far. Cells that diverged, ran away or died are on no path but the last.

    Args:
        cells: the table of `tables.cells.cell_table`.
        thresholds: the table of `tables.edges.find.threshold_table`.
        analysis: the study's windows of gamma.
    """
    depths = thresholds.select("slice", "depth_exponent").unique()
    known = cells.join(depths, on="slice", how="left")
    best = known.join(best_cells(thresholds), on=["slice", "cell"], how="semi")
    rows = list(_rows(best, "best", None, analysis))
    for _, part in known.group_by("slice", maintain_order=True):
        depth, loss = part.select("depth_exponent", "loss").row(0)
        step = _grid_step(part)
        for window, span in windows(analysis):
            inside = part.filter(within(span))
            exponent = predicted_slope("eta_max_trained", loss, window, depth)
            calm = inside.filter(pl.col("status").is_in(_CALM))
            if exponent is not None:
                trained = calm.filter(pl.col("status") == "trained")
                rows += _along(calm, _measured(trained), ("scaled", exponent, step), analysis)
            if window == "lazy":
                flown = inside.filter("catapulted", ~pl.col("status").is_in(["diverged", "dead"]))
                rows += _along(flown, flown, ("catapult", 2.0, step), analysis)
    table = pl.DataFrame(rows, schema=PATH_SCHEMA)
    return table.sort("slice", "path", "gamma_log10", "seed", "data_seed", maintain_order=True)


def _measured(trained: pl.DataFrame) -> pl.DataFrame:
    """Those with measured sharpness if every gamma has some, else all."""
    measured = trained.filter(pl.col("sharpness_init").is_not_null())
    complete = measured["gamma_log10"].n_unique() == trained["gamma_log10"].n_unique()
    return measured if complete else trained


def _along(
    candidates: pl.DataFrame,
    counted: pl.DataFrame,
    law: tuple[EtaPath, float, float],
    analysis: Analysis,
) -> Iterator[dict[str, Any]]:
    """The rows of the path that passes most of the cells in `counted`; law: its name, exponent and grid step."""
    path, exponent, grid_step = law
    away = pl.col("eta_log10") - exponent * pl.col("gamma_log10")
    constants = counted.select(away.round(6)).to_series().unique().sort().to_list()
    if not constants:
        return
    # All etas of one gamma are on the grid, also where few of them are candidates.
    reach = grid_step / 2 + _EPSILON
    passed = counted.with_columns(away.alias("constant"))
    heights = [_nearest(passed, constant, reach).height for constant in constants]
    best = [c for c, height in zip(constants, heights, strict=True) if height == max(heights)]
    chosen = _Law(exponent, best[len(best) // 2 if path == "catapult" else (len(best) - 1) // 2])
    near = _nearest(candidates.with_columns(away.alias("constant")), chosen.constant, reach)
    yield from _rows(near, path, chosen, analysis)


def _nearest(cells: pl.DataFrame, constant: float, reach: float) -> pl.DataFrame:
    """At most one cell of each gamma and seed."""
    distance = (pl.col("constant") - constant).abs().round(6)
    return (
        cells.filter(distance <= reach)
        .sort(distance, "eta_log10")
        .unique(["gamma_log10", "seed", "data_seed"], keep="first", maintain_order=True)
    )


def _grid_step(cells: pl.DataFrame) -> float:
    """Smallest distance of two etas of one gamma; 0 where each gamma has one."""
    gaps = cells.group_by("gamma_log10").agg(
        pl.col("eta_log10").unique().sort().diff().min().alias("gap")
    )
    smallest = gaps["gap"].min()
    return float(str(smallest)) if smallest is not None else 0.0


def _rows(
    cells: pl.DataFrame, path: EtaPath, law: _Law | None, analysis: Analysis
) -> Iterator[dict[str, Any]]:
    for row in cells.iter_rows(named=True):
        expected = None if law is None else law.constant + law.exponent * row["gamma_log10"]
        yield {name: row[name] for name in PATH_SCHEMA if name in row} | {
            "path": path,
            "window": next((w for w, s in windows(analysis) if row["gamma_log10"] in s), None),
            "exponent": None if law is None else law.exponent,
            "constant_log10": None if law is None else law.constant,
            "offset_log10": None if expected is None else row["eta_log10"] - expected,
        }
