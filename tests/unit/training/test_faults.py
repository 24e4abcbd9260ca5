"""Training a pack when any one of its file operations fails: the next start ends in the same bytes."""

from pathlib import Path

import pytest

from gammascape.execution.leftovers import sweep
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import MlpSpec
from gammascape.training.worker import Event, Task, Worker

from ..faults import KILL, partial_files, snapshot, trials

CELLS = [
    Cell(
        model=MlpSpec(kind="mlp", depth=2, width=16),
        dataset=DigitsSpec(kind="digits"),
        loss="xent",
        gamma=gamma,
        eta="0",
        batch_size=16,
        steps=3,
    )
    for gamma in ("0", "1")
]


def start(worker: Worker, folder: Path, data: Path) -> list[Event]:
    """Train the cells that are not there yet, with a checkpoint after every block of steps."""
    results = folder / "results"
    sweep(results)
    tasks = [
        Task(
            cell.identity,
            cell.record(),
            data,
            results / "cells" / cell.path,
            results / "logs/cells" / f"{cell.path}.log",
        )
        for cell in CELLS
    ]
    events: list[Event] = []
    if left := [task for task in tasks if not (task.output / "manifest.json").exists()]:
        worker.run(left, events.append)
    return events


def failed(events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"] == "failed"]


def without_logs(folder: Path) -> set[str]:
    """Names of all files; a cell whose log cannot be written is trained all the same."""
    return {name for name in snapshot(folder) if not name.endswith(".log")}


def determined(folder: Path) -> dict[str, bytes]:
    """What the cells determine."""
    return {
        path: content
        for path, content in snapshot(folder / "results/cells").items()
        if path.endswith(("summary.json", "arrays.npz"))
    }


@pytest.mark.parametrize(("kind", "step"), [("ENOSPC", 1), ("EIO", 1), ("EACCES", 3), (KILL, 3)])
def test_a_pack_ends_in_the_same_bytes_whichever_file_operation_fails(
    digits_file: Path, tmp_path: Path, kind: str, step: int
) -> None:
    worker = Worker("cpu", 0.0, keeps=True)
    undisturbed = tmp_path / "undisturbed"
    start(worker, undisturbed, digits_file)
    for trial in trials(tmp_path, lambda folder: None, kind, step):
        with trial.fault():
            start(worker, trial.folder, digits_file)
        assert kind == KILL or not partial_files(trial.folder), trial.done[-1]
        assert all("Traceback" not in log.read_text() for log in trial.folder.rglob("*.log"))
        assert not failed(start(worker, trial.folder, digits_file)), trial.done[-1]
        assert determined(trial.folder) == determined(undisturbed)
        assert without_logs(trial.folder) == without_logs(undisturbed), trial.done[-1]
