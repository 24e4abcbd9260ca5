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
    parameters = []
    for layer, (fan_in, size) in enumerate(zip(fans, sizes, strict=True), start=1):
        parameters.append(Parameter(f"layer{layer}.weight", (size, fan_in), "normal"))
        parameters.append(Parameter(f"layer{layer}.bias", (size,), "zeros"))

    def forward(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
        h = x.flatten(1)
        for layer in range(1, depth):
            w, b = p[f"layer{layer}.weight"], p[f"layer{layer}.bias"]
            h = torch.relu(lanes.linear(h, w, b, fans[layer - 1] ** -0.5))
            if hidden is not None:
                hidden[f"layer{layer}"] = h
        w, b = p[f"layer{depth}.weight"], p[f"layer{depth}.bias"]
        return lanes.linear(h, w, b, 1.0 / fans[-1])

    return Model(
        parameters=tuple(parameters),
        forward=forward,
        base_width=width,
        depth=depth,
        hidden=tuple(f"layer{layer}" for layer in range(1, depth)),
    )
