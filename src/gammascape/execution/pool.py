"""Worker processes, one for each device, and their backlog of cells."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gammascape.execution import how_ended
from gammascape.execution.packing import cut, group
from gammascape.execution.tasks import Task
from gammascape.training.pack import graph_places

WORKER = ("-m", "gammascape.training.serve")
_GRACE = 20.0
"""Seconds that a worker has for writing checkpoints when asked to stop."""
_STARTS = 2
"""Attempts to start a worker that dies before it has trained anything."""
_CRASHES_BEFORE_SPLIT = 1
"""Crashes before a pack is split: a worker may be killed from outside, so the pack is first retried unchanged."""


class Listener(Protocol):
    """Receiver of the pool's messages, called from the threads of the workers."""

    def done(self, task: Task, status: str, seconds: float) -> None:
        """Handle a cell whose artifact is in place."""

    def failed(self, task: Task, error: str) -> None:
        """Handle a cell that could not be trained; its log gives the reason."""

    def stopped(self, tasks: Sequence[Task]) -> None:
        """Handle cells that will not be trained now; cells that had begun have checkpoints."""

    def show_event(self, device: str, event: Mapping[str, Any]) -> None:
        """Show an event of a worker."""

    def broke(self, error: BaseException) -> None:
        """End the run after an unexpected error: cells may be lost, and nothing would report them."""


@dataclass(frozen=True)
class Device:
    """Device on which a worker runs."""

    name: str
    kind: str
    """"cpu" or "cuda"."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Pack:
    tasks: list[Task]
    crashes: int = 0


class Backlog:
    """Waiting cells, in groups that can share a pack, and packs to be retried."""

    def __init__(self, workers: int, lanes: int | None = None, *, on_gpus: bool = False) -> None:
        """Make a backlog for a number of workers; `lanes` is the size of packs; if None, a worker is asked."""
        self._workers = workers
        self._places = graph_places if on_gpus else None
        self._fixed = lanes
        self._changed = threading.Condition()
        self._groups: dict[str, list[Task]] = {}
        self._packs: list[_Pack] = []
        self._lanes: dict[str, int] = {}
        self._later: list[Task] = []
        self._asked: Counter[str] = Counter()
        self._crashes: Counter[str] = Counter()
        self._prepared: set[str] = set()
        self._closed = False

    def _accept(self, change: Callable[[], object]) -> bool:
        with self._changed:
            if not self._closed:
                change()
                self._changed.notify_all()
            return not self._closed

    def _regroup(self, tasks: Sequence[Task]) -> None:
        self._groups = {part[0].shared: part for part in group([*self._waiting(), *tasks])}

    def _waiting(self) -> list[Task]:
        return [task for members in self._groups.values() for task in members]

    def add(self, tasks: Sequence[Task]) -> bool:
        """Add cells that are ready; return False if the backlog is closed."""
        return self._accept(lambda: self._regroup(tasks))

    def retry_first(self, tasks: list[Task], crashes: int) -> bool:
        """Retry this pack before all others; return False if the backlog is closed."""
        packs = [_Pack(tasks, crashes)] if tasks else []
        return self._accept(lambda: self._packs.__setitem__(slice(0, 0), packs))

    def retry_last(self, task: Task) -> bool:
        """Retry a cell, which another process is training, when nothing else is left.

        Return False if the backlog is closed.
        """
        return self._accept(lambda: self._later.append(task))

    def prepared(self, task: Task) -> None:
        """Record that the model and the data of cells like this one could be made."""
        with self._changed:
            self._prepared.add(task.shared)

    def give_up(self, task: Task) -> list[Task] | None:
        """Count a crash during the preparation of a task's model and data.

        Remove and return the waiting cells like it, or return None if it may still succeed.
        """
        with self._changed:
            self._crashes[task.shared] += 1
            tried = self._crashes[task.shared] > _CRASHES_BEFORE_SPLIT
            if not tried or task.shared in self._prepared:
                return None
            left = self._groups.pop(task.shared, [])
            alike = [pack for pack in self._packs if pack.tasks[0].shared == task.shared]
            self._packs = [pack for pack in self._packs if pack not in alike]
            return [*left, *(member for pack in alike for member in pack.tasks)]

    def take(self, ask: Callable[[Sequence[Task]], int]) -> _Pack | None:
        """Wait for and return the next pack; None if the backlog is closed. `ask` finds the lanes for a group."""
        while True:
            with self._changed:
                while not (self._closed or self._packs or self._groups or self._later):
                    self._changed.wait()
                if self._closed:
                    return None
                if not (self._packs or self._groups):
                    self._regroup(self._later)
                    self._later = []
                if self._packs:
                    return self._packs.pop(0)
                key, members = next(iter(self._groups.items()))
                lanes = self._fixed or self._lanes.get(key)
                if lanes is not None:
                    del self._groups[key]
                    parts = cut(members, lanes, self._workers, self._places)
                    self._packs = [_Pack(part) for part in parts]
                    self._changed.notify_all()
                    continue
            # Ask outside the lock: the worker may have to load data first.
            try:
                lanes = ask(members)
            except Exception:
                with self._changed:
                    self._asked[key] += 1
                    if self._asked[key] > _CRASHES_BEFORE_SPLIT:
                        # Halving the pack will find the cell at fault.
                        self._lanes.setdefault(key, len(members))
                raise
            with self._changed:
                self._lanes[key] = min(lanes, self._lanes.get(key, lanes))

    def limit(self, task: Task, lanes: int) -> None:
        """Record that a pack of cells like this one was too large for the device's memory."""
        with self._changed:
            self._lanes[task.shared] = min(lanes, self._lanes.get(task.shared, lanes))

    def close(self) -> list[Task]:
        """Hand out nothing more, and return the waiting cells."""
        with self._changed:
            self._closed = True
            packed = [task for pack in self._packs for task in pack.tasks]
            left = [*self._waiting(), *packed, *self._later]
            self._groups, self._packs, self._later = {}, [], []
            self._changed.notify_all()
            return left


class Pool:
    """Workers that train the cells added to the pool until it is closed."""

    def __init__(
        self,
        devices: Sequence[Device],
        listener: Listener,
        scratch: Path,
        checkpoint_seconds: float,
        lanes: int | None = None,
    ) -> None:
        self.backlog = Backlog(len(devices), lanes, on_gpus=any(d.kind == "cuda" for d in devices))
        self._listener = listener
        self._scratch = scratch
        self._interval = checkpoint_seconds
        self._processes: dict[str, subprocess.Popen[str]] = {}
        # The Ctrl-C handler may run while the same thread holds this lock.
        self._guard = threading.RLock()
        self._stopping = False
        self._living = len(devices)
        self._words = ""
        self._threads = [
            threading.Thread(target=self._feed, args=(device,), daemon=True, name=device.name)
            for device in devices
        ]
        for thread in self._threads:
            thread.start()

    def add(self, tasks: Sequence[Task]) -> None:
        """Add cells that are ready."""
        if not self.backlog.add(tasks):
            self._refuse(tasks)

    def stop(self) -> None:
        """Ask all workers to write checkpoints and end, and wait for them."""
        self._stopping = True
        left = self.backlog.close()
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.kill()
        for thread in self._threads:
            thread.join(_GRACE)
        self._listener.stopped(left)

    def kill(self) -> None:
        """End all workers at once, losing all work since their last checkpoints."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """End the workers after all cells are done."""
        self._stopping = True
        self.backlog.close()
        self._signal(signal.SIGTERM)
        for thread in self._threads:
            thread.join(_GRACE)

    def _signal(self, number: int) -> None:
        with self._guard:
            for process in self._processes.values():
                process.send_signal(number)

    def _feed(self, device: Device) -> None:
        """Run one worker process after another in this thread, until nothing is left to train."""
        failures = 0
        try:
            while not self._stopping and failures < _STARTS:
                ended = self._serve(device)
                if ended is None:
                    return
                self._words = ended.words
                failures = 0 if ended.started else failures + 1
        except BaseException as error:
            self._listener.broke(error)
        with self._guard:
            self._living -= 1
            last = not self._living
        if last:
            self._refuse(self.backlog.close())

    def _serve(self, device: Device) -> "_WorkerEnded | None":
        """Start a worker and hand it packs until it ends; None if nothing is left to train."""
        worker: _Process | None = None
        pack: _Pack | None = None
        left: list[Task] = []
        try:
            worker = self._start(device)
            while (pack := self.backlog.take(worker.ask_lanes)) is not None:
                left = list(pack.tasks)
                self._train(worker, device, pack, left)
            worker.finish()
            worker.tidy()
            return None
        except _WorkerEnded as error:
            ended = error
        except Exception as error:
            # These cells must be reported after any error.
            ended = _WorkerEnded(f"{type(error).__name__}: {error}")
            if worker is not None:
                worker.kill()
        if worker is not None:
            ended.started, ended.preparing = worker.ready, worker.preparing
        crashes = 0 if pack is None else pack.crashes
        if self._stopping:
            self._listener.stopped(left)
            if worker is not None:
                worker.tidy()
        elif ended.started:
            self._after_crash(device, ended, crashes + 1, left)
        else:
            self._again(left, crashes)
        return ended

    def _start(self, device: Device) -> "_Process":
        log = self._scratch / "workers" / f"{device.name}.log"
        if device.name not in self._processes:
            # Remove the log of the previous run's workers.
            log.unlink(missing_ok=True)
        worker = _Process(device, log, self._interval, self.backlog.prepared)
        with self._guard:
            self._processes[device.name] = worker.process
            if self._stopping:
                worker.process.terminate()
        return worker

    def _train(self, worker: "_Process", device: Device, pack: _Pack, left: list[Task]) -> None:
        """Send a pack and pass on its events; remove cells that have ended from `left`."""
        by_output = {task.output: task for task in pack.tasks}
        worker.send("train", pack.tasks)
        while (event := worker.receive())["event"] != "end":
            kind = event["event"]
            if kind == "lanes":
                self.backlog.limit(pack.tasks[0], event["lanes"])
            elif kind in ("cell", "failed", "locked"):
                task = by_output[event["output"]]
                if kind == "cell":
                    self._listener.done(task, event["status"], event["seconds"])
                elif kind == "failed":
                    self._listener.failed(task, event["error"])
                elif not self.backlog.retry_last(task):
                    self._refuse([task])
                left.remove(task)
            self._listener.show_event(device.name, event)
        if left:
            raise ValueError(f"the worker did not report {len(left)} cells (its log: {worker.log})")

    def _after_crash(
        self, device: Device, ended: "_WorkerEnded", crashes: int, left: list[Task]
    ) -> None:
        """Find the cell at fault without losing the others: retry halves of the pack from checkpoints."""
        words, preparing = ended.words, ended.preparing
        self._listener.show_event(device.name, {"event": "warning", "text": words})
        half = -(-len(left) // 2)
        if preparing is not None and (alike := self.backlog.give_up(preparing)) is not None:
            # All cells like this one have the same model and data.
            self._fail([*left, *alike], f"while its model and data were made, {words}")
        elif crashes <= _CRASHES_BEFORE_SPLIT:
            self._again(left, crashes)
        elif len(left) > 1:
            self._again(left[half:], crashes)
            self._again(left[:half], crashes)
        else:
            self._fail(left, words)

    def _again(self, tasks: list[Task], crashes: int) -> None:
        if not self.backlog.retry_first(tasks, crashes):
            self._refuse(tasks)

    def _refuse(self, tasks: Sequence[Task]) -> None:
        """End cells that no worker can train."""
        if self._stopping:
            self._listener.stopped(tasks)
        else:
            self._fail(tasks, f"no worker could be started: {self._words}")

    def _fail(self, tasks: Sequence[Task], words: str) -> None:
        for task in tasks:
            write_failure(task, words)
            self._listener.failed(task, words)


def write_failure(task: Task, words: str) -> None:
    """Write the log of a cell whose worker could not write it, if the disk has space."""
    path = Path(task.log)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"cell {task.parsed.identity}\nrecord {json.dumps(task.record)}\n{words}\n")
    with contextlib.suppress(OSError):
        Path(task.output).rmdir()


@dataclass(eq=False)
class _WorkerEnded(Exception):
    """Error raised when a worker has ended or cannot be used any more."""

    words: str
    started: bool = False
    preparing: Task | None = None


class _Process:
    """A worker process and the pipes to it."""

    def __init__(
        self, device: Device, log: Path, seconds: float, prepared: Callable[[Task], None]
    ) -> None:
        self.log = log
        self.ready = False
        self.preparing: Task | None = None
        """Task whose model and data the worker is preparing."""
        self._prepared = prepared
        options = ["--device", device.kind, "--checkpoint-seconds", str(seconds)]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *WORKER, "--serve", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **device.environment},
                # Ctrl-C would reach all processes of a terminal, but only Snakemake may stop the workers.
                start_new_session=True,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._events = self.process.stdin, self.process.stdout

    def send(self, what: str, tasks: Sequence[Task]) -> None:
        """Send a request, once the worker is ready."""
        while not self.ready:
            self.ready = self.receive()["event"] == "ready"
        self.preparing = tasks[0]
        request = {"do": what, "tasks": [task.as_json() for task in tasks]}
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> dict[str, Any]:
        """Wait for and return the next event."""
        line = self._events.readline()
        if not line.endswith("\n"):
            raise self._ended()
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "prepared" and self.preparing is not None:
            self._prepared(self.preparing)
            self.preparing = None
        return event

    def ask_lanes(self, tasks: Sequence[Task]) -> int:
        """Number of lanes that packs of these cells should have."""
        # Memory depends on the number of seeds; gamma and eta change nothing.
        self.send("lanes", list({task.record["seed"]: task for task in tasks}.values()))
        while (event := self.receive())["event"] != "lanes":
            pass
        return int(event["lanes"])

    def finish(self) -> None:
        """Close the pipes and wait: the worker ends when it has no more requests."""
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._events.close()

    def tidy(self) -> None:
        """Remove the worker's log if it is empty."""
        with contextlib.suppress(OSError):
            if not self.log.stat().st_size:
                self.log.unlink()

    def kill(self) -> None:
        """End the worker at once."""
        self.process.kill()
        self.finish()

    def _ended(self) -> _WorkerEnded:
        self.finish()
        how = how_ended(self.process.returncode)
        return _WorkerEnded(f"the worker process {how} (its log: {self.log})")
