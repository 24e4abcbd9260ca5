"""Train one cell and write its artifact: `python -m gammascape.train`, the command of the rule `train`."""

import argparse
import gc
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from gammascape.study import Cell, StudyError

LOG = logging.getLogger("gammascape.train")


def main(arguments: list[str] | None = None) -> int:
    """Train the cell given as canonical JSON; returns the exit status. Divergence is a result, not a failure."""
    parser = argparse.ArgumentParser(prog="gammascape.train", description=__doc__)
    parser.add_argument("--cell", required=True, help="the cell's canonical JSON")
    parser.add_argument(
        "--data", type=Path, nargs="?", help="prepared data, for datasets that need a file"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the artifact")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    chosen = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    try:
        cell = Cell.from_canonical(chosen.cell)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    return train_cell(cell, chosen.data, chosen.output, chosen.device)


def train_cell(cell: Cell, data: Path | None, output: Path, device_name: str = "auto") -> int:
    """Train one cell in this process and write its artifact into `output`."""
    # Importing torch makes objects that live as long as the process: looking for garbage among them, again and
    # again, takes a tenth of the start of every cell.
    gc.disable()
    from gammascape.data import DataError, load_dataset
    from gammascape.models import build_model
    from gammascape.training.artifact import make_arrays, make_summary, write_cell
    from gammascape.training.device import set_up_backend
    from gammascape.training.engine import train
    from gammascape.training.pack import make_pack

    gc.freeze()
    gc.enable()
    started = datetime.now(UTC)
    record = cell.record()
    LOG.info("cell %s", cell.path)
    LOG.info("record %s", json.dumps(record))
    device, backend = set_up_backend(device_name)
    LOG.info("backend %s", json.dumps(backend.as_record()))
    try:
        dataset = load_dataset(record["dataset"], data, device)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    model = build_model(record["model"], dataset.input_shape, dataset.outputs)
    [(_, run)] = train(make_pack([record]), dataset, model, device)
    for evaluation in run.evaluations:
        share = "" if evaluation.accuracy is None else f", accuracy {evaluation.accuracy:.4f}"
        LOG.info("step %d: test loss %.6g%s", evaluation.step, evaluation.loss, share)
    summary = make_summary(record, run, dataset, model)
    times = {
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 4),
    }
    write_cell(output, summary, make_arrays(run), backend, times)
    LOG.info("%s after %d steps in %.2f s", summary["status"], run.steps_done, run.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
