"""Snakemake executor `packed`: training jobs in packs on this machine's devices, others as with `local`.

Snakemake hands over all jobs that are ready. Jobs of the rule `train` go to long-lived worker processes, one for
each GPU or core, which train many cells at once; each cell is reported to Snakemake as it ends. Scripts of the
workflow are run by long-lived processes, too, one job after another.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.executors.local import Executor as LocalExecutor
from snakemake.executors.local import common_settings as local_settings
from snakemake.iocontainers import Snakemake
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

from gammascape.execution import option
from gammascape.execution.board import BOARD
from gammascape.execution.devices import find_devices
from gammascape.execution.inputs import remember_checksums
from gammascape.execution.interrupt import interrupt_once, terminate_beside
from gammascape.execution.leftovers import SCRATCH, begin, status_of, sweep
from gammascape.execution.packing import group
from gammascape.execution.pool import Pool
from gammascape.execution.scripts import SCRIPTS, ScriptError, Scripts
from gammascape.execution.tasks import TRAIN_RULES, Task, is_training, task_of

common_settings = local_settings

_CHUNK = 256
"""Jobs prepared at a time before workers get them: the first packs start while Snakemake prepares the rest."""
_WATCH = 0.5
_SNAKEMAKE_ONLY = ("benchmark", "conda_env", "container_img", "env_modules", "shadow_depth")
"""Features of a job that only Snakemake itself supports."""


@dataclass
class ExecutorSettings(ExecutorSettingsBase):  # type: ignore[misc]
    """Command-line options, --packed-<name>."""

    device: str = option(
        "auto", "Devices for training cells: auto (all GPUs, or the CPU), cpu or cuda.", str
    )
    workers: int | None = option(None, "Worker processes on the CPU; one per core if not given.")
    lanes: int | None = option(None, "Cells in a pack; chosen to suit the device if not given.")
    checkpoint_seconds: int = option(60, "Seconds between checkpoints.")


class Executor(LocalExecutor):  # type: ignore[misc]
    """Executor that runs training jobs in packs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._jobs: dict[str, Any] = {}
        self._guard = threading.Lock()
        self._pool: Pool | None = None
        self._scripts = Scripts()
        self._stopped = False
        self._waiting = False
        sweep()
        remember_checksums()
        interrupt_once(lambda: self._pool.kill() if self._pool else None)
        # Workers, not Snakemake's cores, limit concurrent training: without cores to wait for, all ready cells
        # come at once.
        for rule in self.workflow.rules:
            if rule.name in TRAIN_RULES:
                rule.resources["_cores"] = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Run jobs that are ready: cells in packs, all others singly."""
        terminate_beside()
        cells = {}
        for job in jobs:
            if is_training(job):
                cells[task_of(job)] = job
            else:
                self.run_job_pre(job)
                self.run_job(job)
        if not cells:
            return
        pool = self._start_pool(len(cells))
        BOARD.expect([task.record["steps"] for task in cells])
        ordered = [task for part in group(list(cells)) for task in part]
        for first in range(0, len(ordered), _CHUNK):
            chunk = ordered[first : first + _CHUNK]
            pool.add([task for task in chunk if self._begin(task, cells[task])])

    def _begin(self, task: Task, job: Any) -> bool:
        """Tell Snakemake that a cell has begun; return False if there is nothing to train."""
        with self._guard:
            self._jobs[task.output] = job
        self.run_job_pre(job)
        try:
            status = begin(self.workflow, task, job)
            self.report_job_submission(SubmittedJobInfo(job=job))
        except (OSError, WorkflowError) as error:
            self.failed(task, str(error))
            return False
        if status is not None:
            self.done(task, status, 0.0)
        return status is None

    def _start_pool(self, cells: int) -> Pool:
        if self._pool is None:
            settings = self.workflow.executor_settings
            try:
                cores = int(self.workflow.resource_settings.cores or 1)
                devices = find_devices(settings.device, settings.workers or cores)
            except (OSError, ValueError) as error:
                raise WorkflowError(str(error)) from None
            self._pool = Pool(
                devices[:cells], self, SCRATCH, settings.checkpoint_seconds, settings.lanes
            )
            BOARD.start([device.name for device in devices[:cells]])
        return self._pool

    def run_single_job(self, job: Any) -> Future[None]:
        """Run a job that is no cell: a script of the workflow by a process that has run others."""
        script = None if self.workflow.execution_settings.debug else _script_of(job)
        if script is None:
            future: Future[None] = super().run_single_job(job)
            return future
        self.workflow.async_run(job.prepare())
        files = job.input, job.output, job.params, job.wildcards
        limits = job.threads, job.resources
        config = job.rule.run_func.__globals__["config"]
        rest = job.log, config, job.rule.name, None, str(script.parent)
        given = Snakemake(*files, *limits, *rest)
        future = self.pool.submit(self.cached_or_run, job, self._scripts.run, script, given)
        return future

    def _callback(self, job_info: SubmittedJobInfo, future: Future[None]) -> None:
        """Report the end of a job that is no cell."""
        if isinstance(error := future.exception(), ScriptError):
            self._report(job_info.job, None if self._stopped else str(error))
        else:
            super()._callback(job_info, future)

    def _watch(self) -> None:
        """Stop the workers when Snakemake is told to end: it waits for running jobs, which all cells are."""
        try:
            while not self._stopped:
                if getattr(self.workflow.scheduler, "_user_kill", None):
                    self._stop()
                    return
                threading.Event().wait(_WATCH)
        except Exception as error:
            self.broke(error)

    def _take(self, task: Task) -> Any:
        """Remove and return the job of a task; None if its end was already reported to Snakemake."""
        with self._guard:
            return self._jobs.pop(task.output, None)

    def done(self, task: Task, status: str, seconds: float) -> None:
        """Report a cell whose artifact is in place."""
        if (job := self._take(task)) is not None:
            BOARD.ended(task, status)
            self.report_job_success(SubmittedJobInfo(job=job))

    def failed(self, task: Task, error: str) -> None:
        """Report a cell that could not be trained, unless it ended just before its worker did."""
        if (status := status_of(task)) is not None:
            self.done(task, status, 0.0)
            return
        if (job := self._take(task)) is None:
            return
        BOARD.ended(task, "failed")
        self._report(job, error)

    def _report(self, job: Any, error: str | None) -> None:
        """Tell Snakemake that a job has failed, and print why, if anything."""
        try:
            if error is not None:
                self.print_job_error(SubmittedJobInfo(job=job), msg=error)
        finally:
            self.workflow.scheduler.error_callback(job)

    def stopped(self, tasks: Sequence[Task]) -> None:
        """Report cells that are not trained in this run; this is no error, so nothing is printed."""
        for task in tasks:
            # Snakemake removes the files of failed jobs, and another process may have trained the cell meanwhile.
            if (status := status_of(task)) is not None:
                self.done(task, status, 0.0)
            elif (job := self._take(task)) is not None:
                self._report(job, None)

    def show_event(self, device: str, event: Mapping[str, Any]) -> None:
        """Show an event of a worker."""
        if event["event"] == "warning":
            self.logger.warning(f"{device}: {event['text']}")
        if event["event"] == "locked" and not self._waiting:
            self._waiting = True
            self.logger.warning(f"{event['error']}, and perhaps more; waiting for these cells")
        BOARD.record_event(device, event)

    def broke(self, error: BaseException) -> None:
        """End the run after an unexpected error, since nothing would report the remaining cells."""
        words = f"the workers cannot go on: {type(error).__name__}: {error}"
        self.workflow.scheduler.executor_error_callback(WorkflowError(words))

    def _stop(self) -> None:
        self._stopped = True
        self._scripts.stop()
        if self._pool is not None:
            self._pool.stop()

    def shutdown(self) -> None:
        """End the workers after all jobs have ended."""
        self._stopped = True
        if self._pool is not None:
            self._pool.close()
            self.logger.info(BOARD.report())
        super().shutdown()
        self._scripts.stop()

    def cancel(self) -> None:
        """Stop after an interrupt: the workers write checkpoints and end, at once if a person insists."""
        self._stop()
        if BOARD.active:
            self.logger.info(BOARD.report())
        super().cancel()


def _script_of(job: Any) -> Path | None:
    """Script of a job that may run in the process of others; None for any other job."""
    rule = job.rule
    if not job.is_script or any(getattr(rule, name) for name in _SNAKEMAKE_ONLY):
        return None
    path = Path(str(rule.basedir.join(rule.script).get_path_or_uri(secret_free=True))).resolve()
    return path if path.parent in SCRIPTS and path.suffix == ".py" else None
