"""Convolutional network of four weight layers: two convolutions with average pooling, one hidden linear layer."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.models import lanes
from gammascape.models.model import Hidden, Model, Parameter, Parameters


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """The CNN of the paper's code: 3x3 convolutions of N and 2N channels, linear 8N, readout.

    options: width N; padding 0 (as in the paper's code) or 1 (for images too small to lose their border).
    """
    width, padding = options["width"], options["padding"]
    channels, height, breadth = input_shape
    # Each block: the convolution takes 2 - 2 * padding pixels, average pooling halves.
    final = [((side - 2 + 2 * padding) // 2 - 2 + 2 * padding) // 2 for side in (height, breadth)]
    flat = 2 * width * final[0] * final[1]
    shapes = {
        "conv1": (width, channels, 3, 3),
        "conv2": (2 * width, width, 3, 3),
        "linear": (8 * width, flat),
        "readout": (outputs, 8 * width),
    }
    parameters = []
    for name, shape in shapes.items():
        parameters.append(Parameter(f"{name}.weight", shape, "normal"))
        parameters.append(Parameter(f"{name}.bias", shape[:1], "zeros"))

    def forward(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
        count = p["conv1.weight"].shape[0]
        h = x
        for name, fan_in in (("conv1", channels), ("conv2", width)):
            w, b = p[f"{name}.weight"], p[f"{name}.bias"]
            h = torch.relu(lanes.conv(h, w, b, fan_in**-0.5, stride=1, padding=padding))
            h = F.avg_pool2d(h, 2)
            if hidden is not None:
                hidden[name] = lanes.channels_to_lanes(h, count)
        features = lanes.channels_to_lanes(h, count)
        features = torch.relu(
            lanes.linear(features, p["linear.weight"], p["linear.bias"], flat**-0.5)
        )
        if hidden is not None:
            hidden["linear"] = features
        return lanes.linear(features, p["readout.weight"], p["readout.bias"], 1.0 / (8 * width))

    return Model(
        parameters=tuple(parameters),
        forward=forward,
        base_width=width,
        depth=4,
        hidden=("conv1", "conv2", "linear"),
    )
