"""Singular values of weights, and their effective rank."""

import torch
from torch import Tensor

from gammascape.models import Model, Parameters


def weight_matrices(model: Model, weights: Parameters) -> dict[str, Tensor]:
    """Layers' weights as matrices, float64: name -> (K, outputs, inputs).

    Only random weights with two dimensions or more are included; the filters of a convolution are its rows.
    """
    return {
        parameter.name: weights[parameter.name].double().flatten(2)
        for parameter in model.parameters
        if parameter.initial == "normal" and len(parameter.shape) > 1
    }


def singular_values(matrix: Tensor) -> Tensor:
    """Singular values, largest first: (K, m, n) -> (K, min(m, n)); NaN for a matrix that is not finite."""
    finite = torch.isfinite(matrix).flatten(1).all(1)
    safe = torch.where(finite[:, None, None], matrix, 0.0)
    # One by one, so that no lane's rounding depends on its place.
    found = torch.stack([torch.linalg.svdvals(one.clone()) for one in safe])
    return torch.where(finite[:, None], found, torch.nan)


def effective_rank(values: Tensor) -> Tensor:
    """Exponential of the entropy of singular values scaled to sum 1: (K, r) -> (K,); NaN if all are 0.

    O. Roy, M. Vetterli, "The effective rank", EUSIPCO 2007.
    """
    shares = values / values.sum(1, keepdim=True)
    return torch.exp(-torch.xlogy(shares, shares).sum(1))
