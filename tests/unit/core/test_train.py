"""The command that trains one cell: what it writes, and what it says when it cannot."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gammascape.study import Cell
from gammascape.study.datasets import DigitsSpec, MnistSpec
from gammascape.study.models import MlpSpec
from gammascape.train import main
from gammascape.training.trainer import Event, Task, Worker

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
    monkeypatch.setattr("gammascape.training.trainer.Training", None)
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
    assert worker.lanes(task) == 3


def test_the_trainer_freezes_no_objects_of_a_process_that_has_torch_already() -> None:
    # They may be those of torch's compiler, which says at the end of the process that they leak.
    code = "import torch, gc, sys, gammascape.training.trainer; sys.exit(gc.get_freeze_count() > 0)"
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
    events: list[Event] = []
    worker.run(tasks, events.append)
    failed = [event for event in events if event["event"] == "failed"]
    assert sorted(event["output"] for event in failed) == sorted(str(t.output) for t in tasks)
    assert all("ends after 5 steps of batch size 20" in event["error"] for event in failed)
    # A message for a person, and no traceback.
    assert "Traceback" not in capsys.readouterr().err
