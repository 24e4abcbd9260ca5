"""Forms whose lanes have the same bits in any pack: not tied to other lanes, their place, or their number.

On the CPU this holds for every number of lanes from `least` on. Models with a hand-written `descend` (MLPs) take
all lanes in one batched product per layer, unless MKL multiplies matrices of odd sizes. For all others one lane
after another is computed: their feature maps fill the cache already, and what is computed alone cannot depend on
a neighbour.
"""

import math
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from gammascape.models import Hidden, Model, Parameters
from gammascape.models.centred import CentredForm
from gammascape.models.model import Reference
from gammascape.training.sgd import lane_of


@cache
def exact(form: CentredForm) -> CentredForm:
    """The form whose results have the bits that each lane would get alone, with `least` and `most` to match."""

    def reference(initial: Parameters, x: Tensor) -> Reference:
        if _together_is_exact(form.model, x):
            return form.reference(initial, x)
        # Of a single seed too: what is joined is contiguous, and products round by layout.
        kept = [form.reference(lane_of(initial, k), x) for k in range(_count(initial))]
        return tuple(torch.cat(several) for several in zip(*kept, strict=True))

    def numerator(
        trained: Parameters, starts: Parameters, kept: Reference, x: Tensor, hidden: Hidden | None
    ) -> Tensor:
        lanes = _count(trained)
        if lanes <= most(x):
            return form.numerator(trained, starts, kept, x, hidden)
        outputs: list[Tensor] = []
        layers: list[Hidden] = []
        for k in range(lanes):
            features: Hidden = {}
            own = tuple(value[k : k + 1].clone() for value in kept)
            lane, start = lane_of(trained, k), lane_of(starts, k)
            seen = None if hidden is None else features
            outputs.append(form.numerator(lane, start, own, x, seen))
            layers.append(features)
        if hidden is not None:
            for name in layers[0]:
                hidden[name] = torch.cat([features[name] for features in layers])
        return torch.cat(outputs)

    def most(x: Tensor) -> float:
        return math.inf if _together_is_exact(form.model, x) else 1

    # A batched product of a single small matrix (batch size times both sides up to 4096) rounds otherwise than
    # that of several; a lane alone is therefore computed beside a copy of itself.
    least = 1 if form.descend is None else 2
    return replace(form, reference=reference, numerator=numerator, least=least, most=most)


def _together_is_exact(model: Model, x: Tensor) -> bool:
    """Whether one batched computation on inputs x (B, ...) gives each lane the bits that it would get alone."""
    if x.device.type != "cpu":
        return True
    if model.descend is None:
        return False
    return not _multiplies_with_mkl(x.dtype) or _aligned(model, len(x), x.element_size())


def _multiplies_with_mkl(dtype: torch.dtype) -> bool:
    if dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest":
        return True
    # Precision "medium" asks for oneDNN, and torch takes it on CPUs with AVX-512 alone.
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def _aligned(model: Model, batch_size: int, itemsize: int) -> bool:
    """Whether in a pack every lane's matrices begin at a multiple of 64 bytes: MKL rounds by alignment."""
    shapes = [parameter.shape for parameter in model.parameters if len(parameter.shape) > 1]
    numbers = [n for shape in shapes for n in (math.prod(shape), batch_size * shape[0])]
    return all(n * itemsize % 64 == 0 for n in numbers)


def _count(parameters: Parameters) -> int:
    return len(next(iter(parameters.values())))
