"""Networks in a form for second-order measurements: differentiable outputs on probes."""

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

SMALL = 4096
"""Multiplications up to which torch leaves a batched product to MKL (`mkldnn_gemm_min_size` in its Matmul.cpp)."""
_ROW = 16
"""Flat vectors are padded with zeros to a multiple of this, so that each lane begins at a multiple of 64 bytes."""


@dataclass(frozen=True)
class Networks:
    """K networks at one moment of their training, and P probes with targets."""

    form: CentredForm
    trained: Parameters
    """Name -> (K, ...): w, or w - w_0 if the form trains differences."""
    starts: Parameters
    """Name -> (K, ...), w_0 for a form that trains differences; empty for other forms."""
    gammas: Tensor
    """(K, 1, 1)."""
    reference: Reference
    """Reference tensors (K, ...) of the initial networks on the probes."""
    x: Tensor
    """(P, ...)."""
    y: Tensor
    """(P, O)."""
    losses: Losses

    @property
    def count(self) -> int:
        """Number of networks K."""
        return len(self.gammas)

    @property
    def size(self) -> int:
        """Number of trained parameters of one network."""
        return sum(value[0].numel() for value in self.trained.values())

    def outputs(self, trained: Parameters) -> Tensor:
        """Outputs f of networks with these trained tensors, (K, P, O)."""
        f = self.form.numerator(trained, self.starts, self.reference, self.x, None)
        return f / self.gammas

    def first(self, probes: int) -> "Networks":
        """Same networks with only the first probes."""
        kept = tuple(value[:, :probes].flatten(1, 2) for value in self.by_probe())
        return replace(self, reference=kept, x=self.x[:probes], y=self.y[:probes])

    def by_probe(self) -> Reference:
        """Reference with the probes as a separate dimension, (K, P, places of one probe, ...)."""
        return tuple(torch.unflatten(value, 1, (len(self.x), -1)) for value in self.reference)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Compute attention by torch's plain operators: its fast kernels cannot be differentiated twice."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def plain_products() -> Iterator[None]:
    """Multiply float32 matrices on the CPU by MKL, also in a process that set the precision "medium".

    There torch multiplies batches by oneDNN if they take more than SMALL multiplications in all, and by MKL else,
    so that rounding would depend on the number of lanes.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def flat_size(size: int) -> int:
    """Length n of the flat vector of a network with `size` numbers."""
    return -(-size // _ROW) * _ROW


def flatten(values: list[Tensor]) -> Tensor:
    """Join tensors (K, ...) to one of shape (K, n), padded with zeros."""
    flat = torch.cat([value.flatten(1) for value in values], 1)
    return torch.nn.functional.pad(flat, (0, flat_size(flat.shape[1]) - flat.shape[1]))


def unflatten(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`."""
    sizes = [value[0].numel() for value in like]
    parts = torch.split(flat[:, : sum(sizes)], sizes, 1)
    return [part.reshape(value.shape) for part, value in zip(parts, like, strict=True)]
