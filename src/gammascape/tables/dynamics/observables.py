"""Measurements during the runs of a slice: one row for each cell, step, observable and layer."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from gammascape.tables.cells import SLICE_COLUMNS, columns, point_of, read_summary

OBSERVABLE_SCHEMA = SLICE_COLUMNS | columns(
    "cell:str gamma_log10 eta_log10 seed:int data_seed:int step:int observable:str layer:str value"
)


def observable_table(folders: Iterable[Path], labels: Mapping[str, Any]) -> pl.DataFrame:
    """Read the observables of the cells of one slice; cells without any have no rows.

    `step` is the number of updates before the measurement. `layer` is null for what belongs to the whole network,
    `value` is null where it is not finite or not defined.

    Args:
        folders: artifacts of the cells, .../<family>/<id>.
        labels: the values of SLICE_COLUMNS.

    Raises:
        TableError: if an artifact is damaged.
    """
    rows = [{**labels, **row} for folder in folders for row in _rows_of(folder)]
    table = pl.DataFrame(rows, schema=OBSERVABLE_SCHEMA)
    return table.sort("gamma_log10", "eta_log10", "seed", "data_seed", "step", maintain_order=True)


def _rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    summary = read_summary(folder)
    fixed = point_of(folder, summary["cell"])
    for taken in summary.get("observables", ()):
        for name, found in taken.items():
            if name == "step":
                continue
            shared = fixed | {"step": taken["step"], "observable": name}
            for layer, value in (found if isinstance(found, dict) else {None: found}).items():
                yield shared | {"layer": layer, "value": value}
