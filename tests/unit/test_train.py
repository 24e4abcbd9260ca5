"""The command that trains one cell: what it writes, and what it says when it cannot."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gammascape.manifests.whole import FILES
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec, MnistSpec
from gammascape.study.keys.models import MlpSpec
from gammascape.train import main
from gammascape.training import worker as trainer
from gammascape.training.checkpoint import Checkpoints
from gammascape.training.engine import Training
from gammascape.training.pack import Pack
from gammascape.training.worker import Event, Task, Worker

from .formats import prepare_mnist

CELL = Cell(
    model=MlpSpec(kind="mlp", depth=2, width=16),
    dataset=DigitsSpec(kind="digits"),
    loss="xent",
    gamma="0",
    eta="0",
    batch_size=16,
    steps=20,
)


def run(cell: Cell, data: Path, output: Path) -> int:
    options = ["--cell", cell.canonical(), "--data", str(data), "--output", str(output)]
    return main([*options, "--device", "cpu"])


def test_the_same_cell_gives_the_same_bytes(digits_file: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(CELL, digits_file, tmp_path / name) == 0
    for file in ("summary.json", "arrays.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    summary = json.loads((tmp_path / "a/summary.json").read_text())
    assert summary["cell"] == CELL.record()
    assert [e["step"] for e in summary["evaluations"]] == [0, 1, 2, 5, 10, 20]


def test_divergence_is_a_result(digits_file: Path, tmp_path: Path) -> None:
    wild = Cell.from_canonical(
        CELL.canonical().replace('"eta":"0"', '"eta":"9"').replace("xent", "mse")
    )
    assert run(wild, digits_file, tmp_path) == 0
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text)["status"] == "diverged"
    assert "NaN" not in text
    assert "Infinity" not in text


def test_a_cell_that_cannot_be_read_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--cell", '{"gamma": 3}', "--output", str(tmp_path)]) == 2
    assert "cell record" in capsys.readouterr().err


def test_missing_data_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(CELL, tmp_path / "digits/manifest.json", tmp_path) == 1
    assert "snakemake results/data/digits/manifest.json" in capsys.readouterr().err


def test_a_cell_that_the_machine_cannot_hold_is_not_begun(
    digits_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gammascape.training.capacity._host_memory", lambda: 2**33)
    monkeypatch.setattr("gammascape.training.worker.Training", None)
    assert run(replace(CELL, steps=2**31 - 1), digits_file, tmp_path) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "at least 64 GiB of memory, 64 GiB of it for losses, and this machine has 8 GiB" in said


def test_a_pack_has_no_more_lanes_than_the_memory_holds(
    digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, cell = Worker("cpu", 60.0), replace(CELL, steps=10**8)
    task = Task(cell.identity, cell.record(), digits_file, tmp_path / cell.id, log=None)
    # 3.2 GB a lane, of which 70 % of the memory are filled.
    monkeypatch.setattr("gammascape.training.capacity._host_memory", lambda: 14 * 10**9)
    assert worker.lanes([task], lambda event: None) == 3


def test_the_trainer_freezes_no_objects_of_a_process_that_has_torch_already() -> None:
    # They may belong to torch's compiler, which says at the end of the process that they leak.
    code = "import torch, gc, sys, gammascape.training.worker; sys.exit(gc.get_freeze_count() > 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_data_that_end_too_early_fail_every_cell_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = prepare_mnist(tmp_path, train=100)
    cells = [
        replace(CELL, dataset=MnistSpec(kind="mnist"), batch_size=20, steps=9, seed=seed)
        for seed in (0, 1, 2)
    ]
    worker = Worker("cpu", 60.0)
    tasks = [
        Task(cell.identity, cell.record(), manifest, tmp_path / cell.id, log=None) for cell in cells
    ]
    for task in tasks:
        task.output.mkdir()
    events: list[Event] = []
    worker.run(tasks, events.append)
    failed = [event for event in events if event["event"] == "failed"]
    assert sorted(event["output"] for event in failed) == sorted(str(t.output) for t in tasks)
    assert all("ends after 5 steps of batch size 20" in event["error"] for event in failed)
    assert not any(task.output.exists() for task in tasks), "no empty folder stays"
    # A message for a person, and no traceback.
    assert "Traceback" not in capsys.readouterr().err


def trained(
    data: Path, output: Path, keeps: bool = True, cells: tuple[Cell, ...] = (CELL,)
) -> list[Event]:
    """Events of a worker that is given cells, in the order of the journal."""
    worker = Worker("cpu", 60.0, keeps=keeps)
    tasks = [
        Task(cell.identity, cell.record(), data, output / cell.id, output / f"{cell.id}.log")
        for cell in cells
    ]
    events: list[Event] = []
    worker.run(tasks, events.append)
    return events


def kinds(events: list[Event]) -> list[str]:
    return [event["event"] for event in events if event["event"] != "progress"]


def test_a_whole_cell_is_trained_again_only_where_that_is_wanted(
    digits_file: Path, tmp_path: Path
) -> None:
    assert "pack" in kinds(trained(digits_file, tmp_path))
    assert kinds(trained(digits_file, tmp_path)) == ["prepared", "cell"]
    assert "pack" in kinds(trained(digits_file, tmp_path, keeps=False))
    (tmp_path / CELL.id / "arrays.npz").write_bytes(b"half")
    assert "pack" in kinds(trained(digits_file, tmp_path))


def test_packs_that_are_cut_already_keep_to_a_limit_that_another_one_found(
    digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, tried = trainer.Training, []

    def small(pack: Pack, *rest: Any, **options: Any) -> Any:
        tried.append(len(pack.lanes))
        if len(pack.lanes) > 2:
            raise MemoryError
        return training(pack, *rest, **options)

    monkeypatch.setattr(trainer, "Training", small)
    for seeds in ((0, 1, 2, 3), (4, 5, 6, 7)):
        cells = tuple(replace(CELL, seed=seed) for seed in seeds)
        assert kinds(trained(digits_file, tmp_path, cells=cells)).count("cell") == 4
    assert tried == [4, 2, 2, 2, 2]


def test_a_cell_that_another_process_trains_is_waited_for(
    digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [*_, done, _] = trained(digits_file, tmp_path)
    (tmp_path / CELL.id).rename(tmp_path / "theirs")
    asked = []

    def lock(store: Checkpoints, identity: str) -> bool:
        asked.append(identity)
        if len(asked) == 3:
            (tmp_path / "theirs").rename(tmp_path / CELL.id)
        return len(asked) == 3

    monkeypatch.setattr(Checkpoints, "lock", lock)
    monkeypatch.setattr(trainer, "_POLL", 0.0)
    # Where whole cells are trained again too: this one has just been trained.
    events = trained(digits_file, tmp_path, keeps=False)
    assert kinds(events) == ["prepared", "cell"]
    assert events[-1]["status"] == done["status"]


def test_a_cell_that_is_locked_for_long_is_handed_back_and_others_are_trained(
    digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = replace(CELL, seed=1)
    monkeypatch.setattr(Checkpoints, "lock", lambda _, identity: identity == free.identity)
    monkeypatch.setattr(trainer, "_PATIENCE", 0.0)
    events = trained(digits_file, tmp_path, cells=(CELL, free))
    outcomes = {event["output"]: event["event"] for event in events if "output" in event}
    assert outcomes == {
        str(tmp_path / CELL.id): "locked",
        str(tmp_path / free.id): "cell",
    }


def test_a_file_system_without_locks_is_named(
    digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("gammascape.training.checkpoint.fcntl.lockf", without)
    [_, failed] = trained(digits_file, tmp_path)
    assert "No locks available" in failed["error"]
    assert "Traceback" not in (tmp_path / f"{CELL.id}.log").read_text()


def test_what_killed_processes_left_of_a_cell_is_removed(digits_file: Path, tmp_path: Path) -> None:
    checkpoints, folder = tmp_path / ".scratch/checkpoints", tmp_path / CELL.id
    for path in (folder / ".arrays.npz.0123abcd-7", checkpoints / f".{CELL.identity}-n1.abcd-7"):
        path.parent.mkdir(parents=True)
        path.touch()
    trained(digits_file, tmp_path)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert not list(checkpoints.iterdir())


def test_an_interrupt_writes_a_checkpoint_and_the_next_one_ends_the_process(
    digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    advance = Training.advance

    def interrupted(training: Training) -> object:
        for _ in range(3 if training.step else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return advance(training)

    monkeypatch.setattr(Training, "advance", interrupted)
    monkeypatch.setattr("gammascape.train.os._exit", ended.append)
    before = signal.getsignal(signal.SIGINT)
    assert run(CELL, digits_file, tmp_path / "cell") == 143
    assert ended == [143, 143]
    assert signal.getsignal(signal.SIGINT) is before
    assert len(list((tmp_path / ".scratch/checkpoints").iterdir())) == 1
