"""Turn numbered samples into a training stream: order of a pass, repetition, subsets, wrong labels.

A sample of a stream is a function of its place in the stream and the data seed alone. A stream can thus be entered
at any step, and every cell of a grid sees the same batches.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gammascape.numerics import validation_size
from gammascape.rng import make_key, permutation, uniform

# Purposes of random numbers; augmentations of images have their own.
_EPOCH, _NOISY_LABEL, _VALIDATION = 50, 51, 52

SHUFFLED_WHOLE_BYTES = 2 * 2**30
"""Bytes up to which data are read in one random order. Larger data are read file by file, with the files and the
samples of each in random order, since random access to a disk is slow."""


def pass_order(shard_sizes: Sequence[int], whole: bool, data_seed: int) -> Tensor:
    """Numbers of all samples in the order of the first pass: int64 (n,) on the CPU."""
    if whole:
        return permutation(make_key(data_seed), sum(shard_sizes))
    starts = torch.tensor([0, *shard_sizes]).cumsum(0)[:-1].tolist()
    shards = permutation(make_key(data_seed), len(shard_sizes)).tolist()
    return torch.cat(
        [
            starts[shard] + permutation(make_key(data_seed, shard), shard_sizes[shard])
            for shard in shards
        ]
    )


def epoch_places(places: Tensor, size: int, data_seed: int) -> Tensor:
    """Map places in a stream that repeats `size` samples to places in the first pass, int64 (n,) both.

    Each further pass has its own order.
    """
    found = places.clone()
    epochs = places // size
    for epoch in torch.unique(epochs).tolist():
        if epoch > 0:
            chosen = epochs == epoch
            order = shuffled(make_key(data_seed, _EPOCH, epoch), size).to(places.device)
            found[chosen] = order[places[chosen] % size]
    return found


@lru_cache(maxsize=4)
def shuffled(key: int, size: int) -> Tensor:
    """`permutation`, cached for the next batch of the same pass."""
    return permutation(key, size)


def noisy_labels(
    labels: Tensor, samples: Tensor, share: float, classes: int, data_seed: int
) -> Tensor:
    """Replace a share of the labels (n,) by another class, each other class equally often.

    Whether a label is replaced, and by which class, is a function of the sample's number in `samples` (n,), so a
    repeated sample has the same label.
    """
    if share == 0:
        return labels
    draw = uniform(make_key(data_seed, _NOISY_LABEL), samples, 2)
    others = (draw[:, 1] * (classes - 1)).to(labels.dtype).clamp(max=classes - 2)
    return torch.where(draw[:, 0] < share, (labels + 1 + others) % classes, labels)


def imbalanced(labels: Tensor, ratio: float, classes: int) -> Tensor:
    """Numbers of the samples that remain when class c keeps a share ratio^(c / (C - 1)): int64, ascending.

    The first samples of each class remain, as in long-tailed CIFAR (Cui et al., arXiv 1901.05555).
    """
    if ratio == 1:
        return torch.arange(len(labels))
    kept = []
    for number in range(classes):
        own = (labels == number).nonzero()[:, 0]
        kept.append(own[: max(1, round(len(own) * ratio ** (number / max(1, classes - 1))))])
    return torch.cat(kept).sort().values


def hold_out(
    numbers: Tensor, labels: Tensor, size: int, share: float | None
) -> tuple[Tensor, Tensor]:
    """Split the numbers of samples (n,) into those to train on and those for validation, both ascending.

    Out of `size` samples asked for, the share is held out; each class gives its part. Which samples these are
    depends on no seed. Targets of a regression are no classes.

    Args:
        numbers: int64 (n,), ascending.
        labels: classes (m,) or targets (m, O) of all samples.
        size: number of samples of a pass, those for validation included; at most n.
        share: None holds nothing out.
    """
    order = permutation(make_key(_VALIDATION), len(numbers))
    own = labels[numbers[order]]
    classes = own.new_zeros(len(own)).long() if own.is_floating_point() else own.long()
    counts = classes.bincount()
    by_class = classes.argsort(stable=True)
    rank = torch.empty_like(by_class)
    rank[by_class] = torch.arange(len(own)) - (counts.cumsum(0) - counts)[classes[by_class]]
    # The place of each sample within its class, from 0 to 1: the first places have all classes in proportion.
    place = (rank + 0.5).double() / counts[classes]
    held = torch.zeros(len(numbers), dtype=torch.bool)
    held[order[place.argsort(stable=True)[: validation_size(size, share)]]] = True
    return numbers[~held], numbers[held]


class Prefetched:
    """Pieces of a sequence of samples; a thread fetches the next ones while the current one is used.

    `fetch(data_seed, first, count)` returns the samples at places first .. first + count - 1 as tensors whose
    first dimension is the sample. With `pin`, samples are handed out in pinned memory, which a GPU copies while
    the host goes on.
    """

    def __init__(
        self,
        fetch: Callable[[int, int, int], tuple[Tensor, ...]],
        size: int | None,
        piece: int = 4096,
        ahead: int = 2,
        *,
        pin: bool = False,
    ) -> None:
        self._fetch, self._size, self._piece, self._ahead = fetch, size, piece, ahead
        self._pin = pin
        self._pool = ThreadPoolExecutor(1, "prefetch")
        self._pieces: dict[tuple[int, int], Future[tuple[Tensor, ...]]] = {}

    def __call__(self, data_seed: int, first: int, count: int) -> tuple[Tensor, ...]:
        """Samples at places first .. first + count - 1."""
        begin, end = first // self._piece, (first + count - 1) // self._piece
        wanted = {(data_seed, number) for number in range(begin, end + 1 + self._ahead)}
        for key in [key for key in self._pieces if key not in wanted]:
            self._pieces.pop(key).cancel()
        for key in sorted(wanted - self._pieces.keys()):
            start = key[1] * self._piece
            left = self._piece if self._size is None else min(self._piece, self._size - start)
            if left > 0:
                self._pieces[key] = self._pool.submit(self._fetch, data_seed, start, left)
        parts: list[tuple[Tensor, ...]] = []
        for number in range(begin, end + 1):
            start = number * self._piece
            values = self._pieces[data_seed, number].result()
            inside = slice(max(0, first - start), min(self._piece, first + count - start))
            parts.append(tuple(value[inside] for value in values))
        # Joining pinned pieces would give memory that is not pinned.
        joined = (torch.cat(several) for several in zip(*parts, strict=True))
        return tuple(value.pin_memory() if self._pin else value for value in joined)


def describe_end(name: str, samples: int, batch_size: int) -> str:
    """Message for a study that asks for more than one pass."""
    return (
        f"one pass of {name} has {samples} samples and ends after {samples // batch_size} steps of "
        f"batch size {batch_size}; write fewer steps, or repeat: true for the dataset, which is then "
        "no longer online"
    )


def repeats(options: dict[str, Any]) -> bool:
    """Return whether the stream repeats its samples after one pass."""
    return bool(options.get("repeat")) or options.get("training_samples") is not None
