"""Samples from prepared data: MNIST, MNIST-1M, CIFAR-10, CIFAR-5M, Tiny ImageNet, and a user's own files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gammascape.data import stream
from gammascape.data.augment import augment
from gammascape.data.dataset import Batches, Dataset, one_hot
from gammascape.data.prepared import DataError, Prepared, Shard, read_prepared
from gammascape.data.shift import shifted

RESIDENT_SHARE = 0.5
"""Share of a GPU's free memory that the training images may fill; larger sets are read from disk."""


@dataclass(frozen=True)
class Law:
    """Mean and standard deviation of each channel, of pixels in 0..1, for standardizing images."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


# MNIST and CIFAR-5M: numbers from the code of Atanasov et al. (arXiv 2410.04642), the latter on the scale 0..255.
# CIFAR-10 and Tiny ImageNet: measured on their training images.
LAWS: dict[str, Law] = {
    "mnist": Law((0.1307,), (0.3081,)),
    "mnist1m": Law((0.1307,), (0.3081,)),
    "cifar10": Law((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar5m": Law((121.4 / 255, 119.3 / 255, 109.83 / 255), (63.1 / 255, 62.1 / 255, 66.6 / 255)),
    "tinyimagenet": Law((0.4802, 0.4481, 0.3975), (0.2764, 0.2689, 0.2816)),
}
TEST_SAMPLES = 5000
"""Number of test images used, the first of the test set, as in the code of Atanasov et al."""


def load(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Read prepared images; `options` are the options of the study's dataset.

    Images are kept on the device if they fit, and mapped from the disk if not.

    Raises:
        DataError: if `source`, the manifest of the prepared data, is missing, or the data are damaged.
    """
    kind = options["kind"]
    prepared = read_prepared(source, kind)
    _check_generator(prepared, options, source)
    own = prepared.own
    if own is None:
        standardize = standardization(LAWS[kind], device)
    elif own["content"] != options["content"]:
        raise DataError(
            f"{source}: made of other files than the cell's; delete its folder and run again"
        )
    elif own["dtypes"][0] == "uint8":
        law = Law(*(tuple(value / 255 for value in own[name]) for name in ("mean", "std")))
        standardize = standardization(law, device)
    else:
        standardize = _unchanged  # Preparation has standardized them.
    samples = _Samples(prepared, device, options)
    classes, shape = prepared.classes, prepared.image_shape
    noise, strength = options.get("label_noise", 0.0), options.get("augment", "none")

    def fetch(data_seed: int, first: int, count: int) -> tuple[Tensor, ...]:
        return samples.take(data_seed, torch.arange(first, first + count, dtype=torch.int64))

    again = stream.repeats(options)
    size = None if again else samples.size
    pin = device.type == "cuda"
    pieces = None if samples.images is not None else stream.Prefetched(fetch, size, pin=pin)

    def batches(data_seed: int, first_step: int, count: int, batch_size: int) -> Batches:
        first, number = first_step * batch_size, count * batch_size
        if not again and first + number > samples.size:
            raise DataError(stream.describe_end(kind, samples.size, batch_size))
        pixels, labels, ids = (pieces or fetch)(data_seed, first, number)
        pixels, labels, ids = (v.to(device, non_blocking=True) for v in (pixels, labels, ids))
        if strength != "none":
            places = torch.arange(first, first + number, dtype=torch.int64, device=device)
            pixels = augment(pixels, places, data_seed, strength) * 255.0
        labels = stream.noisy_labels(labels, ids, noise, classes, data_seed)
        x, y = standardize(pixels), one_hot(labels, classes) if classes else labels
        return x.view(count, batch_size, *shape), y.view(count, batch_size, -1)

    tests = [(shard.images[:TEST_SAMPLES], shard.labels) for shard in prepared.test]
    test_pixels, test_labels = (
        torch.from_numpy(np.concatenate(part)[:TEST_SAMPLES]) for part in zip(*tests, strict=True)
    )
    held_out = None
    if options.get("validation"):
        pixels, labels, _ = samples.rows(samples.held_out)
        held_out = (
            standardize(pixels.to(device)),
            (one_hot(labels, classes) if classes else labels).to(device),
        )
    test_inputs, test_labels = standardize(test_pixels.to(device)), _whole(test_labels)
    shift = options.get("test_shift")
    black = standardize(torch.zeros(1, *shape, device=device))
    return Dataset(
        name=kind,
        input_shape=shape,
        outputs=classes or test_labels.shape[1],
        classification=classes > 0,
        samples_per_pass=samples.size,
        digest=prepared.digest,
        test_inputs=test_inputs,
        test_targets=(one_hot(test_labels, classes) if classes else test_labels).to(device),
        batches=batches,
        shifted_inputs=None if shift is None else shifted(test_inputs, shift, black),
        validation=held_out,
    )


def _check_generator(prepared: Prepared, options: dict[str, Any], source: Path | None) -> None:
    """Refuse data made differently from the cell's record, which would falsify the cell's identity."""
    wanted, found = options.get("generator"), prepared.generator
    # Options added since the data were made default to what was done then.
    if (wanted is None) != (found is None) or any(
        (wanted or {}).get(name) != value for name, value in (found or {}).items()
    ):
        raise DataError(
            f"{source}: holds digits from {found or 'files'}, and the cell is about digits from "
            f"{wanted or 'files'}; delete the folder and make it again with snakemake"
        )


def standardization(law: Law, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Pixels 0..255 (n, C, H, W) -> standardized float32."""
    if len(law.mean) == 1:
        mean, std = law.mean[0], law.std[0]
        return lambda pixels: (pixels.to(torch.float32) / 255.0 - mean) / std
    means, stds = (
        torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
        for values in (law.mean, law.std)
    )
    return lambda pixels: (pixels.to(torch.float32) / 255.0 - means) / stds


class _Samples:
    """Training samples of prepared data, by their place in a pass."""

    def __init__(self, prepared: Prepared, device: torch.device, options: dict[str, Any]) -> None:
        shards = prepared.train
        self._sizes = [shard.samples for shard in shards]
        total = sum(self._sizes)
        self._whole = total * prepared.image_bytes <= stream.SHUFFLED_WHOLE_BYTES
        self._labels = torch.from_numpy(np.concatenate([shard.labels for shard in shards]))
        # Samples that remain in each class, then the number of samples in one pass.
        ratio = options.get("imbalance", 1.0)
        self._remaining = (
            None if ratio == 1 else stream.imbalanced(self._labels, ratio, prepared.classes)
        )
        available = total if self._remaining is None else len(self._remaining)
        wanted = options.get("training_samples")
        self.size = available if wanted is None else min(wanted, available)
        self.held_out = torch.empty(0, dtype=torch.int64)
        """Numbers of the samples for validation, (n,)."""
        if share := options.get("validation"):
            kept = torch.arange(total) if self._remaining is None else self._remaining
            self._remaining, self.held_out = stream.hold_out(kept, self._labels, self.size, share)
            self.size -= len(self.held_out)
        self._device = device
        self._orders: dict[int, Tensor] = {}
        self.images: Tensor | None = None
        """All images, if they fit on the device."""
        self._shards = shards
        if _fits(total * prepared.image_bytes, device):
            self.images = _on_device(shards, device)
            self._labels = self._labels.to(device)

    def take(self, data_seed: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels uint8 (n, C, H, W), labels int64 (n,) and sample numbers (n,) at consecutive places (n,)."""
        within = stream.epoch_places(places, self.size, data_seed)
        return self.rows(self._order(data_seed)[within])

    def rows(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels, labels and numbers, as `take` returns them, of the samples with these numbers, int64 (n,)."""
        if self.images is not None:
            chosen = ids.to(self._device)
            return self.images[chosen], _whole(self._labels[chosen]), chosen
        return self._gather(ids), _whole(self._labels[ids]), ids

    def _order(self, data_seed: int) -> Tensor:
        if data_seed not in self._orders:
            order = stream.pass_order(self._sizes, self._whole, data_seed)
            if self._remaining is not None:
                # The order depends on the seed, the choice of remaining samples does not.
                stays = torch.zeros(len(order), dtype=torch.bool)
                stays[self._remaining] = True
                order = order[stays[order]]
            # Keep only one order: the next pack of a group has the same seed.
            self._orders = {data_seed: order}
        return self._orders[data_seed]

    def _gather(self, ids: Tensor) -> Tensor:
        numbers = ids.numpy()
        starts = np.cumsum([0, *self._sizes])
        shard_of = np.searchsorted(starts, numbers, side="right") - 1
        images = self._shards[0].images
        pixels = np.empty((len(numbers), *images.shape[1:]), images.dtype)
        for number in np.unique(shard_of):
            mine = np.flatnonzero(shard_of == number)
            rows = numbers[mine] - starts[number]
            # Read rows in the order of the file, which is fast on a disk.
            ascending = np.argsort(rows)
            pixels[mine[ascending]] = self._shards[number].images[rows[ascending]]
        return torch.from_numpy(pixels)


def _fits(size: int, device: torch.device) -> bool:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return size <= RESIDENT_SHARE * free
    # On the CPU all workers share mapped files, so only small sets are copied.
    return size <= 256 * 2**20


def _on_device(shards: tuple[Shard, ...], device: torch.device) -> Tensor:
    rows = torch.from_numpy(shards[0].images[:0].copy())
    whole = rows.new_empty(sum(shard.samples for shard in shards), *rows.shape[1:], device=device)
    parts = torch.split(whole, [shard.samples for shard in shards])
    for shard, part in zip(shards, parts, strict=True):
        # A copy, since torch does not accept read-only arrays.
        part.copy_(torch.from_numpy(np.array(shard.images)))
    return whole


def _whole(labels: Tensor) -> Tensor:
    """Classes as int64; numbers to predict as they are."""
    return labels if labels.is_floating_point() else labels.to(torch.int64)


def _unchanged(inputs: Tensor) -> Tensor:
    return inputs
