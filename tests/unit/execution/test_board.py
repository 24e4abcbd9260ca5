"""What the display is told, and what it shows."""

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from gammascape.execution import board as execution_board
from gammascape.execution.board import Board
from gammascape.execution.tasks import Task
from gammascape.runs.outcome import Thresholds
from snakemake_logger_plugin_gammascape import Pace, board_words, cells_display


def task(output: str = "results/cells/mlp_digits_mse/g0-0") -> Task:
    cell = SimpleNamespace(output=output, record={"steps": 1000})
    return cast(Task, cell)


def busy_board() -> Board:
    board = Board()
    board.start(["cpu0", "cpu1"])
    board.expect([1000] * 10)
    board.record_event("cpu0", {"event": "pack", "lanes": 4, "steps": 1000})
    board.record_event(
        "cpu0", {"event": "progress", "step": 500, "steps": 1000, "lanes": 3, "cell_steps": 1750}
    )
    board.ended(task(), "diverged")
    board.ended(task(), "trained")
    board.ended(task(), "trained")
    return board


def shown(board: Board) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    console.print(cells_display(Pace(10, time.monotonic(), done=3), board))
    return console.file.getvalue()


def test_cells_are_counted_by_how_they_ended() -> None:
    assert board_words(busy_board()) == "1 diverged, 2 trained"


@pytest.mark.parametrize(("level", "status"), [(0.95, "trained"), (0.5, "untrained")])
def test_cells_are_judged_as_by_their_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: float, status: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("results/cells/mlp_digits_mse/g0-0")
    folder.mkdir(parents=True)
    facts = {
        **{"finite": True, "seen_nan": False, "initial_loss": 1.0, "final_loss": 0.8},
        **{"baseline_loss": 1.0, "peak_loss": 1.0, "active_fraction": 1.0},
    }
    (folder / "summary.json").write_text(json.dumps({"status": "untrained", "facts": facts}))
    board = Board(thresholds={"mlp_digits_mse/g0-0": Thresholds(trained_below=level)})
    board.ended(task(), "untrained")
    # Without a summary, and for cells of no study here, what the worker said counts.
    board.ended(task("results/cells/mlp_digits_mse/g0-1"), "dead")
    board.ended(task(), "failed")
    assert board.counts == {status: 1, "dead": 1, "failed": 1}


def test_every_device_has_a_line() -> None:
    text = shown(busy_board())
    assert "3 of 10" in text
    assert "3 lanes, step 500 of 1,000" in text
    assert text.count("idle") == 1


def test_the_time_left_counts_the_steps_of_ended_cells_as_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(execution_board, "time", clock)
    board = busy_board()
    clock.monotonic = lambda: 104.0
    # A rate over the first seconds would be the rate of a worker's start.
    assert board.rate() is None
    assert board.seconds_left() is None
    clock.monotonic = lambda: 110.0
    assert board_words(board) == "1 diverged, 2 trained; 175 cell-steps/s, 31 s to go"
    # 3 lanes did 1,750 steps in 10 s. Of 10 cells of 1,000 steps 3 have ended and 3 stand at step 500.
    assert board.rate() == pytest.approx(175)
    assert board.seconds_left() == pytest.approx(5500 / 175)


def test_an_idle_device_takes_no_device_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(execution_board, "time", clock)
    board = busy_board()
    clock.monotonic = lambda: 107.0
    board.record_event("cpu0", {"event": "idle"})
    clock.monotonic = lambda: 120.0
    assert board.report().endswith("; 20 s, 7 s of device time")
    assert board.devices["cpu0"].packs == 1


def test_what_follows_the_last_cell_is_no_time_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(execution_board, "time", clock)
    board = busy_board()
    clock.monotonic = lambda: 110.0
    for _ in range(7):
        board.ended(task(), "trained")
    board.record_event("cpu0", {"event": "idle"})
    clock.monotonic = lambda: 500.0
    assert board.report().endswith("; 10 s, 10 s of device time")


def test_the_report_says_what_was_trained() -> None:
    board = busy_board()
    board.record_event("cpu0", {"event": "idle"})
    assert board.report().startswith(
        "3 of 10 cells in 1 pack on cpu0, cpu1: 1 diverged, 2 trained; "
    )
    assert board.report().endswith("of device time")


def test_without_an_executor_that_packs_the_pace_of_cells_is_shown() -> None:
    assert "7 left" in shown(Board())
