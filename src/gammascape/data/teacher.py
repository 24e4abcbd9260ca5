"""Synthetic teacher with Gaussian inputs: an endless stream with a known distribution.

Regression: y = sum_k c_k h_k(<a, x>) with x ~ N(0, 1_D), |a| = 1 and h_k the normalized probabilists' Hermite
polynomial of degree k, so that the mean of y^2 is sum_k c_k^2. Classification: each class has such a score,
with its own direction; the label is the class with the largest score.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gammascape.data.dataset import Batches, Dataset, one_hot, sample_indices
from gammascape.data.stream import epoch_places, noisy_labels
from gammascape.numerics import validation_size
from gammascape.rng import make_key, normal, normal_tensor

_TEST_SIZE = 1024
_DIRECTIONS, _TRAIN, _TEST, _VALIDATION = range(4)


def hermite_series(coefficients: list[float], u: Tensor) -> Tensor:
    """sum_k coefficients[k] h_k(u), elementwise, by h_{k+1} = (u h_k - sqrt(k) h_{k-1}) / sqrt(k + 1)."""
    previous, current = torch.zeros_like(u), torch.ones_like(u)
    total = coefficients[0] * current
    for k, coefficient in enumerate(coefficients[1:]):
        previous, current = current, (u * current - k**0.5 * previous) / (k + 1) ** 0.5
        total = total + coefficient * current
    return total


def load(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Make the teacher; it needs no files, so `source` is ignored."""
    inputs, classes = options["inputs"], options["classes"]
    repeated, noise = options.get("training_samples"), options.get("label_noise", 0.0)
    share = options.get("validation")
    held = _TEST_SIZE if repeated is None else validation_size(repeated, share)
    repeated = repeated and repeated - validation_size(repeated, share)
    directions = normal_tensor(make_key(options["teacher_seed"], _DIRECTIONS), (classes, inputs))
    directions = (directions / directions.norm(dim=1, keepdim=True)).to(torch.float32).to(device)

    def targets_of(x: Tensor) -> Tensor:
        scores = hermite_series(options["polynomial"], x @ directions.T)
        return scores if classes == 1 else one_hot(scores.argmax(-1), classes)

    def batches(data_seed: int, first_step: int, count: int, batch_size: int) -> Batches:
        index = sample_indices(first_step, count, batch_size)
        if repeated is not None:
            index = epoch_places(index, repeated, data_seed)
        index = index.to(device)
        x = normal(make_key(data_seed, _TRAIN), index, inputs)
        y = targets_of(x)
        if noise > 0:
            y = one_hot(noisy_labels(y.argmax(-1), index, noise, classes, data_seed), classes)
        return x.view(count, batch_size, inputs), y.view(count, batch_size, classes)

    def fresh(purpose: int, count: int) -> Batches:
        index = torch.arange(count, device=device)
        x = normal(make_key(options["teacher_seed"], purpose), index, inputs)
        return x, targets_of(x)

    test_inputs, test_targets = fresh(_TEST, _TEST_SIZE)
    return Dataset(
        name="teacher",
        input_shape=(inputs,),
        outputs=classes,
        classification=classes > 1,
        samples_per_pass=repeated,
        digest="law " + json.dumps(options, sort_keys=True),
        test_inputs=test_inputs,
        test_targets=test_targets,
        batches=batches,
        validation=None if share is None else fresh(_VALIDATION, held),
    )
