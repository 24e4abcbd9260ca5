"""Names of observables, measured during training."""

from collections.abc import Iterable
from typing import Literal, get_args

Observable = Literal[
    "sharpness",
    "gauss_newton_sharpness",
    "hessian_trace",
    "kernel_alignment",
    "ntk_alignment",
    "initial_cka",
    "relative_change",
    "effective_rank",
    "singular_values",
    "gradient_noise_scale",
    "equal_loss",
    "training_accuracy",
]
"""Names of the observables; config/README.md gives the definition and cost of each."""

OBSERVABLES: tuple[Observable, ...] = get_args(Observable)

OF_CLASSES: tuple[Observable, ...] = ("training_accuracy",)
"""Observables that a regression does not have."""

OF_SINGLE_SAMPLES: tuple[Observable, ...] = ("ntk_alignment", "gradient_noise_scale")
"""Observables that map the network over samples with `torch.func.vmap`."""


def in_order(names: Iterable[Observable]) -> tuple[Observable, ...]:
    """Sort names in the order above, each once, so that a set of observables has one spelling."""
    asked = set(names)
    return tuple(name for name in OBSERVABLES if name in asked)
