"""How a step of SGD is computed: by which backend, how many lanes at a time, and with the same bits in any pack.

A lane's result must not depend on its pack: not on the other lanes, its place among them, or their number.
On the CPU this holds for every number of lanes from `least_lanes` on. Models with a hand-written `descend`
(MLPs) take all lanes in one batched product per layer, unless MKL multiplies matrices of odd sizes. For all others
one lane after another is computed: their feature maps fill the cache already, and what is computed alone cannot
depend on a neighbour.
"""

import math
import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from gammascape.models import Hidden, Model, Parameters
from gammascape.models.centred import CentredForm, Reference
from gammascape.training.accelerated import Graph, compile_errors, compiled
from gammascape.training.failures import one_line
from gammascape.training.sgd import Given, Step, lane_of, sgd_step_of

Backend = Literal["eager", "compile", "graph"]

COMPILED_KINDS = ("cnn", "vit")
"""Models that gain: some 1.6 and 1.25 times. A ResNet is nearly all convolutions and loses a little."""

COMPILE_FROM_STEPS = 2000
"""Compiling takes some 30 s and saves 4 to 8 ms for each step of a lane: a pack of 8 lanes has it back after some
800 steps, a lane on its own after some 6000."""

_CACHE_BYTES = 12_000_000
_LEAST_LANES, _MOST_LANES = 8, 32
_ONE_AT_A_TIME_LANES = 8


def make_step(form: CentredForm, loss: str, backend: Backend) -> Step:
    """The step of a model in one form: one object for each process, so that nothing is compiled twice.

    backend: "eager"; "compile" (CPU), which warns and goes on eagerly where compiling fails; "graph" (CUDA).
    """
    return _make_step(form, loss, backend)


@cache
def _make_step(form: CentredForm, loss: str, backend: Backend) -> Step:
    if backend == "graph":
        return Graph(sgd_step_of(form, loss))
    if form.descend is not None:
        return _together_where_exact(form.model, sgd_step_of(form, loss))
    return _OneLaneAtATime(
        compiled(form, loss) if backend == "compile" else sgd_step_of(form, loss),
        sgd_step_of(form, loss),
    )


def choose_backend(record: Mapping[str, Any], model: Model, device: torch.device) -> Backend:
    """How to compute a cell's steps: a function of the cell and the machine, never of the pack.

    Hand-written steps spend some 90 % of their time in matrix products on the CPU, which compiling leaves as
    they are.
    """
    if device.type == "cuda":
        # What cannot be batched may look at its numbers, which a graph cannot.
        return "graph" if model.batched else "eager"
    if (
        record["model"]["kind"] in COMPILED_KINDS
        and record["dtype"] == "float32"
        and int(record["steps"]) >= COMPILE_FROM_STEPS
        and has_compiler()
    ):
        return "compile"
    return "eager"


def has_compiler() -> bool:
    """Whether the C++ compiler that torch would call is there."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX", usual)) is not None


def cpu_lanes(model: Model, batch_size: int) -> int:
    """Lanes of a pack on the CPU.

    Many lanes share overhead, batches and the evaluation of f~(w_0), and few stay in the cache. For an MLP the
    memory of all lanes' weights and of one layer's outputs on a batch is kept near a core's share of the L3 cache,
    where the measured rates are flat. Other models compute one lane at a time.
    """
    if model.descend is None:
        return _ONE_AT_A_TIME_LANES
    weights = sum(math.prod(parameter.shape) for parameter in model.parameters)
    numbers = weights + batch_size * model.base_width
    return max(_LEAST_LANES, min(_MOST_LANES, _CACHE_BYTES // (4 * numbers)))


def least_lanes(model: Model) -> int:
    """The least number of lanes to compute on the CPU.

    A batched product of a single small matrix (batch size times both sides up to 4096) rounds otherwise than that
    of several; a lane alone is therefore computed beside a copy of itself.
    """
    return 1 if model.descend is None else 2


def _together_where_exact(model: Model, step: Step) -> Step:
    alone = _OneLaneAtATime(step, step)

    def run(trained: Parameters, given: Given) -> Tensor:
        return (step if together_is_exact(model, given.x) else alone)(trained, given)

    return run


def together_is_exact(model: Model, x: Tensor) -> bool:
    """Whether one batched computation on inputs x (B, ...) gives each lane the bits that it would get alone."""
    if x.device.type != "cpu":
        return True
    if model.descend is None:
        return False
    return not _multiplies_with_mkl(x.dtype) or _aligned(model, len(x), x.element_size())


def references(form: CentredForm, initial: Parameters, x: Tensor) -> Reference:
    """What the form keeps of each initial network on inputs x (B, ...), with the bits that it would get alone."""
    if together_is_exact(form.model, x):
        return form.reference(initial, x)
    kept = [form.reference(lane_of(initial, k), x) for k in range(_count(initial))]
    return tuple(torch.cat(several) for several in zip(*kept, strict=True))


def numerators(
    form: CentredForm,
    trained: Parameters,
    starts: Parameters,
    reference: Reference,
    x: Tensor,
    hidden: Hidden | None = None,
) -> Tensor:
    """f~(w) - f~(w_0) of all lanes on inputs x (B, ...), with the bits that each would get alone: (K, B, O)."""
    with torch.no_grad():
        if together_is_exact(form.model, x):
            return form.numerator(trained, starts, reference, x, hidden)
        outputs, layers = [], []
        for k in range(_count(trained)):
            features: Hidden = {}
            found = None if hidden is None else features
            lane, start = lane_of(trained, k), lane_of(starts, k)
            kept = tuple(value[k : k + 1].clone() for value in reference)
            outputs.append(form.numerator(lane, start, kept, x, found))
            layers.append(features)
        if hidden is not None:
            for name in layers[0]:
                hidden[name] = torch.cat([features[name] for features in layers])
        return torch.cat(outputs)


def _count(parameters: Parameters) -> int:
    return len(next(iter(parameters.values())))


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


class _OneLaneAtATime:
    """A step that computes one lane after another on the CPU; where compiling it fails, by `eager`."""

    def __init__(self, step: Step, eager: Step) -> None:
        self._step, self._eager = step, eager
        self.fallback: str | None = None

    def __call__(self, trained: Parameters, given: Given) -> Tensor:
        if given.x.device.type != "cpu":
            return self._eager(trained, given)
        losses = []
        for k in range(len(given.learning_rates)):
            # A copy is aligned as every new tensor is. Weights in the middle of the pack need not be, and MKL
            # rounds by alignment.
            lane, alone = lane_of(trained, k), given.lane(k)
            try:
                losses.append(self._step(lane, alone))
            except compile_errors() as error:
                self.fallback = f"eager, as torch.compile failed: {one_line(error)}"
                warnings.warn(f"steps are computed {self.fallback}", RuntimeWarning, stacklevel=2)
                self._step = self._eager
                losses.append(self._step(lane, alone))
            for name, value in lane.items():
                trained[name].detach()[k : k + 1].copy_(value)
        return torch.cat(losses)
