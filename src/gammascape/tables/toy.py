"""Tables of a toy slice, with the columns of trained slices and the same judgements; nothing is trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from gammascape.runs.history import final_window, thin
from gammascape.runs.outcome import Facts, Thresholds
from gammascape.tables.cells import CELL_SCHEMA, judgement
from gammascape.tables.dynamics.curves import History, curves_of
from gammascape.tables.edges.budget import Losses, budget_table
from gammascape.tables.edges.find import best_cells
from gammascape.theory import toy as theory
from gammascape.theory.toy import DATA


def toy_cell_table(
    points: Sequence[tuple[str, str, str]],
    depth: int,
    labels: Mapping[str, Any],
    thresholds: Thresholds,
) -> pl.DataFrame:
    """One row for each point of a toy slice, all computed at once; the table of `tables.cells.cell_table`.

    Args:
        points: log10 gamma, log10 eta and the name of each cell.
        depth: L of the toy.
        labels: the values of SLICE_COLUMNS; loss and steps are also what is computed.
        thresholds: how the study tells trained from untrained.
    """
    gamma_log10, eta_log10 = np.array([point[:2] for point in points], float).reshape(-1, 2).T
    gamma, eta = 10.0**gamma_log10, 10.0**eta_log10
    steps = labels["steps"]
    baseline = float(theory.loss_of(0.0, labels["loss"]))
    run = theory.descend(gamma, eta, depth, labels["loss"], steps, window=final_window(steps))
    sharpness = theory.initial_sharpness(gamma, depth, labels["loss"])
    rows = []
    for k, (_, _, name) in enumerate(points):
        finite = bool(run.finite[k])
        facts = Facts(
            finite=finite,
            seen_nan=bool(run.seen_nan[k]),
            initial_loss=baseline,
            final_loss=float(run.final_loss[k]) if finite else None,
            baseline_loss=baseline,
            peak_loss=float(run.peak_loss[k]) if finite else None,
            active_fraction=None,
        )
        rows.append(
            {
                **labels,
                **judgement(facts, thresholds),
                "cell": name,
                "dtype": "float64",
                "gamma_log10": gamma_log10[k],
                "gamma": gamma[k],
                "eta_log10": eta_log10[k],
                "eta": eta[k],
                "seed": 0,
                "data_seed": 0,
                "peak_step": int(run.peak_step[k]) if finite else None,
                "test_loss": _finite(run.last_loss[k]) if finite else None,
                "base_width": 1,
                "sharpness_init": float(sharpness[k]),
                "steps_done": steps,
                "seconds": 0.0,
                "data_digest": DATA,
            }
        )
    table = pl.DataFrame(rows, schema=CELL_SCHEMA, orient="row")
    return table.sort("gamma_log10", "eta_log10")


def toy_histories(cells: pl.DataFrame, depth: int) -> Iterator[Losses]:
    """The loss histories of the cells of a toy slice, in the order of the rows.

    Args:
        cells: the table of `toy_cell_table`.
        depth: L of the toy.
    """
    for _, line in cells.group_by("gamma_log10", maintain_order=True):
        loss, steps = line.select("loss", "steps").row(0)
        runs = theory.outputs(line["gamma"].to_numpy(), line["eta"].to_numpy(), depth, loss, steps)
        with np.errstate(all="ignore"):  # runs that diverge do so to inf and nan
            losses = np.array([theory.loss_of(f, loss) for f in runs])[:-1].T
            zero = thin(np.full(steps, float(theory.loss_of(0.0, loss))))["loss"]
            for history in map(thin, losses):
                yield {**history, "zero_loss": zero}


def toy_budget_table(
    cells: pl.DataFrame, depth_exponent: int, thresholds: Thresholds, confidence: float
) -> pl.DataFrame:
    """The table of `tables.edges.budget.budget_table` for a slice of a toy."""
    histories = toy_histories(cells, depth_exponent)
    return budget_table(cells, histories, depth_exponent, thresholds, confidence)


def toy_curve_table(thresholds: pl.DataFrame) -> pl.DataFrame:
    """Loss curves of a toy slice at each gamma's best eta; the table of `tables.dynamics.curves.curve_table`.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table`.
    """
    best = best_cells(thresholds)
    if best.is_empty():
        return curves_of([])
    loss, steps, depth = best.select("loss", "steps", "depth_exponent").row(0)
    gamma, eta = (10.0 ** best[name].to_numpy() for name in ("gamma_log10", "eta_log10"))
    losses = np.array(
        [theory.loss_of(f, loss) for f in theory.outputs(gamma, eta, depth, loss, steps)]
    )[:-1]
    step = np.arange(steps, dtype=float)
    zero = np.full(steps, float(theory.loss_of(0.0, loss)))
    return curves_of(
        (row, History(step, losses[:, k], zero)) for k, row in enumerate(best.to_dicts())
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
