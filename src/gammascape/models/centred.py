"""The numerator of f = (f~(w) - f~(w_0)) / gamma, and what is trained to move it.

By subtraction the weights w are trained and two outputs are subtracted. `difference` has the form that trains
w - w_0 and never subtracts what is nearly equal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from gammascape.models.model import Hidden, Model, Parameters

Reference = tuple[Tensor, ...]
"""What a form needs of the initial networks on a batch; the first dimension of each tensor is the network.

The second runs over the samples, each of which may take several places of it one after another."""


@dataclass(frozen=True, eq=False)
class CentredForm:
    """One way to compute f~(w) - f~(w_0) of one model, with lanes K, samples B and outputs O.

    A reference depends on the seed and the batch alone: it is computed once for each seed, and its tensors are
    indexed to get that of every lane.
    """

    model: Model

    trains_difference: bool
    """Whether the trained numbers d are w - w_0 and begin at zero. If not, d = w, and `starts` below is empty."""

    reference: Callable[[Parameters, Tensor], Reference]
    """(w_0 of S seeds, x (B, ...)) -> tensors (S, ...), without gradient."""

    numerator: Callable[[Parameters, Parameters, Reference, Tensor, Hidden | None], Tensor]
    """(d (K, ...), starts w_0 (K, ...), reference (K, ...), x (B, ...), hidden) -> f~(w) - f~(w_0), (K, B, O).

    `hidden` is filled with the hidden layers at w."""

    descend: Callable[[Parameters, Parameters, Tensor, Hidden, Tensor], None] | None = None
    """(d, starts, x, hidden, s (K, B, O)): subtract sum_bo s_bo df~_bo/dw from d in place, after `numerator` has
    filled `hidden`. None: autograd differentiates `numerator`."""


@cache
def subtraction(model: Model) -> CentredForm:
    """The weights are trained, and the outputs of two networks are subtracted."""

    def reference(w0: Parameters, x: Tensor) -> Reference:
        with torch.no_grad():
            return (model.forward(w0, x, None),)

    def numerator(
        weights: Parameters, _: Parameters, kept: Reference, x: Tensor, hidden: Hidden | None
    ) -> Tensor:
        return model.forward(weights, x, hidden) - kept[0]

    by_hand = model.descend
    if by_hand is None:
        return CentredForm(model, False, reference, numerator)

    def descend(
        weights: Parameters, _: Parameters, x: Tensor, hidden: Hidden, signal: Tensor
    ) -> None:
        by_hand(weights, x, hidden, signal)

    return CentredForm(model, False, reference, numerator, descend)
