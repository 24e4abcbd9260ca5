"""The executors: whatever goes wrong with a cell, Snakemake hears of it, or the run ends."""

import os
import signal
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from gammascape.execution import interrupt
from gammascape.execution.board import Board
from gammascape.execution.runs import RunFolder
from snakemake_executor_plugin_packed import Executor
from snakemake_executor_plugin_packed_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_packed_slurm import Pack

from .test_leftovers import write_artifact
from .test_packing import task

CELL = task()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An executor of packs on this machine, with one cell begun."""
    made = Executor.__new__(Executor)
    made.workflow, made.logger, made.dag = Mock(), Mock(), Mock()
    made._jobs, made._guard, made._pool = {}, interrupt.threading.Lock(), None
    made._scripts = Mock()
    made._stopped = made._waiting = False
    monkeypatch.setattr(made, "run_job_pre", lambda job: None)
    return made


def test_a_cell_fails_whose_folder_cannot_be_made(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Mock()
    monkeypatch.setattr(
        "snakemake_executor_plugin_packed.begin", Mock(side_effect=OSError("no space left"))
    )
    assert not executor._begin(CELL, job)
    assert "no space left" in job.log_error.call_args.args[0]
    executor.workflow.scheduler.error_callback.assert_called_once_with(job)


def test_a_failure_that_cannot_be_printed_is_reported(executor: Any) -> None:
    job = executor._jobs[CELL.output] = Mock()
    job.log_error.side_effect = OSError("the log cannot be read")
    with pytest.raises(OSError, match="cannot be read"):
        executor.failed(CELL, "no reason")
    executor.workflow.scheduler.error_callback.assert_called_once_with(job)
    executor.failed(CELL, "once more")
    executor.workflow.scheduler.error_callback.assert_called_once_with(job)


@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_a_cell_that_is_whole_has_not_failed(executor: Any, how: str) -> None:
    """Snakemake would remove its files."""
    job = executor._jobs[CELL.output] = Mock()
    write_artifact(CELL)
    if how == "failed":
        executor.failed(CELL, "its worker was killed")
    else:
        executor.stopped([CELL])
    executor.workflow.scheduler.finish_callback.assert_called_once_with(job)
    executor.workflow.scheduler.error_callback.assert_not_called()


def test_an_error_in_a_thread_of_the_executor_ends_the_run(executor: Any) -> None:
    executor.workflow.scheduler._user_kill = "graceful"
    executor._pool = Mock()
    executor._pool.stop.side_effect = RuntimeError("unexpected")
    executor._watch()
    [said] = executor.workflow.scheduler.executor_error_callback.call_args.args
    assert "unexpected" in str(said)


def test_an_interrupted_run_that_trained_nothing_reports_no_cells(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.pool, executor.workflow.shadow_prefix = Mock(), None
    for board, said in ((Board(), 0), (Board(started=1.0), 1)):
        monkeypatch.setattr("snakemake_executor_plugin_packed.BOARD", board)
        executor.cancel()
        assert executor.logger.info.call_count == said


def test_only_the_first_interrupt_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []
    monkeypatch.setattr(interrupt.signal, "signal", lambda _, handler: handlers.append(handler))
    then = Mock()
    interrupt.interrupt_once(then)
    with pytest.raises(KeyboardInterrupt):
        handlers[0](2, None)
    for count in (1, 2):
        handlers[0](2, None)
        assert then.call_count == count


def test_a_signal_to_end_does_not_wait_for_what_the_main_thread_holds() -> None:
    lock, told = threading.Lock(), threading.Event()

    def exit_gracefully(*_: object) -> None:
        # Without a limit as in Snakemake, the test would never end.
        if lock.acquire(timeout=60):
            told.set()
            lock.release()

    before = signal.signal(signal.SIGTERM, exit_gracefully)
    try:
        for _ in range(2):
            interrupt.terminate_beside()
        with lock:
            os.kill(os.getpid(), signal.SIGTERM)
            # The signal has come by the next instruction.
            assert not told.is_set()
        assert told.wait(30)
        # What a program of its own has set stays.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        interrupt.terminate_beside()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def slurm() -> Any:
    """An executor of packs in SLURM."""
    made = SlurmExecutor.__new__(SlurmExecutor)
    made.workflow, made.logger, made.lock = Mock(), Mock(), interrupt.threading.Lock()
    made.workflow.executor_settings = Mock(checkpoint_seconds=60, queued=1, resubmissions=1)
    made._job_submission_executor = Mock()
    made._waiting, made._in_slurm, made._barren = [], 0, 0
    return made


@pytest.mark.parametrize(
    ("resources", "lengths"),
    [({}, [15, 15]), ({"gpu": 1}, [16, 14]), ({"gres": "gpu:a100:1"}, [16, 14])],
)
def test_packs_fill_a_gpu_if_jobs_ask_for_one(
    slurm: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    resources: dict[str, Any],
    lengths: list[int],
) -> None:
    cells = {task(seed=seed): Mock(resources=resources) for seed in range(30)}
    jobs = {job: member for member, job in cells.items()}
    monkeypatch.setattr("snakemake_executor_plugin_packed_slurm.is_training", lambda job: True)
    monkeypatch.setattr("snakemake_executor_plugin_packed_slurm.task_of", jobs.__getitem__)
    monkeypatch.setattr(slurm, "_start_run", lambda: tmp_path)
    monkeypatch.setattr(slurm, "_begin", lambda member, job: True)
    submitted: list[Pack] = []
    monkeypatch.setattr(slurm, "_submit", submitted.append)
    slurm.workflow.executor_settings.cells = 28
    slurm.run_jobs(list(cells.values()))
    assert [len(pack.jobs) for pack in submitted] == lengths


def make_pack(folder: Path, *gammas: str) -> Pack:
    return Pack(folder, {task(gamma=gamma): Mock(name=gamma) for gamma in gammas})


def test_a_pack_that_cannot_be_written_fails_its_cells(slurm: Any, tmp_path: Path) -> None:
    (tmp_path / "packs").touch()
    pack = make_pack(tmp_path / "packs/run", "0", "1")
    slurm._submit(pack)
    assert slurm.workflow.scheduler.error_callback.call_count == 2
    assert not pack.jobs


def test_a_cell_that_is_whole_is_done_whatever_the_journal_says(slurm: Any, tmp_path: Path) -> None:
    pack = make_pack(tmp_path, "0")
    write_artifact(task(gamma="0"))
    slurm._over(SubmittedJobInfo(pack, "17"), "the node was lost")
    assert slurm.workflow.scheduler.finish_callback.call_count == 1
    assert not slurm._job_submission_executor.submit.called


def test_a_model_that_ends_its_jobs_while_it_is_built_is_not_halved(
    slurm: Any, tmp_path: Path
) -> None:
    pack = make_pack(tmp_path, "0", "1", "2", "3")
    for attempt in (1, 2):
        pack.journal.write_text('{"event": "ready"}\n')
        slurm._over(SubmittedJobInfo(pack, str(attempt)), "the job failed")
        if attempt == 1:
            assert slurm._job_submission_executor.submit.call_count == 1
            pack = slurm._job_submission_executor.submit.call_args.args[1]
            assert len(pack.jobs) == 4
    assert slurm.workflow.scheduler.error_callback.call_count == 4


@pytest.mark.parametrize("line", ["3", "null", "[]", "{}", '{"event": "cell", "output": "x"}'])
def test_odd_lines_of_a_journal_are_left_out(slurm: Any, tmp_path: Path, line: str) -> None:
    pack = make_pack(tmp_path, "0")
    done = f'{{"event": "cell", "output": "{task(gamma="0").output}", "status": "trained"}}'
    pack.journal.write_bytes(f"{line}\n".encode() + b"\xff\n" + f"{done}\n{done}\n".encode())
    slurm._read(SubmittedJobInfo(pack, "17"))
    assert slurm.workflow.scheduler.finish_callback.call_count == 1
    assert not pack.jobs


def test_the_folder_of_a_run_is_abandoned_when_its_process_has_ended(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from gammascape.execution.runs import RunFolder;"
        "RunFolder(Path(sys.argv[1]), 'other'); print('made', flush=True); sys.stdin.read()"
    )
    mine = RunFolder(tmp_path, "mine")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"made\n"
        assert mine.abandoned() == []
        other.kill()
        other.wait()
        assert mine.abandoned() == [tmp_path / "other"]
    mine.remove()
    assert not (tmp_path / "mine").exists()
