"""Layers for a pack of K networks: the lane is a batch dimension of each product, and lanes never mix.

Batched products keep a lane's result independent of the other lanes of its pack. One wide product over all lanes
would not, because its blocking depends on K.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.models.convolution import lanes_conv


def linear(h: Tensor, weight: Tensor, bias: Tensor, multiplier: float) -> Tensor:
    """(W h + b) * multiplier.

    Args:
        h: (B, n), shared by all lanes, or (K, B, n).
        weight: (K, m, n).
        bias: (K, m).

    Returns:
        (K, B, m).
    """
    lanes = weight.shape[0]
    if h.dim() == 2:
        h = h.expand(lanes, *h.shape)
    return torch.baddbmm(
        bias[:, None, :], h, weight.transpose(1, 2), beta=multiplier, alpha=multiplier
    )


def relu_backward(signal: Tensor, output: Tensor) -> Tensor:
    """Signal where the ReLU's output is positive, 0 elsewhere, in one pass where a mask would take three."""
    return cast(Tensor, torch.ops.aten.threshold_backward(signal, output, 0))


def conv(
    h: Tensor, weight: Tensor, bias: Tensor | None, multiplier: float, *, stride: int, padding: int
) -> Tensor:
    """Convolution with each lane's own filters, times multiplier.

    Args:
        h: (B, C, H, W), shared by all lanes, or (B, K*C, H, W) with lanes side by side in the channels.
        weight: (K, O, C, k, k).
        bias: (K, O) or None.

    Returns:
        (B, K*O, H', W').
    """
    lanes, channels = weight.shape[0], weight.shape[2]
    groups = h.shape[1] // channels
    # Scaling the small filters costs less than scaling the feature maps and gives the same product.
    scaled = weight * multiplier
    shift = None if bias is None else bias.flatten() * multiplier
    if groups == 1 and lanes > 1:
        return F.conv2d(h, scaled.flatten(0, 1), shift, stride=stride, padding=padding)
    return lanes_conv(h, scaled, shift, stride, padding)


def halve(maps: Tensor) -> Tensor:
    """Averages of 2 by 2 pixels, (B, C, H, W) -> (B, C, H // 2, W // 2)."""
    # On a GPU, torch's backward pass takes a fifth of the step of a CNN.
    return halve_by_sums(maps) if maps.device.type == "cuda" else F.avg_pool2d(maps, 2)


def halve_by_sums(maps: Tensor) -> Tensor:
    """`halve` by sums of neighbours, whose gradients are copies."""
    height, breadth = maps.shape[2] // 2, maps.shape[3] // 2
    if maps.shape[2:] != (2 * height, 2 * breadth):
        maps = maps[:, :, : 2 * height, : 2 * breadth]
    above, below = torch.unflatten(maps, 2, (height, 2)).unbind(3)
    left, right = torch.unflatten(above + below, 3, (breadth, 2)).unbind(4)
    return (left + right) * 0.25


def channels_to_lanes(h: Tensor, lanes: int) -> Tensor:
    """Flatten feature maps (B, K*C, H, W) to one vector per lane and sample, (K, B, C*H*W)."""
    batch = h.shape[0]
    return h.reshape(batch, lanes, -1).transpose(0, 1)


def split_lanes(h: Tensor, count: int) -> Tensor:
    """Split feature maps with lanes side by side, (B, K*C, ...), into (K, B, C, ...)."""
    return torch.unflatten(h, 1, (count, -1)).transpose(0, 1)


def join_lanes(h: Tensor) -> Tensor:
    """The inverse of `split_lanes`."""
    return h.transpose(0, 1).flatten(1, 2)
