"""Packs: lanes trained together, which share model, data, batch size, loss, steps and dtype."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHARED_KEYS = (
    "model",
    "dataset",
    "loss",
    "batch_size",
    "steps",
    "data_seed",
    "dtype",
    "observables",
    "numerics",
)
"""Parameters of a cell that all lanes of a pack share; gamma, eta and seed differ.

A record without observables lacks that key."""


@dataclass(frozen=True)
class Lane:
    """One network of a pack: its record, and the parameters that differ between lanes."""

    record: Mapping[str, Any]
    gamma: float
    eta: float
    seed: int


@dataclass(frozen=True)
class Pack:
    """K networks trained in lockstep on the same batches."""

    shared: Mapping[str, Any]
    lanes: tuple[Lane, ...]


def graph_places(lanes: int) -> int:
    """Number of places that a GPU computes for a pack of this many lanes: the next in a list of sizes.

    cuBLAS and cuDNN choose algorithms by shape, and a CUDA graph has a fixed shape, so there are few sizes:
    2, 4, 8, 12, ..., 32, 36, ..., 64, 72, ..., 128, 144, ... From 32 lanes on, at most an eighth of the places is
    empty.
    """
    if lanes <= 4:
        return 2 if lanes <= 2 else 4
    size = max(4, (1 << (lanes - 1).bit_length()) // 16)
    return -(-lanes // size) * size


def places_after(lanes: int, places: int) -> int:
    """Places for a pack that had `places` and has lost lanes; fewer only if that saves at least a quarter.

    Each number of places needs another graph to be captured.
    """
    fewer = graph_places(lanes)
    return fewer if 4 * fewer <= 3 * places else places


def sizes(
    cells: int, lanes: int, workers: int = 1, places: Callable[[int], int] | None = None
) -> list[int]:
    """Sizes of packs of at most `lanes` cells, nearly equal, one for each worker if the cells suffice.

    Args:
        places: function from lanes to the number of places that a device computes; packs then have sizes without
            empty places, unless that needs more packs or leaves a worker without one.

    Raises:
        ValueError: if `lanes` is not positive.
    """
    if lanes < 1:
        raise ValueError("a pack holds at least one lane")
    if not cells:
        return []
    packs = max(math.ceil(cells / lanes), min(workers, cells))
    if places is None:
        ends = [round(cells * k / packs) for k in range(packs + 1)]
        return [b - a for a, b in itertools.pairwise(ends)]
    found: list[int] = []
    for others in reversed(range(packs)):
        left = cells - sum(found)
        share = math.ceil(left / (others + 1))
        filled = min(left - others, places(share))
        found.append(filled if filled <= lanes else share)
    return found


def make_pack(records: Sequence[Mapping[str, Any]]) -> Pack:
    """Make a pack of cells' records.

    Raises:
        ValueError: if the records differ in a parameter that the lanes of a pack share.
    """
    shared = {key: records[0].get(key) for key in SHARED_KEYS}
    for record in records:
        for key in SHARED_KEYS:
            if record.get(key) != shared[key]:
                raise ValueError(
                    f"lanes of a pack must share {key}: {record.get(key)} and {shared[key]}"
                )
    return Pack(
        shared=shared,
        lanes=tuple(
            # The exact decimal log10 value becomes a float only here.
            Lane(r, 10.0 ** float(r["gamma"]), 10.0 ** float(r["eta"]), int(r["seed"]))
            for r in records
        ),
    )
