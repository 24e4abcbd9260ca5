"""Augmentation of images in batches; each sample's distortion is a function of its own number.

weak    zero padded random crop and horizontal flip, the usual recipe for CIFAR (He et al. 2016, arXiv 1512.03385)
strong  random resized crop (Szegedy et al. 2015, arXiv 1409.4842) with rotation and flip, colour jitter, and two
        operations drawn from a table, as in RandAugment (Cubuk et al. 2020, arXiv 1909.13719)

Every operation is computed for every sample, with parameters that have no effect on samples that did not draw it.
A batch is thus never sorted by operation, and nothing waits for the device.
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.rng import make_key, uniform

_SHIFT, _WARP, _COLOUR, _CHOICE, _AMOUNT, _MIXUP = range(100, 106)

_SMALLEST_AREA, _LARGEST_ASPECT, _LARGEST_ANGLE = 0.25, 4 / 3, math.radians(15)
_JITTER, _HUE_TURNS = 0.4, 0.1
_LUMA = (0.299, 0.587, 0.114)

OPERATIONS = ("identity", "autocontrast", "posterize", "solarize", "sharpness", "erase")
"""Operations to draw from, in the order of application. Of RandAugment's other operations, the crop and the jitter
cover rotation, translation and colours; shear is left out, and so is equalize, which needs a histogram of each
channel of each image."""
DRAWN_OPERATIONS = 2

_FINE = 2.0**24
_CACHE_BYTES = 1 << 21


def augment(images: Tensor, index: Tensor, data_seed: int, strength: str) -> Tensor:
    """Distort images; the distortion of a sample depends on `data_seed` and its own number alone.

    Cost on one CPU thread: some 2 ns (weak) and 10 ns (strong) for each number of the result. On a GPU: fewer
    than 40 and 240 kernel launches, most of them on n numbers.

    Args:
        images: (n, C, H, W), uint8 or float32 in 0..1; C = 3, or 1 for digits, which are not flipped.
        index: int64 (n,), the samples' running numbers.
        strength: "weak" or "strong".

    Returns:
        float32 (n, C, H, W) in 0..1, without gradient.

    Raises:
        ValueError: for any other strength or number of channels.
    """
    if strength not in ("weak", "strong"):
        raise ValueError(f"strength of augmentation: write weak or strong, not {strength!r}")
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images to augment have 1 or 3 channels, not {images.shape[1]}")
    distort = _weak if strength == "weak" else _strong
    with torch.no_grad():
        if images.device.type != "cpu":
            return distort(images, index, data_seed)
        # Dozens of passes over the same numbers are fast while they stay in the cache.
        piece = max(1, _CACHE_BYTES // (4 * images[0].numel()))
        pieces = (slice(first, first + piece) for first in range(0, len(images), piece))
        return torch.cat([distort(images[part], index[part], data_seed) for part in pieces])


def mixup(
    x: Tensor, targets: Tensor, steps: Tensor, data_seed: int, alpha: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Mix each sample with the previous one in its batch (Zhang et al. 2018, arXiv 1710.09412); alpha = 0 is off.

    The share lambda ~ Beta(alpha, alpha) is one number for a batch, a function of `data_seed` and of its step.
    Unlike in `augment`, the result depends on the order of samples; the first of a batch is mixed with the last.

    Args:
        x: (n, B, ...), floating point: the batches of n steps.
        targets: (n, B, O), whose rows sum to one.
        steps: int64 (n,), the numbers of the steps.
        data_seed: seed of the data stream.
        alpha: 0.2 to 1 is usual.

    Returns:
        lambda x_i + (1 - lambda) x_(i-1), and the targets mixed alike, which are no longer a single class.

    Raises:
        ValueError: if alpha is negative.
    """
    if alpha < 0:
        raise ValueError(f"alpha of mixup must not be negative, not {alpha}")
    if alpha == 0:
        return x, targets
    share = _symmetric_beta(uniform(make_key(data_seed, _MIXUP), steps, 2), alpha)

    def mixed(values: Tensor) -> Tensor:
        own = share.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
        return own * values + (1.0 - own) * values.roll(1, 1)

    return mixed(x), mixed(targets)


def _symmetric_beta(draw: Tensor, alpha: float) -> Tensor:
    """Beta(alpha, alpha) from pairs of uniform numbers, (m, 2) -> (m,) float64.

    It needs no rejection loop: L. Devroye, "Random variate generation in one line of code", WSC 1996.
    """
    u, v = draw.double().unbind(1)
    cos = torch.cos(2.0 * math.pi * v)
    odds = (u ** (-1.0 / alpha) - 1.0) * cos.square()
    return 0.5 + 0.5 * torch.sign(cos) / torch.sqrt(1.0 + 1.0 / odds)


def _weak(images: Tensor, index: Tensor, data_seed: int) -> Tensor:
    # Pad with zeros: black is the empty paper of a digit, and reflection would double its strokes.
    _, channels, height, width = images.shape
    draw = uniform(make_key(data_seed, _SHIFT), index, 3)
    pad_y, pad_x = height // 8, width // 8
    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    columns = columns.expand(len(images), -1)
    if channels > 1:
        columns = torch.where(draw[:, 2:] < 0.5, columns.flip(1), columns)
    rows = rows + (draw[:, :1] * (2 * pad_y + 1)).to(torch.int64)
    columns = columns + (draw[:, 1:2] * (2 * pad_x + 1)).to(torch.int64)
    places = rows[:, :, None] * (width + 2 * pad_x) + columns[:, None, :]
    padded = F.pad(images, (pad_x, pad_x, pad_y, pad_y)).flatten(2)
    moved = padded.gather(2, places.flatten(1)[:, None].expand(-1, channels, -1))
    return _unit(moved.view_as(images))


def _strong(images: Tensor, index: Tensor, data_seed: int) -> Tensor:
    return _operate(
        _jitter(_warp(_unit(images), index, data_seed), index, data_seed), index, data_seed
    )


def _unit(images: Tensor) -> Tensor:
    values = images.to(torch.float32)
    return values / 255.0 if images.dtype == torch.uint8 else values


def _per_sample(values: Tensor) -> Tensor:
    return values.to(torch.float32)[:, None, None, None]


def _warp(x: Tensor, index: Tensor, data_seed: int) -> Tensor:
    """Crop a box of random area, aspect and place, rotated about its centre and flipped, to the full size.

    The area is uniform in 0.25..1. The logarithm of the aspect is uniform over the part of 3/4..4/3 for which a
    box of that area fits in the image, so no box is rejected. A rotated box may stick out; outside is black.
    """
    _, channels, height, width = x.shape
    # float64 costs nothing for n numbers and rounds to the same float32 on every device.
    draw = uniform(make_key(data_seed, _WARP), index, 6).double()
    area = _SMALLEST_AREA + (1.0 - _SMALLEST_AREA) * draw[:, 0]
    log_aspect = (2.0 * draw[:, 1] - 1.0) * (-torch.log(area)).clamp(max=math.log(_LARGEST_ASPECT))
    box_x, box_y = torch.sqrt(area * log_aspect.exp()), torch.sqrt(area / log_aspect.exp())
    # grid_sample measures from -1 to 1.
    middle_x, middle_y = (
        (2.0 * draw[:, 2 + i] - 1.0) * (1.0 - b) for i, b in enumerate((box_x, box_y))
    )
    angle = (2.0 * draw[:, 4] - 1.0) * _LARGEST_ANGLE
    cos, sin = torch.cos(angle), torch.sin(angle)
    if channels > 1:
        box_x = torch.where(draw[:, 5] < 0.5, -box_x, box_x)
    ticks_x, ticks_y = (
        (torch.arange(side, device=x.device, dtype=torch.float64) + 0.5) * (2.0 / side) - 1.0
        for side in (width, height)
    )
    along_x, along_y = box_x[:, None] * ticks_x, box_y[:, None] * ticks_y
    tall = height / width
    grid = torch.empty(len(x), height, width, 2, device=x.device)
    for axis, (middle, by_x, by_y) in enumerate(
        ((middle_x, cos, -sin * tall), (middle_y, sin / tall, cos))
    ):
        columns = (by_x[:, None] * along_x + middle[:, None]).to(torch.float32)
        rows = (by_y[:, None] * along_y).to(torch.float32)
        torch.add(rows[:, :, None], columns[:, None, :], out=grid[..., axis])
    return F.grid_sample(x, grid, align_corners=False)


def _jitter(x: Tensor, index: Tensor, data_seed: int) -> Tensor:
    """Change brightness, contrast, saturation and hue, as one linear map of the colours of each image.

    Contrast is relative to the image's mean luma. Saturation scales the chroma (I, Q) of YIQ, and hue rotates it.
    Only the final result is clipped to 0..1.
    """
    draw = (2.0 * uniform(make_key(data_seed, _COLOUR), index, 4) - 1.0).double()
    brightness, contrast, saturation = (1.0 + _JITTER * draw[:, :3]).unbind(1)
    means = x.mean((2, 3))
    weights = _LUMA if x.shape[1] == 3 else (1.0,)
    luma = sum(w * means[:, c] for c, w in enumerate(weights)) * brightness
    scale, offset = _per_sample(brightness * contrast), _per_sample((1.0 - contrast) * luma)
    if x.shape[1] == 1:
        return (x * scale).add_(offset).clamp_(0.0, 1.0)
    angle = (2.0 * math.pi * _HUE_TURNS) * draw[:, 3]
    shares = torch.stack(
        (torch.ones_like(angle), saturation * torch.cos(angle), saturation * torch.sin(angle)), 1
    )
    colours = (shares[:, :, None, None] * _chroma(x.device)).sum(1).to(torch.float32)
    matrix = (colours * scale[:, 0])[..., None, None]
    # A batched product is avoided, since its rounding depends on the batch size.
    y = matrix[:, :, 0] * x[:, :1]
    for c in (1, 2):
        y.addcmul_(matrix[:, :, c], x[:, c : c + 1])
    return y.add_(offset).clamp_(0.0, 1.0)


@cache
def _chroma(device: torch.device) -> Tensor:
    """Maps from RGB to luma as grey, to the remainder, and to the remainder turned by 90 degrees: (3, 3, 3)."""
    to_yiq = torch.tensor(
        (_LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)), dtype=torch.float64
    )
    parts = torch.zeros(3, 3, 3, dtype=torch.float64)
    parts[0, 0, 0] = parts[1, 1, 1] = parts[1, 2, 2] = 1.0
    parts[2, 1, 2], parts[2, 2, 1] = -1.0, 1.0
    to_rgb: Tensor = torch.linalg.inv(to_yiq)
    return (to_rgb @ parts @ to_yiq).to(device)


class _Amounts(NamedTuple):
    """Parameters (n, 1, 1, 1) of the operations, without effect for operations that were not drawn."""

    autocontrast: Tensor
    """True for images to stretch."""
    posterize: Tensor
    """Number of steps between 0 and 1."""
    solarize: Tensor
    """Threshold from which on to invert; 2 is beyond white."""
    sharpness: Tensor
    """Change of sharpness: -1 smooths, 0 has no effect."""
    erase: Tensor
    """Half the side of the square in pixels; negative for no square."""
    erase_y: Tensor
    erase_x: Tensor
    """Centre of the square in pixels."""


def _operate(x: Tensor, index: Tensor, data_seed: int) -> Tensor:
    """Apply the operations that each sample drew: two draws with replacement; drawing one twice counts once.

    RandAugment applies them in the order drawn; in the table's order each is computed once. x is overwritten.
    """
    amounts = _amounts(index, data_seed, x.shape[2], x.shape[3])
    x = _autocontrast(x, amounts.autocontrast)
    x = _posterize(x, amounts.posterize)
    x = _solarize(x, amounts.solarize)
    x = _sharpen(x, amounts.sharpness)
    return _erase(x, amounts.erase, amounts.erase_y, amounts.erase_x)


def _amounts(index: Tensor, data_seed: int, height: int, width: int) -> _Amounts:
    pick = uniform(make_key(data_seed, _CHOICE), index, DRAWN_OPERATIONS) * len(OPERATIONS)
    numbers = torch.arange(len(OPERATIONS), device=index.device)
    drawn = (pick.to(torch.int64)[:, :, None] == numbers).any(1)
    _, stretch, posterize, solarize, sharpen, erase = drawn[:, :, None, None, None].unbind(1)
    draw = uniform(make_key(data_seed, _AMOUNT), index, 6)[:, :, None, None, None]
    bits, threshold, change, size, y, x = draw.unbind(1)
    # As for a pixel of 8 bits, of which the upper 4 to 7 are kept.
    levels = (255 / 256) * torch.exp2(torch.floor(4.0 + 4.0 * bits))
    half_side = (1.0 / 16 + (3.0 / 16) * size) * min(height, width)
    return _Amounts(
        autocontrast=stretch,
        posterize=torch.where(posterize, levels, _FINE),
        solarize=torch.where(solarize, 0.5 + 0.5 * threshold, 2.0),
        sharpness=torch.where(sharpen, 0.9 * (2.0 * change - 1.0), 0.0),
        erase=torch.where(erase, half_side, -1.0),
        erase_y=y * height,
        erase_x=x * width,
    )


def _autocontrast(x: Tensor, chosen: Tensor) -> Tensor:
    """Stretch each channel to 0..1, unless it varies by less than one level of 8 bits."""
    low = x.amin((2, 3), keepdim=True)
    span = x.amax((2, 3), keepdim=True).sub_(low)
    # Without this bound, a uniform area would show the interpolation's rounding.
    stretched = chosen & (span > 1 / 255)
    return x.sub_(torch.where(stretched, low, 0.0)).div_(torch.where(stretched, span, 1.0))


def _posterize(x: Tensor, steps: Tensor) -> Tensor:
    """Round down to multiples of 1 / steps; 2^24 steps are as fine as float32 is near one."""
    return x.mul_(steps).floor_().div_(steps)


def _solarize(x: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(x < threshold, x, 1.0 - x)


def _sharpen(x: Tensor, change: Tensor) -> Tensor:
    """Move away from the average over 3x3 pixels, with weight 5 of 13 on the centre; border pixels stay."""
    rows = x[:, :, :-2] + x[:, :, 1:-1]
    rows += x[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1]
    box += rows[..., 2:]
    inner = x[:, :, 1:-1, 1:-1]
    inner += torch.sub(inner, box, alpha=1.0 / 9).mul_(change * (9.0 / 13))
    return x.clamp_(0.0, 1.0)


def _erase(x: Tensor, half_side: Tensor, y: Tensor, x_middle: Tensor) -> Tensor:
    """Blacken a square, which may stick out (DeVries & Taylor 2017, arXiv 1708.04552)."""
    rows, columns = (torch.arange(side, device=x.device) + 0.5 for side in x.shape[2:])
    outside_y = (rows[:, None] - y).abs() >= half_side
    outside_x = (columns - x_middle).abs() >= half_side
    return x.mul_(outside_y | outside_x)
