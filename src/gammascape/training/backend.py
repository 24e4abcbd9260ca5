"""Backends for a step of SGD: eager, compiled, or a CUDA graph."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, cast

import torch
from torch import Tensor

from gammascape.capture import record
from gammascape.models import Model, Parameters
from gammascape.models.centred import CentredForm
from gammascape.training.exact import ExactStep
from gammascape.training.sgd import Scaled, Step, StepInputs, descent, sgd_step_of

Backend = Literal["eager", "compile", "graph"]

COMPILE_FROM_STEPS = 2000
"""Compiling takes some 30 s and saves 4 to 8 ms for each step of a lane: a pack of 8 lanes recovers it in some 800
steps, a single lane in some 6000."""


def make_step(form: CentredForm, loss: str, backend: Backend) -> Step:
    """Step of a model in one form.

    backend: "eager"; "compile" (CPU), which warns and continues eagerly if compiling fails; "graph" (CUDA), of
    which each caller gets its own, since a graph holds the memory of one pack.
    """
    return Graph(sgd_step_of(form, loss)) if backend == "graph" else _cached(form, loss, backend)


@cache
def _cached(form: CentredForm, loss: str, backend: Backend) -> Step:
    """Step without a graph, cached for the process so that nothing is compiled twice."""
    eager = sgd_step_of(form, loss)
    if backend == "compile" and form.descend is None:
        return ExactStep(form, _Compiled(compiled(form, loss), eager))
    return ExactStep(form, eager)


def choose_backend(record: Mapping[str, Any], model: Model, device: torch.device) -> Backend:
    """Choose how to compute a cell's steps: a function of the cell and the machine, never of the pack.

    Hand-written steps on the CPU spend some 90 % of their time in matrix products, which compiling leaves alone.
    """
    if device.type == "cuda":
        # A network that cannot be batched may branch on its numbers, which a graph cannot do.
        return "graph" if model.batched else "eager"
    long = record["dtype"] == "float32" and int(record["steps"]) >= COMPILE_FROM_STEPS
    return "compile" if model.compiles and long and has_compiler() else "eager"


def has_compiler() -> bool:
    """Return whether the C++ compiler that torch would call is installed."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX", usual)) is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether host or GPU have run out of memory, even if ending a capture then raised another error."""
    # torch has its own class for a GPU's memory; the host's, and cuBLAS's, is a plain RuntimeError.
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(word in str(error) for word in words))
        or (error.__context__ is not None and is_out_of_memory(error.__context__))
    )


def one_line(error: BaseException) -> str:
    """Class and first line of an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


class _Compiled:
    """Step compiled by torch.compile; computed by `eager` from the first failure on."""

    def __init__(self, step: Step, eager: Step) -> None:
        self._step, self._eager = step, eager
        self.fallback: str | None = None

    def __call__(self, trained: Parameters, inputs: StepInputs) -> Tensor:
        try:
            return self._step(trained, inputs)
        except _compile_errors() as error:
            self.fallback = f"eager, as torch.compile failed: {one_line(error)}"
            warnings.warn(f"steps are computed {self.fallback}", RuntimeWarning, stacklevel=2)
            self._step = self._eager
            return self._eager(trained, inputs)


def _compile_errors() -> tuple[type[Exception], ...]:
    """Errors that `compiled` raises if compiling fails."""
    # The compiler is imported only with the first compiled step: that takes as long as importing torch itself.
    if "torch._dynamo" not in sys.modules:
        return ()
    return (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError)


def compiled(form: CentredForm, loss: str) -> Step:
    """Step compiled by torch.compile, for one lane on the CPU."""
    import torch._dynamo
    import torch._inductor.exc

    # These limits count all models, batch sizes and dtypes of the process, each of which is compiled once.
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.accumulated_recompile_limit = 1024
    step = descent(form, loss, _functional)
    return torch.no_grad()(torch.compile(step, fullgraph=True, dynamic=False))


def _functional(scaled: Scaled) -> Callable[[Parameters, StepInputs], tuple[Parameters, Tensor]]:
    """Gradient in a form that the compiler can trace."""
    differentiate = torch.func.grad_and_value(scaled, has_aux=True)

    def gradient(trained: Parameters, inputs: StepInputs) -> tuple[Parameters, Tensor]:
        changes, (_, losses) = differentiate(trained, inputs)
        return changes, losses

    return gradient


class Graph:
    """A step captured as a CUDA graph: one launch in place of dozens.

    A graph reads and writes fixed addresses: batches are copied into its own buffers, weights are updated in
    place, and a pack with other weights is captured again. If a step cannot be captured in two tries, a warning is
    issued and steps are computed eagerly from then on.
    """

    record = staticmethod(record)

    def __init__(self, step: Step) -> None:
        self._step = step
        self.captures = 0
        """Number of captures so far."""
        self.fallback: str | None = None
        """Reason for computing steps eagerly, if they are."""
        self.release()

    def release(self) -> None:
        """Free the graph with its memory, and let go of the weights; the next step is captured again."""
        self._key: tuple[Any, ...] = ()
        self._fixed: tuple[Tensor, ...] = ()
        self._buffers: tuple[Tensor, ...] = ()
        self._recorded: Any = None

    def __call__(self, trained: Parameters, inputs: StepInputs) -> Tensor:
        if self.fallback is not None:
            return self._step(trained, inputs)
        lanes = inputs.learning_rates
        seed = torch.arange(len(lanes), device=lanes.device) if inputs.seed is None else inputs.seed
        tensors = (lanes, inputs.gammas, inputs.x, inputs.y, seed, *inputs.reference)
        fixed = (*trained.values(), *inputs.starts.values())
        key = (
            *(value.data_ptr() for value in fixed),
            *((value.shape, value.dtype) for value in (*fixed, *tensors)),
        )
        if key != self._key:
            # First, or the memory of two packs would be needed.
            self.release()
            self._capture(trained, inputs.starts, tensors)
            if self.fallback is not None:
                return self._step(trained, inputs)
            # Keep the weights alive, or another tensor could be allocated at the same address.
            self._key, self._fixed = key, fixed
        for buffer, value in zip(self._buffers, tensors, strict=True):
            buffer.copy_(value)
        replay, losses = self._recorded
        replay()
        return cast(Tensor, losses.clone())

    def _capture(
        self, trained: Parameters, starts: Parameters, tensors: tuple[Tensor, ...]
    ) -> None:
        self._buffers = tuple(value.clone() for value in tensors)
        learning_rates, gammas, x, y, seed, *reference = self._buffers
        inputs = StepInputs(starts, learning_rates, gammas, tuple(reference), x, y, seed)
        before = [value.detach().clone() for value in trained.values()]
        for last in (False, True):
            try:
                self._recorded = self.record(lambda: self._step(trained, inputs))
                self.captures += 1
                return
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                if last:
                    self.fallback = f"eager, as no CUDA graph could be captured: {one_line(error)}"
            finally:
                # The trial steps have moved the weights.
                with torch.no_grad():
                    for value, old in zip(trained.values(), before, strict=True):
                        value.copy_(old)
        warnings.warn(f"steps are computed {self.fallback}", RuntimeWarning, stacklevel=3)
        self.release()
