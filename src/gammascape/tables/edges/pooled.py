"""One edge for each gamma, from all seeds together."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.edges.find import CONDITIONS, cells_of
from gammascape.tables.edges.level import edge_levels
from gammascape.tables.statistics.slopes import fit_mean

POOLED_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int gamma_log10 edge:str estimate_log10 estimate_low_log10 "
    "estimate_high_log10 method:str zone_log10 seeds:int censored:int without:int confidence"
)

_KEY = [*SLICE_COLUMNS, "depth_exponent", "gamma_log10", "edge"]


def pooled_table(cells: pl.DataFrame, thresholds: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """The edges of one slice at each gamma, seeds together.

    The estimate is the mean of the seeds' edges, and its interval the one of the mean over seeds
    (`tables.statistics.slopes.fit_mean`), none with one seed. Seeds whose edge lies outside of the sampled etas
    count with what they say, `censored`; those without a cell that trained have no edge, `without`. `zone_log10`
    is the width of the zone in which 10 to 90 % of the runs of all seeds train: their scatter, and the blur of
    each. `method` is the method of the seeds' estimates if they have one, else `mixed`.

    Args:
        cells: the table of `tables.cells.cell_table` for one slice.
        thresholds: its table of `tables.edges.find.threshold_table`.
        confidence: level of the intervals.
    """
    rows: list[dict[str, Any]] = []
    for shared, group in grouped(thresholds, _KEY):
        lower, upper = cells_of(group)
        some = np.isfinite(lower) | np.isfinite(upper)
        mean = fit_mean(lower[some], upper[some], confidence)
        if mean is None:
            continue
        # Estimates between sampled etas, unless some edge has none.
        at = mean.value if mean.censored else group.filter(some)["estimate_log10"].mean()
        line = cells.filter(pl.col("gamma_log10") == shared["gamma_log10"])
        methods = set(group.filter(some)["method"])
        rows.append(
            shared
            | with_ends("estimate", at, (mean.low, mean.high), "_log10")
            | {
                "method": methods.pop() if len(methods) == 1 else "mixed",
                "zone_log10": _zone(line, shared["edge"], confidence),
                "seeds": int(some.sum()),
                "censored": mean.censored,
                "without": line.select("seed", "data_seed").n_unique() - int(some.sum()),
                "confidence": confidence,
            }
        )
    return pl.DataFrame(rows, schema=POOLED_SCHEMA, infer_schema_length=None).sort(
        "gamma_log10", "edge"
    )


def _zone(line: pl.DataFrame, edge: str, confidence: float) -> float | None:
    if edge not in CONDITIONS:
        return None
    side, condition = CONDITIONS[edge]
    eta, good = (line.select(what).to_series().to_numpy() for what in ("eta_log10", condition))
    [together] = edge_levels(np.zeros(len(eta)), eta, good, confidence)
    return None if together is None else together[side].zone
