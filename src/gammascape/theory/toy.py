"""Theory as code: the toy models of arXiv 2410.04642, exact and vectorized (docs/explanation/theory.md).

A width-one deep linear network on one example: its outputs, losses, minimum and curvature, under gradient flow and
under gradient descent step by step. Nothing here trains a network or needs more than numpy. gamma, eta and
tau = eta t / gamma are plain values, not logarithms, and arrays of them broadcast.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammascape.theory.edges import Loss

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DATA = "one example: x = 1, y = 1"
P1 = 1 / (1 + np.exp(-1.0))
"""Label of the cross-entropy toy: it has its minimum at f = 1, like the squared loss."""
P0 = 1 - P1
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def output(u: ArrayLike, gamma: ArrayLike, depth: int) -> Floats:
    """Output f = (w^L - 1) / gamma with w = 1 + u, without the cancellation of w^L - 1 at small u.

    All L weights of the network begin at 1 and stay equal, which leaves one parameter w. (Reconstructed
    from arXiv 2410.04642: width one, one example, depth L, output centred and divided by gamma.)
    """
    u = np.asarray(u, float)
    geometric = np.ones_like(u)
    for _ in range(depth - 1):
        geometric = geometric * (1 + u) + 1
    return np.asarray(u * geometric / np.asarray(gamma, float))


def loss_of(f: ArrayLike, loss: Loss) -> Floats:
    """Loss of the output f at target 1, zero at f = 1.

    `mse` is (f - 1)^2 / 2. `xent` is -P1 log s(f) - P0 log(1 - s(f)), s the logistic function, minus its
    minimum, the entropy of the label, so that a small loss means that the label was learned.
    """
    f = np.asarray(f, float)
    if loss == "mse":
        return np.asarray((f - 1) ** 2 / 2)
    entropy = P1 * np.logaddexp(0, -1.0) + P0 * np.logaddexp(0, 1.0)
    return np.asarray(P1 * np.logaddexp(0, -f) + P0 * np.logaddexp(0, f) - entropy)


def loss_slope(f: ArrayLike, loss: Loss) -> Floats:
    """Derivative of the loss by f, bounded by P1 for `xent`."""
    f = np.asarray(f, float)
    if loss == "mse":
        return np.asarray(f - 1)
    # Compute the logistic function by tanh, which does not overflow.
    return np.asarray((1 + np.tanh(f / 2)) / 2 - P1)


def loss_curvature(f: ArrayLike, loss: Loss) -> Floats:
    """Second derivative of the loss by f: 1, or s (1 - s), which is P0 P1 at the minimum."""
    f = np.asarray(f, float)
    if loss == "mse":
        return np.ones_like(f)
    s = (1 + np.tanh(f / 2)) / 2
    return np.asarray(s * (1 - s))


def minimum(gamma: ArrayLike, depth: int) -> Floats:
    """Weight w at f = 1: (1 + gamma)^(1/L)."""
    return np.asarray((1 + np.asarray(gamma, float)) ** (1 / depth))


def sharpness(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Curvature of the loss in w at the minimum: l'' L^2 (1 + gamma)^(2 (L - 1) / L) / gamma^2.

    It scales as gamma^-2 in the lazy and as gamma^(-2/L) in the ultra-rich limit. The residual is zero at the
    minimum, so only the Gauss-Newton term l'' (df/dw)^2 remains.
    """
    gamma = np.asarray(gamma, float)
    gradient = depth * minimum(gamma, depth) ** (depth - 1) / gamma
    return np.asarray(loss_curvature(1.0, loss) * gradient**2)


def initial_sharpness(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Curvature of the loss in w at w = 1: l'' L^2 / gamma^2 + l' L (L - 1) / gamma, with l' < 0.

    The first term dominates in the lazy limit. In the ultra-rich limit the second does, as gamma^-1: a network
    begins at a saddle, in one dimension a negative curvature, and sharpens by gamma^(1 - 2/L).
    """
    return np.asarray(np.add(*_initial_terms(gamma, depth, loss)))


def initial_scale(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Sum of the magnitudes of the two terms of `initial_sharpness`, which cancel at one gamma."""
    return np.asarray(np.subtract(*_initial_terms(gamma, depth, loss)))


def _initial_terms(gamma: ArrayLike, depth: int, loss: Loss) -> tuple[Floats, Floats]:
    gamma = np.asarray(gamma, float)
    gauss_newton = loss_curvature(0.0, loss) * (depth / gamma) ** 2
    return gauss_newton, loss_slope(0.0, loss) * depth * (depth - 1) / gamma


def eta_critical(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Critical eta, 2 / sharpness, above which gradient descent leaves the minimum.

    For `mse` it is (2 / L^2) gamma^2 (1 + gamma)^(-2 (L - 1) / L): first gamma^2, then gamma^(2/L). For `xent` it
    is larger by the factor 1 / (P0 P1).
    """
    return np.asarray(2 / sharpness(gamma, depth, loss))


def output_at(level: ArrayLike, loss: Loss) -> Floats:
    """Output f in (0, 1) at which the loss is `level` (between 0 and 1) times the loss of f = 0."""
    level = np.asarray(level, float)
    if loss == "mse":
        return np.asarray(1 - np.sqrt(level))
    low, high = np.zeros_like(level), np.ones_like(level)
    for _ in range(60):  # beyond the digits of a float
        middle = (low + high) / 2
        above = loss_of(middle, loss) > level * loss_of(0.0, loss)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low


def tau_at(f: ArrayLike, gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Time tau = eta t / gamma at which gradient flow has brought the output from 0 to f < 1.

    The flow is dw/dtau = -l'(f) L w^(L-1). With s = log(1 + gamma f) it integrates to

        tau = 1/L^2 * integral_0^log(1 + gamma f) exp(-s (L - 2) / L) / -l'((e^s - 1) / gamma) ds,

    evaluated by Gauss-Legendre quadrature with 200 nodes; `f` and `gamma` broadcast.
    """
    f, gamma = np.broadcast_arrays(np.asarray(f, float), np.asarray(gamma, float))
    end = np.log1p(gamma * f)
    s = end[..., None] * (_NODES + 1) / 2
    force = -loss_slope(np.expm1(s) / gamma[..., None], loss)
    return np.asarray((np.exp(-s * (depth - 2) / depth) / force) @ _WEIGHTS * end / (2 * depth**2))


def collapse_tau(gamma: ArrayLike, depth: int, loss: Loss, level: ArrayLike = 0.5) -> Floats:
    """Time tau at which the loss has fallen to `level` times its initial value.

    It is proportional to gamma in the lazy limit. In the ultra-rich limit it is independent of gamma and level for
    L > 2, 1 / (L (L - 2)) / -l'(0), and grows by log(10)/(4 x force) with each decade of gamma for L = 2.
    """
    return tau_at(output_at(level, loss), gamma, depth, loss)


def eta_min(
    gamma: ArrayLike, depth: int, loss: Loss, steps: ArrayLike, level: ArrayLike = 0.5
) -> Floats:
    """Smallest eta that brings the loss to `level` times its initial value within T = `steps`: gamma tau / T.

    It scales as gamma^2 in the lazy limit and as gamma, times log(gamma) for L = 2, in the ultra-rich limit. It
    holds well below `eta_critical`, where steps are small enough to follow the flow.
    """
    gamma = np.asarray(gamma, float)
    return np.asarray(gamma * collapse_tau(gamma, depth, loss, level) / np.asarray(steps, float))


def gamma_max_log10(depth: int, steps: ArrayLike) -> Floats:
    """log10 of the gamma at which eta_min meets eta_critical after T = `steps`, for `mse`.

    That gamma is (2 (L - 2) T / L)^(L / (L - 2)) for L > 2: T^3, T^2, T^(5/3) for L = 3, 4, 5; and exp(2 T) for
    L = 2, which exceeds the range of floats from T = 355 on, hence the log10.
    """
    steps = np.asarray(steps, float)
    if depth == 2:
        return np.asarray(2 * steps / np.log(10))
    return np.asarray(depth / (depth - 2) * np.log10(2 * (depth - 2) * steps / depth))


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
) -> Iterator[Floats]:
    """Outputs f before step 0, 1, ..., T - 1, and after the last one: T + 1 arrays.

    A step is w <- w - eta g with g = l'(f) L w^(L-1) / gamma; arguments broadcast.
    """
    gamma, eta = np.broadcast_arrays(np.asarray(gamma, float), np.asarray(eta, float))
    u = np.zeros(gamma.shape)
    with np.errstate(all="ignore"):  # diverging runs reach inf and nan
        for _ in range(steps):
            f = output(u, gamma, depth)
            yield f
            gradient = loss_slope(f, loss) * depth * (1 + u) ** (depth - 1) / gamma
            u = u - eta * gradient
        yield output(u, gamma, depth)


def descend(
    gamma: ArrayLike,
    eta: ArrayLike,
    depth: int,
    loss: Loss,
    steps: int,
    window: int = 1,
) -> Descent:
    """Run the toy for `steps` and summarize the run for a table. `window` is at most `steps`."""
    shape = np.broadcast_shapes(np.shape(gamma), np.shape(eta))
    final, peak, last = np.zeros(shape), np.full(shape, -np.inf), np.zeros(shape)
    peak_step = np.zeros(shape, np.int64)
    finite, seen_nan = np.ones(shape, bool), np.zeros(shape, bool)
    with np.errstate(all="ignore"):
        for step, f in enumerate(outputs(gamma, eta, depth, loss, steps)):
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
