"""Loss, sharpness and alignment in time, of runs that catapult and of runs at large gamma."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from gammascape.tables.cells import SLICE_COLUMNS, columns, read_summary
from gammascape.tables.dynamics.curves import History
from gammascape.tables.dynamics.events import observed

PHENOMENA_SCHEMA = SLICE_COLUMNS | columns(
    "phenomenon:str cell:str gamma_log10 eta_log10 seed:int data_seed:int quantity:str step value"
)

SHOWN = {"catapult": "eta_times_sharpness", "silent alignment": "kernel_alignment"}
"""The observable beside the loss."""


def phenomenon_rows(dynamics: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table dynamics that show one of SHOWN, with its name as `phenomenon`.

    A catapult is on the path of catapults, with its sharpness measured. Alignment is shown at large gamma on the
    scaled path, or at the best eta where a slice has none, if it was measured.
    """
    flown = dynamics.filter(path="catapult").drop_nulls("eta_times_sharpness_init")
    rich = dynamics.filter(window="rich").drop_nulls("alignment_init")
    scaled = rich.filter(path="scaled")
    rest = rich.filter(path="best").join(scaled, on="slice", how="anti")
    catapult, silent = SHOWN
    return pl.concat(
        [
            flown.with_columns(phenomenon=pl.lit(catapult)),
            pl.concat([scaled, rest]).with_columns(phenomenon=pl.lit(silent)),
        ]
    )


def phenomena_table(dynamics: pl.DataFrame, cells_folder: Path) -> pl.DataFrame:
    """Curves of `phenomenon_rows` against steps from 1: observable, and smoothed loss over the loss of f = 0.

    Args:
        dynamics: the table of `tables.dynamics.events.dynamics_table`.
        cells_folder: folder of all artifacts.
    """
    rows = [
        {name: run[name] for name in PHENOMENA_SCHEMA if name in run} | point
        for run in phenomenon_rows(dynamics).iter_rows(named=True)
        for point in _points(cells_folder / run["cell"], SHOWN[run["phenomenon"]])
    ]
    return pl.DataFrame(rows, schema=PHENOMENA_SCHEMA)


def _points(folder: Path, observable: str) -> Iterator[dict[str, Any]]:
    measured = observed(read_summary(folder), observable)
    loss = History.read(folder).smooth()
    for name, (steps, values) in (("relative_loss", loss), (observable, measured)):
        for step, value in zip(steps, values, strict=True):
            yield {"quantity": name, "step": float(step), "value": float(value)}
