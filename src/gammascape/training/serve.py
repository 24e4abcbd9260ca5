"""Worker process: receive packs, train them, and report how each cell ends.

`python -m gammascape.training.serve --serve` reads requests from standard input and writes events to standard
output, one JSON object a line; `--pack FILE --journal FILE` trains one pack and appends its events to the journal.
The worker ends within seconds after its parent ends, and on SIGTERM; in both cases it leaves checkpoints.
"""

import argparse
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from gammascape.command import fix_hashes, leave
from gammascape.runs.journal import read_journal
from gammascape.training.backend import one_line
from gammascape.training.pack import graph_places, sizes
from gammascape.training.worker import LOG, Emit, Event, Interrupted, Task, Worker

INTERRUPTED = 143
"""Exit status after SIGTERM, as shells report it."""

_UNKNOWN_LANES = 32
"""Lanes of packs for which no number could be found: packs that do not fit are halved."""

_PARENT_GONE = 5.0
"""Seconds allowed for writing checkpoints after the parent has ended."""


def _serve(arguments: argparse.Namespace) -> int:
    # A user's model must neither print between the events nor read the requests.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    asked = os.fdopen(os.dup(0))
    os.dup2(nothing := os.open(os.devnull, os.O_RDONLY), 0)
    os.close(nothing)

    def emit(event: Event) -> None:
        channel.write(json.dumps(event) + "\n")

    worker = Worker(arguments.device, arguments.checkpoint_seconds, "packed", keeps=True)
    # A signal handler may put into this kind of queue while it is being read.
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def stop(*_: object) -> None:
        worker.stop()
        inbox.put(None)

    signal.signal(signal.SIGTERM, stop)

    def listen(requests: TextIO) -> None:
        for line in requests:
            inbox.put(line)
        # The parent has ended, or has no more requests.
        stop()
        time.sleep(_PARENT_GONE)
        os._exit(1)

    threading.Thread(target=listen, args=(asked,), daemon=True).start()
    try:
        emit({"event": "ready", "backend": worker.backend.as_record()})
        while not worker.stopping and (line := inbox.get()) is not None:
            request = json.loads(line)
            tasks = [Task.from_json(item) for item in request["tasks"]]
            if request["do"] == "lanes":
                emit({"event": "lanes", "lanes": _lanes(worker, tasks, emit)})
            else:
                worker.run(tasks, emit)
                emit({"event": "end"})
    except Interrupted:
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    return INTERRUPTED if worker.stopping else 0


def _lanes(worker: Worker, tasks: Sequence[Task], emit: Emit) -> int:
    try:
        return worker.lanes(tasks, emit)
    except Interrupted:
        raise
    except Exception as error:
        # Training the pack will report the error in the log of each of its cells.
        LOG.warning("lanes: %s", one_line(error))
        return _UNKNOWN_LANES


def _train_one_pack(arguments: argparse.Namespace) -> int:
    request = json.loads(arguments.pack.read_text())
    journal: Path = arguments.journal
    ended = {event["output"] for event in read_journal(journal) if "output" in event}
    tasks = [Task.from_json(item) for item in request["tasks"]]
    tasks = [task for task in tasks if str(task.output) not in ended]
    seconds = request.get("checkpoint_seconds", 60.0)
    worker = Worker(arguments.device, seconds, "packed-slurm", keeps=True)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    locked: set[str] = set()
    file = journal.open("a", buffering=1)

    def emit(event: Event) -> None:
        if event["event"] == "locked":
            locked.add(event["output"])
            return
        # An event that cannot be written stays in the buffer and is retried with the next one. If a cell is
        # missing from the journal at the end, the next pack finds it complete.
        with suppress(OSError):
            file.write(json.dumps(event) + "\n")

    emit({"event": "ready", "backend": worker.backend.as_record()})
    try:
        while tasks:
            lanes = request.get("lanes") or _lanes(worker, tasks, emit)
            on_gpu = worker.device.type == "cuda"
            filling = sizes(len(tasks), lanes, places=graph_places) if on_gpu else []
            left = tasks
            while left:
                if worker.stopping:
                    raise Interrupted
                size = filling.pop(0) if filling else lanes
                worker.run(left[:size], emit)
                left = left[size:]
            tasks = [task for task in tasks if str(task.output) in locked]
            locked.clear()
        emit({"event": "end"})
    except Interrupted:
        emit({"event": "interrupted"})
        return INTERRUPTED
    finally:
        with suppress(OSError):
            file.close()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a worker and return its exit status."""
    parser = argparse.ArgumentParser(prog="gammascape.training.serve", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--serve", action="store_true", help="take packs from standard input")
    mode.add_argument("--pack", type=Path, help="file with one pack")
    parser.add_argument("--journal", type=Path, help="file to append the events of --pack to")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0)
    chosen = parser.parse_args(arguments)
    if chosen.pack and not chosen.journal:
        parser.error("--pack needs --journal")
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    return _serve(chosen) if chosen.serve else _train_one_pack(chosen)


if __name__ == "__main__":
    fix_hashes()
    leave(main())
