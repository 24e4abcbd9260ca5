"""Shifted test set: measure a network on inputs unlike its training inputs."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.rng import make_key, normal

_NOISE = 60


def shifted(inputs: Tensor, shift: dict[str, Any], background: Tensor) -> Tensor:
    """Test inputs (n, C, H, W), changed in one of three ways.

    rotation  by `strength` degrees to the left for odd and to the right for even samples, about the middle
    noise     independent Gaussian noise of standard deviation `strength`, in units of the standardized pixel
    contrast  each image's distance from its own mean, times `strength`

    A rotation fills in `background` (1, C, H, W) from outside the image.
    """
    strength = float(shift["strength"])
    n = len(inputs)
    if shift["kind"] == "noise":
        index = torch.arange(n, device=inputs.device)
        noise = normal(make_key(_NOISE), index, inputs[0].numel())
        return inputs + strength * noise.view_as(inputs)
    if shift["kind"] == "contrast":
        mean = inputs.mean(dim=(1, 2, 3), keepdim=True)
        return mean + strength * (inputs - mean)
    odd = torch.arange(n, device=inputs.device) % 2
    angle = (2.0 * odd - 1.0) * math.radians(strength)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    matrix = torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(n, 2, 3)
    grid = F.affine_grid(matrix, list(inputs.shape), align_corners=False)
    return F.grid_sample(inputs - background, grid, align_corners=False) + background
