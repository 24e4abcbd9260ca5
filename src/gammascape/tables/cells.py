"""One row for each cell of a slice: parameters, status, losses."""

import errno
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gammascape.command import UserError
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.paths import CELLS, OutsideError, inside, read_object, short
from gammascape.manifests.whole import ARRAYS, SUMMARY
from gammascape.runs.outcome import Facts, Thresholds, judge
from gammascape.study import Analysis, Regime, Span
from gammascape.terminal import visible

Schema = dict[str, pl.DataType | type[pl.DataType]]
_KINDS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "": pl.Float64,
    "int": pl.Int64,
    "str": pl.String,
    "bool": pl.Boolean,
    "floats": pl.List(pl.Float64),
    "bools": pl.List(pl.Boolean),
}


def columns(names: str) -> Schema:
    """Names and types of columns, written `name:int`; Float64 without a type, the others as in _KINDS."""
    words = (word.partition(":") for word in names.split())
    return {name: _KINDS[kind] for name, _, kind in words}


TASK_COLUMNS = columns("dataset:str loss:str batch_size:int steps:int passes")
"""Columns shared by slices whose networks are compared."""
SLICE_COLUMNS = columns("slice:str model:str") | TASK_COLUMNS
"""Columns that every table about slices begins with; model and dataset are the study's names.

`passes` is how often each training sample is used, null where all samples are new."""

CELL_SCHEMA = SLICE_COLUMNS | columns(
    "cell:str dtype:str gamma_log10 gamma eta_log10 eta seed:int data_seed:int status:str "
    "catapulted:bool kept_by_nan_rule:bool initial_loss baseline_loss final_loss relative_loss "
    "peak_loss peak_step:int test_loss test_accuracy shifted_test_loss shifted_test_accuracy "
    "validation_loss validation_accuracy "
    "active_fraction richness base_width:int sharpness_init steps_done:int seconds device:str "
    "data_digest:str"
)


_SETS = {"": "test", "shifted_": "shifted_test", "validation_": "validation"}
"""Prefix of an evaluation on other samples than those trained on -> prefix of its columns."""
MEASURED = ("seconds", "device")
"""Columns about the computation; all others are results."""


def grouped(
    table: pl.DataFrame, key: Iterable[str]
) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    """Rows of equal `key` in the order of their first ones, with the values that they share."""
    names = list(key)
    for values, group in table.group_by(names, maintain_order=True):
        yield dict(zip(names, values, strict=True)), group


def with_ends(name: str, value: Any, ends: Sequence[Any], unit: str = "") -> dict[str, Any]:
    """Columns of a value and of the ends of its interval: name, name_low and name_high, before a unit."""
    return {f"{name}{unit}": value, f"{name}_low{unit}": ends[0], f"{name}_high{unit}": ends[1]}


def difference(a: float | None, b: float | None) -> float | None:
    """Difference; None where one is not known."""
    return None if a is None or b is None else a - b


def windows(analysis: Analysis) -> tuple[tuple[Regime, Span], ...]:
    """The study's windows of gamma."""
    return (("lazy", analysis.lazy), ("rich", analysis.rich))


def in_window(span: Span | None) -> pl.Expr:
    """Expression for whether `gamma_log10` lies in a window; None is all gammas."""
    return pl.col("gamma_log10").is_between(*ends_of(span))


def ends_of(span: Span | None) -> tuple[float, float]:
    """Smallest and largest log10 gamma of a window, infinite where it is open; None is all gammas."""
    start, stop = (None, None) if span is None else (span.start, span.stop)
    return (-np.inf if start is None else float(start), np.inf if stop is None else float(stop))


class TableError(UserError):
    """Cells cannot be put into one table; the message says which and what to do."""


def read_summary(folder: Path) -> dict[str, Any]:
    """Summary of the cell in a folder; raises what `read_json` does."""
    return read_json(folder / SUMMARY)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        TableError: if the file is not JSON, or leads out of its folder.
        FileNotFoundError: if there is none.
    """
    try:
        return read_object(path)
    except (OutsideError, ValueError) as error:
        raise damage_error(path, error) from error


@contextmanager
def _damage_said() -> Iterator[None]:
    """Say what `zipfile` and `numpy` find in a damaged archive in one kind of error."""
    try:
        yield
    except (ValueError, TypeError, MemoryError, RuntimeError, TokenError) as error:
        # A header that is no Python, a size beyond memory, a name that is no text, encryption.
        raise zipfile.BadZipFile(str(error)) from error
    except OSError as error:
        # A place before the beginning of the file.
        if error.errno != errno.EINVAL:
            raise
        raise zipfile.BadZipFile(str(error)) from error


class _Arrays(Mapping[str, NDArray[Any]]):
    """Arrays of an open archive, as `numpy.load` gives them."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        names = archive.namelist()
        self._members = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._members:
            raise KeyError(name)
        with _damage_said(), self._archive.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@contextmanager
def open_arrays(folder: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of one cell, each read when it is asked for.

    Raises:
        TableError: if the file is damaged, leads out of its folder, or unpacks to more than it holds.
        FileNotFoundError: if there is none.
    """
    path = folder / ARRAYS
    try:
        file = inside(folder, path.name)
        with _damage_said():
            archive = zipfile.ZipFile(file)
        with archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise zipfile.BadZipFile("not written by gammascape")
            yield _Arrays(archive)
    except (OutsideError, EOFError, zipfile.BadZipFile) as error:
        raise damage_error(path, error) from error


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


def damage_error(path: Path, error: Exception) -> TableError:
    """Error for a cell's file that cannot be read."""
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
                + f"grep -rlF --include={SUMMARY} {(cells.sort('len')['digest'][0] or 'none')[:12]} "
                + f"{CELLS} | xargs -n 1 dirname | xargs rm -r"
            )
    return table.sort("gamma_log10", "eta_log10", "seed", "data_seed")


def _cell_row(folder: Path, labels: Mapping[str, Any], thresholds: Thresholds) -> dict[str, Any]:
    summary, manifest = read_summary(folder), read_json(folder / FILE_NAME)
    observables = summary.get("observables") or ()
    sharpness = (taken.get("sharpness") for taken in observables if taken.get("step") == 0)
    record = summary["cell"]
    return {
        **labels,
        **result_columns(folder, summary, thresholds),
        "dtype": record["dtype"],
        "base_width": record["model"]["width"],
        "sharpness_init": next(sharpness, None),
        "seconds": manifest["cost"]["seconds"],
        "device": manifest["device"]["device"],
        "constants": summary.get("constants"),
    }


def result_columns(
    folder: Path, summary: Mapping[str, Any], thresholds: Thresholds
) -> dict[str, Any]:
    """Name and place of a cell on the axes, its status and its losses, from its summary."""
    record, facts = summary["cell"], Facts(**summary["facts"])
    return {
        **point_of(folder, record),
        **judgement(facts, thresholds),
        "gamma": 10.0 ** float(record["gamma"]),
        "eta": 10.0 ** float(record["eta"]),
        "peak_step": summary["peak_step"],
        **test_columns(summary["evaluations"][-1] if facts.finite else {}),
        "richness": richness(summary),
        "steps_done": summary["steps_done"],
        "data_digest": summary["data"]["digest"],
    }


def richness(summary: Mapping[str, Any]) -> float | None:
    """Movement of a network by training, from 0 (lazy) to 1 (rich); None without `initial_cka`.

    The mean of two numbers at the end of the run: 1 - CKA of hidden kernels with those at initialization, mean
    over hidden layers; and r² / (1 + r²), the share of a weight's squared norm that training has put there if it
    moved at right angles to where it began, r being the largest relative change of a weight. In mu-P that is the
    readout's, which does not fall with the width as hidden layers' do.
    """
    taken, changes = summary.get("observables"), [*summary.get("relative_change", {}).values()]
    kernels = [*(taken[-1].get("initial_cka") or {}).values()] if taken else []
    if not kernels or not changes or None in (*kernels, *changes):
        return None
    moved, change = 1 - float(np.clip(kernels, 0, 1).mean()), float(max(changes))
    return (moved + change**2 / (1 + change**2)) / 2


def test_columns(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """Loss and accuracy of an evaluation by the names of their columns."""
    return {
        f"{column}_{name}": evaluation.get(f"{prefix}{name}")
        for prefix, column in _SETS.items()
        for name in ("loss", "accuracy")
    }


def point_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Name of a cell and its point in the plane, from the record in its summary."""
    return {
        "cell": f"{folder.parent.name}/{folder.name}",
        "gamma_log10": float(record["gamma"]),
        "eta_log10": float(record["eta"]),
        "seed": record["seed"],
        "data_seed": record["data_seed"],
    }


def judgement(facts: Facts, thresholds: Thresholds) -> dict[str, Any]:
    """Columns of CELL_SCHEMA that follow from the facts of a run: status, flags and losses."""
    found = vars(facts) | vars(judge(facts, thresholds))
    return {name: found[name] for name in CELL_SCHEMA if name in found}
