"""When tables and an explorer are made during a run, on a clock that the test moves."""

import json
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gammascape.execution.so_far import FOLDER, SoFar

ANSWER = {"seconds": 3.0, "again": 1.8, "cells": {"tiny": [412, 900]}}
CONFIG = {"study": ["config/studies/tiny.yaml"]}


class Run:
    """A run with a process that answers each line with the next of some answers, and ends after them."""

    def __init__(self, folder: Path, *answers: object) -> None:
        self.asked, self.said, self.now = folder / "asked", list[str](), 0.0
        self.answers = [json.dumps(a) if isinstance(a, dict) else str(a) for a in answers]
        self.started: list[subprocess.Popen[str]] = []
        self.so_far = SoFar(CONFIG, self.said.append, lambda: self.now, self.start)

    def start(self, config: Mapping[str, Any]) -> "subprocess.Popen[str]":
        assert config == CONFIG
        code = (
            "import json, sys\n"
            "for answer, _ in zip(json.loads(sys.argv[1]), sys.stdin):\n"
            "    open(sys.argv[2], 'a').write('.'); print(answer, flush=True)"
        )
        words = [sys.executable, "-c", code, json.dumps(self.answers), str(self.asked)]
        self.started.append(
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        return self.started[-1]

    def times(self, until: int) -> list[int]:
        """Seconds at which the process is asked."""
        found = []
        for second in range(int(self.now), until):
            self.now = second
            before = self.so_far._asked
            self.so_far.poll()
            if self.so_far._asked != before:
                found.append(int(self.now))
                # The process answers before the next second.
                stdout = self.started[-1].stdout
                assert stdout is not None
                if not stdout.closed:  # as it is once the process has gone
                    select.select([stdout], [], [], 60)
        return found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_is_asked_when_two_per_cent_of_the_time_pay_for_it(tmp_path: Path) -> None:
    run = Run(tmp_path, ANSWER, *[{**ANSWER, "seconds": 0.5, "again": 0.5}] * 8)
    # 4 seconds are expected at first; then 3 + 1.8 are 2 % of 240, 3.5 + 0.5 of 200, and a minute has to pass.
    assert run.times(450) == [200, 260, 320, 380, 440]
    assert run.said == [f"412 of 900 cells of tiny so far: open {FOLDER}/tiny/explorer.html"]
    assert len(run.started) == 1
    run.so_far.stop(finished=False)
    assert run.started[0].poll() is not None


def test_what_costs_much_is_seldom_made(tmp_path: Path) -> None:
    run = Run(tmp_path, *[{**ANSWER, "seconds": 20.0, "again": 20.0}] * 3)
    assert run.times(3100) == [200, 2000, 3000]
    run.so_far.stop(finished=False)


@pytest.mark.parametrize("answer", ["nonsense", "{}", "[1]"])
def test_an_answer_that_makes_no_sense_is_a_line_in_a_log(tmp_path: Path, answer: str) -> None:
    run = Run(tmp_path, answer, ANSWER)
    assert run.times(300) == [200, 260]
    assert Path("results/logs/so-far.log").read_text().count("\n") == 1
    run.times(330)
    assert len(run.said) == 1
    run.so_far.stop(finished=False)


def test_a_process_that_ends_is_started_again_when_paid(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.times(203)[:1] == [200]
    run.started[0].wait(60)
    run.answers = [json.dumps(ANSWER)] * 9
    later = run.times(700)
    assert len(run.started) == 2
    assert later[0] >= 260
    assert len(run.said) == 1
    run.so_far.stop(finished=False)


def test_a_process_that_cannot_start_is_a_line_in_a_log(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def fail(config: Mapping[str, Any]) -> "subprocess.Popen[str]":
        raise OSError("no memory")

    run.so_far._starts = fail
    run.now = 200.0
    run.so_far.poll()
    assert "no memory" in Path("results/logs/so-far.log").read_text()
    run.so_far.stop(finished=False)


def test_a_run_without_it_removes_what_one_with_it_left(tmp_path: Path) -> None:
    run = Run(tmp_path, ANSWER)
    (FOLDER / "tiny").mkdir(parents=True)
    run.so_far._config = {**CONFIG, "so_far": False}
    before = threading.active_count()
    run.so_far.watch()
    assert threading.active_count() == before
    run.so_far.stop(finished=True)
    assert not FOLDER.exists()


def test_the_end_of_a_run_removes_what_was_made(tmp_path: Path) -> None:
    for finished in (False, True):
        run = Run(tmp_path, ANSWER)
        (FOLDER / "tiny").mkdir(parents=True, exist_ok=True)
        (FOLDER / "tiny/explorer.html").touch()
        run.so_far.watch()
        run.so_far.stop(finished)
        assert FOLDER.exists() is not finished
        run.now = 1000.0
        run.so_far.poll()
        assert not run.started
