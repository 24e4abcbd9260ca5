"""The two-parameter toy f = (u v - u0 v0) / gamma under gradient descent: the catapult and its edges."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammascape.analysis.theory.toy import Floats


@dataclass(frozen=True)
class Start:
    """The weights before training. Equal ones stay equal, which is the one-parameter toy of depth 2."""

    u: float
    v: float


@dataclass(frozen=True)
class Flight:
    """What (n,) runs leave behind; losses are (f - 1)^2 / 2."""

    last_loss: Floats
    peak_loss: Floats
    peak_step: NDArray[np.int64]
    sharpness: Floats
    """(u^2 + v^2) / gamma^2 after the last step."""
    finite: NDArray[np.bool_]


def sharpness(gamma: ArrayLike, start: Start) -> Floats:
    """lambda_0 = (u0^2 + v0^2) / gamma^2: the tangent kernel at the start, the curvature for gamma << 1."""
    curved: Floats = (start.u**2 + start.v**2) / np.asarray(gamma, float) ** 2
    return curved


def divergence_edge(start: Start) -> float:
    """eta lambda_0 above which the loss diverges, for gamma << 1: 4.

    One step changes the sharpness by (eta r / gamma^2) (eta r lambda - 4 u v / gamma), r = f - 1. While f is large
    r and u v / gamma agree up to a constant, so the sharpness falls if and only if eta lambda < 4
    (Lewkowycz et al., arXiv 2003.02218, for the model without centring; with it u0 v0 must not be negative).

    Raises:
        ValueError: if u0 v0 is negative.
    """
    if start.u * start.v < 0:
        raise ValueError("the edge is known for starts of equal signs only")
    return 4.0


def settling_edge(start: Start) -> float:
    """eta lambda_0 up to which a catapult can end at a minimum, for gamma << 1.

    Solutions lie on u v = u0 v0 + gamma, and none is flatter than 2 |u0 v0| / gamma^2. Gradient descent
    settles only where eta times the sharpness is below 2: eta lambda_0 < (u0^2 + v0^2) / |u0 v0|, at most 4.
    For equal weights this is 2, the edge of the linear regime: one parameter has no catapult.
    """
    flattest = 2 * abs(start.u * start.v) / (start.u**2 + start.v**2)
    return min(divergence_edge(start), 2 / flattest if flattest else np.inf)


def fly(gamma: ArrayLike, eta: ArrayLike, start: Start, steps: int) -> Flight:
    """Train u and v for `steps` by gradient descent on (f - 1)^2 / 2; `gamma` and `eta` broadcast."""
    gamma, eta = np.broadcast_arrays(np.asarray(gamma, float), np.asarray(eta, float))
    # The weights' displacements, so that f is not a difference of near numbers.
    a, b = np.zeros(gamma.shape), np.zeros(gamma.shape)
    peak, peak_step = np.full(gamma.shape, -np.inf), np.zeros(gamma.shape, np.int64)
    finite = np.ones(gamma.shape, bool)
    with np.errstate(all="ignore"):  # runs that diverge do so to inf and nan
        for step in range(steps):
            residual = (a * start.v + b * start.u + a * b) / gamma - 1
            loss = residual**2 / 2
            finite &= np.isfinite(loss)
            higher = loss > peak
            peak_step[higher] = step
            peak = np.where(higher, loss, peak)
            pull = eta * residual / gamma
            a, b = a - pull * (start.v + b), b - pull * (start.u + a)
        residual = (a * start.v + b * start.u + a * b) / gamma - 1
        curved = ((start.u + a) ** 2 + (start.v + b) ** 2) / gamma**2
        return Flight(residual**2 / 2, peak, peak_step, curved, finite)
