"""One row for each cell of a slice: parameters, status, losses."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gammascape.command import UserError
from gammascape.measure.outcome import Thresholds, facts_of, judge
from gammascape.origin.inside import OutsideError, inside, read_object, short
from gammascape.terminal import visible

SLICE_COLUMNS = {
    "slice": pl.String,
    "model": pl.String,
    "dataset": pl.String,
    "loss": pl.String,
    "batch_size": pl.Int64,
    "steps": pl.Int64,
    "passes": pl.Float64,
}
"""Columns that every table about slices begins with; model and dataset are the study's names.

`passes` is how often each training sample is used, null where all samples are new."""

CELL_SCHEMA = {
    **SLICE_COLUMNS,
    "cell": pl.String,
    "dtype": pl.String,
    "gamma_log10": pl.Float64,
    "gamma": pl.Float64,
    "eta_log10": pl.Float64,
    "eta": pl.Float64,
    "seed": pl.Int64,
    "data_seed": pl.Int64,
    "status": pl.String,
    "catapulted": pl.Boolean,
    "kept_by_nan_rule": pl.Boolean,
    "initial_loss": pl.Float64,
    "baseline_loss": pl.Float64,
    "final_loss": pl.Float64,
    "relative_loss": pl.Float64,
    "peak_loss": pl.Float64,
    "peak_step": pl.Int64,
    "test_loss": pl.Float64,
    "test_accuracy": pl.Float64,
    "shifted_test_loss": pl.Float64,
    "shifted_test_accuracy": pl.Float64,
    "active_fraction": pl.Float64,
    "base_width": pl.Int64,
    "sharpness_init": pl.Float64,
    "steps_done": pl.Int64,
    "seconds": pl.Float64,
    "device": pl.String,
    "data_digest": pl.String,
}


MEASURED = ("seconds", "device")
"""Columns that say how a cell was computed; what came out is in the others."""


class TableError(UserError):
    """Cells cannot be put into one table; the message says which and what to do."""


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        TableError: if the file is not JSON, or leads out of its folder.
        FileNotFoundError: if there is none.
    """
    try:
        return read_object(path)
    except (OutsideError, ValueError) as error:
        raise damaged(path, error) from error


@contextmanager
def open_arrays(folder: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of one cell, each read when it is asked for.

    Raises:
        TableError: if the file is damaged, leads out of its folder, or unpacks to more than it holds.
        FileNotFoundError: if there is none.
    """
    path = folder / "arrays.npz"
    try:
        with zipfile.ZipFile(inside(folder, path.name)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise zipfile.BadZipFile("not written by gammascape")
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (OutsideError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error


def read_table(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a table, or some of its columns.

    Raises:
        TableError: if the file is no table.
        OSError: if it cannot be read.
    """
    try:
        return pl.read_parquet(path, columns=columns, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise TableError(f"{path}: not a table ({short(error)})") from error


def damaged(path: Path, error: Exception) -> TableError:
    """What to say of a file of a cell that cannot be read."""
    text = f"{path}: damaged ({error}); delete {path.parent} and run snakemake again"
    return TableError(visible(text))


def cell_table(
    folders: Iterable[Path], labels: Mapping[str, Any], thresholds: Thresholds
) -> pl.DataFrame:
    """Read the cells of one slice.

    Args:
        folders: artifacts of the cells, .../<family>/<id>.
        labels: the values of SLICE_COLUMNS.
        thresholds: how the study tells trained from untrained.

    Raises:
        TableError: if an artifact is damaged, or the cells were trained on different data or constants.
    """
    rows = [_cell_row(folder, labels, thresholds) for folder in folders]
    constants = pl.Series("digest", [row.pop("constants") for row in rows], pl.String)
    table = pl.DataFrame(rows, schema=CELL_SCHEMA, orient="row")
    for what, digests in (("data", table["data_digest"]), ("constants of its network", constants)):
        if digests.n_unique() > 1:
            cells = table.group_by(digests.alias("digest")).agg(pl.col("cell").first(), pl.len())
            raise TableError(
                f"{labels['slice']}: its cells were trained on different versions of the {what}: "
                + "; ".join(
                    f"{count} cells like {cell} on {(digest or 'none')[:12]}"
                    for digest, cell, count in cells.sort("len").iter_rows()
                )
                + ". Remove those that you no longer want; for the first this is "
                + f"grep -rlF --include=summary.json {(cells.sort('len')['digest'][0] or 'none')[:12]} "
                + "results/cells | xargs -n 1 dirname | xargs rm -r"
            )
    return table.sort("gamma_log10", "eta_log10", "seed", "data_seed")


def _cell_row(folder: Path, labels: Mapping[str, Any], thresholds: Thresholds) -> dict[str, Any]:
    summary, manifest = read_json(folder / "summary.json"), read_json(folder / "manifest.json")
    record = summary["cell"]
    return {
        **labels,
        **measured(folder, summary, thresholds),
        "dtype": record["dtype"],
        "seed": record["seed"],
        "data_seed": record["data_seed"],
        "base_width": record["model"]["width"],
        "sharpness_init": _sharpness_init(summary),
        "seconds": manifest["cost"]["seconds"],
        "device": manifest["device"]["device"],
        "constants": summary.get("constants"),
    }


def measured(folder: Path, summary: Mapping[str, Any], thresholds: Thresholds) -> dict[str, Any]:
    """Name and place of a cell on the axes, what became of it, and its losses, from its summary."""
    facts = facts_of(summary)
    outcome = judge(facts, thresholds)
    place = {name: float(summary["cell"][name]) for name in ("gamma", "eta")}
    return {
        "cell": f"{folder.parent.name}/{folder.name}",
        **{f"{name}_log10": value for name, value in place.items()},
        **{name: 10.0**value for name, value in place.items()},
        "status": outcome.status,
        "catapulted": outcome.catapulted,
        "kept_by_nan_rule": outcome.kept_by_nan_rule,
        "initial_loss": facts.initial_loss,
        "baseline_loss": facts.baseline_loss,
        "final_loss": facts.final_loss,
        "relative_loss": outcome.relative_loss,
        "peak_loss": facts.peak_loss,
        "peak_step": summary["peak_step"],
        **tested(summary["evaluations"][-1] if facts.finite else {}),
        "active_fraction": facts.active_fraction,
        "steps_done": summary["steps_done"],
        "data_digest": summary["data"]["digest"],
    }


def tested(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """Loss and accuracy of an evaluation by the names of their columns."""
    return {
        f"{prefix}test_{name}": evaluation.get(f"{prefix}{name}")
        for prefix in ("", "shifted_")
        for name in ("loss", "accuracy")
    }


def _sharpness_init(summary: Mapping[str, Any]) -> float | None:
    """Largest eigenvalue of the Hessian before the first step, if the run measured it."""
    for entry in summary.get("observables") or ():
        if entry.get("step") == 0:
            sharpness: float | None = entry.get("sharpness")
            return sharpness
    return None
