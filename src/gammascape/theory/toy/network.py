"""Width-one deep linear toy: outputs, losses, minimum, curvature, and the eta at which it becomes unstable."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Loss = Literal["mse", "xent"]
Floats = NDArray[np.float64]

DATA = "one example: x = 1, y = 1"
P1 = 1 / (1 + np.exp(-1.0))
"""Label of the cross-entropy toy: it has its minimum at f = 1, like the squared loss."""
P0 = 1 - P1


def output(u: ArrayLike, gamma: ArrayLike, depth: int) -> Floats:
    """Output f = (w^L - 1) / gamma with w = 1 + u, without the cancellation of w^L - 1 at small u.

    All L weights of the network begin at 1 and stay equal, which leaves one parameter w. (Reconstructed
    from arXiv 2410.04642: width one, one example, depth L, output centred and divided by gamma.)
    """
    u = np.asarray(u, float)
    geometric = np.ones_like(u)
    for _ in range(depth - 1):
        geometric = geometric * (1 + u) + 1
    f: Floats = u * geometric / np.asarray(gamma, float)
    return f


def loss_of(f: ArrayLike, loss: Loss) -> Floats:
    """Loss of the output f at target 1, zero at f = 1.

    `mse` is (f - 1)^2 / 2. `xent` is -P1 log s(f) - P0 log(1 - s(f)), s the logistic function, minus its
    minimum, the entropy of the label, so that a small loss means that the label was learned.
    """
    f = np.asarray(f, float)
    if loss == "mse":
        return np.asarray((f - 1) ** 2 / 2)
    entropy = P1 * np.logaddexp(0, -1.0) + P0 * np.logaddexp(0, 1.0)
    excess: Floats = P1 * np.logaddexp(0, -f) + P0 * np.logaddexp(0, f) - entropy
    return excess


def loss_slope(f: ArrayLike, loss: Loss) -> Floats:
    """Derivative of the loss by f, bounded by P1 for `xent`."""
    f = np.asarray(f, float)
    if loss == "mse":
        return np.asarray(f - 1)
    # Compute the logistic function by tanh, which does not overflow.
    bounded: Floats = (1 + np.tanh(f / 2)) / 2 - P1
    return bounded


def loss_curvature(f: ArrayLike, loss: Loss) -> Floats:
    """Second derivative of the loss by f: 1, or s (1 - s), which is P0 P1 at the minimum."""
    f = np.asarray(f, float)
    if loss == "mse":
        return np.ones_like(f)
    s = (1 + np.tanh(f / 2)) / 2
    bell: Floats = s * (1 - s)
    return bell


def minimum(gamma: ArrayLike, depth: int) -> Floats:
    """Weight w at f = 1: (1 + gamma)^(1/L)."""
    solution: Floats = (1 + np.asarray(gamma, float)) ** (1 / depth)
    return solution


def sharpness(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Curvature of the loss in w at the minimum: l'' L^2 (1 + gamma)^(2 (L - 1) / L) / gamma^2.

    It scales as gamma^-2 in the lazy and as gamma^(-2/L) in the ultra-rich limit. The residual is zero at the
    minimum, so only the Gauss-Newton term l'' (df/dw)^2 remains.
    """
    gamma = np.asarray(gamma, float)
    gradient = depth * minimum(gamma, depth) ** (depth - 1) / gamma
    curved: Floats = loss_curvature(1.0, loss) * gradient**2
    return curved


def initial_sharpness(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Curvature of the loss in w at w = 1: l'' L^2 / gamma^2 + l' L (L - 1) / gamma, with l' < 0.

    The first term dominates in the lazy limit. In the ultra-rich limit the second does, as gamma^-1: a network
    begins at a saddle, in one dimension a negative curvature, and sharpens by gamma^(1 - 2/L).
    """
    gamma = np.asarray(gamma, float)
    gauss_newton = loss_curvature(0.0, loss) * (depth / gamma) ** 2
    residual = loss_slope(0.0, loss) * depth * (depth - 1) / gamma
    total: Floats = gauss_newton + residual
    return total


def eta_critical(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """Critical eta, 2 / sharpness, above which gradient descent leaves the minimum.

    For `mse` it is (2 / L^2) gamma^2 (1 + gamma)^(-2 (L - 1) / L): first gamma^2, then gamma^(2/L). For `xent` it
    is larger by the factor 1 / (P0 P1).
    """
    edge: Floats = 2 / sharpness(gamma, depth, loss)
    return edge
