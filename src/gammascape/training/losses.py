"""Loss functions for each lane. Training and test losses use the same reduction."""

import torch
from torch import Tensor


def lane_losses(loss: str, f: Tensor, targets: Tensor) -> Tensor:
    """Loss of each lane, mean over the batch.

    Args:
        loss: "mse": mean over samples and outputs of (f - y)^2, without a factor 1/2.
            "xent": softmax cross-entropy in nats.
        f: outputs (K, B, O).
        targets: (B, O), one-hot for classification, or shares of classes.

    Returns:
        (K,).
    """
    if loss == "mse":
        return (f - targets).square().mean((1, 2))
    return -(torch.log_softmax(f, -1) * targets).sum(-1).mean(1)


def zero_losses(loss: str, targets: Tensor) -> Tensor:
    """Loss of the predictor f = 0 on each of several batches: targets (n, B, O) -> (n,).

    Every centred network starts at this loss: 1/O for one-hot MSE, less for shares of classes, ln O for
    cross-entropy.
    """
    if loss == "mse":
        return targets.square().mean((1, 2))
    classes = torch.tensor(float(targets.shape[-1]), dtype=targets.dtype, device=targets.device)
    return torch.log(classes).expand(len(targets))


def accuracy(f: Tensor, targets: Tensor) -> Tensor:
    """Share of samples whose largest output is the target class: f (K, B, O) -> (K,)."""
    return (f.argmax(-1) == targets.argmax(-1)).double().mean(1)
