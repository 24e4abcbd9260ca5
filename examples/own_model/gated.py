"""A network of one's own: a layer whose units are gated by others, a ReLU layer and a readout."""

import math

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, width, bias=False)
        self.gate = nn.Linear(inputs, width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.readout = nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.readout(torch.relu(self.mix(self.value(x) * torch.relu(self.gate(x)))))


def make_net(input_shape: tuple[int, ...], outputs: int, width: int) -> nn.Module:
    return Gated(math.prod(input_shape), outputs, width)
