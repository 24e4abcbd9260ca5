"""Steps at which a run is measured, and compression of a long loss history."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FULL_HISTORY = 10_000
"""Steps up to which every training loss is kept."""
_BINS_PER_DECADE = 2_000
FINAL_SHARE = 0.05
_FINAL_LEAST = 10
LEAST_BUDGET = 10
"""Steps of the shortest budget at which runs are compared."""


def measurement_steps(steps: int) -> list[int]:
    """Numbers of updates after which the test loss is measured: 0, 1, 2, 5, 10, 20, 50, ... and the last step."""
    series = [m * 10**e for e in range(len(str(steps))) for m in (1, 2, 5)]
    return sorted({0, steps, *(s for s in series if s < steps)})


def final_window(steps: int) -> int:
    """Number of last training steps over which the final loss is averaged."""
    return int(final_windows(np.array(steps)))


def final_windows(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """`final_window` of runs of several numbers of steps, any shape."""
    share: NDArray[np.int64] = np.rint(FINAL_SHARE * steps).astype(np.int64)
    return np.minimum(steps, np.maximum(share, _FINAL_LEAST))


def thin(losses: Floats) -> dict[str, Floats | NDArray[np.int64]]:
    """Loss history on a grid that is dense up to FULL_HISTORY steps and logarithmic beyond.

    Args:
        losses: (T,) loss of each step.

    Returns:
        step (first of each bin), loss (mean), loss_min and loss_max of each bin, all (n,).
    """
    total = len(losses)
    edges = np.arange(min(total, FULL_HISTORY) + 1)
    if total > FULL_HISTORY:
        decades = np.log10(total / FULL_HISTORY)
        count = max(2, int(np.ceil(decades * _BINS_PER_DECADE)) + 1)
        tail = np.unique(np.round(np.geomspace(FULL_HISTORY, total, count)).astype(np.int64))
        edges = np.concatenate((edges[:-1], tail))
    starts = edges[:-1]
    widths = np.diff(edges)
    return {
        "step": starts.astype(np.int64),
        "loss": np.add.reduceat(losses, starts) / widths,
        "loss_min": np.minimum.reduceat(losses, starts),
        "loss_max": np.maximum.reduceat(losses, starts),
    }
