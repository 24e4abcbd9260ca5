"""Counter-based random numbers: every draw is a pure function of (key, index), on any device.

A stateful generator would make each batch depend on the batches drawn before it. Here a draw is a hash of its
own coordinates, so a stream can be entered at any step and gives the same integers on CPU and GPU.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators",
# OOPSLA 2014; the finalizer is D. Stafford's variant 13.
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1

DRAWS_PER_INDEX = 1 << 24
"""Counters reserved for one index, hence the largest number of draws for one sample."""


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >= 1 << 63 else value


def make_key(*parts: int) -> int:
    """Fold integers (seeds, purposes) into one 64-bit key; the order of the parts matters."""
    key = 0
    for part in parts:
        z = (key + (part & _MASK) + _GOLDEN) & _MASK
        z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
        z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
        key = z ^ (z >> 31)
    return key


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # int64 shifts are arithmetic: mask the copies of the sign bit.
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def random_bits(key: int, counters: Tensor) -> Tensor:
    """64 random bits for each counter, as int64 of the same shape."""
    z = counters * _signed(_GOLDEN) + _signed(key)
    z = (z ^ _shift_right(z, 30)) * _signed(_MIX_1)
    z = (z ^ _shift_right(z, 27)) * _signed(_MIX_2)
    return z ^ _shift_right(z, 31)


def _bits_for(key: int, index: Tensor, draws: int) -> Tensor:
    if draws > DRAWS_PER_INDEX:
        raise ValueError(f"at most {DRAWS_PER_INDEX} draws per index, not {draws}")
    offsets = torch.arange(draws, device=index.device, dtype=torch.int64)
    return random_bits(key, index[:, None] * DRAWS_PER_INDEX + offsets)


def uniform(key: int, index: Tensor, draws: int) -> Tensor:
    """Uniform float32 numbers in [0, 1), 24 random bits each.

    Args:
        index: int64 (n,), numbers of samples or steps.

    Returns:
        (n, draws).

    Raises:
        ValueError: if more than DRAWS_PER_INDEX are drawn.
    """
    return _shift_right(_bits_for(key, index, draws), 40).to(torch.float32) * 2.0**-24


def normal(key: int, index: Tensor, draws: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers by the Box-Muller transform; shapes and errors as in `uniform`."""
    bits = _bits_for(key, index, (draws + 1) // 2)
    # Half a step away from 0 keeps the logarithm finite.
    radius_u = (_shift_right(bits, 40).to(dtype) + 0.5) * 2.0**-24
    angle_u = (_shift_right(bits, 16) & 0xFFFFFF).to(dtype) * 2.0**-24
    radius = torch.sqrt(-2.0 * torch.log(radius_u))
    angle = (2.0 * math.pi) * angle_u
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
    return pairs.flatten(1)[:, :draws]


def normal_tensor(key: int, shape: Sequence[int]) -> Tensor:
    """A float64 CPU tensor of standard normal numbers, a function of (key, shape) alone."""
    size = math.prod(shape)
    row = 1 << 16
    rows = torch.arange(-(-size // row), dtype=torch.int64)
    return (
        normal(key, rows, row if size > row else size, torch.float64).flatten()[:size].view(*shape)
    )


def permutation(key: int, size: int) -> Tensor:
    """A random permutation of range(size), int64 on the CPU."""
    return torch.argsort(random_bits(key, torch.arange(size, dtype=torch.int64)), stable=True)
