"""Infinite MNIST by smooth elastic deformation, indexed by the number of the sample.

After G. Loosli, S. Canu, L. Bottou, "Training invariant support vector machines using selective sampling",
in Large-Scale Kernel Machines, MIT Press 2007 (infiMNIST, MNIST8M). It does not reproduce their bits: images are
resampled along a smooth field drawn for each sample, where infiMNIST adds tangent vectors times one of
its stored fields, and the order of base images differs.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.generate.numbers import Purpose, cycled
from gammascape.rng import make_key, normal, uniform
from gammascape.study.keys.generators import DeformSpec

SIDE = 28
_KNOTS = 5
_ROWS = 5000
"""Images processed at once: some 100 MB of grids and fields."""


_DEFAULT = DeformSpec(kind="deform")


def deform(
    images: Tensor, numbers: Tensor, seed: int, strengths: DeformSpec = _DEFAULT
) -> tuple[Tensor, Tensor]:
    """Samples `numbers` (n,) made from `images` uint8 (N, 28, 28): uint8 (n, 28, 28), and their base indices (n,).

    Sample i comes from base image pi_p[i mod N] in pass p = i div N, where pi_p is a permutation, so each pass
    uses every image once. Base and deformation are functions of (seed, i) alone, in any batch.

    Raises:
        ValueError: for images of another shape or type, or a negative number.
    """
    if images.dtype != torch.uint8 or images.shape[1:] != (SIDE, SIDE) or not len(images):
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, not uint8 (N, 28, 28)")
    numbers = numbers.to(images.device)
    base = cycled(numbers, len(images), seed, Purpose.BASE)
    parts = [
        _warped(images[chosen], index, seed, strengths)
        for chosen, index in zip(torch.split(base, _ROWS), torch.split(numbers, _ROWS), strict=True)
    ]
    return torch.cat(parts), base


def _warped(images: Tensor, index: Tensor, seed: int, strengths: DeformSpec) -> Tensor:
    grid = _grid(index, seed, strengths)
    # Cubic resampling keeps strokes sharp; linear resampling would blur each by its own shift.
    moved = F.grid_sample(
        images[:, None].to(torch.float32), grid, mode="bicubic", align_corners=False
    )
    return moved[:, 0].round().clamp(0, 255).to(torch.uint8)


def _grid(index: Tensor, seed: int, strengths: DeformSpec) -> Tensor:
    """Source place of each pixel, (n, 28, 28, 2), in the units of grid_sample: half image widths."""
    to_grid = 2.0 / SIDE
    draw = 2.0 * uniform(make_key(seed, Purpose.GEOMETRY), index, 4) - 1.0
    angle = draw[:, 0] * math.radians(strengths.rotation)
    zoom = 1.0 / (1.0 + draw[:, 1] * strengths.scale)
    cos, sin = (zoom * torch.cos(angle))[:, None, None], (zoom * torch.sin(angle))[:, None, None]
    ticks = (torch.arange(SIDE, device=index.device, dtype=torch.float32) + 0.5) * to_grid - 1.0
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    knots = normal(make_key(seed, Purpose.ELASTIC), index, 2 * _KNOTS**2)
    # Interpolate image by image, since the rounding of one matrix product depends on the batch.
    field = F.interpolate(
        knots.view(-1, 2, _KNOTS, _KNOTS), size=(SIDE, SIDE), mode="bicubic", align_corners=True
    )
    moves = field * (strengths.elastic * to_grid)
    moves = moves + (draw[:, 2:] * (strengths.shift * to_grid))[:, :, None, None]
    return torch.stack((cos * x - sin * y + moves[:, 0], sin * x + cos * y + moves[:, 1]), dim=-1)
