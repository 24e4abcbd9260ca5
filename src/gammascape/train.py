"""Train one cell and write its artifact: `python -m gammascape.train`, the command of the rule `train`."""

import argparse
import logging
import signal
import sys
from pathlib import Path

from gammascape.execution.tasks import split_inputs
from gammascape.study import Cell, StudyError
from gammascape.terminal import complain


def main(arguments: list[str] | None = None) -> int:
    """Train the cell given as canonical JSON; returns the exit status. Divergence is a result, not a failure."""
    parser = argparse.ArgumentParser(prog="gammascape.train", description=__doc__)
    parser.add_argument("--cell", required=True, help="the cell's canonical JSON")
    parser.add_argument(
        "--data",
        nargs="*",
        default=[],
        help="what the cell reads: the manifest of prepared data, source files of factories",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the artifact")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, help="time between two checkpoints"
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    try:
        cell = Cell.from_canonical(chosen.cell)
    except StudyError as error:
        complain(error)
        return 2
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
    cell: Cell,
    data: Path | None,
    output: Path,
    device: str = "auto",
    checkpoint_seconds: float = 60.0,
    sources: tuple[Path, ...] = (),
) -> int:
    """Train one cell in this process and write its artifact into `output`.

    On SIGTERM a checkpoint is written, from which the next call for this cell goes on.
    """
    from gammascape.training.trainer import Event, Interrupted, Task, Worker
    from gammascape.training.worker import INTERRUPTED

    worker = Worker(device, checkpoint_seconds)
    before = signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    failed: list[Event] = []
    task = Task(cell.identity, cell.record(), data, output, None, sources)
    try:
        worker.run([task], lambda e: failed.append(e) if e["event"] == "failed" else None)
    except Interrupted:
        logging.getLogger("gammascape.train").info("stopped; a checkpoint is in place")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
