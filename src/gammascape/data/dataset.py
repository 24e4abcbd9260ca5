"""Dataset for training: a stream that is a pure function of its coordinates, and test and probe sets."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Batches = tuple[Tensor, Tensor]
"""Inputs (n, B, ...) and targets (n, B, O) of n steps."""

PROBE_SIZE = 128
"""Number of inputs in the probe set, on which functions and representations of networks are compared."""


@dataclass(frozen=True)
class Dataset:
    """One dataset on one device. All tensors are float32; classification targets are one-hot, or shares in mixup.

    `batches(data_seed, first_step, count, batch_size)` gives inputs (count, B, *input_shape) and targets
    (count, B, outputs) of steps first_step .. first_step + count - 1. It depends on nothing else: every
    cell with the same data seed and batch size sees the same batches, however they are grouped into calls.
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int
    classification: bool
    samples_per_pass: int | None
    """Training samples in one pass; None for an endless stream, whose samples are all new."""
    digest: str
    """sha256 of the stored samples, or a description of their distribution."""
    test_inputs: Tensor
    test_targets: Tensor
    batches: Callable[[int, int, int, int], Batches]
    shifted_inputs: Tensor | None = None
    """Test inputs under a change of distribution, evaluated in addition to the clean ones."""
    validation: Batches | None = None
    """Inputs (n, ...) and targets (n, O) held out of the training samples, on which eta and gamma are chosen."""

    @property
    def probe_inputs(self) -> Tensor:
        """Inputs of the probe set, the first part of the test set."""
        return self.test_inputs[:PROBE_SIZE]

    @property
    def probe_targets(self) -> Tensor:
        """Targets of the probe set."""
        return self.test_targets[:PROBE_SIZE]


def sample_indices(first_step: int, count: int, batch_size: int) -> Tensor:
    """Running sample numbers of `count` consecutive batches, int64 (count * B,) on the CPU."""
    start = first_step * batch_size
    return torch.arange(start, start + count * batch_size, dtype=torch.int64)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """One-hot float32 targets (..., classes) of integer labels (...)."""
    return torch.nn.functional.one_hot(labels, classes).to(torch.float32)
