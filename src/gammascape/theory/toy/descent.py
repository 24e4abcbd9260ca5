"""Toy model under gradient descent, step by step, for many (gamma, eta) at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammascape.theory.toy.network import Floats, Loss, loss_of, loss_slope, output

Update = Literal["gradient", "sign"]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Descent:
    """Results of (n,) runs of T steps; losses are taken before each step, as in training."""

    final_loss: Floats
    """Mean over the last `window` steps."""
    last_loss: Floats
    """Loss after the last step."""
    peak_loss: Floats
    peak_step: NDArray[np.int64]
    finite: Bools
    seen_nan: Bools


def outputs(
    gamma: ArrayLike,
    eta: ArrayLike,
    depth: int,
    loss: Loss,
    steps: int,
    update: Update = "gradient",
) -> Iterator[Floats]:
    """Outputs f before step 0, 1, ..., T - 1, and after the last one: T + 1 arrays.

    A step is w <- w - eta g with g = l'(f) L w^(L-1) / gamma, or w <- w - eta sign(g); arguments broadcast.
    """
    gamma, eta = np.broadcast_arrays(np.asarray(gamma, float), np.asarray(eta, float))
    u = np.zeros(gamma.shape)
    with np.errstate(all="ignore"):  # diverging runs reach inf and nan
        for _ in range(steps):
            f = output(u, gamma, depth)
            yield f
            gradient = loss_slope(f, loss) * depth * (1 + u) ** (depth - 1) / gamma
            u = u - eta * (np.sign(gradient) if update == "sign" else gradient)
        yield output(u, gamma, depth)


def descend(
    gamma: ArrayLike,
    eta: ArrayLike,
    depth: int,
    loss: Loss,
    steps: int,
    window: int = 1,
    update: Update = "gradient",
) -> Descent:
    """Run the toy for `steps` and summarize the run for a table. `window` is at most `steps`."""
    shape = np.broadcast_shapes(np.shape(gamma), np.shape(eta))
    final, peak, last = np.zeros(shape), np.full(shape, -np.inf), np.zeros(shape)
    peak_step = np.zeros(shape, np.int64)
    finite, seen_nan = np.ones(shape, bool), np.zeros(shape, bool)
    with np.errstate(all="ignore"):
        for step, f in enumerate(outputs(gamma, eta, depth, loss, steps, update)):
            last = loss_of(f, loss)
            if step == steps:
                break
            finite &= np.isfinite(last)
            seen_nan |= np.isnan(last)
            higher = last > peak
            peak_step[higher] = step
            peak = np.where(higher, last, peak)
            if step >= steps - window:
                final = final + last / window
    return Descent(final, last, peak, peak_step, finite, seen_nan)
