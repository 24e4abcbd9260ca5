"""Toy model under gradient flow: collapse in tau, eta_min, and the gamma at which the window closes."""

import numpy as np
from numpy.typing import ArrayLike

from gammascape.theory.toy.network import Floats, Loss, loss_of, loss_slope

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


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
    total: Floats = (np.exp(-s * (depth - 2) / depth) / force) @ _WEIGHTS * end / (2 * depth**2)
    return total


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
    edge: Floats = gamma * collapse_tau(gamma, depth, loss, level) / np.asarray(steps, float)
    return edge


def gamma_max_log10(depth: int, steps: ArrayLike) -> Floats:
    """log10 of the gamma at which eta_min meets eta_critical after T = `steps`, for `mse`.

    That gamma is (2 (L - 2) T / L)^(L / (L - 2)) for L > 2: T^3, T^2, T^(5/3) for L = 3, 4, 5; and exp(2 T) for
    L = 2, which exceeds the range of floats from T = 355 on, hence the log10.
    """
    steps = np.asarray(steps, float)
    if depth == 2:
        return np.asarray(2 * steps / np.log(10))
    apex: Floats = depth / (depth - 2) * np.log10(2 * (depth - 2) * steps / depth)
    return apex
