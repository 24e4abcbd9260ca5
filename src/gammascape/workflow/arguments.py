"""Turn inputs and parameters of a table or figure into the arguments of its function."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

from gammascape.manifests.paths import CELLS, cell_of
from gammascape.runs.outcome import Thresholds
from gammascape.study import Analysis
from gammascape.workflow.catalogue import CELL_FILES, FACTOR, Artifact


class CellsFolder:
    """Folder of all cells, which records the cells that are asked for."""

    def __init__(self, shared: dict[Any, Any]) -> None:
        self.read: list[str] = []
        self.shared = shared
        """Values that functions keep of the cells for others of the stage."""

    def __truediv__(self, cell: str) -> Path:
        self.read.append(cell)
        return CELLS / cell


def arguments_of(
    item: Artifact, read_table: Callable[[str], pl.DataFrame], folder: CellsFolder
) -> dict[str, Any]:
    """Arguments of the function of an artifact; `folder` is one of them if the function reads arrays."""
    given: dict[str, Any] = {
        name: _CONVERT.get(name, lambda value: value)(value) for name, value in item.params.items()
    }
    if FACTOR in item.wildcards:
        given[FACTOR] = item.wildcards[FACTOR]
    sources = {source for _, source, _ in item.entry.words}
    if "arrays" in sources:
        given["cells_folder"] = folder
    elif "summaries" in sources:
        given["folders"] = [Path(path).parent for path in item.inputs["summaries"]]
    # A toy's cells are not artifacts: from tables of the whole study, only trained cells can be read.
    trained = None
    if "arrays" in sources and "slice" not in item.wildcards:
        trained = [*filter(None, map(cell_of, item.inputs["arrays"]))]

    def table(path: str) -> pl.DataFrame:
        found = read_table(path)
        if trained is None or "cell" not in found.columns:
            return found
        return found.filter(pl.col("cell").is_in(trained))

    for name, source, _ in item.entry.words:
        if source not in CELL_FILES:
            paths = item.inputs[item.wildcards["table"] if source == "itself" else source]
            given[name] = table(paths) if isinstance(paths, str) else [*map(table, paths)] or None
    return given


def _analysis(given: Mapping[str, Any]) -> SimpleNamespace:
    """Keys of a study's analysis that a table declares; reading any other raises AttributeError."""
    whole = Analysis.model_validate(given)
    return SimpleNamespace(**{name: getattr(whole, name) for name in given})


_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "analysis": _analysis,
    "thresholds": lambda given: Thresholds(**given),
    "points": lambda text: [tuple(line.split()) for line in text.splitlines()],
}
"""Parameter -> conversion from plain data to an argument."""
