"""Training jobs as the workers see them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gammascape.study import Cell

TRAIN_RULE = "train"
"""Rule whose jobs are put into packs."""
TRAIN_RULES = {TRAIN_RULE}
"""Its names in this process: a workflow that uses this one as a module may rename it."""

_OWN = ("gamma", "eta", "seed")
"""Parameters in which the lanes of a pack differ."""


@dataclass(frozen=True)
class Task:
    """One cell to be trained: its parameters, its inputs and the path of its artifact."""

    cell: str
    """Canonical JSON of the cell."""
    data: str | None
    """Prepared data, for datasets read from a file."""
    output: str
    """Folder of the artifact."""
    log: str
    sources: tuple[str, ...] = ()
    """Source files of a user's own model and data."""

    @cached_property
    def parsed(self) -> Cell:
        """The cell.

        Raises:
            StudyError: if the text is not the record of a cell with this version's numerics.
        """
        return Cell.from_canonical(self.cell)

    @cached_property
    def record(self) -> dict[str, Any]:
        """Every effective parameter of the cell."""
        return self.parsed.record()

    @cached_property
    def shared(self) -> str:
        """Equal for two tasks if and only if they can share a pack."""
        return repr((self.data, sorted((k, v) for k, v in self.record.items() if k not in _OWN)))

    def as_json(self) -> dict[str, Any]:
        """Plain builtins, with the full record, so that a reader needs no parser of cells."""
        return {**asdict(self), "identity": self.parsed.identity, "record": self.record}


def split_inputs(files: Iterable[str]) -> tuple[str | None, tuple[str, ...]]:
    """Split a cell's input files into the manifest of prepared data, if any, and the source files of factories."""
    listed = list(files)
    sources = tuple(file for file in listed if file.endswith(".py"))
    return next((file for file in listed if file not in sources), None), sources


def is_training(job: Any) -> bool:
    """Return whether a Snakemake job trains a cell."""
    return not job.is_group() and job.rule.name in TRAIN_RULES


def task_of(job: Any) -> Task:
    """Task of a job of the rule `train`."""
    data, sources = split_inputs(
        map(str, job.input.get("data", []) if hasattr(job.input, "get") else job.input)
    )
    return Task(
        cell=str(job.params.cell),
        data=data,
        output=str(Path(str(job.output.summary)).parent),
        log=str(job.log[0]),
        sources=sources,
    )
