"""Train one cell and write its artifact: `python -m gammascape.train`, the command of the rule `train`."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gammascape.command import as_command, fix_hashes, leave

if TYPE_CHECKING:
    from gammascape.study import Cell


@as_command
def main(arguments: list[str] | None = None) -> int:
    """Train the cell given as canonical JSON and return the exit status. Divergence is a result, not a failure."""
    parser = argparse.ArgumentParser(prog="gammascape.train", description=__doc__)
    parser.add_argument("--cell", required=True, help="the cell's canonical JSON")
    parser.add_argument(
        "--data",
        nargs="*",
        default=[],
        help="files that the cell reads: the manifest of prepared data, source files of factories",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the artifact")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, help="time between checkpoints"
    )
    chosen = parser.parse_args(arguments)
    from gammascape.execution.tasks import split_inputs
    from gammascape.study import Cell

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    cell = Cell.from_canonical(chosen.cell)
    data, sources = split_inputs(chosen.data)
    return train_cell(
        cell,
        Path(data) if data else None,
        chosen.output,
        chosen.device,
        chosen.checkpoint_seconds,
        tuple(map(Path, sources)),
    )


def train_cell(
    cell: "Cell",
    data: Path | None,
    output: Path,
    device: str = "auto",
    checkpoint_seconds: float = 60.0,
    sources: tuple[Path, ...] = (),
) -> int:
    """Train one cell in this process and write its artifact into `output`.

    On SIGTERM or Ctrl-C it writes a checkpoint, from which the next call for this cell resumes; a second Ctrl-C
    ends the process at once. If another process is training the cell, it waits.
    """
    from gammascape.training.serve import INTERRUPTED
    from gammascape.training.worker import Interrupted, Task, Worker

    worker = Worker(device, checkpoint_seconds)

    def stop(number: int, _: object) -> None:
        if worker.stopping and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        worker.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    told: set[str] = {"locked"}
    task = Task(cell.identity, cell.record(), data, output, None, sources)
    try:
        while "locked" in told:
            told.clear()
            worker.run([task], lambda event: told.add(event["event"]))
    except Interrupted:
        logging.getLogger("gammascape.train").info("stopped; a checkpoint is in place")
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 1 if "failed" in told else 0


if __name__ == "__main__":
    # Until the signal handlers are installed, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fix_hashes()
    leave(main())
