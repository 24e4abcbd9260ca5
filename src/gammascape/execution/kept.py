"""Artifacts that are whole although Snakemake does not know it.

When Snakemake is killed between the end of a cell and its own note of it, it calls the outputs incomplete and
deletes them before it runs the job again. An executor sets them aside meanwhile, and has nothing to train.
"""

import json
import shutil
import zipfile
from pathlib import Path

from gammascape.execution.tasks import Task

SCRATCH = Path("results/.scratch")
"""Scratch folder of a project, which Snakemake does not know."""


def set_aside(task: Task) -> Path | None:
    """Move a cell's artifact to the scratch folder if it is whole and that of the task; returns where it is."""
    folder = Path(task.output)
    try:
        same = json.loads((folder / "summary.json").read_text())["cell"] == task.record
        json.loads((folder / "manifest.json").read_text())
        with zipfile.ZipFile(folder / "arrays.npz") as arrays:
            whole = arrays.testzip() is None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    if not (same and whole):
        return None
    aside = SCRATCH / "aside" / task.parsed.identity
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    return folder.rename(aside)


def put_back(aside: Path, task: Task) -> str:
    """Move the artifact to its place; returns the cell's status."""
    shutil.rmtree(task.output, ignore_errors=True)
    aside.rename(task.output)
    return str(json.loads((Path(task.output) / "summary.json").read_text())["status"])
