"""The version of the engine's numbers, part of every cell's identity."""

NUMERICS_VERSION = 1
"""Raise it in the commit that changes what a cell computes; golden-number tests enforce this."""

BLOCK = 50
"""Steps for which batches are made at a time, and after which losses are read.

In between the host neither waits for the device nor checks for NaN, so a run that diverges ends with its block."""

MOST_VALIDATION = 5000
"""Largest number of samples held out for validation, as many as test images are used."""


def validation_size(samples: int, share: float | None) -> int:
    """Number of samples, out of those asked for, that are held out for validation: one at least; none for None."""
    return 0 if share is None else max(1, min(MOST_VALIDATION, round(share * samples)))
