"""Snakemake executor `packed-slurm`: training jobs in packs, each pack one SLURM job.

Submission, status and cancellation come from snakemake-executor-plugin-slurm, to which a pack looks like one job
with the resources of its first cell. On the node, a worker trains the pack without Snakemake. The worker keeps a
journal next to the pack's file, from which cells are reported to Snakemake as they end. Jobs of
other rules take seconds and run where Snakemake runs.
"""

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.executors.local import Executor as LocalExecutor
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmSettings
from snakemake_executor_plugin_slurm import common_settings as slurm_settings
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor

from gammascape.execution import option
from gammascape.execution.board import BOARD
from gammascape.execution.inputs import remember_checksums
from gammascape.execution.interrupt import interrupt_once, terminate_beside
from gammascape.execution.leftovers import SCRATCH, begin, status_of, sweep
from gammascape.execution.packing import cut, group
from gammascape.execution.pool import write_failure
from gammascape.execution.runs import RunFolder
from gammascape.execution.tasks import TRAIN_RULE, TRAIN_RULES, Task, is_training, task_of
from gammascape.layout import whole
from gammascape.runs.journal import read_journal
from gammascape.training.pack import graph_places

common_settings = slurm_settings

_PACKS = SCRATCH / "packs"
_GRACE = 20.0
"""Seconds that cancelled packs have for writing checkpoints."""
_QUIET: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
_MOST_BARREN = 30
"""Limit on consecutive SLURM jobs without progress of any cell; beyond it, a cell is not at fault."""


@dataclass
class ExecutorSettings(SlurmSettings):  # type: ignore[misc]
    """Command-line options, --packed-slurm-<name>, in addition to the options of the executor slurm."""

    cells: int = option(256, "Cells in a SLURM job.")
    queued: int = option(100, "SLURM jobs queued or running at a time.")
    resubmissions: int = option(
        5,
        "Consecutive SLURM jobs that may end without any progress of their cells (a cell done, or a later "
        "checkpoint) before the cells fail.",
    )
    checkpoint_seconds: int = option(60, "Seconds between checkpoints.")


class Pack:
    """Training jobs that form one SLURM job; to the executor slurm it has the properties of the first of them."""

    def __init__(self, folder: Path, jobs: dict[Task, Any]) -> None:
        self.jobs = jobs
        self.fruitless = 0
        """Consecutive SLURM jobs that ended without progress."""
        self.step = 0
        """Furthest step of a checkpoint so far."""
        self.first = next(iter(jobs.values()))
        self.name = f"{TRAIN_RULE}_pack"
        self.identity = uuid.uuid4().hex[:12]
        self.wildcards = (self.identity,)
        self.file = folder / f"{self.identity}.json"
        self.journal = folder / f"{self.identity}.journal"
        self.prepared = False
        """True if a worker could make the model and the data."""
        self.finished = False
        """True if the SLURM job is known to have ended."""
        self.read = 0
        """Number of events of the journal that have been seen."""

    def is_group(self) -> bool:
        """Return False: a pack is not a group job of Snakemake."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first, name)

    def write(self, checkpoint_seconds: int) -> None:
        """Write the file for the worker on the node."""
        tasks = [task.as_json() for task in self.jobs]
        with whole(self.file) as partial:
            request = {"tasks": tasks, "checkpoint_seconds": checkpoint_seconds}
            partial.write_text(json.dumps(request) + "\n")

    def remove(self) -> None:
        """Remove the pack's files, after all its cells have ended or moved to another pack."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
            self.journal.unlink(missing_ok=True)


class Executor(SlurmExecutor):  # type: ignore[misc]
    """Executor that submits packs."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        # The base class starts the thread that uses these before it calls __post_init__.
        self._waiting: deque[Pack] = deque()
        self._in_slurm = 0
        self._stopped = False
        self._barren = 0
        self._keeps_accounts: bool | None = None
        self._run: RunFolder | None = None
        super().__init__(workflow, logger)

    def __post_init__(self) -> None:
        super().__post_init__()
        sweep()
        remember_checksums()
        interrupt_once(lambda: None)
        self._local = LocalExecutor(self.workflow, self.logger)
        self._local.pool.shutdown()
        cores = max(1, int(self.workflow.resource_settings.local_cores or 1))
        self._local.pool = ThreadPoolExecutor(max_workers=cores)
        # The number of packs, not Snakemake's --jobs, limits submissions: all ready cells come at once.
        for rule in self.workflow.rules:
            if rule.name in TRAIN_RULES:
                rule.resources["_nodes"] = 0

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Run jobs that are ready: cells in packs, all others on this machine."""
        terminate_beside()
        cells = {}
        for job in jobs:
            if is_training(job):
                cells[task_of(job)] = job
            else:
                self._local.run_job_pre(job)
                self._local.run_job(job)
        if not cells:
            return
        folder = self._start_run()
        BOARD.expect([task.record["steps"] for task in cells])
        for members in group(list(cells)):
            places, most = _places(cells[members[0]]), self.workflow.executor_settings.cells
            for part in cut(members, most, places=places):
                begun = {task: cells[task] for task in part if self._begin(task, cells[task])}
                if begun:
                    self._submit(Pack(folder, begun))

    def _start_run(self) -> Path:
        """Folder of this run's packs; packs of killed runs are cancelled first."""
        if self._run is None:
            try:
                self._run = RunFolder(_PACKS, self.run_uuid)
            except OSError as error:
                raise WorkflowError(f"no packs can be made: {error}") from None
            BOARD.start([])
            for run in self._run.abandoned():
                self.logger.info(f"Cancelling the remains of an earlier run, {run.name}")
                self._end_run(run)
        return self._run.path

    def _end_run(self, folder: Path) -> None:
        """Cancel the packs of a Snakemake process and wait until they have ended, with checkpoints."""
        ask = ["squeue", "--noheader", "--format=%i", f"--name={folder.name}"]
        until = time.monotonic() + _GRACE
        try:
            subprocess.run(["scancel", f"--name={folder.name}"], check=True, **_QUIET)
            while subprocess.run(ask, check=True, **_QUIET).stdout.strip():
                if time.monotonic() >= until:
                    break
                time.sleep(0.5)
        except (OSError, subprocess.SubprocessError) as error:
            # They hold the locks of their cells, and new packs will wait for these.
            self.logger.warning(f"SLURM jobs of {folder.name} could not be cancelled: {error}")
            return
        shutil.rmtree(folder, ignore_errors=True)

    def _begin(self, task: Task, job: Any) -> bool:
        """Tell Snakemake that a cell has begun; return False if there is nothing to train."""
        self.run_job_pre(job)
        try:
            status = begin(self.workflow, task, job)
            # The method of remote executors would ask SLURM about each cell.
            RealExecutor.report_job_submission(self, SubmittedJobInfo(job))
        except (OSError, WorkflowError) as error:
            self._report(SubmittedJobInfo(job), task, "failed", str(error))
            return False
        if status is not None:
            self._report(SubmittedJobInfo(job), task, status, None)
        return status is None

    def _submit(self, pack: Pack) -> None:
        with self.lock:
            if self._in_slurm >= self.workflow.executor_settings.queued:
                self._waiting.append(pack)
                return
            self._in_slurm += 1
        try:
            pack.write(self.workflow.executor_settings.checkpoint_seconds)
        except OSError as error:
            self._over(SubmittedJobInfo(pack), f"{pack.file} cannot be written: {error}")
            return
        self._job_submission_executor.submit(self.run_job, pack)

    def format_job_exec(self, job: Any) -> str:
        """Command of a SLURM job: a worker for a pack."""
        if not isinstance(job, Pack):
            return str(super().format_job_exec(job))
        words = [sys.executable, "-m", "gammascape.training.serve"]
        words += ["--pack", str(job.file), "--journal", str(job.journal)]
        return f"OMP_NUM_THREADS=1 exec {shlex.join(words)}"

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """Register a pack in SLURM's queue for status checks."""
        if not isinstance(job_info.job, Pack):
            super().report_job_submission(job_info, register_job)
            return
        with self.lock:
            self.active_jobs.append(job_info)

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the cells that have ended, then ask SLURM about the packs."""
        if self._told_to_end() and not self._stopped:
            await self._stop(active_jobs)
            return
        asked = []
        for info in active_jobs:
            if self._read(info):
                self.next_seconds_between_status_checks = None
            if info.job.jobs:
                asked.append(info)
            else:
                # The journal has the last cell, so SLURM has nothing to add.
                self._over(info, None)
        kept = set()
        async for info in super().check_active_jobs(asked):
            kept.add(info.job)
            yield info
        for info in asked:
            # A failed query leaves out jobs; ask about them again.
            if info.job not in kept and not info.job.finished:
                yield info
        while self._waiting and self._in_slurm < self.workflow.executor_settings.queued:
            self._submit(self._waiting.popleft())

    def get_status_command(self) -> str:
        """Use `squeue` if SLURM keeps no accounts, which leaves `sacct` without information."""
        if self._keeps_accounts is None:
            shown = subprocess.run(
                ["scontrol", "show", "config"], capture_output=True, text=True, check=False
            )
            lines = [line for line in shown.stdout.splitlines() if "AccountingStorageType" in line]
            self._keeps_accounts = not any(line.endswith("/none") for line in lines)
        return str(super().get_status_command()) if self._keeps_accounts else "squeue"

    def _read(self, info: SubmittedJobInfo) -> bool:
        """Process new events in the journal of a pack; return True if they show progress."""
        pack = info.job
        try:
            events = read_journal(pack.journal)
        except OSError:
            # A file system that does not answer may answer next time.
            return False
        fresh, pack.read = events[pack.read :], len(events)
        by_output = {task.output: task for task in pack.jobs}
        progress = False
        for event in fresh:
            BOARD.record_event(f"slurm {info.external_jobid}", event)
            pack.prepared |= event["event"] == "prepared"
            if event["event"] == "checkpoint":
                progress |= event["step"] > pack.step
                pack.step = max(pack.step, event["step"])
            elif (task := by_output.pop(event.get("output"), None)) is not None:
                progress = True
                self._end(pack, task, info, event.get("status", "failed"), event.get("error"))
        if progress:
            pack.fruitless = self._barren = 0
        return progress

    def _end(
        self, pack: Pack, task: Task, info: SubmittedJobInfo, status: str, error: str | None
    ) -> None:
        ended = SubmittedJobInfo(pack.jobs.pop(task), external_jobid=info.external_jobid)
        self._report(ended, task, status, error)

    def _report(self, ended: SubmittedJobInfo, task: Task, status: str, error: str | None) -> None:
        BOARD.ended(task, status)
        if error is None:
            super().report_job_success(ended)
            return
        try:
            self.print_job_error(ended, msg=f"{error} ")
        finally:
            self.workflow.scheduler.error_callback(ended.job)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Handle a pack that SLURM reports as finished."""
        if isinstance(job_info.job, Pack):
            self._over(job_info, None)
        else:
            super().report_job_success(job_info)

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **more: Any
    ) -> None:
        """Handle a pack that was cancelled, ran out of time, failed, or could not be submitted."""
        if isinstance(job_info.job, Pack):
            self._over(job_info, msg or "the SLURM job failed")
        else:
            super().report_job_error(job_info, msg=msg, **more)

    def _over(self, info: SubmittedJobInfo, error: str | None) -> None:
        pack = info.job
        pack.finished = True
        with self.lock:
            self._in_slurm -= 1
        self._read(info)
        # Find complete cells that are missing from the journal.
        for task in list(pack.jobs):
            if (status := status_of(task)) is not None:
                self._end(pack, task, info, status, None)
        left = dict(pack.jobs)
        pack.remove()
        if not left:
            return
        words = error or "the SLURM job ended before its cells"
        fruitless = pack.fruitless + 1
        self._barren += 1
        submitted = info.external_jobid is not None
        # If other packs make progress, a cell is at fault in this one, and repeated halving will find it.
        searching = len(left) > 1 and self._barren < _MOST_BARREN and pack.prepared
        tired = fruitless > self.workflow.executor_settings.resubmissions
        if not submitted or (tired and not searching):
            for task in left:
                write_failure(task, words)
                self._end(pack, task, info, "failed", words)
            return
        self.logger.warning(f"{words} Its {len(left)} unfinished cells are submitted again.")
        # Without progress, one of the cells may be at fault.
        size = len(left) if fruitless == 1 or not pack.prepared else -(-len(left) // 2)
        for part in cut(list(left), size, places=_places(next(iter(left.values())))):
            rest = Pack(pack.file.parent, {task: left[task] for task in part})
            rest.fruitless, rest.step, rest.prepared = fruitless, pack.step, pack.prepared
            self._submit(rest)

    def _told_to_end(self) -> bool:
        return getattr(self.workflow.scheduler, "_user_kill", None) is not None

    async def sleep(self) -> None:
        """Wait until the next check of the packs, or until Snakemake is told to end."""
        until = time.monotonic() + float(self.next_seconds_between_status_checks or 0)
        while time.monotonic() < until and (
            self.wait and (self._stopped or not self._told_to_end())
        ):
            await asyncio.sleep(0.5)

    async def _stop(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Stop when Snakemake is told to end: it waits for running jobs, which all cells are."""
        self._stopped = True
        self.cancel_jobs(active_jobs)
        until = time.monotonic() + _GRACE
        # A cell that ends while its pack is being cancelled counts as done.
        while time.monotonic() < until and any(_at_work(info.job) for info in active_jobs):
            await asyncio.sleep(0.5)
        for info in active_jobs:
            self._read(info)
            info.job.remove()
        for pack in [*(info.job for info in active_jobs), *self._waiting]:
            for task, job in pack.jobs.items():
                # Snakemake removes the files of failed jobs.
                if (status := status_of(task)) is not None:
                    self._report(SubmittedJobInfo(job), task, status, None)
                else:
                    self.workflow.scheduler.error_callback(job)
        self._waiting.clear()
        self._in_slurm = 0

    def cancel(self) -> None:
        """Stop after an interrupt: the packs write checkpoints and end."""
        if self._run is not None:
            self._end_run(self._run.path)
        self.shutdown()

    def shutdown(self) -> None:
        """Clean up after all jobs have ended."""
        super().shutdown()
        self._local.shutdown()
        if self._run is not None and not self._in_slurm:
            self._run.remove()
        if BOARD.active:
            self.logger.info(BOARD.report())


def _places(job: Any) -> Callable[[int], int] | None:
    """Places that are computed for so many lanes, if a job asks for a GPU."""
    asked = job.resources
    return graph_places if asked.get("gpu") or "gpu" in str(asked.get("gres")) else None


def _at_work(pack: Pack) -> bool:
    """Return whether a worker has begun the pack and has not ended."""
    events = [event["event"] for event in read_journal(pack.journal)]
    return bool(events) and events[-1] not in ("interrupted", "end")
