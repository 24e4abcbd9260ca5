"""The toy under sign-SGD, w <- w - eta sign(gradient): its edges in closed form."""

import numpy as np
from numpy.typing import ArrayLike

from gammascape.analysis.theory.flow import output_at
from gammascape.analysis.theory.toy import Floats, Loss


def eta_min(
    gamma: ArrayLike, depth: int, loss: Loss, steps: ArrayLike, level: ArrayLike = 0.5
) -> Floats:
    """Smallest eta that brings the loss to `level` times its start within T = `steps`.

    w moves by eta in each step, so eta T is the way from 1 to (1 + gamma f)^(1/L): gamma f / L in the lazy
    limit and (gamma f)^(1/L) in the ultra-rich one. Here f is the output at that level.
    """
    way = _weight(output_at(level, loss), gamma, depth) - 1
    edge: Floats = way / np.asarray(steps, float)
    return edge


def eta_max(gamma: ArrayLike, depth: int, level: ArrayLike = 0.5) -> Floats:
    """Largest eta that is sure to keep the squared loss below `level` times its start at the end.

    At the end w jumps to and fro across the minimum and is off by up to eta, so eta may not exceed the
    smaller of the ways from the minimum to where the loss is at the level, the one above it. gamma in the
    lazy limit, gamma^(1/L) in the ultra-rich one: the exponents of `eta_min`, so that the window does
    not close.
    """
    off = np.sqrt(np.asarray(level, float))
    edge: Floats = _weight(1 + off, gamma, depth) - _weight(1.0, gamma, depth)
    return edge


def _weight(f: ArrayLike, gamma: ArrayLike, depth: int) -> Floats:
    w: Floats = (1 + np.asarray(gamma, float) * np.asarray(f, float)) ** (1 / depth)
    return w
