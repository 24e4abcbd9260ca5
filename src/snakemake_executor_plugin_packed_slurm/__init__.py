"""Snakemake executor `packed-slurm`: training jobs in packs, each pack one SLURM job.

Submission, status and cancelling are those of snakemake-executor-plugin-slurm, to which a pack looks like one job
with the resources of its first cell. On the node a worker trains the pack; Snakemake is not started there. The
worker keeps a journal beside the pack's file, from which cells are reported to Snakemake as they end. Jobs of
other rules take seconds and run where Snakemake runs.
"""

import asyncio
import json
import shlex
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from snakemake.executors.local import Executor as LocalExecutor
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmSettings
from snakemake_executor_plugin_slurm import common_settings as slurm_settings
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor

from gammascape.execution.board import BOARD
from gammascape.execution.kept import SCRATCH, put_back, set_aside
from gammascape.execution.packing import cut, group
from gammascape.execution.pool import write_failure
from gammascape.execution.tasks import TRAIN_RULE, TRAIN_RULES, Task, is_training, task_of
from gammascape.journal import read_journal

common_settings = slurm_settings

_PACKS = SCRATCH / "packs"
_GRACE = 20.0
"""Seconds in which cancelled packs may write their checkpoints."""
_MOST_BARREN = 30
"""SLURM jobs that may end one after another without progress of any cell: beyond, it is not a cell's fault."""


@dataclass
class ExecutorSettings(SlurmSettings):  # type: ignore[misc]
    """Options of the command line, --packed-slurm-<name>, beside those of the executor slurm."""

    cells: int = field(default=256, metadata={"help": "Cells in a SLURM job.", "type": int})
    queued: int = field(
        default=100,
        metadata={"help": "SLURM jobs that are queued or run at a time.", "type": int},
    )
    resubmissions: int = field(
        default=5,
        metadata={
            "help": "SLURM jobs in a row that may end without any progress of their cells (a "
            "cell done, or a checkpoint moved on) before the cells fail.",
            "type": int,
        },
    )
    checkpoint_seconds: int = field(
        default=60, metadata={"help": "Seconds between checkpoints.", "type": int}
    )


class Pack:
    """Training jobs that are one SLURM job; what the executor slurm asks of a job is that of the first of them."""

    def __init__(self, jobs: dict[Task, Any], fruitless: int = 0, step: int = 0) -> None:
        self.jobs = jobs
        self.fruitless = fruitless
        """SLURM jobs in a row that ended without progress."""
        self.step = step
        """Furthest step of a checkpoint so far."""
        self.first = next(iter(jobs.values()))
        self.name = f"{TRAIN_RULE}_pack"
        self.identity = uuid.uuid4().hex[:12]
        self.wildcards = (self.identity,)
        self.file = _PACKS / f"{self.identity}.json"
        self.journal = _PACKS / f"{self.identity}.journal"
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
        self.file.parent.mkdir(parents=True, exist_ok=True)
        request = {
            "tasks": [task.as_json() for task in self.jobs],
            "checkpoint_seconds": checkpoint_seconds,
        }
        self.file.write_text(json.dumps(request) + "\n")

    def remove(self) -> None:
        """Remove the pack's files: all its cells have ended, or are in another pack."""
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
        super().__init__(workflow, logger)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._local = LocalExecutor(self.workflow, self.logger)
        self._local.pool.shutdown()
        self._local.pool = ThreadPoolExecutor(max_workers=self._local_cores())
        # The number of packs, not Snakemake's --jobs, limits what is submitted: all ready cells come at once.
        for rule in self.workflow.rules:
            if rule.name in TRAIN_RULES:
                rule.resources["_nodes"] = 0

    def _local_cores(self) -> int:
        return max(1, int(self.workflow.resource_settings.local_cores or 1))

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
        if not BOARD.active:
            BOARD.start([])
        BOARD.expect([task.record["steps"] for task in cells])
        for members in group(list(cells)):
            for part in cut(members, self.workflow.executor_settings.cells):
                begun = {task: cells[task] for task in part if self._begin(task, cells[task])}
                if begun:
                    self._submit(Pack(begun))

    def _begin(self, task: Task, job: Any) -> bool:
        """Tell Snakemake that a cell is begun; False if there is nothing to train."""
        kept = set_aside(task) if self.dag.reason(job).incomplete_output else None
        self.run_job_pre(job)
        self.workflow.async_run(job.prepare())
        # That of the remote executors would ask SLURM about each cell.
        RealExecutor.report_job_submission(self, SubmittedJobInfo(job))
        if kept is None:
            return True
        BOARD.ended(put_back(kept, task), task.record["steps"])
        super().report_job_success(SubmittedJobInfo(job))
        return False

    def _submit(self, pack: Pack) -> None:
        with self.lock:
            if self._in_slurm >= self.workflow.executor_settings.queued:
                self._waiting.append(pack)
                return
            self._in_slurm += 1
        pack.write(self.workflow.executor_settings.checkpoint_seconds)
        self._job_submission_executor.submit(self.run_job, pack)

    def format_job_exec(self, job: Any) -> str:
        """The command of a SLURM job: a worker for a pack."""
        if not isinstance(job, Pack):
            return str(super().format_job_exec(job))
        words = [sys.executable, "-m", "gammascape.training.worker"]
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
        events = read_journal(pack.journal)
        fresh, pack.read = events[pack.read :], len(events)
        by_output = {task.output: task for task in pack.jobs}
        progress = False
        for event in fresh:
            BOARD.tell(f"slurm {info.external_jobid}", event)
            if event["event"] == "checkpoint":
                progress |= event["step"] > pack.step
                pack.step = max(pack.step, event["step"])
            elif event["event"] == "cell":
                progress = True
                self._end(pack, by_output[event["output"]], info, event["status"], None)
            elif event["event"] == "failed":
                progress = True
                self._end(pack, by_output[event["output"]], info, "failed", event["error"])
        if progress:
            pack.fruitless = 0
            self._barren = 0
        return progress

    def _end(
        self, pack: Pack, task: Task, info: SubmittedJobInfo, status: str, error: str | None
    ) -> None:
        ended = SubmittedJobInfo(pack.jobs.pop(task), external_jobid=info.external_jobid)
        BOARD.ended(status, task.record["steps"])
        if error is None:
            super().report_job_success(ended)
        else:
            super().report_job_error(ended, msg=f"{error} ")

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
        left = dict(pack.jobs)
        pack.remove()
        if not left:
            return
        words = error or "the SLURM job ended before its cells"
        fruitless = pack.fruitless + 1
        self._barren += 1
        submitted = info.external_jobid is not None
        # Where other packs train, a cell ends this one, and halves find it however many that takes.
        searching = len(left) > 1 and self._barren < _MOST_BARREN
        tired = fruitless > self.workflow.executor_settings.resubmissions
        if not submitted or (tired and not searching):
            for task in left:
                write_failure(task, words)
                self._end(pack, task, info, "failed", words)
            return
        self.logger.warning(f"{words} Its {len(left)} unfinished cells are submitted again.")
        # Without progress one of the cells may be at fault.
        size = len(left) if fruitless == 1 else -(-len(left) // 2)
        for part in cut(list(left), size):
            self._submit(Pack({task: left[task] for task in part}, fruitless, pack.step))

    def _told_to_end(self) -> bool:
        return getattr(self.workflow.scheduler, "_user_kill", None) is not None

    async def sleep(self) -> None:
        """Wait until the next look at the packs; what Snakemake is told is heard at once."""
        until = time.monotonic() + float(self.next_seconds_between_status_checks or 0)
        while time.monotonic() < until and (self._stopped or not self._told_to_end()):
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
            for job in pack.jobs.values():
                self.workflow.scheduler.error_callback(job)
        self._waiting.clear()

    def shutdown(self) -> None:
        """All jobs have ended."""
        super().shutdown()
        self._local.shutdown()
        if BOARD.active:
            self.logger.info(BOARD.report())


def _at_work(pack: Pack) -> bool:
    """Whether a worker has begun with the pack and has not ended."""
    events = [event["event"] for event in read_journal(pack.journal)]
    return bool(events) and events[-1] not in ("interrupted", "end")
