"""Steps of SGD through torch.compile (CPU) and as CUDA graphs."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gammascape.models import Parameters
from gammascape.models.centred import CentredForm
from gammascape.training.failures import is_out_of_memory, one_line
from gammascape.training.losses import lane_losses
from gammascape.training.sgd import Given, Step, outputs


def compile_errors() -> tuple[type[Exception], ...]:
    """What `compiled` raises where compiling fails."""
    # The compiler is imported with the first compiled step only: it takes as long as torch itself.
    if "torch._dynamo" not in sys.modules:
        return ()
    return (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError)


def compiled(form: CentredForm, loss: str) -> Step:
    """The step through torch.compile, for one lane on the CPU."""
    import torch._dynamo
    import torch._inductor.exc

    # Counted over all models, batch sizes and dtypes of the process, each of which is compiled once.
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.accumulated_recompile_limit = 1024

    def scaled_loss(trained: Parameters, given: Given) -> tuple[Tensor, Tensor]:
        losses = lane_losses(loss, outputs(form, trained, given), given.y)
        return (losses * given.learning_rates).sum(), losses

    differentiate = torch.func.grad_and_value(scaled_loss, has_aux=True)

    def step(trained: Parameters, given: Given) -> Tensor:
        losses: Tensor
        changes, (_, losses) = differentiate(trained, given)
        for name, value in trained.items():
            value.sub_(changes[name])
        return losses

    fast: Callable[..., Tensor] = torch.compile(step, fullgraph=True, dynamic=False)

    def run(trained: Parameters, given: Given) -> Tensor:
        with torch.no_grad():
            return fast(trained, given)

    return run


class Graph:
    """A step captured as a CUDA graph: one launch in place of dozens.

    A graph reads and writes fixed addresses: batches are copied into buffers of its own, weights are updated where
    they lie, and a pack with other weights is captured anew. A step that cannot be captured is computed eagerly
    from then on, with a warning.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._key: tuple[Any, ...] = ()
        self.captures = 0
        """Captures so far."""
        self.fallback: str | None = None
        """Why steps are computed eagerly, if they are."""

    def __call__(self, trained: Parameters, given: Given) -> Tensor:
        if self.fallback is not None:
            return self._step(trained, given)
        lanes = given.learning_rates
        seed = (
            given.seed if given.seed is not None else torch.arange(len(lanes), device=lanes.device)
        )
        inputs = (lanes, given.gammas, given.x, given.y, seed, *given.reference)
        fixed = (*trained.values(), *given.starts.values())
        key = (
            *(value.data_ptr() for value in fixed),
            *((value.shape, value.dtype) for value in (*fixed, *inputs)),
        )
        if key != self._key:
            try:
                self._capture(trained, given.starts, inputs)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                self.fallback = f"eager, as no CUDA graph could be captured: {one_line(error)}"
                warnings.warn(f"steps are computed {self.fallback}", RuntimeWarning, stacklevel=2)
                return self._step(trained, given)
            self._key = key
        for buffer, value in zip(self._inputs, inputs, strict=True):
            buffer.copy_(value)
        self._replay()
        return self._losses.clone()

    def _capture(self, trained: Parameters, starts: Parameters, inputs: tuple[Tensor, ...]) -> None:
        # The graph holds the weights' memory, or another tensor could come to lie at the same address.
        self._fixed = trained, starts
        self._inputs = tuple(value.clone() for value in inputs)
        learning_rates, gammas, x, y, seed, *reference = self._inputs
        given = Given(starts, learning_rates, gammas, tuple(reference), x, y, seed)
        before = [value.detach().clone() for value in trained.values()]
        try:
            self._replay, self._losses = self.record(lambda: self._step(trained, given))
        finally:
            # Trying the step out has moved the weights.
            with torch.no_grad():
                for value, old in zip(trained.values(), before, strict=True):
                    value.copy_(old)
        self.captures += 1

    @staticmethod
    def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Capture `run`; returns what runs it again, and the tensor that then holds what it gives.

        Raises:
            RuntimeError: if it does what a graph cannot hold.
        """
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = run()
        return graph.replay, result
