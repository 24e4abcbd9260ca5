"""Time of a cell, from a few of its steps on this machine."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gammascape.data.dataset import Dataset
from gammascape.models import build_model
from gammascape.runs.history import measurement_steps
from gammascape.training.backend import COMPILE_FROM_STEPS
from gammascape.training.capacity import check_memory, suitable_lanes
from gammascape.training.device import set_up_backend
from gammascape.training.engine import Training
from gammascape.training.pack import make_pack

_SECONDS = 0.5
"""Time after which no further block is begun."""
_WARM = 2
"""Blocks, a measurement and a step, that a process spends in part on what it does once."""


def seconds_of_cell(records: Sequence[Mapping[str, Any]], dataset: Dataset) -> float:
    """Device time of one of these cells, which share all but gamma, eta and seeds, trained to its last step.

    Some blocks of a pack are timed, and steps and measurements told apart by least squares. Nothing is compiled:
    long runs, of which the steps are, take less.

    Raises:
        CapacityError: if a network does not fit into memory.
        UserCodeError: if a user's own network cannot be built or trained.
    """
    device, _ = set_up_backend()
    first, steps = records[0], int(records[0]["steps"])
    shape, outputs = dataset.input_shape, dataset.outputs
    model = build_model(first["model"], shape, outputs, dataset.probe_inputs)
    check_memory(first, dataset, model, device)
    lanes = suitable_lanes(records, dataset, model, device)
    short = {"steps": min(steps, COMPILE_FROM_STEPS - 1)}
    training = Training(
        make_pack([{**r, **short} for r in records[:lanes]]), dataset, model, device
    )
    measured = set(measurement_steps(short["steps"]))
    rows: list[tuple[int, bool]] = []
    spent: list[float] = []
    while training.alive and (len(rows) <= _WARM or sum(spent) < _SECONDS):
        step, alive, begun = training.step, len(training.alive), time.perf_counter()
        training.advance()
        rows.append((training.step - step, training.step in measured))
        spent.append((time.perf_counter() - begun) / alive)
    training.release()
    counts = np.array(rows, float)
    whole = np.array([steps, len(set(measurement_steps(steps)))])
    if len(rows) <= _WARM + 1:
        return float(sum(spent) / counts.sum(0).max() * whole.max())
    rates, *_ = np.linalg.lstsq(counts[_WARM:], np.array(spent[_WARM:]), rcond=None)
    return float(whole @ rates.clip(0))
