"""Small U-Net that predicts noise in 28x28 images, at 28, 14 and 7 pixels, given time and class.

The design follows J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, without
attention and with one block per level; time and class act by scale and shift after the second normalization.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gammascape.generate import GenerateError
from gammascape.generate.numbers import CLASSES

NO_CLASS = -1
"""Label of a sample whose class is withheld from the network."""

GROUPS = 8

Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function returning the noise (n, 1, 28, 28) in images (n, 1, 28, 28), given times (n,) and labels (n,)."""


class UNet(nn.Module):
    """Noise predictor with `features` channels at full resolution and twice as many below.

    Raises:
        GenerateError: if `features` is not a positive multiple of 8, the number of groups of GroupNorm.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < GROUPS or features % GROUPS:
            raise GenerateError(f"features must be a positive multiple of {GROUPS}, not {features}")
        self.features = features
        wide, embedding = 2 * features, 4 * features
        half = features // 2
        frequencies = torch.exp(torch.arange(half) * (-math.log(10_000.0) / half))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.time_in = nn.Linear(2 * half, embedding)
        self.time_out = nn.Linear(embedding, embedding)
        self.class_in = nn.Linear(CLASSES, embedding, bias=False)
        self.stem = nn.Conv2d(1, features, 3, padding=1)
        self.down_28 = _Block(features, features, embedding)
        self.to_14 = nn.Conv2d(features, wide, 3, stride=2, padding=1)
        self.down_14 = _Block(wide, wide, embedding)
        self.to_7 = nn.Conv2d(wide, wide, 3, stride=2, padding=1)
        self.first_7 = _Block(wide, wide, embedding)
        self.second_7 = _Block(wide, wide, embedding)
        self.up_14 = _Block(2 * wide, wide, embedding)
        self.up_28 = _Block(wide + features, features, embedding)
        self.norm = nn.GroupNorm(GROUPS, features)
        self.out = _zero(nn.Conv2d(features, 1, 3, padding=1))

    def forward(self, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Noise (n, 1, 28, 28) in x (n, 1, 28, 28) at times (n,), for labels (n,) of 0..9 or NO_CLASS."""
        angles = times[:, None].to(torch.float32) * self.get_buffer("frequencies")
        time = self.time_out(F.silu(self.time_in(torch.cat((angles.cos(), angles.sin()), dim=1))))
        # NO_CLASS equals no column, so its code is zero.
        code = (labels[:, None] == torch.arange(CLASSES, device=labels.device)).to(torch.float32)
        embedding = F.silu(time + self.class_in(code))
        at_28 = self.down_28(self.stem(x), embedding)
        at_14 = self.down_14(self.to_14(at_28), embedding)
        at_7 = self.second_7(self.first_7(self.to_7(at_14), embedding), embedding)
        up = self.up_14(torch.cat((_doubled(at_7), at_14), dim=1), embedding)
        up = self.up_28(torch.cat((_doubled(up), at_28), dim=1), embedding)
        noise: Tensor = self.out(F.silu(self.norm(up)))
        return noise.to(torch.float32)


class _Block(nn.Module):
    """Two convolutions around a skip connection, (n, inputs, H, W) to (n, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(GROUPS, inputs)
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm_2 = nn.GroupNorm(GROUPS, outputs)
        self.conv_2 = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv_1(F.silu(self.norm_1(x)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.norm_2(h) * (1 + scale) + shift
        out: Tensor = self.skip(x) + self.conv_2(F.silu(h))
        return out


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Start a layer at zero, so that a block begins as its skip connection and the network predicts 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _doubled(x: Tensor) -> Tensor:
    """Repeat each pixel four times; the backward pass of `expand` is a plain sum, the same on every run."""
    n, channels, height, width = x.shape
    wide = x[:, :, :, None, :, None].expand(n, channels, height, 2, width, 2)
    return wide.reshape(n, channels, 2 * height, 2 * width)
