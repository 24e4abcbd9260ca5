"""Inputs that tables and figures read, against those that the catalogue declares and manifests name."""

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from gammascape.manifests import read_manifest
from gammascape.workflow.catalogue import (
    CELL_FILES,
    FIGURES,
    TABLES,
    Artifact,
    everything,
    paths_of,
)
from gammascape.workflow.script import Stage

from ..project import made_once, make_project, plan_of
from ..tree import inside, make, prepare_data, train

# Some files are read only where cells have a validation split, observables or levels of the loss.
STUDY = """\
datasets:
  few: {kind: digits, training_samples: 100, validation: 0.2}
  many: {kind: digits, training_samples: 200, validation: 0.2}
  one: {kind: constant}
models:
  small: {kind: mlp, depth: 2, width: 4}
  wide: {kind: mlp, depth: 2, width: 8}
  toy: {kind: toy, depth: 3}
grids:
  - model: small
    dataset: few
    loss: mse
    gamma: {log10: [-1, 1]}
    eta: {log10: [-1, 0, 1]}
    batch_size: 16
    steps: 30
    seed: [0, 1]
    observables: [sharpness, kernel_alignment, equal_loss]
  - model: wide
    dataset: [few, many]
    loss: mse
    gamma: {log10: [-1, 1]}
    eta: {log10: [-1, 0, 1]}
    batch_size: 16
    steps: 30
    seed: [0, 1]
    observables: [equal_loss]
  - model: toy
    dataset: one
    loss: mse
    gamma: {log10: [0, 1]}
    eta: {log10: [-1, 0]}
    batch_size: 1
    steps: 30
analysis: {trained_below: 0.95, bootstrap: 200}
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of STUDY with its cells and tables."""

    def make_tables(folder: Path) -> None:
        root = make_project(folder, STUDY)
        with inside(root):
            plan = plan_of()
        prepare_data(root, "digits")
        train(root, [*plan.cells.values()])
        make(root, plan.studies["tiny"], "tables")

    return made_once(tmp_path_factory, "trained", make_tables)


def items_of(project: Path) -> list[Artifact]:
    """One table or figure of each name and recipe; slices beside it read the same."""
    with inside(project):
        items = everything(plan_of()).values()
    found: dict[Any, Artifact] = {}
    for item in items:
        if item.kind != "page":
            found.setdefault((item.entry, item.stem.split("/")[3]), item)
    return [*found.values()]


def declared(project: Path, item: Artifact) -> dict[str, list[str]]:
    """Inputs of an artifact by name; of cells only those that its manifest names."""
    found = {name: paths_of({name: paths}) for name, paths in item.inputs.items()}
    if item.entry.chooses:
        named = {
            Path(source.path).parent for source in read_manifest(project / item.manifest).inputs
        }
        for name in found.keys() & CELL_FILES.keys():
            found[name] = [path for path in found[name] if Path(path).parent in named]
    return found


def made_in(folder: Path, item: Artifact) -> Any:
    """Result of the function of a table or figure in a folder, which can be compared."""
    with inside(folder):
        made, _ = Stage(None, Path(), ()).call(item)
    return made if isinstance(made, pl.DataFrame) else made.to_json()


def made_of(paths: Iterable[str], project: Path, item: Artifact, scratch: Path) -> Any:
    """Result in a folder that has only these files of the project."""
    with TemporaryDirectory(dir=scratch) as folder:
        for path in paths:
            linked = Path(folder, path)
            linked.parent.mkdir(parents=True, exist_ok=True)
            # Readers refuse a symbolic link out of a folder.
            os.link(project / path, linked)
        return made_in(Path(folder), item)


def same(one: Any, other: Any) -> bool:
    return one.equals(other) if isinstance(one, pl.DataFrame) else bool(one == other)


def test_tables_and_figures_read_only_what_they_declare(trained: Path, tmp_path: Path) -> None:
    wrong, entries = {}, set()
    for item in items_of(trained):
        entries.add(item.entry)
        try:
            alone = made_of(paths_of(declared(trained, item)), trained, item, tmp_path)
        except Exception as error:
            wrong[item.stem] = f"{type(error).__name__}: {error}"
            continue
        # The rules have made the tables.
        [table, *_] = item.outputs
        whole = pl.read_parquet(trained / table) if item.kind == "table" else made_in(trained, item)
        if not same(alone, whole):
            wrong[item.stem] = "differs if the rest is there"
    assert not wrong
    toys = {entry.toy for entry in TABLES.values() if entry.toy}
    assert entries >= {*TABLES.values(), *FIGURES.values(), *toys}


def test_tables_read_all_files_of_cells_that_they_declare(trained: Path, tmp_path: Path) -> None:
    unread = []
    for item in items_of(trained):
        inputs = declared(trained, item)
        for name in inputs.keys() & CELL_FILES.keys():
            try:
                made_of(paths_of(inputs | {name: []}), trained, item, tmp_path)
            except FileNotFoundError:
                continue
            unread.append((item.stem, name))
    assert not unread
