"""Theory as code: the toy models of arXiv 2410.04642, exact and vectorized (docs/explanation/theory.md).

Nothing here trains a network or needs more than numpy. gamma, eta and tau = eta t / gamma are plain values, not
logarithms, and arrays of them broadcast.
"""

from gammascape.theory.toy.descent import Descent, descend, outputs
from gammascape.theory.toy.flow import collapse_tau, eta_min, gamma_max_log10, output_at, tau_at
from gammascape.theory.toy.network import (
    P0,
    P1,
    Loss,
    eta_critical,
    initial_sharpness,
    loss_of,
    minimum,
    output,
    sharpness,
)

__all__ = [
    "P0",
    "P1",
    "Descent",
    "Loss",
    "collapse_tau",
    "descend",
    "eta_critical",
    "eta_min",
    "gamma_max_log10",
    "initial_sharpness",
    "loss_of",
    "minimum",
    "output",
    "output_at",
    "outputs",
    "sharpness",
    "tau_at",
]
