"""Train packs on one device: import torch, load data and compile kernels once for many packs."""

import gc
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

# Importing torch makes objects that live as long as the process: looking for garbage among them, again and
# again, takes a tenth of the start. A process that has torch already may have its compiler, whose objects are
# reported as leaks if they are frozen.
_FIRST = "torch" not in sys.modules
if _FIRST:
    gc.disable()

from gammascape.data.dataset import Dataset  # noqa: E402
from gammascape.data.load import load_dataset  # noqa: E402
from gammascape.data.prepared import DataError  # noqa: E402
from gammascape.manifests import source_of, utc_now  # noqa: E402
from gammascape.manifests.whole import status_of_whole  # noqa: E402
from gammascape.models import Model, build_model  # noqa: E402
from gammascape.models.convolution import unfolded_shapes  # noqa: E402
from gammascape.training.artifact import Origin, make_arrays, make_summary, remove_cell, write_cell  # noqa: E402
from gammascape.training.backend import is_out_of_memory, one_line  # noqa: E402
from gammascape.training.capacity import CapacityError, Limits, check_memory, suitable_lanes  # noqa: E402
from gammascape.training.checkpoint import Checkpoints, scratch_of  # noqa: E402
from gammascape.training.device import (  # noqa: E402
    alone_on,
    empty_cache,
    float64_slowdown,
    set_up_backend,
)
from gammascape.training.engine import Run, State, Training  # noqa: E402
from gammascape.training.pack import graph_places, make_pack, sizes  # noqa: E402
from gammascape.usercode.run import UserCodeError, provide  # noqa: E402

if _FIRST:
    gc.freeze()
    gc.enable()

LOG = logging.getLogger("gammascape.worker")

Event = dict[str, Any]
Emit = Callable[[Event], None]
Attempts = Sequence[Mapping[str, Any]]

_PATIENCE = 20.0
"""Seconds to wait for a worker that still holds a cell before continuing with other packs."""
_POLL = 0.2
_PROGRESS = 0.5
_SLOW_FLOAT64 = 4.0
"""Slowdown of float64 beyond which the difference form, 1.2 to 2.5 times as slow as float32, is faster."""
_CHECKPOINT_SHARE = 0.05
"""Largest share of time to spend on checkpoints."""


class _Cells(NamedTuple):
    """Objects that the cells of a pack share."""

    dataset: Dataset
    model: Model
    emit: Emit

    @property
    def constants(self) -> dict[str, str]:
        """Digests of inputs to training that a cell's identity does not fix."""
        found = {"model": self.model.constants, "data": self.dataset.digest}
        return {name: digest for name, digest in found.items() if digest is not None}


class Interrupted(Exception):
    """Raised after the worker was asked to stop and has written checkpoints."""


@dataclass(frozen=True)
class Task:
    """One cell to train."""

    identity: str
    record: Mapping[str, Any]
    data: Path | None
    output: Path
    log: Path | None
    sources: tuple[Path, ...] = ()
    """Source files of the user's own model and data."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Task":
        """Task described by a request."""
        data, log = (Path(content[key]) if content[key] else None for key in ("data", "log"))
        identity, record, output = content["identity"], content["record"], Path(content["output"])
        return cls(identity, record, data, output, log, tuple(map(Path, content["sources"])))


class Worker:
    """Worker that trains packs on one device, one after another."""

    def __init__(
        self, device: str, checkpoint_seconds: float, executor: str = "single", keeps: bool = False
    ) -> None:
        """Set up the device; with `keeps`, complete cells are not trained again."""
        self.device, self.backend = set_up_backend(device)
        self._executor = executor
        self._keeps = keeps
        self.stopping = False
        self._interval = checkpoint_seconds
        self._datasets: dict[str, Dataset] = {}
        self._source = cache(source_of)
        self._stores: dict[Path, tuple[Checkpoints, Limits]] = {}
        self._knows_float64 = False

    def stop(self) -> None:
        """Write checkpoints at the end of the block and raise `Interrupted`; safe in a signal handler."""
        self.stopping = True

    def lanes(self, tasks: Sequence[Task], emit: Emit) -> int:
        """Number of lanes for packs of these cells, which share all but gamma, eta and seed, on this device.

        Raises:
            CapacityError: if the device or the host has no room for one network.
            DataError: if the data cannot be read.
            UserCodeError: if a user's own code fails.
            Interrupted: if `stopping` was set while the device was waited for.
        """
        shared = self._prepare(tasks[0], emit)
        emit({"event": "prepared"})
        limit = self._store(tasks[0])[1].get(tasks[0].record)
        with alone_on(self.device, lambda: not self.stopping) as alone:
            if not alone:
                raise Interrupted
            records = [task.record for task in tasks]
            suitable = suitable_lanes(records, shared.dataset, shared.model, self.device)
        return suitable if limit is None else min(limit, suitable)

    def run(self, tasks: Sequence[Task], emit: Emit) -> None:
        """Train cells that share a pack; emit an event for each cell as it ends, done or failed.

        If another process is training a cell, wait for it; the cell is done if that process completes it. If this
        takes long, an event `locked` hands the cell back.

        Raises:
            Interrupted: if `stopping` was set meanwhile.
        """
        try:
            shared = self._prepare(tasks[0], emit)
        except Exception as error:
            # Something that all cells of the pack share is at fault, so no cell can be trained.
            for task in tasks:
                self._fail(task, error, emit)
            return
        emit({"event": "prepared"})
        left = list(tasks)
        until = time.monotonic() + _PATIENCE
        keeps = self._keeps
        while left:
            claimed = self._claim(left, keeps, emit)
            keeps = True
            try:
                with alone_on(self.device, lambda: not self.stopping) as alone:
                    if not alone:
                        raise Interrupted
                    # The limit may be lower than when the pack was cut.
                    limit = self._store(tasks[0])[1].get(tasks[0].record)
                    self._train(claimed, shared, most=limit)
            finally:
                for task in claimed:
                    self._store(task)[0].unlock(task.identity)
            if left and self.stopping:
                raise Interrupted
            if left and not claimed:
                if time.monotonic() >= until:
                    break
                time.sleep(_POLL)
        for task in left:
            words = f"another process trains cell {task.identity}"
            emit({"event": "locked", "output": str(task.output), "error": words})

    def _claim(self, tasks: list[Task], keeps: bool, emit: Emit) -> list[Task]:
        """Lock the cells that no other process trains and take them out of `tasks`; return the cells to train."""
        claimed = []
        for task in list(tasks):
            try:
                store = self._store(task)[0]
                if not store.lock(task.identity):
                    continue
            except OSError as error:
                tasks.remove(task)
                self._fail(task, error, emit)
                continue
            tasks.remove(task)
            status = status_of_whole(task.output, task.record) if keeps else None
            if status is None:
                claimed.append(task)
                with suppress(OSError):
                    for partial in task.output.glob(".*"):
                        partial.unlink()
                continue
            # Another process has trained it meanwhile, or was killed before it could report that.
            store.discard(task.identity)
            store.unlock(task.identity)
            emit(_ended(task, status, 0.0))
        if claimed:
            self._store(claimed[0])[0].clear({task.identity for task in claimed})
        return claimed

    def _prepare(self, task: Task, emit: Emit) -> _Cells:
        provide(task.sources)
        data_key = json.dumps([task.record["dataset"], str(task.data)], sort_keys=True)
        if data_key not in self._datasets:
            # Keep one dataset at a time: the next group of packs reads another.
            dataset = load_dataset(task.record["dataset"], task.data, self.device)
            self._datasets = {data_key: dataset}
        dataset = self._datasets[data_key]
        shape, outputs = dataset.input_shape, dataset.outputs
        model = build_model(task.record["model"], shape, outputs, dataset.probe_inputs)
        check_memory(task.record, dataset, model, self.device)
        return _Cells(dataset, model, emit)

    def _store(self, task: Task) -> tuple[Checkpoints, Limits]:
        scratch = scratch_of(task.output)
        if scratch not in self._stores:
            checkpoints = Checkpoints(scratch, self.backend.as_record())
            self._stores[scratch] = checkpoints, Limits(scratch, self.backend.device_model)
        return self._stores[scratch]

    def _train(
        self,
        tasks: Sequence[Task],
        shared: _Cells,
        most: int | None = None,
        after: str | None = None,
    ) -> None:
        """Train tasks from their checkpoints, in packs of at most `most` lanes.

        `after` is the error that caused a retry.
        """
        standing: dict[int, list[tuple[Task, State | None]]] = {}
        for task in tasks:
            state = self._store(task)[0].load(task.identity, shared.constants)
            standing.setdefault(state.step if state else 0, []).append((task, state))
        for step in sorted(standing, reverse=True):
            members = standing[step]
            places = graph_places if self.device.type == "cuda" else None
            for size in sizes(len(members), most or len(members), places=places):
                self._train_pack(members[:size], shared, after)
                members = members[size:]

    def _train_pack(
        self, members: Sequence[tuple[Task, State | None]], shared: _Cells, after: str | None
    ) -> None:
        left = [task for task, _ in members]
        half = 0
        try:
            self._train_together(members, left, shared, after)
        except (Interrupted, BrokenPipeError):
            raise
        except Exception as error:
            # The data or the model is at fault, for every cell of the pack.
            of_all = isinstance(error, DataError | UserCodeError)
            if not left and not of_all:
                raise
            if of_all or len(left) == 1:
                for task in left:
                    self._fail(task, error, shared.emit)
                return
            half = -(-len(left) // 2)
            if is_out_of_memory(error):
                with suppress(OSError):
                    self._store(left[0])[1].lower(left[0].record, half)
                shared.emit({"event": "lanes", "lanes": half})
            after = one_line(error)
            LOG.warning("a pack of %d failed, trying it in halves: %s", len(left), after)
        if half:
            # Outside the handler, nothing refers to the tensors of the failed pack any more.
            if self.device.type == "cuda":
                empty_cache()
            self._train(left, shared, most=half, after=after)

    def _train_together(
        self,
        members: Sequence[tuple[Task, State | None]],
        left: list[Task],
        shared: _Cells,
        after: str | None,
    ) -> None:
        """Train one pack in lockstep; remove each cell that has ended from `left`."""
        tasks = [task for task, _ in members]
        states = [state for _, state in members if state is not None]
        started, emit = utc_now(), shared.emit
        self._warn_of_float64(tasks[0], emit)
        pack = make_pack([task.record for task in tasks])
        training = Training(pack, shared.dataset, shared.model, self.device, states or None)
        first_step, steps = training.step, int(tasks[0].record["steps"])
        reasons = [f"retried after {after}"] if after else []
        reasons += [f"resumed from step {first_step}"] if first_step else []
        reason = ", ".join(reasons) or "fresh"
        attempt = {"started": started, "from_step": first_step, "reason": reason}
        # Read them before the first checkpoint of this attempt replaces them.
        attempts = [
            [*(self._store(task)[0].attempts(task.identity) if first_step else ()), attempt]
            for task in tasks
        ]
        emit({"event": "pack", "lanes": len(tasks), "steps": steps})
        begun = saved = told = time.monotonic()
        saving, work = 0.0, 0
        while training.alive:
            before, lanes = training.step, len(training.alive)
            ended = training.advance()
            work += lanes * (training.step - before)
            now = time.monotonic()
            if ended or now - told >= _PROGRESS:
                found = {"step": training.step, "steps": steps, "lanes": len(training.alive)}
                emit({"event": "progress", **found, "cell_steps": work})
                told, work = now, 0
            for lane, run in ended:
                task = tasks[lane]
                left.remove(task)
                try:
                    status = self._finish(task, run, shared, attempts[lane], training)
                except OSError as error:
                    # A full disk: training again would fail likewise. The checkpoint stays for the next run.
                    remove_cell(task.output)
                    self._fail(task, error, emit)
                else:
                    emit(_ended(task, status, run.seconds))
            due = now - saved >= max(self._interval, saving / _CHECKPOINT_SHARE)
            if training.alive and training.step and (due or self.stopping):
                begun_saving = time.monotonic()
                self._save(training, tasks, attempts, shared)
                saved = time.monotonic()
                saving = saved - begun_saving
            if self.stopping and training.alive:
                raise Interrupted
        emit({"event": "idle", "seconds": time.monotonic() - begun})

    def _save(
        self,
        training: Training,
        tasks: Sequence[Task],
        attempts: Sequence[Attempts],
        shared: _Cells,
    ) -> None:
        try:
            for lane, state in training.states():
                checkpoints, identity = self._store(tasks[lane])[0], tasks[lane].identity
                checkpoints.save(identity, state, attempts[lane], shared.constants)
        except OSError as error:
            # A full disk does not stop training: it may have space again before the end.
            self._warn(f"no checkpoint could be written: {error}", shared.emit)
        else:
            lanes = len(training.alive)
            shared.emit({"event": "checkpoint", "step": training.step, "lanes": lanes})

    def _finish(
        self, task: Task, run: Run, shared: _Cells, attempts: Attempts, training: Training
    ) -> str:
        """Write the artifact and return the cell's status."""
        summary = make_summary(task.record, run, shared.dataset, shared.model)
        origin = Origin(
            inputs=tuple(
                self._source(path) for path in (task.data, *task.sources) if path is not None
            ),
            backend=self.backend,
            executor=self._executor,
            attempts=attempts,
            seconds=run.seconds,
            lanes=training.size,
            captures=training.captures,
            fallback=training.fallback,
            unfolded=unfolded_shapes(shared.model),
        )
        write_cell(task.output, summary, make_arrays(run), origin)
        lines = [f"pack of {training.size}, {attempts[-1]['reason']}"]
        for evaluation in run.evaluations:
            share = "" if evaluation.accuracy is None else f", accuracy {evaluation.accuracy:.4f}"
            lines.append(f"step {evaluation.step}: test loss {evaluation.loss:.6g}{share}")
        lines.append(f"{summary['status']} after {run.steps_done} steps in {run.seconds:.2f} s")
        self._write_log(task, lines)
        self._store(task)[0].discard(task.identity)
        return str(summary["status"])

    def _warn_of_float64(self, task: Task, emit: Emit) -> None:
        """Warn once how slow float64 is on a GPU, before cells are trained in it."""
        if self.device.type != "cuda" or task.record["dtype"] != "float64" or self._knows_float64:
            return
        self._knows_float64 = True
        if (slowdown := float64_slowdown(self.device)) > _SLOW_FLOAT64:
            text = (
                f"float64 is {slowdown:.0f} times slower than float32 on this GPU; with "
                "`small_gamma: {form: difference}` a study trains its cells of small gamma in float32 instead, "
                "equally accurately (they are different cells)"
            )
            self._warn(text, emit)

    @staticmethod
    def _warn(text: str, emit: Emit) -> None:
        LOG.warning("%s", text)
        emit({"event": "warning", "text": text})

    def _fail(self, task: Task, error: BaseException, emit: Emit) -> None:
        with suppress(OSError):
            # Snakemake makes the folder before the job begins, and leaves it.
            task.output.rmdir()
        if isinstance(error, CapacityError | DataError | OSError | UserCodeError):
            lines = [str(error) or one_line(error)]
        else:
            lines = traceback.format_exception(error)
        self._write_log(task, lines)
        emit({"event": "failed", "output": str(task.output), "error": one_line(error)})

    def _write_log(self, task: Task, lines: Iterable[str]) -> None:
        head = [
            f"cell {task.identity}",
            f"record {json.dumps(dict(task.record))}",
            f"backend {json.dumps(self.backend.as_record())}",
        ]
        text = "".join(line.rstrip("\n") + "\n" for line in (*head, *lines))
        if task.log is None:
            sys.stderr.write(text)
            return
        try:
            task.log.parent.mkdir(parents=True, exist_ok=True)
            task.log.write_text(text)
        except OSError as error:
            LOG.warning("log of cell %s could not be written: %s", task.identity, error)


def _ended(task: Task, status: str, seconds: float) -> Event:
    return {"event": "cell", "output": str(task.output), "status": status, "seconds": seconds}
