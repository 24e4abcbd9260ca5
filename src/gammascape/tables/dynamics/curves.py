"""Loss curves at each gamma's best eta, in steps and in rescaled time tau = eta t / gamma."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from gammascape.tables.cells import SLICE_COLUMNS, columns, open_arrays
from gammascape.tables.edges.find import best_cells
from gammascape.tables.statistics.fits import Floats

CURVE_SCHEMA = SLICE_COLUMNS | columns(
    "seed:int data_seed:int gamma_log10 eta_log10 eta step tau relative_loss"
)

_BINS_PER_DECADE = 24


class History(NamedTuple):
    """Training loss and loss of f = 0 at steps counted from 0, all (n,)."""

    step: Floats
    loss: Floats
    zero_loss: Floats

    @classmethod
    def read(cls, folder: Path) -> "History":
        """The history of one cell. Raises as `cells.open_arrays`."""
        with open_arrays(folder) as arrays:
            return cls(*(arrays[name] for name in cls._fields))

    def smooth(self) -> tuple[Floats, Floats]:
        """Mean step, counted from 1, and mean loss over mean zero loss, in logarithmic bins: (bins,) each."""
        step = self.step + 1.0
        bins = np.floor(np.log10(step) * _BINS_PER_DECADE).astype(np.int64)
        starts = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1))
        counts = np.diff(np.append(starts, len(step)))
        step, loss, zero = (
            np.add.reduceat(values, starts) for values in (step, self.loss, self.zero_loss)
        )
        return step / counts, loss / zero


def curve_table(thresholds: pl.DataFrame, cells_folder: Path) -> pl.DataFrame:
    """Smoothed training loss over the loss of f = 0, for the best eta of each gamma and seed of one slice.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table`.
        cells_folder: folder of all artifacts.
    """
    best = best_cells(thresholds).rows(named=True)
    return curves_of((row, History.read(cells_folder / row["cell"])) for row in best)


def curves_of(runs: Iterable[tuple[Mapping[str, Any], History]]) -> pl.DataFrame:
    """The table of curves of runs, each with its row of the table of thresholds.

    Losses are averaged in bins of steps that are uniform in log t (24 a decade); `step` counts from 1 and is
    the mean of the bin's steps.
    """
    frames = []
    for row, history in runs:
        step, relative = history.smooth()
        eta, gamma = 10.0 ** row["eta_log10"], 10.0 ** row["gamma_log10"]
        fixed: dict[str, Any] = {name: row[name] for name in CURVE_SCHEMA if name in row}
        frames.append(
            pl.DataFrame({"step": step, "relative_loss": relative}).with_columns(
                eta=pl.lit(eta),
                tau=pl.col("step") * (eta / gamma),
                **{name: pl.lit(value) for name, value in fixed.items()},
            )
        )
    if not frames:
        return pl.DataFrame(schema=CURVE_SCHEMA)
    table = pl.concat(frames).select(pl.col(n).cast(t) for n, t in CURVE_SCHEMA.items())
    return table.sort("gamma_log10", "seed", "data_seed", "step")
