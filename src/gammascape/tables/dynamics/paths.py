"""Choose the cells that are compared across gamma: at the best eta, and on paths eta = c gamma^p."""

from typing import Literal

import polars as pl

from gammascape.study import Analysis, predicted_slope
from gammascape.tables.cells import SLICE_COLUMNS, columns, in_window, windows
from gammascape.tables.edges.find import best_cells

EtaPath = Literal["best", "scaled", "catapult"]

PATH_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int path:str window:str exponent constant_log10 offset_log10 gamma_log10 "
    "eta_log10 seed:int data_seed:int cell:str status:str"
)

_CALM = ("trained", "untrained")
_EPSILON = 1e-6


def path_table(cells: pl.DataFrame, thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """The cells on each path of all slices, one row for each path, gamma and seed.

    best      the best eta of each gamma and seed
    scaled    eta = c gamma^2 in the lazy and c gamma^(2/L) in the ultra-rich window, with the c that
              has the most trained cells; if several have as many, the median of them (the lower of two)
    catapult  eta = c gamma^2 in the lazy window, with the c that has the most cells that catapulted and
              neither diverged nor died; if several have as many, the median of them (the upper of two)

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
    paths = [_on_path(best, "best", None, None, analysis)]
    for _, part in known.group_by("slice", maintain_order=True):
        depth, loss = part.select("depth_exponent", "loss").row(0)
        step = _grid_step(part)
        for window, span in windows(analysis):
            inside = part.filter(in_window(span))
            exponent = predicted_slope("eta_max_trained", loss, window, depth)
            calm = inside.filter(pl.col("status").is_in(_CALM))
            if exponent is not None:
                trained = calm.filter(pl.col("status") == "trained")
                paths += _along(calm, _measured(trained), ("scaled", exponent, step), analysis)
            if window == "lazy":
                flown = inside.filter("catapulted", ~pl.col("status").is_in(["diverged", "dead"]))
                paths += _along(flown, flown, ("catapult", 2.0, step), analysis)
    return pl.concat(paths).sort(
        "slice", "path", "gamma_log10", "seed", "data_seed", maintain_order=True
    )


def _measured(trained: pl.DataFrame) -> pl.DataFrame:
    """Select cells with measured sharpness if every gamma has some, else all."""
    measured = trained.filter(pl.col("sharpness_init").is_not_null())
    complete = measured["gamma_log10"].n_unique() == trained["gamma_log10"].n_unique()
    return measured if complete else trained


def _along(
    candidates: pl.DataFrame,
    counted: pl.DataFrame,
    law: tuple[EtaPath, float, float],
    analysis: Analysis,
) -> list[pl.DataFrame]:
    """The path that passes most of the cells in `counted`, if any; law: its name, exponent and grid step."""
    path, exponent, grid_step = law
    away = pl.col("eta_log10") - exponent * pl.col("gamma_log10")
    constants = counted.select(away.round(6)).to_series().unique().sort().to_list()
    if not constants:
        return []
    # All etas of one gamma are on the grid, also where few of them are candidates.
    reach = grid_step / 2 + _EPSILON
    passed = counted.with_columns(away.alias("constant"))
    heights = [_nearest(passed, constant, reach).height for constant in constants]
    best = [c for c, height in zip(constants, heights, strict=True) if height == max(heights)]
    chosen = best[len(best) // 2 if path == "catapult" else (len(best) - 1) // 2]
    near = _nearest(candidates.with_columns(away.alias("constant")), chosen, reach)
    return [_on_path(near, path, exponent, chosen, analysis)]


def _nearest(cells: pl.DataFrame, constant: float, reach: float) -> pl.DataFrame:
    """Choose at most one cell of each gamma and seed."""
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


def _on_path(
    cells: pl.DataFrame,
    path: EtaPath,
    exponent: float | None,
    constant: float | None,
    analysis: Analysis,
) -> pl.DataFrame:
    """Rows of cells on a path, of the law eta = 10^constant gamma^exponent if it has one."""
    expected = pl.col("constant_log10") + pl.col("exponent") * pl.col("gamma_log10")
    placed = cells.with_columns(
        path=pl.lit(path),
        window=pl.coalesce(
            pl.when(in_window(span)).then(pl.lit(name)) for name, span in windows(analysis)
        ),
        exponent=pl.lit(exponent, pl.Float64),
        constant_log10=pl.lit(constant, pl.Float64),
    ).with_columns(offset_log10=pl.col("eta_log10") - expected)
    return placed.select(pl.col(name).cast(kind) for name, kind in PATH_SCHEMA.items())
