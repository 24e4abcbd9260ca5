"""Number of lanes that a pack should have on a device, lowered after it ran out of memory."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from gammascape.data.dataset import Dataset
from gammascape.layout import whole
from gammascape.manifests.paths import read_object
from gammascape.models import Model
from gammascape.needs import needs, needs_text, size_text
from gammascape.training.backend import is_out_of_memory
from gammascape.training.device import empty_cache
from gammascape.training.engine import Training
from gammascape.training.pack import SHARED_KEYS, graph_places, make_pack

_MEMORY_SHARE = 0.7
"""Share of the free memory of a GPU that a pack may fill; the rest is for fragmentation and measurements."""
_SATURATION = 16_000_000
"""Product of batch size, width and lanes beyond which a large GPU gains nothing from more lanes."""
_MOST_LANES = 4096
_CACHE_BYTES = 12_000_000
_CPU_LANES = (8, 32)
"""Fewest and most lanes of a pack of MLPs on the CPU."""
_ONE_AT_A_TIME_LANES = 8
_TRIALS = ((8, 32), (2, 8))
"""Lanes of the two packs that are measured, and of two smaller ones if memory runs out; no place is empty."""


class CapacityError(Exception):
    """One network does not fit into this machine."""


def check_memory(
    record: Mapping[str, Any], dataset: Dataset, model: Model, device: torch.device
) -> None:
    """Compare the least memory for one network with the machine's memory, before anything is allocated.

    Raises:
        CapacityError: if the network does not fit.
    """
    parts = _needs(record, dataset, model)
    on_host, on_gpu = sum(parts.values()), 0
    if device.type == "cuda":
        on_host, on_gpu = parts["losses"], on_host - parts["losses"]
    places = [("this machine", on_host, _host_memory())]
    if on_gpu:
        places.append(("its GPU", on_gpu, torch.cuda.mem_get_info(device)[1]))
    for place, needed, memory in places:
        if needed > memory:
            raise CapacityError(
                f"one network of this cell needs {needs_text(parts)}, and {place} has {size_text(memory)}; "
                "train it on a larger one, or make the study smaller"
            )


def _needs(record: Mapping[str, Any], dataset: Dataset, model: Model) -> Mapping[str, int]:
    weights = sum(math.prod(parameter.shape) for parameter in model.parameters)
    sample = math.prod(dataset.input_shape) + dataset.outputs
    item = 8 if record["dtype"] == "float64" else 4
    return needs(weights, 0, sample, record["batch_size"], record["steps"], item)


def _host_memory() -> int:
    """Bytes of memory of this machine, or of the process's control group (container, job) if that has less."""
    whole_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole_memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return whole_memory


def suitable_lanes(
    records: Sequence[Mapping[str, Any]], dataset: Dataset, model: Model, device: torch.device
) -> int:
    """Number of lanes with which a pack of these cells fills the device and fits into its memory.

    On a CPU it is `cpu_lanes`, limited by memory. On a GPU it follows from the memory that two small packs use
    in a block of steps, counting the places that a pack leaves empty. Their lanes have as many seeds as the cells
    do, since a pack also holds the initial network of each seed.
    """
    record = records[0]
    if not model.batched:
        return 1
    if device.type == "cpu":
        fitting = int(_MEMORY_SHARE * _host_memory() / sum(_needs(record, dataset, model).values()))
        return max(1, min(cpu_lanes(model, record["batch_size"]), fitting))
    of_seeds = list({record["seed"]: record for record in records}.values())

    @cache
    def peak(lanes: int) -> tuple[int, int] | None:
        pack = make_pack([of_seeds[lane % len(of_seeds)] for lane in range(lanes)])
        empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
        try:
            training = Training(pack, dataset, model, device)
            for _ in range(2):
                if training.alive:
                    training.advance()
            training.release()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None
        # A graph keeps all the memory that it was captured with; reserved memory comes in pieces of 2 to 20 MB.
        reserved = torch.cuda.max_memory_reserved(device) - before[0]
        return reserved, torch.cuda.max_memory_allocated(device) - before[1]

    def free() -> int:
        empty_cache()
        return torch.cuda.mem_get_info(device)[0]

    # The first pack also fills workspaces and compares forms of convolutions: it tells nothing of the others.
    peak(_TRIALS[0][0])
    peak.cache_clear()
    enough = min(_MOST_LANES, -(-_SATURATION // (record["batch_size"] * model.base_width)))

    def bytes_of(which: int) -> Callable[[int], int | None]:
        return lambda lanes: None if (found := peak(lanes)) is None else found[which]

    return min(fitting_lanes(bytes_of(which), free, int(enough)) for which in (0, 1))


def cpu_lanes(model: Model, batch_size: int) -> int:
    """Number of lanes of a pack on the CPU.

    Many lanes share overhead, batches and the evaluation of f~(w_0); few lanes fit in the cache. For an MLP, the
    weights of all lanes and one layer's outputs on a batch together take about a core's share of the L3 cache,
    where the measured rates are flat. Other models compute one lane at a time.
    """
    if model.descend is None:
        return _ONE_AT_A_TIME_LANES
    weights = sum(math.prod(parameter.shape) for parameter in model.parameters)
    least, most = _CPU_LANES
    return max(least, min(most, _CACHE_BYTES // (4 * (weights + batch_size * model.base_width))))


def fitting_lanes(peak: Callable[[int], int | None], free: Callable[[], int], enough: int) -> int:
    """Largest number of lanes, up to the size of a pack that holds `enough`, whose places fit into free memory.

    Args:
        peak: number of lanes -> peak bytes of a pack with so many; None if memory runs out.
        free: function that returns the bytes free on the GPU, called after all trials.
        enough: number of lanes beyond which nothing is gained.
    """
    measured = cache(peak)
    for trial in _TRIALS:
        small = measured(trial[0])
        large = None if small is None else measured(trial[1])
        if small is not None and large is not None:
            per_place = max((large - small) / (trial[1] - trial[0]), 1.0)
            left = _MEMORY_SHARE * free() - (small - trial[0] * per_place)
            places = min(graph_places(enough), int(left / per_place))
            return next((n for n in range(places, 2, -1) if graph_places(n) == n), 2)
        # Sizes of packs below 32 lanes are four apart.
        enough = min(enough, trial[1] - 4)
    return 1 if small is None else 2


class Limits:
    """Limits on lanes learned from packs that did not fit, stored in the scratch folder for later runs."""

    def __init__(self, scratch: Path, device_model: str) -> None:
        self._path = scratch / "lanes.json"
        self._device_model = device_model

    def get(self, record: Mapping[str, Any]) -> int | None:
        """Limit on the lanes of a pack of cells like this one; None if no pack has been too large."""
        found = self._read().get(self._key(record))
        return found if type(found) is int and found > 0 else None

    def lower(self, record: Mapping[str, Any], lanes: int) -> None:
        """Store that a pack may have at most `lanes` lanes."""
        content = {**self._read(), self._key(record): max(1, lanes)}
        with whole(self._path) as partial:
            partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    def _key(self, record: Mapping[str, Any]) -> str:
        apart = ("steps", "data_seed")
        shared = {k: record[k] for k in SHARED_KEYS if k in record and k not in apart}
        text = json.dumps([self._device_model, shared], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _read(self) -> dict[str, Any]:
        try:
            return read_object(self._path)
        except (OSError, ValueError):
            return {}
