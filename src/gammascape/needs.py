"""Least memory needed to train one network, for messages about studies and for comparison with a machine."""

from collections.abc import Mapping

from gammascape.numerics import BLOCK

MOST_MEMORY = 2**40
"""Limit on the bytes that a study may need for one network: 1 TiB."""
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def needs(
    weights: int, units: int, sample: int, batch_size: int, steps: int, item: int = 4
) -> Mapping[str, int]:
    """Bytes needed, by purpose; `item` is the size of one number.

    `units` is the count of activations kept for one sample, `sample` the count of numbers in its input and target.
    """
    return {
        # w_0 and w.
        "weights": 2 * item * weights,
        # A block of batches, and the forward pass of one.
        "batches": 4 * min(BLOCK, steps) * batch_size * sample + item * batch_size * units,
        # Losses of the network and of f = 0, in float64, in training and in the result.
        "losses": 32 * steps,
    }


def size_text(count: int) -> str:
    """Bytes in words: 1.5 GiB."""
    power = min(max(0, (count.bit_length() - 1) // 10), len(_UNITS) - 1)
    return f"{count / 2 ** (10 * power):.3g} {_UNITS[power]}"


def needs_text(parts: Mapping[str, int]) -> str:
    """Total and largest part in words: 'at least 64 GiB of memory, 64 GiB of it for losses'."""
    most = max(parts, key=lambda name: parts[name])
    total = sum(parts.values())
    return f"at least {size_text(total)} of memory, {size_text(parts[most])} of it for {most}"
