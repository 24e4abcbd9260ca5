"""All cells of a results folder as one lazy frame, and the curves of one cell, for further analysis."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any, Never, get_args

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source
from pydantic.fields import FieldInfo

from gammascape.manifests import ManifestError, read_manifest
from gammascape.manifests.manifest import FILE_NAME, SUFFIX
from gammascape.manifests.whole import SUMMARY
from gammascape.runs.outcome import Thresholds
from gammascape.study import Analysis, DatasetSpec, ModelSpec
from gammascape.tables.cells import (
    CELL_SCHEMA,
    TableError,
    columns,
    damage_error,
    open_arrays,
    read_summary,
    result_columns,
    test_columns,
)

_BATCH = 500
"""Cells read before a filter is applied to them."""
_PLAIN = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}

_PARAMETERS = columns(
    "cell:str model:str dataset:str loss:str gamma_log10 gamma eta_log10 eta batch_size:int steps:int "
    "seed:int data_seed:int dtype:str numerics:int"
)
_COLUMNS = [*CELL_SCHEMA]
_MEASURED = _COLUMNS[_COLUMNS.index("status") : _COLUMNS.index("base_width")]
_SUMMARY = {name: CELL_SCHEMA[name] for name in (*_MEASURED, "steps_done", "data_digest")}
_ORIGIN = columns("seconds lanes:int device:str finished:str commit:str path:str record:str")


def load(
    results: str | Path = "results",
    thresholds: Thresholds | None = None,
    study: str | None = None,
    **others: Never,
) -> pl.LazyFrame:
    """All cells of a results folder, one row each; files are read when the frame is collected.

    Only finished cells are included. `model` and `dataset` are kinds, because cells do not store a study's names.
    Their options are columns such as `model.width`, null for kinds without the option. `path` is the
    folder of the cell and `record` all of its parameters as JSON. docs/reference/tables.md documents every column.

    Args:
        results: the folder that the workflow writes.
        thresholds: criteria for judging all cells, instead of the criteria of `study`.
        study: name of a study, for the cells that its tables were made of, judged as there. Without it all cells
            are judged by the default thresholds, whatever studies say, so that a status may differ from tables.

    Returns:
        A lazy frame of polars. Its `collect().to_pandas()` needs pyarrow; without it, write
        `pandas.DataFrame(frame.collect().to_dict(as_series=False))`.

    Raises:
        TypeError: for any other argument, with what to write instead.
        FileNotFoundError: if `results` has no folder `cells`, or no tables of the study.
        ManifestError: if a manifest of these tables is damaged.
        TableError: when collected, if a cell is damaged.
    """
    if others or not isinstance(thresholds, Thresholds | None):
        raise TypeError(_instead(thresholds, others))
    cells = Path(results) / "cells"
    if not cells.is_dir():
        made = sorted(Path(results).glob("*/tables/cells.parquet"))
        instead = f"without cells, read {made[0]} with polars" if made else ""
        raise FileNotFoundError(
            f"{cells}: no such folder; {instead or 'results is where the workflow has run'}"
        )
    chosen, own = (None, None) if study is None else _of_study(Path(results), study)
    judged = thresholds or own or Thresholds()
    options = _options("model", ModelSpec) | _options("dataset", DatasetSpec)
    schema = pl.Schema({**_PARAMETERS, **options, **_SUMMARY, **_ORIGIN})

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        found = chosen or sorted(path.parent for path in cells.glob(f"*/*/{FILE_NAME}"))
        for start in range(0, len(found), size or _BATCH):
            batch = found[start : start + (size or _BATCH)]
            frame = _frame([_row(folder, judged, schema) for folder in batch], schema)
            if predicate is not None:
                frame = frame.filter(predicate)
            if rows is not None:
                frame = frame.head(rows)
                rows -= frame.height
            yield frame if columns is None else frame.select(columns)
            if rows == 0:
                return

    return register_io_source(read, schema=schema)


def _instead(thresholds: object, others: Mapping[str, object]) -> str:
    """Arguments of `load`, and what to write in place of wrong ones."""
    given = {**thresholds, **others} if isinstance(thresholds, Mapping) else others
    names = ", ".join(others) or f"thresholds={thresholds!r}"
    text = f"load() takes results, thresholds and study, not {names}"
    judging = [f"{n}={value!r}" for n, value in given.items() if n in asdict(Thresholds())]
    fitting = [
        name for name in given if name in Analysis.model_fields and name not in asdict(Thresholds())
    ]
    if judging or not fitting:
        shown = ", ".join(judging) or "trained_below=0.3"
        text += (
            "; to judge cells as a study does, write study='NAME', the name of its file without .yaml; to judge "
            f"them otherwise, thresholds=gammascape.runs.outcome.Thresholds({shown})"
        )
    if fitting:
        text += f"; {', '.join(fitting)} under analysis in a study changes its tables, not cells"
    return text


def _of_study(results: Path, study: str) -> tuple[list[Path], Thresholds]:
    """Folders of the cells of a study's tables, and the thresholds by which they are judged there."""
    tables = sorted((results / study / "tables/cells").glob(f"*{SUFFIX}"))
    manifests = [read_manifest(table) for table in tables]
    if not manifests:
        there = sorted(path.parent.name for path in results.glob("*/tables"))
        words = f"has it been run? There are {', '.join(there)}" if there else "has it been run?"
        raise FileNotFoundError(f"{results / study}: no tables of this study; {words}")
    inputs = {source.path.partition("/")[2] for made in manifests for source in made.inputs}
    folders = sorted((results / path).parent for path in inputs if path.startswith("cells/"))
    return folders, Thresholds(**manifests[0].record["params"]["thresholds"])


def history(cell: str | Path) -> pl.DataFrame:
    """The curves of one cell, by step.

    Args:
        cell: its folder, a value of `load(...)["path"]`.

    Returns:
        step, tau (eta t / gamma), loss (of the training batch at that step; in long runs a mean up to the next
        row), zero_loss (loss of f = 0 on the same batch), and where they were measured test_loss and
        test_accuracy, and the same for a shifted test set and a validation split, of the network after `step`
        updates. The last row describes the network after all steps, which has no training batch.

    Raises:
        FileNotFoundError: if the folder does not hold a finished cell.
        TableError: if one of its files is damaged.
    """
    folder = Path(cell)
    summary = read_summary(folder)
    with open_arrays(folder) as arrays:
        curves = {name: arrays[name] for name in ("loss", "zero_loss")}
        losses = pl.DataFrame({"step": arrays["step"].astype(np.int64), **curves})
    tests = pl.DataFrame(
        [{"step": item["step"], **test_columns(item)} for item in summary["evaluations"]],
        schema={"step": pl.Int64, **{k: v for k, v in _SUMMARY.items() if k in test_columns({})}},
        orient="row",
    )
    rate = 10.0 ** (float(summary["cell"]["eta"]) - float(summary["cell"]["gamma"]))
    joined = losses.join(tests, on="step", how="full", coalesce=True).sort("step")
    return joined.select("step", (pl.col("step") * rate).alias("tau"), pl.exclude("step"))


def _frame(rows: Sequence[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    try:
        return pl.DataFrame(rows, schema=schema, orient="row")
    except (ArithmeticError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        if len(rows) > 1:
            return pl.concat(_frame([row], schema) for row in rows)
        raise damage_error(Path(rows[0]["path"]) / SUMMARY, error) from error


def _row(folder: Path, thresholds: Thresholds, schema: pl.Schema) -> dict[str, Any]:
    try:
        summary = read_summary(folder)
        manifest = read_manifest(folder / FILE_NAME)
        if manifest.kind != "cell":
            raise ManifestError(f"{folder / FILE_NAME}: the manifest of a {manifest.kind}")
        record = summary["cell"]
        row: dict[str, Any] = {
            **{name: record.get(name) for name in _PARAMETERS},
            **result_columns(folder, summary, thresholds),
            **manifest.cost,
            "device": (manifest.device or {}).get("device"),
            "finished": manifest.finished,
            "commit": manifest.code["commit"],
            "path": folder.as_posix(),
            "record": json.dumps(record, sort_keys=True),
        }
        for part in ("model", "dataset"):
            row[part] = record[part]["kind"]
            for name, value in record[part].items():
                column = f"{part}.{name}"
                plain = value is None or schema.get(column) != pl.String or isinstance(value, str)
                row[column] = value if plain else json.dumps(value)
        return {name: row.get(name) for name in schema}
    except ManifestError as error:
        raise TableError(str(error)) from error
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise damage_error(folder / SUMMARY, error) from error


def _options(part: str, union: Any) -> dict[str, Any]:
    """Columns for the options of all kinds of model or dataset; options other than plain numbers are text."""
    found: dict[str, set[Any]] = {}
    for spec in get_args(get_args(union)[0]):
        for name, field in spec.model_fields.items():
            if name != "kind":
                found.setdefault(f"{part}.{name}", set()).add(_column(field))
    return {
        name: next(iter(types)) if len(types) == 1 else pl.String for name, types in found.items()
    }


def _column(field: FieldInfo) -> Any:
    options: Sequence[Any] = get_args(field.annotation) or (field.annotation,)
    kinds = (option for option in options if option is not NoneType)
    plain = [get_args(kind)[0] if hasattr(kind, "__metadata__") else kind for kind in kinds]
    return _PLAIN.get(plain[0], pl.String) if len(plain) == 1 else pl.String
