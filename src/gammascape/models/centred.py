"""The numerator of f = (f~(w) - f~(w_0)) / gamma, and two choices of the tensors to train.

f loses digits as gamma shrinks, for two reasons: f~ hardly moves, so the subtraction cancels, and a step of w is
smaller than the last place of w. The difference form trains d = w - w_0 and carries the change of every activation
through the network. It is the same function, and its gradient in d equals the gradient of f~ in w.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from gammascape.models.model import Descend, Hidden, Model, Numerator, Parameters, Reference


@dataclass(frozen=True, eq=False)
class CentredForm:
    """One way to compute f~(w) - f~(w_0) of one model, with lanes K, samples B and outputs O.

    A reference depends on the seed and the batch alone. It is computed once for each seed, and its tensors are
    then indexed for each lane.
    """

    model: Model

    trains_difference: bool
    """True if the trained tensors d are w - w_0 and start at zero. If not, d = w, and `starts` below is empty."""

    reference: Callable[[Parameters, Tensor], Reference]
    """(w_0 of S seeds, x (B, ...)) -> tensors (S, ...), without gradient."""

    numerator: Numerator
    """(d (K, ...), starts w_0 (K, ...), reference (K, ...), x (B, ...), hidden) -> f~(w) - f~(w_0), (K, B, O).

    `hidden` is filled with the hidden layers at w."""

    descend: Descend | None
    """Gradient step, called after `numerator` has filled `hidden`. None: autograd differentiates `numerator`."""

    least: int = 1
    """Smallest number of lanes to compute."""

    most: Callable[[Tensor], float] = lambda x: math.inf
    """Inputs -> largest number of lanes to compute in one call."""

    products: Callable[[Tensor], AbstractContextManager[None]] = lambda x: nullcontext()
    """Inputs -> context for `descend` and for derivatives of `numerator`."""


@cache
def subtraction(model: Model) -> CentredForm:
    """Form that trains the weights and subtracts the outputs of two networks."""

    def reference(w0: Parameters, x: Tensor) -> Reference:
        with torch.no_grad():
            return (model.forward(w0, x, None),)

    def numerator(
        weights: Parameters,
        _: Parameters,
        initial_values: Reference,
        x: Tensor,
        hidden: Hidden | None,
    ) -> Tensor:
        return model.forward(weights, x, hidden) - initial_values[0]

    return CentredForm(model, False, reference, numerator, model.descend)


@cache
def difference_form(model: Model) -> CentredForm:
    """Form that trains differences.

    Raises:
        KeyError: if the model has none.
    """
    if model.difference is None:
        raise KeyError("this model has no difference form")
    return CentredForm(model, True, *model.difference, model.descend)
