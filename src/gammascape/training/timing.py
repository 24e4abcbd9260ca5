"""Time of a cell, from a few of its steps on this machine."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import build_model
from gammascape.runs.history import measurement_steps
from gammascape.training.backend import COMPILE_FROM_STEPS
from gammascape.training.capacity import check_memory, suitable_lanes
from gammascape.training.engine import Training
from gammascape.training.pack import make_pack

_SECONDS = 0.5
"""Time after which no further block is begun."""
_WARM = 2
"""Blocks, a measurement and a step, that a process spends in part on what it does once."""


class _Block(NamedTuple):
    steps: int
    measured: bool
    seconds: float
    """Seconds of one of its lanes."""


def seconds_of_cell(
    records: Sequence[Mapping[str, Any]], dataset: Dataset, device: torch.device
) -> float:
    """Device time of one of these cells, which share all but gamma, eta and seeds, trained to its last step.

    Some blocks of a pack are timed, and steps and measurements told apart by least squares. The first two, and any
    in which a graph is captured, do not count. Nothing is compiled: long runs, whose steps are, take less.

    Raises:
        CapacityError: if a network does not fit into memory.
        UserCodeError: if a user's own network cannot be built or trained.
    """
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
    first_blocks: list[_Block] = []
    blocks: list[_Block] = []
    left = _SECONDS
    while training.alive and (len(blocks) < 2 or left > 0):
        step, alive, captures = training.step, len(training.alive), training.captures
        begun = time.perf_counter()
        training.advance()
        spent = time.perf_counter() - begun
        block = _Block(training.step - step, training.step in measured, spent / alive)
        if len(first_blocks) < _WARM or training.captures > captures:
            first_blocks.append(block)
        else:
            blocks.append(block)
            left -= spent
    training.release()
    counted = blocks or first_blocks
    counts = np.array([block[:2] for block in counted], float)
    seconds = np.array([block.seconds for block in counted])
    whole = np.array([steps, len(set(measurement_steps(steps)))])
    if len(blocks) < 2:
        return float(seconds.sum() / counts.sum(0).max() * whole.max())
    rates, *_ = np.linalg.lstsq(counts, seconds, rcond=None)
    return float(whole @ rates.clip(0))
