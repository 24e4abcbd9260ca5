"""Edges of training along eta, at each gamma and seed."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.runs.outcome import Thresholds
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends

THRESHOLD_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int seed:int data_seed:int gamma_log10 edge:str eta_log10 lower_log10 "
    "upper_log10 bounded:bool estimate_log10 estimate_low_log10 estimate_high_log10 method:str "
    "cell:str"
)

LINE = [*SLICE_COLUMNS, "seed", "data_seed", "gamma_log10"]
"""Cells that differ in eta alone."""
_INTERPOLATION_ERROR = 0.25
"""Share of a grid step, within which 95 % of the toy's exact edges are found (tests/unit/tables/edges)."""
_NEAR_ONE = 1 - 1e-3


def threshold_table(
    cells: pl.DataFrame, depth_exponent: int | None, thresholds: Thresholds | None = None
) -> pl.DataFrame:
    """The edges of one slice, for each gamma and seed, as sampled etas.

    eta_min          lowest eta of the uninterrupted run of trained cells around the best one
    eta_crit         2 / (N sharpness), the sharpness measured before the first step; SGD's rate is N eta
    eta_no_spike     highest eta of that run up to which no cell of the run catapulted
    eta_max_trained  highest eta of that run
    eta_max_finite   highest eta below the first that diverged, as the paper's code decides
    eta_best         lowest final loss among cells that trained or stayed untrained

    `lower_log10` and `upper_log10` are the neighbouring sampled etas: eta_max lies between its value and the
    upper neighbour, eta_min between the lower neighbour and its value. `bounded` is False where the
    sampled range ends before the edge does; such a row is only a bound and takes no part in fits.

    `estimate_log10` places a bounded edge between the two etas that bracket it. Where the loss is known on both
    sides and is below that of f = 0, its crossing of `trained_below` is interpolated (`method` interpolated):
    log(-log(relative loss)) is linear in log eta as long as the loss falls exponentially with eta T. Else it is
    the middle (`method` grid), and for eta_crit the measured value itself (`method` measured).

    Args:
        cells: the table of `tables.cells.cell_table`.
        depth_exponent: L of the model, or None.
        thresholds: those with which the cells were judged; the defaults if None.
    """
    level = (thresholds or Thresholds()).trained_below
    rows: list[dict[str, Any]] = []
    for shared, line in grouped(cells.sort("eta_log10"), LINE):
        shared["depth_exponent"] = depth_exponent
        rows += [shared | edge for edge in edges_of_line(line, level)]
    return pl.DataFrame(rows, schema=THRESHOLD_SCHEMA).sort(
        "gamma_log10", "seed", "data_seed", "edge"
    )


def best_cells(thresholds: pl.DataFrame) -> pl.DataFrame:
    """The rows of the best eta of each gamma and seed."""
    return thresholds.filter(pl.col("edge") == "eta_best")


def edges_of_line(line: pl.DataFrame, trained_below: float) -> list[dict[str, Any]]:
    """The edges of cells that differ in eta alone, sorted by eta: columns from `edge` on."""
    etas: list[float] = line["eta_log10"].to_list()
    statuses: list[str] = line["status"].to_list()
    losses: list[float | None] = line["relative_loss"].to_list()
    catapulted: list[bool] = line["catapulted"].to_list()
    names: list[str] = line["cell"].to_list()
    last = len(etas) - 1

    def edge(name: str, position: int, bounded: bool) -> dict[str, Any]:
        row: dict[str, Any] = {
            "edge": name,
            "eta_log10": etas[position],
            "lower_log10": etas[position - 1] if position > 0 else None,
            "upper_log10": etas[position + 1] if position < last else None,
            "bounded": bounded,
            "cell": names[position],
        }
        if not bounded:
            return row
        low, high = bracket(name, row["eta_log10"], row["lower_log10"], row["upper_log10"])
        outside = position - 1 if name == "eta_min" else position + 1
        if name in ("eta_min", "eta_max_trained") and statuses[outside] == "untrained":
            return row | _interpolated(
                (etas[position], losses[position]), (etas[outside], losses[outside]), trained_below
            )
        return row | _estimate((low + high) / 2, low, high, "grid")

    edges = _critical(line)
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
        calm = next((i - 1 for i in range(low, high + 1) if catapulted[i]), high)
        if calm >= low:
            edges.append(edge("eta_no_spike", calm, calm < last))
    return edges


def bracket(edge: str, at: float, below: float | None, above: float | None) -> tuple[float, float]:
    """Between which log10 etas a bounded edge lies, from the columns eta, lower and upper of its row."""
    if edge == "eta_crit":
        return at, at
    if edge == "eta_min":
        assert below is not None
        return below, at
    assert above is not None
    if edge == "eta_best":
        assert below is not None
        return (below + at) / 2, (at + above) / 2
    return at, above


def _critical(line: pl.DataFrame) -> list[dict[str, Any]]:
    measured = line.filter(pl.col("sharpness_init") > 0)
    if measured.is_empty():
        return []
    # The start of a run does not depend on eta; cells computed in different precision differ by rounding.
    value = (2 / (measured["base_width"] * measured["sharpness_init"])).log(10).median()
    assert isinstance(value, float)
    return [
        {
            "edge": "eta_crit",
            "eta_log10": value,
            "lower_log10": value,
            "upper_log10": value,
            "bounded": True,
            "cell": measured["cell"][0],
        }
        | _estimate(value, value, value, "measured")
    ]


def _interpolated(
    inside: tuple[float, float | None], outside: tuple[float, float | None], level: float
) -> dict[str, Any]:
    assert inside[1] is not None
    assert outside[1] is not None
    low, high = sorted((inside[0], outside[0]))
    # A loss of exactly zero has no logarithm; one of f = 0 or above has no second one.
    nearest = max(_NEAR_ONE, (1 + level) / 2)
    relative = np.clip([inside[1], outside[1], level], 1e-300, nearest)
    depth = np.log(-np.log(relative))
    share = (depth[2] - depth[0]) / (depth[1] - depth[0])
    at = inside[0] + float(np.clip(share, 0, 1)) * (outside[0] - inside[0])
    error = _INTERPOLATION_ERROR * (high - low)
    return _estimate(at, max(low, at - error), min(high, at + error), "interpolated")


def _estimate(at: float, low: float, high: float, method: str) -> dict[str, Any]:
    return with_ends("estimate", at, (low, high), "_log10") | {"method": method}
