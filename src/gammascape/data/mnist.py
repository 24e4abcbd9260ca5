"""MNIST (LeCun, Cortes, Burges) as one pass of 60,000 training images."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gammascape.data.dataset import PROBE_SIZE, Dataset, one_hot, sample_indices
from gammascape.data.random import make_key, permutation
from gammascape.data.store import read_arrays

_SIDE = 28
_CLASSES = 10
_MEAN, _STD = 0.1307, 0.3081
_TEST_SIZE = 5000
"""First images of the original test set that are used for testing, as the paper's code does."""


def load(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Read prepared MNIST; the order of the pass is a permutation drawn from the data seed.

    Raises:
        DataError: if `source` is missing or damaged.
    """
    shapes: dict[str, tuple[int | None, ...]] = {
        "train_images": (60000, _SIDE, _SIDE),
        "train_labels": (60000,),
        "test_images": (10000, _SIDE, _SIDE),
        "test_labels": (10000,),
    }
    arrays, digest = read_arrays(source, "mnist", shapes)
    images = torch.from_numpy(arrays["train_images"]).to(device)
    labels = torch.from_numpy(arrays["train_labels"]).to(device)

    def standardize(pixels: Tensor) -> Tensor:
        return (pixels.to(torch.float32) / 255.0 - _MEAN) / _STD

    orders: dict[int, Tensor] = {}

    def batches(
        data_seed: int, first_step: int, count: int, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        if (first_step + count) * batch_size > len(images):
            raise ValueError(f"one pass of MNIST ends after {len(images) // batch_size} steps")
        if data_seed not in orders:
            orders[data_seed] = permutation(make_key(data_seed), len(images)).to(device)
        chosen = orders[data_seed][sample_indices(first_step, count, batch_size, device)]
        shape = (count, batch_size)
        x = standardize(images[chosen]).view(*shape, 1, _SIDE, _SIDE)
        return x, one_hot(labels[chosen].to(torch.int64), _CLASSES).view(*shape, _CLASSES)

    test_inputs = standardize(torch.from_numpy(arrays["test_images"][:_TEST_SIZE]))[:, None]
    test_labels = torch.from_numpy(arrays["test_labels"][:_TEST_SIZE]).to(torch.int64)
    return Dataset(
        name="mnist",
        input_shape=(1, _SIDE, _SIDE),
        outputs=_CLASSES,
        classification=True,
        samples_per_pass=len(images),
        digest=digest,
        test_inputs=test_inputs.to(device),
        test_targets=one_hot(test_labels, _CLASSES).to(device),
        probe_inputs=test_inputs[:PROBE_SIZE].to(device),
        batches=batches,
    )
