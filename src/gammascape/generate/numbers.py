"""Functions of a sample's number alone: its label, its place in a pass, its stream of random numbers."""

from enum import IntEnum

import torch
from torch import Tensor

from gammascape.data.stream import shuffled
from gammascape.rng import make_key

CLASSES = 10


Purpose = IntEnum(
    "Purpose", "BASE GEOMETRY ELASTIC WEIGHTS BATCH TIME NOISE DROP START STEP SUBSET", start=1000
)
"""Second part of every random key; purposes of the training streams count from 0."""


def balanced_labels(numbers: Tensor) -> Tensor:
    """Label number % 10 of each sample, so that any run of 10 k consecutive numbers has k of each class."""
    return numbers % CLASSES


def cycled(numbers: Tensor, size: int, seed: int, purpose: Purpose) -> Tensor:
    """Indices (n,) below `size` of the samples (n,); each pass over `size` numbers is a different permutation.

    Raises:
        ValueError: for a negative number.
    """
    if len(numbers) and int(numbers.min()) < 0:
        raise ValueError(f"sample numbers start at 0, not {int(numbers.min())}")
    passes, place = numbers // size, numbers % size
    index = torch.empty_like(numbers)
    for number in torch.unique(passes).tolist():
        chosen = passes == number
        order = shuffled(make_key(seed, purpose, number), size).to(numbers.device)
        index[chosen] = order[place[chosen]]
    return index
