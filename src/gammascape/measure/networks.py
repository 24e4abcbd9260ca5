"""What a measurement of second order needs of some networks: outputs on probes that can be differentiated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gammascape.models import Parameters
from gammascape.models.centred import CentredForm
from gammascape.models.model import Reference

Losses = Callable[[Tensor, Tensor], Tensor]
"""(f (K, P, O), targets (P, O)) -> loss of each lane, a mean over the samples, (K,)."""

_ROW = 16
"""Flat vectors are filled up with zeros to a multiple of this: every lane's begins at a multiple of 64 bytes."""


@dataclass(frozen=True)
class Networks:
    """K networks at one moment of their training, and P probes with targets."""

    form: CentredForm
    trained: Parameters
    """name -> (K, ...): w, or w - w_0 where the form trains differences."""
    starts: Parameters
    """name -> (K, ...), w_0 for a form that trains differences; empty for one that does not."""
    gammas: Tensor
    """(K, 1, 1)."""
    reference: Reference
    """Tensors (K, ...), what the form keeps of the initial networks on the probes."""
    x: Tensor
    """(P, ...)."""
    y: Tensor
    """(P, O)."""
    losses: Losses

    @property
    def count(self) -> int:
        """K."""
        return len(self.gammas)

    @property
    def size(self) -> int:
        """Trained numbers of one network."""
        return sum(value[0].numel() for value in self.trained.values())

    def outputs(self, trained: Parameters) -> Tensor:
        """f of networks with these trained numbers, (K, P, O)."""
        f = self.form.numerator(trained, self.starts, self.reference, self.x, None)
        return f / self.gammas

    def first(self, probes: int) -> "Networks":
        """The same networks on the first probes alone."""
        kept = tuple(value[:, :probes].flatten(1, 2) for value in self.by_probe())
        return replace(self, reference=kept, x=self.x[:probes], y=self.y[:probes])

    def by_probe(self) -> Reference:
        """The reference with the probes as a dimension of their own, (K, P, places of one probe, ...)."""
        return tuple(torch.unflatten(value, 1, (len(self.x), -1)) for value in self.reference)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Compute attention as torch's plain operators do: its fast kernels cannot be differentiated twice."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield


def flat_size(size: int) -> int:
    """Length n of the flat vector of a network with `size` numbers."""
    return -(-size // _ROW) * _ROW


def flatten(values: list[Tensor]) -> Tensor:
    """Tensors (K, ...) side by side as one (K, n), with zeros at its end."""
    flat = torch.cat([value.flatten(1) for value in values], 1)
    return torch.nn.functional.pad(flat, (0, flat_size(flat.shape[1]) - flat.shape[1]))


def unflatten(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`."""
    sizes = [value[0].numel() for value in like]
    parts = torch.split(flat[:, : sum(sizes)], sizes, 1)
    return [part.reshape(value.shape) for part, value in zip(parts, like, strict=True)]
