"""Hidden layers on the probe set, and weights: Gram matrices, active units, weight movement."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gammascape.models import Model, Parameters


def pack_triangle(gram: Tensor) -> Tensor:
    """Upper triangle with the diagonal, row by row: (P, P) -> (P (P + 1) / 2,)."""
    row, column = torch.triu_indices(*gram.shape, device=gram.device)
    return gram[row, column]


def active_fraction(hidden: Mapping[str, Tensor]) -> Tensor:
    """Smallest share over hidden layers (K, P, n) of units whose output differs between probes: (K,).

    A ReLU unit that is off for every probe is dead; a network with a layer of dead units is constant (0).
    """
    shares = [(features != features[:, :1]).any(1).double().mean(1) for features in hidden.values()]
    return torch.stack(shares).amin(0)


def relative_change(
    model: Model, now: Parameters, before: Parameters | None, initial: Parameters
) -> dict[str, Tensor]:
    """Norm ratio |now - before| / |initial| (Frobenius) of each weight tensor: name -> (K,); None means 0."""
    changes = {}
    for parameter in model.parameters:
        if parameter.initial == "normal":
            moved = now[parameter.name].double().flatten(1)
            if before is not None:
                moved = moved - before[parameter.name].double().flatten(1)
            size = initial[parameter.name].double().flatten(1).norm(dim=1)
            changes[parameter.name] = moved.norm(dim=1) / size
    return changes
