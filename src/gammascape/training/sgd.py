"""THE UPDATE STEP of SGD, for all lanes of a pack at once: w <- w - N eta dL/dw."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gammascape.models import Hidden, Parameters
from gammascape.models.centred import CentredForm
from gammascape.models.model import Reference
from gammascape.training.losses import lane_losses


class StepInputs(NamedTuple):
    """Inputs of a step: constants of the lanes, and one batch."""

    starts: Parameters
    """Name -> (K, ...), w_0 for a form that trains differences; empty for other forms."""
    learning_rates: Tensor
    """(K,), N * eta of each lane."""
    gammas: Tensor
    """(K, 1, 1)."""
    reference: Reference
    """Reference tensors (S, ...) of the initial networks of S seeds on this batch."""
    x: Tensor
    """(B, ...)."""
    y: Tensor
    """(B, O)."""
    seed: Tensor | None = None
    """(K,), index of each lane's seed in `reference`; None if `reference` is indexed by lane."""

    def references(self) -> Reference:
        """Reference tensors (K, ...) of the initial network of each lane."""
        if self.seed is None:
            return self.reference
        if all(len(value) == 1 for value in self.reference):
            return tuple(value.expand(len(self.seed), *value.shape[1:]) for value in self.reference)
        return tuple(value[self.seed] for value in self.reference)


class Step(Protocol):
    """One step of SGD for every lane."""

    def __call__(self, trained: Parameters, inputs: StepInputs) -> Tensor:
        """Update the trained tensors in place; return losses (K,) before the update, on the device.

        `trained` maps names to contiguous tensors (K, ...): w, or w - w_0 if the form trains differences.
        """


Scaled = Callable[[Parameters, StepInputs], tuple[Tensor, Tensor]]
"""-> sum over lanes of N eta L, whose gradient is the update of each lane, and the losses (K,).

Lanes share no weights, so their sum serves only to start the backward pass."""

Differentiate = Callable[[Scaled], Callable[[Parameters, StepInputs], tuple[Parameters, Tensor]]]
"""-> (changes, losses)."""


def sgd_step_of(form: CentredForm, loss: str) -> Step:
    """Step computed by torch's own operators, all lanes together."""
    return torch.no_grad()(descent(form, loss, _backward))


def descent(form: CentredForm, loss: str, differentiate: Differentiate) -> Step:
    """Step of a form, with its hand-written gradient if it has one; call it without gradients."""

    def scaled(trained: Parameters, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        losses = lane_losses(loss, outputs(form, trained, inputs), inputs.y)
        return (losses * inputs.learning_rates).sum(), losses

    gradient = differentiate(scaled)

    def step(trained: Parameters, inputs: StepInputs) -> Tensor:
        if form.descend is None:
            changes, losses = gradient(trained, inputs)
            for name, value in trained.items():
                value -= changes[name]
            return losses
        # The same update, fused with the products that give the gradient: one pass less over the weights.
        hidden: Hidden = {}
        f = outputs(form, trained, inputs, hidden)
        # dL/dw = dL/df df~/dw / gamma.
        rates = inputs.learning_rates[:, None, None] / inputs.gammas
        signal = loss_gradient(loss, f, inputs.y) * rates
        form.descend(trained, inputs.starts, inputs.x, hidden, signal)
        return lane_losses(loss, f, inputs.y)

    return step


def _backward(scaled: Scaled) -> Callable[[Parameters, StepInputs], tuple[Parameters, Tensor]]:
    """Gradient by autograd."""

    def gradient(trained: Parameters, inputs: StepInputs) -> tuple[Parameters, Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in trained.items()}
        with torch.enable_grad():
            total, losses = scaled(leaves, inputs)
            # A user's network may not use a weight for some batches, as in a mixture of experts.
            changes = torch.autograd.grad(
                total, list(leaves.values()), allow_unused=True, materialize_grads=True
            )
        return dict(zip(leaves, changes, strict=True)), losses.detach()

    return gradient


def outputs(
    form: CentredForm, trained: Parameters, inputs: StepInputs, hidden: Hidden | None = None
) -> Tensor:
    """Outputs f = (f~(w) - f~(w_0)) / gamma on the batch, (K, B, O)."""
    # The gather is part of the step, and thus of its CUDA graph: one pass over the lanes.
    kept = inputs.references()
    return form.numerator(trained, inputs.starts, kept, inputs.x, hidden) / inputs.gammas


def loss_gradient(loss: str, f: Tensor, targets: Tensor) -> Tensor:
    """Gradient dL/df of `lane_losses`: f (K, B, O), targets (B, O) -> (K, B, O)."""
    if loss == "mse":
        return (f - targets) * (2.0 / targets.numel())
    # The targets of each sample sum to one.
    return (torch.softmax(f, -1) - targets) / len(targets)
