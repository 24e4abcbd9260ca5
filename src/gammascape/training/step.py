"""The update step of SGD, for all lanes of a pack at once, and the ways to compute it.

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
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gammascape.models import Hidden, Model, Parameters
from gammascape.models.centred import CentredForm, Reference
from gammascape.training.losses import lane_losses

Backend = Literal["eager", "compile", "graph"]

LANE_BUCKETS = (2, 8, 32, 128, 512, 2048)
"""Numbers of lanes that backend "graph" is used with: cuBLAS and cuDNN choose their algorithms by shape, so a
lane keeps its bits only within one number. Packs are filled up with copies of a lane."""

COMPILED_KINDS = ("cnn", "vit")
"""Models that gain: some 1.6 and 1.25 times. A ResNet is nearly all convolutions and loses a little."""

COMPILE_FROM_STEPS = 2000
"""Compiling takes some 30 s and saves 4 to 8 ms for each step of a lane: a pack of 8 lanes has it back after some
800 steps, a lane on its own after some 6000."""

_CACHE_BYTES = 12_000_000
_LEAST_LANES, _MOST_LANES = 8, 32
_ONE_AT_A_TIME_LANES = 8


class Step(Protocol):
    """One step of SGD for every lane."""

    def __call__(
        self,
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        """Update what is trained in place.

        Args:
            trained: name -> (K, ...), contiguous; w, or w - w_0 where the form trains differences.
            starts: name -> (K, ...), w_0 for a form that trains differences, empty for one that does not.
            learning_rates: (K,), N * eta of each lane.
            gammas: (K, 1, 1).
            reference: tensors (K, ...), what the form keeps of the initial networks on this batch.
            x: (B, ...).
            y: (B, O).

        Returns:
            (K,) losses before the update, on the device.
        """


def make_step(form: CentredForm, loss: str, backend: Backend) -> Step:
    """The step of a model in one form: one object for each process, so that nothing is compiled twice.

    backend: "eager"; "compile" (CPU), which warns and goes on eagerly where compiling fails; "graph" (CUDA).
    """
    return _make_step(form, loss, backend)


@cache
def _make_step(form: CentredForm, loss: str, backend: Backend) -> Step:
    if backend == "graph":
        return _Graph(sgd_step_of(form, loss))
    if form.descend is not None:
        return _together_where_exact(form.model, sgd_step_of(form, loss))
    return _one_lane_at_a_time(
        _compiled(form, loss) if backend == "compile" else sgd_step_of(form, loss),
        sgd_step_of(form, loss),
    )


def choose_backend(record: Mapping[str, Any], model: Model, device: torch.device) -> Backend:
    """How to compute a cell's steps: a function of the cell and the machine, never of the pack.

    Hand-written steps spend some 90 % of their time in matrix products on the CPU, which compiling leaves as
    they are.
    """
    if device.type == "cuda":
        return "graph"
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


def sgd_step_of(form: CentredForm, loss: str) -> Step:
    """The step as torch's own operators compute it, all lanes together."""

    def by_hand(
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        assert form.descend is not None
        with torch.no_grad():
            hidden: dict[str, Tensor] = {}
            f = form.numerator(trained, starts, reference, x, hidden) / gammas
            # w <- w - N eta dL/dw, where dL/dw = dL/df df~/dw / gamma.
            rates = learning_rates[:, None, None] / gammas
            form.descend(trained, starts, x, hidden, loss_gradient(loss, f, y) * rates)
            return lane_losses(loss, f, y)

    def by_autograd(
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        leaves = {name: value.detach().requires_grad_() for name, value in trained.items()}
        with torch.enable_grad():
            f = form.numerator(leaves, starts, reference, x, None) / gammas
            losses = lane_losses(loss, f, y)
            # A lane's learning rate multiplies its loss, so its gradient arrives scaled: w <- w - N eta dL/dw.
            # Lanes share no weights, so the sum over lanes only starts the backward pass.
            scaled = torch.autograd.grad((losses * learning_rates).sum(), list(leaves.values()))
        with torch.no_grad():
            for value, change in zip(trained.values(), scaled, strict=True):
                value -= change
        return losses.detach()

    return by_autograd if form.descend is None else by_hand


def loss_gradient(loss: str, f: Tensor, targets: Tensor) -> Tensor:
    """dL/df of `lane_losses`: f (K, B, O), targets (B, O) -> (K, B, O)."""
    if loss == "mse":
        return (f - targets) * (2.0 / targets.numel())
    # Targets sum to one for each sample.
    return (torch.softmax(f, -1) - targets) / len(targets)


def _together_where_exact(model: Model, step: Step) -> Step:
    alone = _one_lane_at_a_time(step, step)

    def run(
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        chosen = step if together_is_exact(model, x) else alone
        return chosen(trained, starts, learning_rates, gammas, reference, x, y)

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
    kept = [form.reference(_lane(initial, k), x) for k in range(_count(initial))]
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
            lane, start = _lane(trained, k), _lane(starts, k)
            kept = tuple(value[k : k + 1].clone() for value in reference)
            found = None if hidden is None else features
            outputs.append(form.numerator(lane, start, kept, x, found))
            layers.append(features)
        if hidden is not None:
            for name in layers[0]:
                hidden[name] = torch.cat([features[name] for features in layers])
        return torch.cat(outputs)


def _count(parameters: Parameters) -> int:
    return len(next(iter(parameters.values())))


def _lane(parameters: Parameters, k: int) -> dict[str, Tensor]:
    return {name: value[k : k + 1].clone() for name, value in parameters.items()}


def _multiplies_with_mkl(dtype: torch.dtype) -> bool:
    return dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"


@cache
def _aligned(model: Model, batch_size: int, itemsize: int) -> bool:
    """Whether in a pack every lane's matrices begin at a multiple of 64 bytes: MKL rounds by alignment."""
    shapes = [parameter.shape for parameter in model.parameters if len(parameter.shape) > 1]
    numbers = [n for shape in shapes for n in (math.prod(shape), batch_size * shape[0])]
    return all(n * itemsize % 64 == 0 for n in numbers)


def _one_lane_at_a_time(step: Step, fallback: Step) -> Step:
    def run(
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        nonlocal step
        if x.device.type != "cpu":
            return fallback(trained, starts, learning_rates, gammas, reference, x, y)
        losses = []
        for k in range(len(learning_rates)):
            one = slice(k, k + 1)
            views = [value.detach()[one] for value in trained.values()]
            # A copy is aligned as every new tensor is. Weights in the middle of the pack need not be, and MKL
            # rounds by alignment.
            lane = {name: view.clone() for name, view in zip(trained, views, strict=True)}
            start = {name: value[one].clone() for name, value in starts.items()}
            kept = tuple(value[one].clone() for value in reference)
            constants = start, learning_rates[one], gammas[one], kept
            try:
                losses.append(step(lane, *constants, x, y))
            except _compile_errors() as error:
                warnings.warn(
                    f"torch.compile failed, steps are computed without it: {str(error)[:500]}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                step = fallback
                losses.append(step(lane, *constants, x, y))
            for view, value in zip(views, lane.values(), strict=True):
                view.copy_(value)
        return torch.cat(losses)

    return run


def _compile_errors() -> tuple[type[Exception], ...]:
    # The compiler is imported with the first compiled step only: it takes as long as torch itself.
    if "torch._dynamo" not in sys.modules:
        return ()
    return (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError)


def _compiled(form: CentredForm, loss: str) -> Step:
    import torch._dynamo
    import torch._inductor.exc

    # Counted over all models, batch sizes and dtypes of the process, each of which is compiled once.
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.accumulated_recompile_limit = 1024

    def scaled_loss(
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> tuple[Tensor, Tensor]:
        f = form.numerator(trained, starts, reference, x, None) / gammas
        losses = lane_losses(loss, f, y)
        return (losses * learning_rates).sum(), losses

    differentiate = torch.func.grad_and_value(scaled_loss, has_aux=True)

    def step(
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        losses: Tensor
        changes, (_, losses) = differentiate(
            trained, starts, learning_rates, gammas, reference, x, y
        )
        for name, value in trained.items():
            value.sub_(changes[name])
        return losses

    compiled: Callable[..., Tensor] = torch.compile(step, fullgraph=True, dynamic=False)

    def run(
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        with torch.no_grad():
            return compiled(trained, starts, learning_rates, gammas, reference, x, y)

    return run


class _Graph:
    """A step captured as a CUDA graph: one launch in place of dozens.

    A graph reads and writes fixed addresses: batches are copied into buffers of its own, weights are updated where
    they lie, and a pack with other weights is captured anew.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._key: tuple[Any, ...] = ()

    def __call__(
        self,
        trained: Parameters,
        starts: Parameters,
        learning_rates: Tensor,
        gammas: Tensor,
        reference: Reference,
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        inputs = (learning_rates, gammas, x, y, *reference)
        fixed = (*trained.values(), *starts.values())
        key = (
            *(value.data_ptr() for value in fixed),
            *((value.shape, value.dtype) for value in (*fixed, *inputs)),
        )
        if key != self._key:
            self._capture(trained, starts, inputs)
            self._key = key
        for buffer, value in zip(self._inputs, inputs, strict=True):
            buffer.copy_(value)
        self._graph.replay()
        return self._losses.clone()

    def _capture(self, trained: Parameters, starts: Parameters, inputs: tuple[Tensor, ...]) -> None:
        # The graph holds the weights' memory, or another tensor could come to lie at the same address.
        self._fixed = trained, starts
        self._inputs = tuple(value.clone() for value in inputs)
        learning_rates, gammas, x, y, *reference = self._inputs
        arguments = trained, starts, learning_rates, gammas, tuple(reference), x, y
        before = [value.detach().clone() for value in trained.values()]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step(*arguments)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._losses = self._step(*arguments)
        with torch.no_grad():
            for value, old in zip(trained.values(), before, strict=True):
                value.copy_(old)
