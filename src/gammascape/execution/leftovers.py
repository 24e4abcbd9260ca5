"""Cells that are complete without Snakemake knowing it, and files left behind by killed runs.

When Snakemake is killed after a cell ends and before it records that, it calls the outputs incomplete and runs the
job again. An executor then has nothing to train, unless a person asked for it.
"""

import os
import shutil
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gammascape.execution.tasks import Task
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.paths import CELLS
from gammascape.manifests.whole import FILES, status_of_whole
from gammascape.study import Cell

SCRATCH = Path("results/.scratch")
"""Scratch folder of a project, unknown to Snakemake."""
_ASIDE = SCRATCH / "aside"
"""Folder to which earlier versions moved complete artifacts while Snakemake prepared the job."""
_MARKS = Path(".snakemake/incomplete")
"""Folder with a file for each output of a job that Snakemake did not see end, named by the path in base 64."""


def unmark(cells: Mapping[str, Cell], marks: Path = _MARKS) -> None:
    """Remove Snakemake's marks of incomplete outputs from cells that are complete.

    Every executor obeys these marks, and all but this package's executors first delete the files. Call this before
    Snakemake resolves its jobs. `cells` are the cells of all studies, by their folders below results/cells.
    """
    marked: dict[str, list[Path]] = {}
    for folder, _, names in os.walk(marks):
        for name in names:
            path = Path(folder, name)
            # A long name is split into folders, each with an @ in front.
            parts = [part.removeprefix("@") for part in path.relative_to(marks).parts]
            with suppress(ValueError):
                output = Path(urlsafe_b64decode("".join(parts)).decode())
                marked.setdefault(output.parent.as_posix(), []).append(path)
    for cell, paths in marked.items():
        wanted = cells.get(cell.removeprefix(f"{CELLS}/"))
        if wanted and status_of_whole(Path(cell), wanted.record()) is not None:
            for path in paths:
                path.unlink(missing_ok=True)


def begin(workflow: Any, task: Task, job: Any) -> str | None:
    """Prepare for a job; return the status of its cell if it needs no training.

    Files of an earlier attempt stay unless the cell is to be trained again: another Snakemake that shares the
    results may be writing them.
    """
    reason = workflow.dag.reason(job)
    if is_forced(workflow, job) or reason.is_provenance_triggered() or reason.updated_input:
        workflow.async_run(job.prepare())
        return None
    for file in (*job.output, *job.log):
        file.prepare()
    return status_of(task)


def status_of(task: Task) -> str | None:
    """Status of a task's cell if it is complete, even where an earlier version has moved it."""
    folder, aside = Path(task.output), _ASIDE / task.parsed.identity
    status = status_of_whole(folder, task.record)
    if aside.is_dir():
        if status is None and (status := status_of_whole(aside, task.record)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                (aside / name).replace(folder / name)
        shutil.rmtree(aside, ignore_errors=True)
    return status


def is_forced(workflow: Any, job: Any) -> bool:
    """Return whether a person asked to run the job, by --force, --forceall or --forcerun.

    With --rerun-incomplete Snakemake gives the same reason for interrupted jobs.
    """
    settings = workflow.dag_settings
    if job.rule in workflow.dag.forcerules:
        return True
    named = set(settings.forcerun) | set(workflow.dag.targetfiles if settings.forcetargets else ())
    return not {os.path.relpath(file) for file in named}.isdisjoint(map(str, job.output))


def sweep(results: Path = SCRATCH.parent) -> None:
    """Remove checkpoints of completed cells that a killed run had no time to remove."""
    checkpoints = results / ".scratch/checkpoints"
    with suppress(OSError):
        left = list(checkpoints.iterdir())
        if not left:
            return
        manifests = (results / CELLS.name).glob(f"*/*/{FILE_NAME}")
        done = {path.parent.name.rpartition("-")[2] for path in manifests}
        for path in left:
            if path.name.removeprefix(".").partition("-")[0] in done:
                path.unlink(missing_ok=True)
