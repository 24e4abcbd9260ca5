"""Residual network (He et al. 2016, basic blocks) with layer or group normalization.

BatchNorm is not used: it ties the output for one sample to the rest of its batch, so f~(w_0) would have to be
evaluated on the same batch to be subtracted, its running buffers are a second state beside the weights, and
it mixes the samples of a batch into the representation that is compared between networks. Normalizing each
sample on its own (GroupNorm, or LayerNorm as its one-group case) keeps the network a function of its input.

Normalized convolutions are scale-free, so f~ has no degree of homogeneity L and the theory gives no ultra-rich
exponent; it is measured.
"""

from typing import Any

import torch
from torch import Tensor

from gammascape.models import lanes
from gammascape.models.model import Hidden, Model, Parameter, Parameters

CHANNELS_PER_GROUP = 4


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """options: width N (stem channels), blocks (residual blocks per stage), norm ("layer" or "group").

    Stage s has N * 2^s channels and halves the image from the second stage on. Convolutions have no
    bias, the readout has one.
    """
    width, blocks, norm = options["width"], options["blocks"], options["norm"]
    parameters: list[Parameter] = []

    def add_conv(name: str, fan_in: int, size: int, kernel: int) -> None:
        parameters.append(Parameter(f"{name}.weight", (size, fan_in, kernel, kernel), "normal"))
        parameters.append(Parameter(f"{name}.gain", (size,), "ones"))
        parameters.append(Parameter(f"{name}.shift", (size,), "zeros"))

    add_conv("stem", input_shape[0], width, 3)
    stages: list[tuple[str, int, int, int]] = []
    channels = width
    for stage, count in enumerate(blocks):
        size = width * 2**stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"stage{stage + 1}.block{block + 1}"
            stages.append((name, channels, size, stride))
            add_conv(f"{name}.conv1", channels, size, 3)
            add_conv(f"{name}.conv2", size, size, 3)
            if stride != 1 or channels != size:
                add_conv(f"{name}.skip", channels, size, 1)
            channels = size
    parameters.append(Parameter("readout.weight", (outputs, channels), "normal"))
    parameters.append(Parameter("readout.bias", (outputs,), "zeros"))

    def conv_norm(p: Parameters, name: str, h: Tensor, stride: int) -> Tensor:
        w = p[f"{name}.weight"]
        size, fan_in, kernel = w.shape[1], w.shape[2], w.shape[3]
        h = lanes.conv(h, w, None, fan_in**-0.5, stride=stride, padding=kernel // 2)
        groups = max(1, size // CHANNELS_PER_GROUP) if norm == "group" else 1
        return lanes.channel_norm(h, p[f"{name}.gain"], p[f"{name}.shift"], groups)

    def forward(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
        count = p["stem.weight"].shape[0]
        h = torch.relu(conv_norm(p, "stem", x, 1))
        if hidden is not None:
            hidden["stem"] = lanes.channels_to_lanes(h, count)
        for name, fan_in, size, stride in stages:
            change = torch.relu(conv_norm(p, f"{name}.conv1", h, stride))
            change = conv_norm(p, f"{name}.conv2", change, 1)
            if stride != 1 or fan_in != size:
                h = conv_norm(p, f"{name}.skip", h, stride)
            h = torch.relu(h + change)
            if hidden is not None:
                hidden[name] = lanes.channels_to_lanes(h, count)
        pooled = h.mean((2, 3)).view(h.shape[0], count, channels).transpose(0, 1)
        if hidden is not None:
            hidden["pooled"] = pooled
        return lanes.linear(pooled, p["readout.weight"], p["readout.bias"], 1.0 / channels)

    return Model(
        parameters=tuple(parameters),
        forward=forward,
        base_width=width,
        depth=None,
        hidden=("stem", *(name for name, *_ in stages), "pooled"),
    )
