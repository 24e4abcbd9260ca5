"""Multilayer perceptron of depth L: L - 1 hidden ReLU layers of width N and a readout, no normalization."""

import math
from typing import Any

import torch
from torch import Tensor

from gammascape.models import lanes
from gammascape.models.model import Hidden, Model, Parameter, Parameters


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """An MLP on flattened inputs; options: depth (number of weight matrices L), width N."""
    depth, width = options["depth"], options["width"]
    fans = [math.prod(input_shape)] + [width] * (depth - 1)
    sizes = [width] * (depth - 1) + [outputs]
    multipliers = [fan_in**-0.5 for fan_in in fans[:-1]] + [1.0 / fans[-1]]
    parameters = []
    for layer, (fan_in, size) in enumerate(zip(fans, sizes, strict=True), start=1):
        parameters.append(Parameter(f"layer{layer}.weight", (size, fan_in), "normal"))
        parameters.append(Parameter(f"layer{layer}.bias", (size,), "zeros"))

    def forward(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
        h = x.flatten(1)
        for layer in range(1, depth):
            w, b = p[f"layer{layer}.weight"], p[f"layer{layer}.bias"]
            h = torch.relu_(lanes.linear(h, w, b, multipliers[layer - 1]))
            if hidden is not None:
                hidden[f"layer{layer}"] = h
        w, b = p[f"layer{depth}.weight"], p[f"layer{depth}.bias"]
        return lanes.linear(h, w, b, multipliers[-1])

    def descend(p: Parameters, x: Tensor, hidden: Hidden, signal: Tensor) -> None:
        inputs = [x.flatten(1).expand(len(signal), -1, -1), *hidden.values()]
        # The layers' multipliers are collected in one number: a pass over the signal costs as much as a product.
        scale = 1.0
        for layer in range(depth, 0, -1):
            w, b = p[f"layer{layer}.weight"], p[f"layer{layer}.bias"]
            h = inputs[layer - 1]
            scale *= multipliers[layer - 1]
            # The signal goes through the weights before they are changed.
            below = lanes.relu_backward(torch.bmm(signal, w), h) if layer > 1 else signal
            w.baddbmm_(signal.transpose(1, 2), h, alpha=-scale)
            b.sub_(signal.sum(1), alpha=scale)
            signal = below

    return Model(
        parameters=tuple(parameters),
        forward=forward,
        base_width=width,
        depth=depth,
        hidden=tuple(f"layer{layer}" for layer in range(1, depth)),
        descend=descend,
    )
