"""Closed forms of the toys, derived in docs/explanation/theory.md: edges, escape, catapult, sign-SGD."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammascape.theory.toy import (
    Bools,
    Floats,
    Loss,
    collapse_tau,
    descend,
    eta_critical,
    eta_min,
    initial_sharpness,
    loss_of,
    loss_slope,
    output,
    output_at,
    sharpness,
)

TOLERANCE = 1e-4


def bisect(holds: Callable[[Floats], Bools], low: ArrayLike, high: ArrayLike) -> Floats:
    """Bisect for the point where `holds` turns from true to false, to 1e-4 (log10 values).

    Of several such places it finds one. Where the statement fails at `low` or holds at `high` the result
    is nan: the edge is not between them.
    """
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    bracketed = holds(low) & ~holds(high)
    span = float(np.max(np.abs(high - low)))
    for _ in range(int(np.ceil(np.log2(max(span, 2 * TOLERANCE) / TOLERANCE)))):
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
    reach: float = 6.0,
    sign: bool = False,
) -> Floats:
    """An edge of training of the toy, by bisection of its exact dynamics: log10 eta, shape of `gamma`.

    Args:
        inside_log10: log10 of etas that train; the edge is sought within `reach` decades of them.
        level: a run is trained when its last loss is at most this share of the loss of f = 0.
        sign: train by sign-SGD, not by gradient descent.
    """
    gamma = np.asarray(gamma, float)
    inside = np.asarray(inside_log10, float)

    def holds(log10: Floats) -> Bools:
        if sign:
            last_loss = sign_descent(gamma, 10.0**log10, depth, loss, steps)
            finite = np.isfinite(last_loss)
        else:
            run = descend(gamma, 10.0**log10, depth, loss, steps)
            finite, last_loss = run.finite, run.last_loss
        if edge == "eta_max_finite":
            return finite
        with np.errstate(invalid="ignore"):
            return finite & (last_loss <= level * loss_of(0.0, loss))

    return bisect(holds, inside, inside + (-reach if edge == "eta_min" else reach))


def escape_tau(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """tau of leaving the plateau at gamma >> 1: 1 / (L (L - 2)) for L > 2, log(gamma) / 4 for L = 2.

    While f << 1 the force is the one at f = 0: 1 for `mse`, and P1 - 1/2 for `xent`, which slows it down.
    """
    gamma = np.asarray(gamma, float)
    fixed = np.log(gamma) / 4 if depth == 2 else np.full_like(gamma, 1 / (depth * (depth - 2)))
    slowed: Floats = fixed / -loss_slope(0.0, loss)
    return slowed


def window(gamma: ArrayLike, depth: int, loss: Loss, steps: ArrayLike) -> Floats:
    """eta_critical / eta_min: how far apart the edges are. Proportional to T."""
    ratio: Floats = eta_critical(gamma, depth, loss) / eta_min(gamma, depth, loss, steps)
    return ratio


def escape_steps(gamma: ArrayLike, depth: int, loss: Loss, share: ArrayLike) -> Floats:
    """Steps until the loss has halved at eta = `share` x eta_critical: gamma^(1 - 2/L), log(gamma) for L = 2."""
    gamma = np.asarray(gamma, float)
    eta = np.asarray(share, float) * eta_critical(gamma, depth, loss)
    count: Floats = collapse_tau(gamma, depth, loss) * gamma / eta
    return count


def sharpening(gamma: ArrayLike, depth: int, loss: Loss) -> Floats:
    """|curvature| at the minimum over that at the start: gamma^(1 - 2/L) in the ultra-rich limit."""
    ratio: Floats = sharpness(gamma, depth, loss) / np.abs(initial_sharpness(gamma, depth, loss))
    return ratio


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


def catapult_sharpness(gamma: ArrayLike, start: Start) -> Floats:
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


def sign_descent(gamma: Floats, eta: Floats, depth: int, loss: Loss, steps: int) -> Floats:
    """Loss after `steps` of w <- w - eta sign(dL/dw), of which the factor L w^(L-1) / gamma gives the sign too."""
    u = np.zeros(np.broadcast_shapes(gamma.shape, eta.shape))
    with np.errstate(all="ignore"):
        for _ in range(steps):
            slope = loss_slope(output(u, gamma, depth), loss)
            u = u - eta * np.sign(slope * (1 + u) ** (depth - 1))
        return loss_of(output(u, gamma, depth), loss)


def sign_eta_min(
    gamma: ArrayLike, depth: int, loss: Loss, steps: ArrayLike, level: ArrayLike = 0.5
) -> Floats:
    """Smallest eta that brings the loss to `level` times its start within T = `steps`.

    w moves by eta in each step, so eta T is the way from 1 to (1 + gamma f)^(1/L): gamma f / L in the lazy
    limit and (gamma f)^(1/L) in the ultra-rich one. Here f is the output at that level.
    """
    way = _weight(output_at(level, loss), gamma, depth) - 1
    edge: Floats = way / np.asarray(steps, float)
    return edge


def sign_eta_max(gamma: ArrayLike, depth: int, level: ArrayLike = 0.5) -> Floats:
    """Largest eta that is sure to keep the squared loss below `level` times its start at the end.

    At the end w jumps to and fro across the minimum and is off by up to eta, so eta may not exceed the
    smaller of the ways from the minimum to where the loss is at the level, the one above it. gamma in the
    lazy limit, gamma^(1/L) in the ultra-rich one: the exponents of `sign_eta_min`, so that the window does
    not close.
    """
    off = np.sqrt(np.asarray(level, float))
    edge: Floats = _weight(1 + off, gamma, depth) - _weight(1.0, gamma, depth)
    return edge


def _weight(f: ArrayLike, gamma: ArrayLike, depth: int) -> Floats:
    w: Floats = (1 + np.asarray(gamma, float) * np.asarray(f, float)) ** (1 / depth)
    return w
