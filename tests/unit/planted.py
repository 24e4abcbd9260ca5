"""Tables of edges whose exponents are known, many at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from gammascape.tables.cells import CELL_SCHEMA
from gammascape.tables.edges.find import THRESHOLD_SCHEMA
from gammascape.tables.similarity.cka import debiased_cka, pair_vector
from gammascape.tables.statistics.fits import Floats

LABELS = {
    "slice": "m-d-mse-B1-T1", "model": "m", "dataset": "d", "loss": "mse", "batch_size": 1, "steps": 1,
    "passes": None,
}  # fmt: skip


def line(statuses: str, gamma: float = 0.0, step: float = 0.5, start: float = 0.0) -> pl.DataFrame:
    """Cells of one gamma: u(ntrained), t(rained), c(atapulted and trained), T (best), r(unaway), d(ead), x."""
    names = {"u": "untrained", "t": "trained", "T": "trained", "c": "trained"}
    names |= {"r": "runaway", "d": "dead"}
    losses = {"u": 0.95, "t": 0.4, "c": 0.4, "T": 0.2, "r": 9.0, "d": 1.0}
    rows: list[dict[str, Any]] = [
        LABELS
        | {
            "cell": f"c{gamma}-{i}",
            "gamma_log10": gamma,
            "eta_log10": start + step * i,
            "seed": 0,
            "data_seed": 0,
            "status": names.get(s, "diverged"),
            "catapulted": s in "cr",
            "relative_loss": losses.get(s),
            "validation_loss": None,
            "validation_accuracy": None,
            "initial_loss": 0.1,
            "baseline_loss": 0.1,
            "test_accuracy": None,
            "peak_loss": 1.0 if s in "cr" else None if s == "x" else 0.1,
            "active_fraction": 0.0 if s == "d" else 1.0,
            "base_width": 8,
            "sharpness_init": None,
            "data_digest": "d",
        }
        for i, s in enumerate(statuses)
    ]
    return pl.DataFrame(rows, schema={name: CELL_SCHEMA[name] for name in rows[0]})


def on_grid(y: Floats, step: float) -> tuple[Floats, Floats]:
    """The sampled etas between which edges y lie."""
    lower = np.floor(y / step) * step
    return lower, lower + step


def threshold_rows(
    gammas: Floats, y: Floats, step: float, depth: int | None = 3, edge: str = "eta_max_trained"
) -> pl.DataFrame:
    """The table `thresholds` of upper edges y (gammas, seeds) known to a grid of this step."""
    lower, upper = on_grid(y, step)
    rows = [
        LABELS
        | {
            "depth_exponent": depth,
            "seed": seed,
            "data_seed": 0,
            "gamma_log10": float(gamma),
            "edge": edge,
            "eta_log10": float(lower[i, seed]),
            "lower_log10": float(lower[i, seed]) - step,
            "upper_log10": float(upper[i, seed]),
            "bounded": True,
            "estimate_log10": float(lower[i, seed] + upper[i, seed]) / 2,
            "estimate_low_log10": float(lower[i, seed]),
            "estimate_high_log10": float(upper[i, seed]),
            "method": "grid",
            "zone_log10": 0.0,
            "cell": f"c{gamma}-{seed}",
            "toy": False,
        }
        for i, gamma in enumerate(gammas)
        for seed in range(y.shape[1])
    ]
    return pl.DataFrame(rows, schema=THRESHOLD_SCHEMA)


def cka_matrix(grams: Sequence[Floats]) -> Floats:
    """Debiased CKA (m, m) of Gram matrices (P, P)."""
    return debiased_cka(np.stack([pair_vector(gram) for gram in grams]))
