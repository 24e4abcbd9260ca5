"""Forms whose lanes have the same bits in any pack, independent of other lanes, their place and their number.

On the CPU this holds for every number of lanes from `least` on. Models with a hand-written `descend` (MLPs) take
all lanes in one batched product per layer, unless MKL multiplies matrices of odd sizes. All other models compute
one lane after another: one lane's feature maps fill the cache already, and a lane computed alone cannot depend on
its neighbours. Tensors of lanes are new ones or copies, which are aligned alike: rounding in MKL depends on that.
On a GPU all lanes are computed together, with last digits that may depend on the pack.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from gammascape.measure.networks import SMALL, plain_products
from gammascape.models import Hidden, Model, Parameters
from gammascape.models.centred import CentredForm
from gammascape.models.model import Reference
from gammascape.training.sgd import Step, StepInputs

_LEAST = 2
"""Smallest number of lanes of a form with a hand-written gradient."""


@cache
def exact(form: CentredForm) -> CentredForm:
    """Form whose results have the bits that each lane would get alone, with matching `least` and `most`."""

    def reference(initial: Parameters, x: Tensor) -> Reference:
        if _together_is_exact(form.model, x):
            with products(x):
                return form.reference(initial, x)
        # A single seed is joined too: that makes it contiguous, and the rounding of products depends on layout.
        kept = [form.reference(lane_of(initial, k), x) for k in range(_count(initial))]
        return tuple(torch.cat(several) for several in zip(*kept, strict=True))

    def numerator(
        trained: Parameters,
        starts: Parameters,
        initial_values: Reference,
        x: Tensor,
        hidden: Hidden | None,
    ) -> Tensor:
        lanes = _count(trained)
        if lanes <= most(x):
            with products(x):
                return form.numerator(trained, starts, initial_values, x, hidden)
        outputs: list[Tensor] = []
        layers: list[Hidden] = []
        for k in range(lanes):
            features: Hidden = {}
            own = tuple(value[k : k + 1].clone() for value in initial_values)
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

    def products(x: Tensor) -> AbstractContextManager[None]:
        return plain_products() if _are_small(form.model, x) else nullcontext()

    # A batched product of a single small matrix rounds differently from a product of several; a lane alone is
    # therefore computed together with a copy of itself.
    least = 1 if form.descend is None else _LEAST
    same = replace(form, reference=reference, numerator=numerator, least=least)
    return replace(same, most=most, products=products)


class ExactStep:
    """Step in which each lane gets the bits that it would get alone."""

    def __init__(self, form: CentredForm, step: Step) -> None:
        self._form, self._step = exact(form), step

    @property
    def fallback(self) -> str | None:
        """Reason for computing steps eagerly, if they are."""
        return getattr(self._step, "fallback", None)

    def __call__(self, trained: Parameters, inputs: StepInputs) -> Tensor:
        if self._form.most(inputs.x) > 1:
            with self._form.products(inputs.x):
                return self._step(trained, inputs)
        losses = []
        for k in range(_count(trained)):
            lane = lane_of(trained, k)
            losses.append(self._step(lane, inputs_of_lane(inputs, k)))
            for name, value in lane.items():
                trained[name].detach()[k : k + 1].copy_(value)
        return torch.cat(losses)


def each_lane(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Values of a function of tensors (K, ...) whose lanes it does not mix."""
    if lanes_together(tensors[0]) > 1:
        return function(*tensors)
    own = (tuple(one[None].clone() for one in lane) for lane in zip(*tensors, strict=True))
    return torch.cat([function(*lane) for lane in own])


def lanes_together(x: Tensor) -> float:
    """Largest number of lanes to compute in one call of a function other than a form's."""
    return 1 if x.device.type == "cpu" else math.inf


def lane_of(parameters: Parameters, k: int) -> dict[str, Tensor]:
    """Copy of the tensors of lane k: name -> (1, ...)."""
    return {name: value.detach()[k : k + 1].clone() for name, value in parameters.items()}


def inputs_of_lane(inputs: StepInputs, k: int) -> StepInputs:
    """Inputs of lane k alone, in copies."""
    one = slice(k, k + 1)
    own = one if inputs.seed is None else inputs.seed[one]
    return inputs._replace(
        starts=lane_of(inputs.starts, k),
        learning_rates=inputs.learning_rates[one],
        gammas=inputs.gammas[one],
        # Only an index by a tensor makes a copy by itself.
        reference=tuple(value[own].clone() for value in inputs.reference),
        seed=None,
    )


def _are_small(model: Model, x: Tensor) -> bool:
    """Return whether a product of `_LEAST` lanes is too small for oneDNN, so that MKL is to compute any number."""
    if model.descend is None or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    return _LEAST * len(x) * _smallest_matrix(model) <= SMALL


@cache
def _smallest_matrix(model: Model) -> int:
    return min(math.prod(p.shape) for p in model.parameters if len(p.shape) > 1)


def _together_is_exact(model: Model, x: Tensor) -> bool:
    """Return whether one batched computation on inputs x (B, ...) gives each lane the bits it would get alone."""
    if x.device.type != "cpu":
        return True
    if model.descend is None:
        return False
    mkl = _are_small(model, x) or _multiplies_with_mkl(x.dtype)
    return not mkl or _aligned(model, len(x), x.element_size())


def _multiplies_with_mkl(dtype: torch.dtype) -> bool:
    if dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest":
        return True
    # Precision "medium" asks for oneDNN, which torch uses only on CPUs with AVX-512.
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def _aligned(model: Model, batch_size: int, itemsize: int) -> bool:
    """Return whether all lanes' matrices begin at a multiple of 64 bytes, which MKL's rounding depends on."""
    shapes = [parameter.shape for parameter in model.parameters if len(parameter.shape) > 1]
    numbers = [n for shape in shapes for n in (math.prod(shape), batch_size * shape[0])]
    return all(n * itemsize % 64 == 0 for n in numbers)


def _count(parameters: Parameters) -> int:
    return len(next(iter(parameters.values())))
