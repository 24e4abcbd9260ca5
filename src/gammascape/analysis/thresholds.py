"""Where training begins and ends along eta, at each gamma: the edges of the phase portrait."""

from typing import Any

import polars as pl

from gammascape.analysis.cells import SLICE_COLUMNS

THRESHOLD_SCHEMA = {
    **SLICE_COLUMNS,
    "depth_exponent": pl.Int64,
    "seed": pl.Int64,
    "data_seed": pl.Int64,
    "gamma_log10": pl.Float64,
    "edge": pl.String,
    "eta_log10": pl.Float64,
    "lower_log10": pl.Float64,
    "upper_log10": pl.Float64,
    "bounded": pl.Boolean,
    "cell": pl.String,
}

_LINE = [*SLICE_COLUMNS, "seed", "data_seed", "gamma_log10"]
"""Cells that differ in eta alone."""


def threshold_table(cells: pl.DataFrame, depth_exponent: int | None) -> pl.DataFrame:
    """The edges of one slice, for each gamma and seed, as sampled etas.

    eta_min          lowest eta of the uninterrupted run of trained cells around the best one
    eta_max_trained  highest eta of that run
    eta_max_finite   highest eta below the first that diverged, as the paper's code decides
    eta_best         lowest final loss among cells that trained or stayed untrained

    `lower_log10` and `upper_log10` are the neighbouring sampled etas: eta_max lies between its value and the
    upper neighbour, eta_min between the lower neighbour and its value. `bounded` is False where the
    sampled range ends before the edge does; such a row is only a bound and takes no part in fits.

    Args:
        cells: the table of `analysis.cells.cell_table`.
        depth_exponent: L of the model, or None.
    """
    rows: list[dict[str, Any]] = []
    for key, line in cells.sort("eta_log10").group_by(_LINE, maintain_order=True):
        shared = dict(zip(_LINE, key, strict=True)) | {"depth_exponent": depth_exponent}
        rows += [shared | edge for edge in _edges_of_line(line)]
    return pl.DataFrame(rows, schema=THRESHOLD_SCHEMA).sort("gamma_log10", "seed", "edge")


def best_cells(thresholds: pl.DataFrame) -> pl.DataFrame:
    """The rows of the best eta of each gamma and seed."""
    return thresholds.filter(pl.col("edge") == "eta_best")


def _edges_of_line(line: pl.DataFrame) -> list[dict[str, Any]]:
    etas: list[float] = line["eta_log10"].to_list()
    statuses: list[str] = line["status"].to_list()
    losses: list[float | None] = line["relative_loss"].to_list()
    names: list[str] = line["cell"].to_list()
    last = len(etas) - 1

    def edge(name: str, position: int, bounded: bool) -> dict[str, Any]:
        return {
            "edge": name,
            "eta_log10": etas[position],
            "lower_log10": etas[position - 1] if position > 0 else None,
            "upper_log10": etas[position + 1] if position < last else None,
            "bounded": bounded,
            "cell": names[position],
        }

    edges = []
    diverged = [i for i, status in enumerate(statuses) if status == "diverged"]
    top_finite = diverged[0] - 1 if diverged else last
    if top_finite >= 0:
        edges.append(edge("eta_max_finite", top_finite, bool(diverged)))
    candidates = [
        (loss, i)
        for i, (loss, status) in enumerate(zip(losses, statuses, strict=True))
        if loss is not None and status in ("trained", "untrained")
    ]
    if not candidates:
        return edges
    best = min(candidates)[1]
    trained = statuses[best] == "trained"
    edges.append(edge("eta_best", best, trained and 0 < best < last))
    if trained:
        low = high = best
        while low > 0 and statuses[low - 1] == "trained":
            low -= 1
        while high < last and statuses[high + 1] == "trained":
            high += 1
        edges.append(edge("eta_min", low, low > 0))
        edges.append(edge("eta_max_trained", high, high < last))
    return edges
