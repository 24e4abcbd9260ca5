"""How similar the representations of different networks are, across architectures and gammas."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gammascape.analysis.cells import read_json
from gammascape.analysis.cka import debiased_cka, unpack_triangle
from gammascape.analysis.thresholds import best_cells

SIMILARITY_SCHEMA = {
    "dataset": pl.String,
    "loss": pl.String,
    "batch_size": pl.Int64,
    "steps": pl.Int64,
    "passes": pl.Float64,
    "model_a": pl.String,
    "gamma_a_log10": pl.Float64,
    "model_b": pl.String,
    "gamma_b_log10": pl.Float64,
    "cka": pl.Float64,
    "cka_low": pl.Float64,
    "cka_high": pl.Float64,
    "seed_pairs": pl.Int64,
    "probes": pl.Int64,
}

_GROUP = ["dataset", "loss", "batch_size", "steps", "passes"]


def similarity_table(thresholds: pl.DataFrame, cells_folder: Path) -> pl.DataFrame:
    """Debiased linear CKA of last hidden layers on the probe set, all pairs of (model, gamma), in both orders.

    Each network is the one of its best eta. `cka` is the mean over pairs of seeds, `cka_low` and `cka_high` its
    smallest and largest value. A network is never compared with itself: one seed leaves the
    diagonal without a value and with 0 pairs.

    Args:
        thresholds: thresholds of all slices; networks are compared within one dataset, loss, batch size and steps.
        cells_folder: folder of all artifacts.
    """
    best = best_cells(thresholds)
    rows: list[dict[str, Any]] = []
    for key, group in best.group_by(_GROUP, maintain_order=True):
        shared = dict(zip(_GROUP, key, strict=True))
        networks, grams = [], []
        for network in group.sort("model", "gamma_log10", "seed", "data_seed").iter_rows(
            named=True
        ):
            gram = _last_gram(cells_folder / network["cell"])
            if gram is not None:
                networks.append(network)
                grams.append(gram)
        if grams:
            rows += [shared | row for row in _pairs(networks, grams)]
    return pl.DataFrame(rows, schema=SIMILARITY_SCHEMA)


def _last_gram(folder: Path) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    name = f"gram.{read_json(folder / 'summary.json')['hidden_layers'][-1]}"
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        gram = unpack_triangle(arrays[name]) if name in arrays else None
    return gram if gram is not None and np.isfinite(gram).all() else None


def _pairs(
    networks: list[dict[str, Any]], grams: list[np.ndarray[Any, np.dtype[np.float64]]]
) -> list[dict[str, Any]]:
    cka = debiased_cka(grams)
    members: dict[tuple[str, float], list[int]] = {}
    for position, network in enumerate(networks):
        members.setdefault((network["model"], network["gamma_log10"]), []).append(position)
    rows = []
    for (model_a, gamma_a), of_a in members.items():
        for (model_b, gamma_b), of_b in members.items():
            values = [cka[a, b] for a in of_a for b in of_b if a != b]
            rows.append(
                {
                    "model_a": model_a,
                    "gamma_a_log10": gamma_a,
                    "model_b": model_b,
                    "gamma_b_log10": gamma_b,
                    "cka": float(np.mean(values)) if values else None,
                    "cka_low": float(min(values)) if values else None,
                    "cka_high": float(max(values)) if values else None,
                    "seed_pairs": len(values),
                    "probes": len(grams[0]),
                }
            )
    return rows
