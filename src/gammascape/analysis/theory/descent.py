"""The toy under gradient descent, step by step, for many (gamma, eta) at once; and its edges by bisection."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammascape.analysis.theory.toy import Floats, Loss, loss_of, loss_slope, output

Update = Literal["gradient", "sign"]
Bools = NDArray[np.bool_]

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Descent:
    """What (n,) runs of T steps leave behind; losses are those before each step, as in training."""

    final_loss: Floats
    """Mean over the last `window` steps."""
    last_loss: Floats
    """After the last step."""
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
    """The outputs f before step 0, 1, ..., T - 1, and after the last one: T + 1 arrays.

    w <- w - eta g with g = l'(f) L w^(L-1) / gamma, or w <- w - eta sign(g); `gamma` and `eta` broadcast.
    """
    gamma, eta = np.broadcast_arrays(np.asarray(gamma, float), np.asarray(eta, float))
    u = np.zeros(gamma.shape)
    with np.errstate(all="ignore"):  # runs that diverge do so to inf and nan
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
    """Run the toy for `steps` and keep what a table needs. `window` is at most `steps`."""
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


def bisect(holds: Callable[[Floats], Bools], low: ArrayLike, high: ArrayLike) -> Floats:
    """Where a statement that holds at `low` and not at `high` stops to hold, to 1e-4 (log10 values).

    Of several such places it finds one. Where the statement fails at `low` or holds at `high` the result
    is nan: the edge is not between them.
    """
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    bracketed = holds(low) & ~holds(high)
    span = float(np.max(np.abs(high - low)))
    for _ in range(int(np.ceil(np.log2(max(span, 2 * _TOLERANCE) / _TOLERANCE)))):
        middle = (low + high) / 2
        good = holds(middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return np.where(bracketed, (low + high) / 2, np.nan)


def edge_log10(
    edge: Literal["eta_min", "eta_max_trained", "eta_max_finite"],
    gamma: ArrayLike,
    depth: int,
    loss: Loss,
    steps: int,
    inside_log10: ArrayLike,
    level: float = 0.5,
    update: Update = "gradient",
    reach: float = 6.0,
) -> Floats:
    """An edge of training of the toy, by bisection of its exact dynamics: log10 eta, shape of `gamma`.

    Args:
        inside_log10: log10 of etas that train; the edge is sought within `reach` decades of them.
        level: a run is trained when its last loss is at most this share of that of f = 0.
    """
    gamma = np.asarray(gamma, float)
    inside = np.asarray(inside_log10, float)

    def holds(log10: Floats) -> Bools:
        run = descend(gamma, 10.0**log10, depth, loss, steps, update=update)
        if edge == "eta_max_finite":
            return run.finite
        with np.errstate(invalid="ignore"):
            return run.finite & (run.last_loss <= level * loss_of(0.0, loss))

    return bisect(holds, inside, inside + (-reach if edge == "eta_min" else reach))
