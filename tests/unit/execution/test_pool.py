"""The pool of workers: every cell is reported, whatever happens to a worker or to the thread that feeds it."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gammascape.execution import pool as pool_module
from gammascape.execution.pool import Backlog, Device, Pool
from gammascape.execution.tasks import Task

from .test_packing import task

PATIENCE = 60.0
"""Longest wait for a report that is expected at once; a test that needs it has failed."""


class Reports:
    """What the pool told about each task, by the task's gamma and width."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, int], str] = {}
        self.broken: BaseException | None = None
        self.raising: set[str] = set()
        self._changed = threading.Condition()

    def _take(self, name: str, task: Task, outcome: str) -> None:
        if name in self.raising:
            raise RuntimeError(f"{name} went wrong")
        with self._changed:
            self.outcomes[str(task.record["gamma"]), task.record["model"]["width"]] = outcome
            self._changed.notify_all()

    def done(self, task: Task, status: str, seconds: float) -> None:
        self._take("done", task, "done")

    def failed(self, task: Task, error: str) -> None:
        self._take("failed", task, error)

    def stopped(self, tasks: Sequence[Task]) -> None:
        for member in tasks:
            self._take("stopped", member, "stopped")

    def show_event(self, device: str, event: Mapping[str, Any]) -> None:
        if "show_event" in self.raising:
            raise RuntimeError("show_event went wrong")

    def broke(self, error: BaseException) -> None:
        with self._changed:
            self.broken = error
            self._changed.notify_all()

    def wait(self, tasks: Sequence[Task]) -> None:
        """Wait until all tasks are reported, or the run is ended."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.outcomes) == len(tasks) or self.broken is not None, PATIENCE
            ), f"Snakemake would wait for ever: {self.outcomes}"


def cells(*gammas: str, width: int = 16) -> list[Task]:
    model = {"depth": 2, "kind": "mlp", "width": width}
    made = []
    for gamma in gammas:
        plain = task(gamma=gamma)
        cell = plain.cell.replace('"width":16', f'"width":{model["width"]}')
        made.append(Task(cell, plain.data, f"{plain.output}-{width}", plain.log))
    return made


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reports:
    monkeypatch.chdir(tmp_path)
    fake = Path(__file__).with_name("fake_worker.py")
    monkeypatch.setattr(pool_module, "WORKER", ("-S", "-E", str(fake)))
    return Reports()


@contextmanager
def running(reports: Reports, workers: int = 1, **faults: str) -> Iterator[Pool]:
    environment = {f"FAULT_{name.upper()}": value for name, value in faults.items()}
    devices = [Device(f"cpu{n}", "cpu", environment) for n in range(workers)]
    pool = Pool(devices, reports, Path("scratch"), 60.0)
    try:
        yield pool
    finally:
        pool.close()


def test_a_worker_is_asked_about_one_cell_of_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Task] = []
    process = object.__new__(pool_module._Process)
    monkeypatch.setattr(process, "send", lambda what, tasks: sent.extend(tasks))
    monkeypatch.setattr(process, "receive", lambda: {"event": "lanes", "lanes": 4})
    backlog = Backlog(1)
    backlog.add([task(gamma=gamma, seed=seed) for gamma in ("0", "1") for seed in (0, 3)])
    pack = backlog.take(process.ask_lanes)
    assert pack is not None
    assert len(pack.tasks) == 4
    assert sorted(member.record["seed"] for member in sent) == [0, 3]


def test_cells_that_are_added_later_are_trained_too(reports: Reports) -> None:
    first, second = cells("0", "1"), cells("2", width=64)
    with running(reports, workers=2) as pool:
        pool.add(first)
        reports.wait(first)
        pool.add(second)
        reports.wait([*first, *second])
    assert set(reports.outcomes.values()) == {"done"}
    assert not list(Path("scratch/workers").iterdir()), "a log without a word is no use"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_that_kills_its_worker_while_it_is_built_fails_alone(
    reports: Reports, workers: int
) -> None:
    good, bad = cells("0", "1", "2"), cells("0", "1", "2", width=64)
    with running(reports, workers, build="64") as pool:
        pool.add([*bad, *good])
        reports.wait([*bad, *good])
    for (_, width), outcome in reports.outcomes.items():
        if width == 16:
            assert outcome == "done"
        else:
            assert outcome.startswith("while its model and data were made, the worker process")
            assert "signal 9" in outcome
    assert "while its model" in Path(bad[0].log).read_text()


def test_a_cell_that_kills_its_worker_fails_alone(reports: Reports) -> None:
    tasks = cells("0", "1", "2", "3")
    with running(reports, train="2") as pool:
        pool.add(tasks)
        reports.wait(tasks)
    assert reports.outcomes.pop(("2", 16)).startswith("the worker process was ended by signal 9")
    assert set(reports.outcomes.values()) == {"done"}


def block_folder() -> None:
    Path("scratch").mkdir()
    Path("scratch/workers").touch()


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("before", "faults", "said"),
    [
        (block_folder, {}, r"no worker could be started: .*'scratch/workers"),
        (nothing, {"start": "3"}, r"no worker could be started: .* ended with status 3"),
    ],
)
def test_cells_fail_when_no_worker_can_be_started(
    reports: Reports, before: Callable[[], None], faults: dict[str, str], said: str
) -> None:
    before()
    first, second = cells("0", "1"), cells("2")
    with running(reports, workers=2, **faults) as pool:
        pool.add(first)
        reports.wait(first)
        # Those that become ready when all workers have gone.
        pool.add(second)
        reports.wait([*first, *second])
    for outcome in reports.outcomes.values():
        assert pytest.RaisesExc(RuntimeError, match=said).matches(RuntimeError(outcome))


@pytest.mark.parametrize(
    "faults",
    [
        {"say": "no JSON"},
        {"say": "3"},
        {"say": "{}"},
        {"say": '{"event": "cell", "output": "nowhere"}'},
        {"say": '{"event": "cell"}'},
        {"say": '{"event": "end"}'},
        {"silent": "1"},
    ],
)
def test_whatever_a_worker_says_all_cells_are_reported(
    reports: Reports, faults: dict[str, str]
) -> None:
    tasks = cells("0", "1")
    with running(reports, **faults) as pool:
        pool.add(tasks)
        reports.wait(tasks)
    assert len(reports.outcomes) == len(tasks)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Backlog, "take"),
        (Backlog, "retry_first"),
        (Backlog, "prepared"),
        (Backlog, "give_up"),
        (Backlog, "limit"),
        (Pool, "_start"),
        (Pool, "_train"),
        (Pool, "_serve"),
        (Pool, "_after_crash"),
        (pool_module._Process, "send"),
        (pool_module._Process, "receive"),
        (pool_module._Process, "ask_lanes"),
        (pool_module._Process, "tidy"),
        (pool_module.subprocess, "Popen"),
        (pool_module, "write_failure"),
        (Reports, "done"),
        (Reports, "failed"),
        (Reports, "show_event"),
    ],
)
def test_an_unexpected_error_anywhere_ends_the_cells_or_the_run(
    reports: Reports, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("unexpected")

    tasks = cells("0", "1")
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, broken)
        pool = Pool([Device("cpu0", "cpu", {"FAULT_TRAIN": "1"})], reports, Path("scratch"), 60.0)
        pool.add(tasks)
        reports.wait(tasks)
    pool.close()


def test_cells_of_another_process_are_waited_for_and_do_not_fail(
    reports: Reports, tmp_path: Path
) -> None:
    tasks = cells("0", "1", "2")
    held = tmp_path / "held"
    held.touch()
    with running(reports, locked=str(held)) as pool:
        pool.add(tasks)
        reports.wait(tasks)
    assert set(reports.outcomes.values()) == {"done"}


def test_cells_that_wait_when_the_pool_stops_have_not_failed(reports: Reports) -> None:
    tasks = cells("0", "1")
    with running(reports) as pool:
        pool.stop()
        pool.add(tasks)
        reports.wait(tasks)
    assert set(reports.outcomes.values()) == {"stopped"}
