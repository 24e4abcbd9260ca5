"""Worker processes, one for each device, and the backlog of cells that feeds them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gammascape.execution.packing import cut, group
from gammascape.execution.tasks import Task
from gammascape.training.pack import graph_places

_GRACE = 20.0
"""Seconds that a worker has to write its checkpoints when it is asked to stop."""
_STARTS = 2
"""Attempts to start a worker that dies before it has trained anything."""
_CRASHES_BEFORE_SPLIT = 1
"""A worker may be killed from outside: a pack is tried once more as it is before its cells are suspected."""


class Listener(Protocol):
    """What the pool tells; called from the threads of the workers."""

    def done(self, task: Task, status: str, seconds: float) -> None:
        """The artifact of a cell is in place."""

    def failed(self, task: Task, error: str) -> None:
        """A cell could not be trained; its log says why."""

    def stopped(self, tasks: Sequence[Task]) -> None:
        """These cells will not be trained now; where they had begun, they have checkpoints."""

    def told(self, device: str, event: Mapping[str, Any]) -> None:
        """An event of a worker, for the display."""


@dataclass(frozen=True)
class Device:
    """Where a worker runs."""

    name: str
    kind: str
    """"cpu" or "cuda"."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Pack:
    tasks: list[Task]
    crashes: int = 0


class Backlog:
    """Cells that wait, in groups that can share a pack, and packs to be tried again."""

    def __init__(self, workers: int, lanes: int | None = None, *, on_gpus: bool = False) -> None:
        """A backlog for a number of workers; `lanes` is the size of packs, found out from a worker if None."""
        self._workers = workers
        self._places = graph_places if on_gpus else None
        self._fixed = lanes
        self._changed = threading.Condition()
        self._groups: dict[str, list[Task]] = {}
        self._packs: list[_Pack] = []
        self._lanes: dict[str, int] = {}
        self._closed = False

    def add(self, tasks: Sequence[Task]) -> None:
        """More cells are ready."""
        with self._changed:
            waiting = [task for members in self._groups.values() for task in members]
            self._groups = {part[0].shared: part for part in group([*waiting, *tasks])}
            self._changed.notify_all()

    def again(self, tasks: list[Task], crashes: int) -> None:
        """Try this pack again, before all others."""
        with self._changed:
            self._packs.insert(0, _Pack(tasks, crashes))
            self._changed.notify_all()

    def take(self, ask: Callable[[Task], int]) -> _Pack | None:
        """The next pack, waiting for one; None when the backlog is closed.

        Args:
            ask: finds the number of lanes for packs of cells like this one.
        """
        while True:
            with self._changed:
                while not (self._closed or self._packs or self._groups):
                    self._changed.wait()
                if self._closed:
                    return None
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
            # Outside of the lock: the worker may have to load data first.
            lanes = ask(members[0])
            with self._changed:
                self._lanes[key] = min(lanes, self._lanes.get(key, lanes))

    def limit(self, task: Task, lanes: int) -> None:
        """A pack of cells like this one was too large for the device's memory."""
        with self._changed:
            self._lanes[task.shared] = min(lanes, self._lanes.get(task.shared, lanes))

    def close(self) -> list[Task]:
        """Hand out nothing more; returns the cells that were waiting."""
        with self._changed:
            self._closed = True
            left = [task for members in self._groups.values() for task in members]
            left += [task for pack in self._packs for task in pack.tasks]
            self._groups, self._packs = {}, []
            self._changed.notify_all()
            return left


class Pool:
    """Workers that train what is added, until it is closed."""

    def __init__(
        self,
        devices: Sequence[Device],
        listener: Listener,
        scratch: Path,
        checkpoint_seconds: float,
        lanes: int | None = None,
    ) -> None:
        on_gpus = any(device.kind == "cuda" for device in devices)
        self.backlog = Backlog(len(devices), lanes, on_gpus=on_gpus)
        self._listener = listener
        self._scratch = scratch
        self._interval = checkpoint_seconds
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._guard = threading.Lock()
        self._stopping = False
        self._living = len(devices)
        self._threads = [
            threading.Thread(target=self._feed, args=(device,), daemon=True, name=device.name)
            for device in devices
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask all workers to write checkpoints and end; returns when they have."""
        self._stopping = True
        left = self.backlog.close()
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._signal(signal.SIGKILL)
        for thread in self._threads:
            thread.join(_GRACE)
        self._listener.stopped(left)

    def close(self) -> None:
        """All is done: let the workers end."""
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
        """The life of one worker's thread: start the process, hand it packs, start another when it has died."""
        failures = 0
        while not self._stopping and failures < _STARTS:
            worker = self._start(device)
            pack: _Pack | None = None
            left: list[Task] = []
            try:
                while (pack := self.backlog.take(worker.ask_lanes)) is not None:
                    left = list(pack.tasks)
                    self._train(worker, device, pack, left)
                    failures = 0
            except _WorkerEnded as ended:
                words = ended.words
            else:
                worker.finish()
                return
            if self._stopping:
                self._listener.stopped(left)
            elif pack is not None:
                self._after_crash(device, words, pack, left)
            else:
                failures += 1
        with self._guard:
            self._living -= 1
            last = not self._living
        if last and not self._stopping:
            for task in self.backlog.close():
                write_failure(task, words)
                self._listener.failed(task, f"no worker could be started: {words}")

    def _start(self, device: Device) -> "_Process":
        log = self._scratch / "workers" / f"{device.name}.log"
        worker = _Process(device, log, self._interval)
        with self._guard:
            self._processes[device.name] = worker.process
            if self._stopping:
                worker.process.terminate()
        return worker

    def _train(self, worker: "_Process", device: Device, pack: _Pack, left: list[Task]) -> None:
        """Send a pack and pass its events on; takes the cells that have ended out of `left`."""
        by_output = {task.output: task for task in pack.tasks}
        worker.send({"do": "train", "tasks": [task.as_json() for task in pack.tasks]})
        while True:
            event = worker.receive()
            kind = event["event"]
            if kind == "end":
                break
            if kind == "lanes":
                self.backlog.limit(pack.tasks[0], event["lanes"])
            elif kind in ("cell", "failed"):
                task = by_output[event["output"]]
                left.remove(task)
                if kind == "cell":
                    self._listener.done(task, event["status"], event["seconds"])
                else:
                    self._listener.failed(task, event["error"])
            self._listener.told(device.name, event)

    def _after_crash(self, device: Device, words: str, pack: _Pack, left: list[Task]) -> None:
        """Find out which cell is at fault, without losing the others: in halves, each from its checkpoints."""
        crashes = pack.crashes + 1
        self._listener.told(device.name, {"event": "warning", "text": words})
        if crashes <= _CRASHES_BEFORE_SPLIT:
            self.backlog.again(left, crashes)
        elif len(left) > 1:
            half = -(-len(left) // 2)
            self.backlog.again(left[half:], crashes)
            self.backlog.again(left[:half], crashes)
        elif left:
            write_failure(left[0], words)
            self._listener.failed(left[0], words)


def write_failure(task: Task, words: str) -> None:
    """The log of a cell whose worker could not write it."""
    path = Path(task.log)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"cell {task.parsed.identity}\nrecord {json.dumps(task.record)}\n{words}\n")


class _WorkerEnded(Exception):
    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class _Process:
    """A worker process and the pipes to it."""

    def __init__(self, device: Device, log: Path, checkpoint_seconds: float) -> None:
        self.device = device
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gammascape.training.worker", "--serve"),
                    *("--device", device.kind, "--checkpoint-seconds", str(checkpoint_seconds)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **device.environment},
                # Ctrl-C reaches all processes of a terminal: Snakemake alone decides when the workers stop.
                start_new_session=True,
            )
        self._ready = False

    def send(self, request: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            if not self._ready:
                while self._receive()["event"] != "ready":
                    pass
                self._ready = True
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> dict[str, Any]:
        return self._receive()

    def ask_lanes(self, task: Task) -> int:
        self.send({"do": "lanes", "tasks": [task.as_json()]})
        while (event := self._receive())["event"] != "lanes":
            pass
        return int(event["lanes"])

    def finish(self) -> None:
        """Close the pipes: the worker ends when it has no more requests."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise self._ended()
        event: dict[str, Any] = json.loads(line)
        return event

    def _ended(self) -> _WorkerEnded:
        self.finish()
        status = self.process.returncode
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return _WorkerEnded(f"the worker process {how} (its log: {self.log})")
