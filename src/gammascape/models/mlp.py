"""Multilayer perceptron of depth L: L - 1 hidden ReLU layers of width N and a readout, no normalization."""

import math
from typing import Any

import torch
from torch import Tensor

from gammascape.models import layers
from gammascape.models.model import Hidden, Model, Parameters, multiplier, weight_and_bias
from gammascape.models.passes import Outputs, described


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """MLP on flattened inputs; options: depth (number of weight matrices L), width N."""
    depth, width = options["depth"], options["width"]
    names = [f"layer{layer}" for layer in range(1, depth + 1)]
    sizes = [math.prod(input_shape), *[width] * (depth - 1), outputs]

    def network(run: Outputs, x: Tensor) -> Any:
        h = run.read(x.flatten(1))
        for name in names[:-1]:
            h = run.relu(run.linear(name, h))
            run.see(name, h)
        return run.readout(names[-1], h)

    def descend(
        trained: Parameters, starts: Parameters, x: Tensor, hidden: Hidden, signal: Tensor
    ) -> None:
        inputs = [x.flatten(1).expand(len(signal), -1, -1), *hidden.values()]
        # One number collects the layers' multipliers: scaling the signal would cost as much as a product.
        scale = 1.0
        for name, h in zip(reversed(names), reversed(inputs), strict=True):
            w, b = trained[f"{name}.weight"], trained[f"{name}.bias"]
            scale *= multiplier("readout" if name == names[-1] else "hidden", h.shape[2])
            below = signal
            if name != names[0]:
                # The signal passes through the weights before they change.
                now = starts[f"{name}.weight"] + w if starts else w
                below = layers.relu_backward(torch.bmm(signal, now), h)
            w.baddbmm_(signal.transpose(1, 2), h, alpha=-scale)
            b.sub_(signal.sum(1), alpha=scale)
            signal = below

    return described(
        network,
        parameters=tuple(
            parameter
            for name, fan_in, size in zip(names, sizes, sizes[1:], strict=False)
            for parameter in weight_and_bias(name, size, fan_in)
        ),
        base_width=width,
        depth=depth,
        hidden=tuple(names[:-1]),
        descend=descend,
    )
