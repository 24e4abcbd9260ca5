"""Estimate of training time from the recorded times of similar cells."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gammascape.manifests import Manifest
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
    devices: tuple[str, ...]
    """Devices on which the times were recorded."""


def estimate(cells: Iterable[Cell], recorded: Iterable[Manifest]) -> Estimate:
    """Estimate the device time of cells.

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
    total, counts = 0.0, {"alike": 0, "scaled": 0, "unknown": 0}
    for cell in cells:
        same = alike.get(_key(cell.record()))
        rate = rates.get((cell.model.kind, cell.dtype))
        flop = _flop(cell)
        if same:
            total, ground = total + sum(same) / len(same), "alike"
        elif rate and flop:
            total, ground = total + flop * sum(rate) / len(rate), "scaled"
        else:
            ground = "unknown"
        counts[ground] += 1
    return Estimate(total, **counts, devices=tuple(sorted(devices)))


def _key(record: Mapping[str, Any]) -> str:
    return json.dumps(
        {k: v for k, v in record.items() if k not in ("gamma", "eta", "seed", "data_seed")},
        sort_keys=True,
    )


def _flop(cell: Cell) -> float | None:
    counted = operations(cell.model, cell.dataset.input_shape, cell.dataset.outputs)
    return None if counted is None else float(counted.training * cell.steps * cell.batch_size)
