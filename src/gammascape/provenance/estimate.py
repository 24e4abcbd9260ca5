"""Estimate of training time from the recorded times of similar cells, or from steps that are timed now."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gammascape.manifests import Manifest
from gammascape.provenance.changes import AXES
from gammascape.study import Cell
from gammascape.study.operations import operations


@dataclass(frozen=True)
class Estimate:
    """Device time of cells, and the number of cells for each basis of the estimate."""

    seconds: float
    alike: int
    """Cells estimated by the mean time of cells that differ only in gamma, eta and seeds."""
    scaled: int
    """Cells estimated in proportion to their operations, from other cells of the same kind of model."""
    unknown: int
    """Cells unlike any recorded one; their time is not in `seconds`."""
    timed: int
    """Cells for which some steps, their own or of cells alike, were timed for the estimate."""
    devices: tuple[str, ...]
    """Devices on which the times were recorded."""
    problems: tuple[str, ...] = ()
    """Reasons for which steps of unknown cells could not be timed."""


Clock = Callable[[Sequence[Cell]], float | str]
"""Function of cells that differ only in gamma, eta and seeds: the seconds of one, or why they are unknown."""


def estimate(
    cells: Iterable[Cell], recorded: Iterable[Manifest], clock: Clock | None = None
) -> Estimate:
    """Estimate the device time of cells; `clock` times steps where nothing is recorded.

    The mean is over all similar cells, including cells that diverged after a few steps.
    """
    alike: dict[str, list[float]] = defaultdict(list)
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    devices: set[str] = set()
    for manifest in recorded:
        seconds = float(manifest.cost["seconds"])
        alike[_key(manifest.record)].append(seconds)
        # A record of another version of the numerics is no cell, and says nothing about this version's speed.
        with suppress(Exception):
            cell = Cell.from_canonical(json.dumps(manifest.record))
            if flop := _flop(cell):
                rates[cell.model.kind, cell.dtype].append(seconds / flop)
        devices.add((manifest.device or {}).get("device_model", "unknown device"))
    total = 0.0
    counts = dict.fromkeys(("alike", "scaled", "timed", "unknown"), 0)
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[_key(cell.record())].append(cell)
    problems: dict[str, None] = {}
    for key, members in groups.items():
        first, ground = members[0], "alike"
        same, flop = alike.get(key), _flop(first)
        rate = rates.get((first.model.kind, first.dtype))
        if same:
            seconds = sum(same) / len(same)
        elif rate and flop:
            seconds, ground = flop * sum(rate) / len(rate), "scaled"
        else:
            found = "no timing is available" if clock is None else clock(members)
            ground = "unknown" if isinstance(found, str) else "timed"
            seconds = 0.0
            if isinstance(found, str):
                problems[found] = None
            else:
                seconds = found
                rates[first.model.kind, first.dtype] += [found / flop] if flop else []
        total += len(members) * seconds
        counts[ground] += len(members)
    return Estimate(total, **counts, devices=tuple(sorted(devices)), problems=tuple(problems))


def _key(record: Mapping[str, Any]) -> str:
    return json.dumps(
        {k: v for k, v in record.items() if k not in AXES},
        sort_keys=True,
    )


def _flop(cell: Cell) -> float | None:
    counted = operations(cell.model, cell.dataset.input_shape, cell.dataset.outputs)
    return None if counted is None else float(counted.training * cell.steps * cell.batch_size)
