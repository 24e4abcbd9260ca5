"""Adam, without importing the compiler."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """`torch.optim.Adam` with its defaults (Kingma & Ba, ICLR 2015), its state, and its bits.

    A `torch.optim.Optimizer` imports `torch._dynamo` when it is made, which takes as long as importing torch.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._weights = [*weights]
        self._state = [
            {"step": torch.zeros(())}
            | {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            for weight in self._weights
        ]

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Change the weights along the gradient of `loss`, a tensor without dimensions that depends on all."""
        gradients = [*torch.autograd.grad(loss, self._weights)]
        means, squares, steps = (
            [state[name] for state in self._state] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        with torch.no_grad():
            adam(
                *(self._weights, gradients, means, squares, [], steps),
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=learning_rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        """State for `load_state_dict`: means and numbers of steps by the position of their weight."""
        return {"state": dict(enumerate(self._state))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a copy of `state_dict`, of this class or, after a step, of `torch.optim.Adam`.

        Raises:
            ValueError: if it is the state of other weights.
        """
        own, other = dict(enumerate(self._state)), state["state"]
        if _form(own) != _form(other):
            raise ValueError(f"state of weights {_form(other)}, not {_form(own)}")
        # A checkpoint is read to the device of the weights; what is counted stays on the host.
        self._state = [
            {n: v.clone() for n, v in other[k].items()} | {"step": other[k]["step"].cpu().clone()}
            for k in own
        ]


def _form(state: Mapping[int, Mapping[str, Tensor]]) -> dict[int, list[tuple[Any, ...]]]:
    """Shapes and dtypes of the means of each weight."""
    names = ("exp_avg", "exp_avg_sq")
    return {
        k: [(*v.shape, v.dtype) for n in names if (v := values.get(n)) is not None]
        for k, values in state.items()
    }
