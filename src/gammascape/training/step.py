"""The update step of SGD, for all lanes of a pack at once."""

import torch
from torch import Tensor

from gammascape.models import Model, Parameters
from gammascape.training.losses import lane_losses


def sgd_step(
    model: Model,
    loss: str,
    parameters: Parameters,
    learning_rates: Tensor,
    gammas: Tensor,
    f_initial: Tensor,
    x: Tensor,
    y: Tensor,
) -> Tensor:
    """One step of SGD for every lane, in place.

    Args:
        parameters: name -> (K, ...), updated.
        learning_rates: (K,), N * eta of each lane.
        gammas: (K, 1, 1).
        f_initial: (K, B, O), outputs f~ of the initial networks on this batch.
        x: (B, ...).
        y: (B, O).

    Returns:
        (K,) losses before the update.
    """
    leaves = list(parameters.values())
    f = (model.forward(parameters, x, None) - f_initial) / gammas
    losses = lane_losses(loss, f, y)
    # The learning rate of a lane multiplies its loss, so its gradient arrives scaled: w <- w - N eta dL/dw.
    # Lanes share no weights, so the sum over lanes only starts the backward pass.
    gradients = torch.autograd.grad((losses * learning_rates).sum(), leaves)
    with torch.no_grad():
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf -= gradient
    return losses.detach()
