"""Snakemake executor `packed-slurm`: training jobs in packs, each pack one SLURM job.

Submission, status and cancelling are those of snakemake-executor-plugin-slurm, to which a pack looks like one job
with the resources of its first cell. On the node a worker trains the pack; Snakemake is not started there. The
worker keeps a journal beside the pack's file, from which cells are reported to Snakemake as they end. Jobs of
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
from collections.abc import AsyncGenerator, Sequence
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
from gammascape.execution.interrupt import interrupt_once
from gammascape.execution.leftovers import SCRATCH, begin, status_of, sweep
from gammascape.execution.packing import cut, group
from gammascape.execution.pool import write_failure
from gammascape.execution.runs import RunFolder
from gammascape.execution.tasks import TRAIN_RULE, TRAIN_RULES, Task, is_training, task_of
from gammascape.layout import whole
from gammascape.runs.journal import read_journal

common_settings = slurm_settings

_PACKS = SCRATCH / "packs"
_GRACE = 20.0
"""Seconds in which cancelled packs may write their checkpoints."""
_QUIET: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
_MOST_BARREN = 30
"""SLURM jobs that may end one after another without progress of any cell: beyond, it is not a cell's fault."""


@dataclass
class ExecutorSettings(SlurmSettings):  # type: ignore[misc]
    """Options of the command line, --packed-slurm-<name>, beside those of the executor slurm."""

    cells: int = option(256, "Cells in a SLURM job.")
    queued: int = option(100, "SLURM jobs that are queued or run at a time.")
    resubmissions: int = option(
        5,
        "SLURM jobs in a row that may end without any progress of their cells (a cell done, or a checkpoint "
        "moved on) before the cells fail.",
    )
    checkpoint_seconds: int = option(60, "Seconds between checkpoints.")


class Pack:
    """Training jobs that are one SLURM job; what the executor slurm asks of a job is that of the first of them."""

    def __init__(self, folder: Path, jobs: dict[Task, Any]) -> None:
        self.jobs = jobs
        self.fruitless = 0
        """SLURM jobs in a row that ended without progress."""
        self.step = 0
        """Furthest step of a checkpoint so far."""
        self.first = next(iter(jobs.values()))
        self.name = f"{TRAIN_RULE}_pack"
        self.identity = uuid.uuid4().hex[:12]
        self.wildcards = (self.identity,)
        self.file = folder / f"{self.identity}.json"
        self.journal = folder / f"{self.identity}.journal"
        self.prepared = False
        """Whether a worker could make the model and the data."""
        self.over = False
        """Whether the SLURM job is known to have ended."""
        self.read = 0
        """Events of the journal that have been seen."""

    def is_group(self) -> bool:
        """A pack is no group job of Snakemake."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first, name)

    def write(self, checkpoint_seconds: int) -> None:
        """Write the file that the worker on the node reads."""
        tasks = [task.as_json() for task in self.jobs]
        with whole(self.file) as partial:
            request = {"tasks": tasks, "checkpoint_seconds": checkpoint_seconds}
            partial.write_text(json.dumps(request) + "\n")

    def remove(self) -> None:
        """Remove the pack's files: all its cells have ended, or are in another pack."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
            self.journal.unlink(missing_ok=True)


class Executor(SlurmExecutor):  # type: ignore[misc]
    """Submits packs."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        # The base class starts the thread that asks for these before it calls __post_init__.
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
        interrupt_once(lambda: None)
        self._local = LocalExecutor(self.workflow, self.logger)
        self._local.pool.shutdown()
        cores = max(1, int(self.workflow.resource_settings.local_cores or 1))
        self._local.pool = ThreadPoolExecutor(max_workers=cores)
        # The number of packs, not Snakemake's --jobs, limits what is submitted: all ready cells come at once.
        for rule in self.workflow.rules:
            if rule.name in TRAIN_RULES:
                rule.resources["_nodes"] = 0

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Run jobs that are ready: cells in packs, all others on this machine."""
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
            for part in cut(members, self.workflow.executor_settings.cells):
                begun = {task: cells[task] for task in part if self._begin(task, cells[task])}
                if begun:
                    self._submit(Pack(folder, begun))

    def _start_run(self) -> Path:
        """The folder of this run's packs; those of runs that were killed are cancelled first."""
        if self._run is None:
            try:
                self._run = RunFolder(_PACKS, self.run_uuid)
            except OSError as error:
                raise WorkflowError(f"no packs can be made: {error}") from None
            BOARD.start([])
            for run in self._run.abandoned():
                self.logger.info(f"Cancelling what is left of an earlier run, {run.name}")
                self._end_run(run)
        return self._run.path

    def _end_run(self, folder: Path) -> None:
        """Cancel the packs of a Snakemake and wait until they have ended, with checkpoints."""
        ask = ["squeue", "--noheader", "--format=%i", f"--name={folder.name}"]
        until = time.monotonic() + _GRACE
        try:
            subprocess.run(["scancel", f"--name={folder.name}"], check=True, **_QUIET)
            while subprocess.run(ask, check=True, **_QUIET).stdout.strip():
                if time.monotonic() >= until:
                    break
                time.sleep(0.5)
        except (OSError, subprocess.SubprocessError) as error:
            # They hold the locks of their cells, for which new packs wait.
            self.logger.warning(f"SLURM jobs of {folder.name} could not be cancelled: {error}")
            return
        shutil.rmtree(folder, ignore_errors=True)

    def _begin(self, task: Task, job: Any) -> bool:
        """Tell Snakemake that a cell is begun; False if there is nothing to train."""
        self.run_job_pre(job)
        try:
            status = begin(self.workflow, task, job)
            # That of the remote executors would ask SLURM about each cell.
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
        """The command of a SLURM job: a worker for a pack."""
        if not isinstance(job, Pack):
            return str(super().format_job_exec(job))
        words = [sys.executable, "-m", "gammascape.training.serve"]
        words += ["--pack", str(job.file), "--journal", str(job.journal)]
        return f"OMP_NUM_THREADS=1 exec {shlex.join(words)}"

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """A pack is in SLURM's queue: it will be asked about."""
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
                # The journal has the last cell: there is nothing that SLURM could add.
                self._over(info, None)
        kept = set()
        async for info in super().check_active_jobs(asked):
            kept.add(info.job)
            yield info
        for info in asked:
            # A query that fails leaves jobs out; they are asked about again.
            if info.job not in kept and not info.job.over:
                yield info
        while self._waiting and self._in_slurm < self.workflow.executor_settings.queued:
            self._submit(self._waiting.popleft())

    def get_status_command(self) -> str:
        """`squeue` where SLURM keeps no accounts, so that `sacct` has nothing to tell."""
        if self._keeps_accounts is None:
            shown = subprocess.run(
                ["scontrol", "show", "config"], capture_output=True, text=True, check=False
            )
            lines = [line for line in shown.stdout.splitlines() if "AccountingStorageType" in line]
            self._keeps_accounts = not any(line.endswith("/none") for line in lines)
        return str(super().get_status_command()) if self._keeps_accounts else "squeue"

    def _read(self, info: SubmittedJobInfo) -> bool:
        """Take in what the journal of a pack says since the last look; True if that is progress."""
        pack = info.job
        try:
            events = read_journal(pack.journal)
        except OSError:
            # A file system that does not answer may do so the next time.
            return False
        fresh, pack.read = events[pack.read :], len(events)
        by_output = {task.output: task for task in pack.jobs}
        progress = False
        for event in fresh:
            BOARD.tell(f"slurm {info.external_jobid}", event)
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
        BOARD.ended(status, task.record["steps"])
        if error is None:
            super().report_job_success(ended)
            return
        try:
            self.print_job_error(ended, msg=f"{error} ")
        finally:
            self.workflow.scheduler.error_callback(ended.job)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """SLURM says that a pack is over."""
        if isinstance(job_info.job, Pack):
            self._over(job_info, None)
        else:
            super().report_job_success(job_info)

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **more: Any
    ) -> None:
        """SLURM says that a pack was cancelled, ran out of time or failed, or it could not be submitted."""
        if isinstance(job_info.job, Pack):
            self._over(job_info, msg or "the SLURM job failed")
        else:
            super().report_job_error(job_info, msg=msg, **more)

    def _over(self, info: SubmittedJobInfo, error: str | None) -> None:
        pack = info.job
        pack.over = True
        with self.lock:
            self._in_slurm -= 1
        self._read(info)
        # What the journal could not say.
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
        # Where other packs train, a cell ends this one, and halves find it however many that takes.
        searching = len(left) > 1 and self._barren < _MOST_BARREN and pack.prepared
        tired = fruitless > self.workflow.executor_settings.resubmissions
        if not submitted or (tired and not searching):
            for task in left:
                write_failure(task, words)
                self._end(pack, task, info, "failed", words)
            return
        self.logger.warning(f"{words} Its {len(left)} unfinished cells are submitted again.")
        # Without progress one of the cells may be at fault.
        size = len(left) if fruitless == 1 or not pack.prepared else -(-len(left) // 2)
        for part in cut(list(left), size):
            rest = Pack(pack.file.parent, {task: left[task] for task in part})
            rest.fruitless, rest.step, rest.prepared = fruitless, pack.step, pack.prepared
            self._submit(rest)

    def _told_to_end(self) -> bool:
        return getattr(self.workflow.scheduler, "_user_kill", None) is not None

    async def sleep(self) -> None:
        """Wait until the next look at the packs; what Snakemake is told is heard at once."""
        until = time.monotonic() + float(self.next_seconds_between_status_checks or 0)
        while time.monotonic() < until and (
            self.wait and (self._stopped or not self._told_to_end())
        ):
            await asyncio.sleep(0.5)

    async def _stop(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Snakemake was told to end: it waits for running jobs, and all cells are."""
        self._stopped = True
        self.cancel_jobs(active_jobs)
        until = time.monotonic() + _GRACE
        # A cell that ends while its pack is being cancelled is a cell that is done.
        while time.monotonic() < until and any(_at_work(info.job) for info in active_jobs):
            await asyncio.sleep(0.5)
        for info in active_jobs:
            self._read(info)
            info.job.remove()
        for pack in [*(info.job for info in active_jobs), *self._waiting]:
            for task, job in pack.jobs.items():
                # Snakemake removes the files of jobs that fail.
                if (status := status_of(task)) is not None:
                    self._report(SubmittedJobInfo(job), task, status, None)
                else:
                    self.workflow.scheduler.error_callback(job)
        self._waiting.clear()
        self._in_slurm = 0

    def cancel(self) -> None:
        """Snakemake was interrupted: the packs write checkpoints and end."""
        if self._run is not None:
            self._end_run(self._run.path)
        self.shutdown()

    def shutdown(self) -> None:
        """All jobs have ended."""
        super().shutdown()
        self._local.shutdown()
        if self._run is not None and not self._in_slurm:
            self._run.remove()
        if BOARD.active:
            self.logger.info(BOARD.report())


def _at_work(pack: Pack) -> bool:
    """Whether a worker has begun with the pack and has not ended."""
    events = [event["event"] for event in read_journal(pack.journal)]
    return bool(events) and events[-1] not in ("interrupted", "end")
