"""The update step of SGD, for all lanes of a pack at once."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gammascape.models import Hidden, Parameters
from gammascape.models.centred import CentredForm, Reference
from gammascape.training.losses import lane_losses


class Given(NamedTuple):
    """What a step reads: constants of the lanes, and one batch."""

    starts: Parameters
    """name -> (K, ...), w_0 for a form that trains differences; empty for one that does not."""
    learning_rates: Tensor
    """(K,), N * eta of each lane."""
    gammas: Tensor
    """(K, 1, 1)."""
    reference: Reference
    """Tensors (S, ...), what the form keeps of the initial networks of S seeds on this batch."""
    x: Tensor
    """(B, ...)."""
    y: Tensor
    """(B, O)."""
    seed: Tensor | None = None
    """(K,), for each lane the place of its seed in `reference`; None if that has the lanes themselves."""

    def lane(self, k: int) -> "Given":
        """The same for lane k on its own, in copies."""
        one = slice(k, k + 1)
        own = one if self.seed is None else self.seed[one]
        return self._replace(
            starts=lane_of(self.starts, k),
            learning_rates=self.learning_rates[one],
            gammas=self.gammas[one],
            # A copy in either case: what is computed alone is aligned as every new tensor is.
            reference=tuple(value[own].clone() for value in self.reference),
            seed=None,
        )

    def references(self) -> Reference:
        """What the form keeps of the initial network of each lane: tensors (K, ...)."""
        if self.seed is None:
            return self.reference
        if all(len(value) == 1 for value in self.reference):
            return tuple(value.expand(len(self.seed), *value.shape[1:]) for value in self.reference)
        return tuple(value[self.seed] for value in self.reference)


class Step(Protocol):
    """One step of SGD for every lane."""

    def __call__(self, trained: Parameters, given: Given) -> Tensor:
        """Update what is trained in place.

        Args:
            trained: name -> (K, ...), contiguous; w, or w - w_0 where the form trains differences.

        Returns:
            (K,) losses before the update, on the device.
        """


def lane_of(parameters: Parameters, k: int) -> dict[str, Tensor]:
    """The numbers of lane k, in a copy: name -> (1, ...)."""
    return {name: value.detach()[k : k + 1].clone() for name, value in parameters.items()}


def sgd_step_of(form: CentredForm, loss: str) -> Step:
    """The step as torch's own operators compute it, all lanes together."""

    def by_hand(trained: Parameters, given: Given) -> Tensor:
        assert form.descend is not None
        with torch.no_grad():
            hidden: dict[str, Tensor] = {}
            f = outputs(form, trained, given, hidden)
            # w <- w - N eta dL/dw, where dL/dw = dL/df df~/dw / gamma.
            rates = given.learning_rates[:, None, None] / given.gammas
            signal = loss_gradient(loss, f, given.y) * rates
            form.descend(trained, given.starts, given.x, hidden, signal)
            return lane_losses(loss, f, given.y)

    def by_autograd(trained: Parameters, given: Given) -> Tensor:
        leaves = {name: value.detach().requires_grad_() for name, value in trained.items()}
        with torch.enable_grad():
            losses = lane_losses(loss, outputs(form, leaves, given), given.y)
            # A lane's learning rate multiplies its loss, so its gradient arrives scaled: w <- w - N eta dL/dw.
            # Lanes share no weights, so the sum over lanes only starts the backward pass.
            # A user's network may leave a weight out for some batches, as a mixture of experts does.
            scaled = torch.autograd.grad(
                (losses * given.learning_rates).sum(),
                list(leaves.values()),
                allow_unused=True,
                materialize_grads=True,
            )
        with torch.no_grad():
            for value, change in zip(trained.values(), scaled, strict=True):
                value -= change
        return losses.detach()

    return by_autograd if form.descend is None else by_hand


def outputs(
    form: CentredForm, trained: Parameters, given: Given, hidden: Hidden | None = None
) -> Tensor:
    """f = (f~(w) - f~(w_0)) / gamma on the batch, (K, B, O)."""
    # The gather is part of the step, and so of its graph: it takes one pass over the lanes.
    kept = given.references()
    return form.numerator(trained, given.starts, kept, given.x, hidden) / given.gammas


def loss_gradient(loss: str, f: Tensor, targets: Tensor) -> Tensor:
    """dL/df of `lane_losses`: f (K, B, O), targets (B, O) -> (K, B, O)."""
    if loss == "mse":
        return (f - targets) * (2.0 / targets.numel())
    # Targets sum to one for each sample.
    return (torch.softmax(f, -1) - targets) / len(targets)
