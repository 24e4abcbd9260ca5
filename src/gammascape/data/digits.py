"""Handwritten digits of 8x8 pixels as an endless online stream of augmented samples.

The images are the 1,797 digits shipped with scikit-learn (UCI "Optical recognition of handwritten
digits", test part). Every fifth image is held out for testing before augmentation.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.data.dataset import Batches, Dataset, one_hot, sample_indices
from gammascape.data.prepared import read_prepared
from gammascape.data.shift import shifted
from gammascape.data.stream import epoch_places, hold_out, imbalanced, noisy_labels
from gammascape.numerics import validation_size
from gammascape.rng import make_key, normal, uniform

_SIDE = 8
_CLASSES = 10
_HOLD_OUT_EVERY = 5
_ELASTIC_KNOTS = 3
_CHOICE, _GEOMETRY, _ELASTIC, _NOISE = range(4)


def load(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Read the prepared digits; `options` are the augmentation strengths of the study.

    Raises:
        DataError: if `source` is missing or damaged.
    """
    prepared = read_prepared(source, "digits")
    (shard,) = prepared.train
    images = torch.from_numpy(np.array(shard.images)).to(torch.float32) / 16.0
    labels = torch.from_numpy(shard.labels).to(torch.int64)
    held_out = torch.arange(len(labels)) % _HOLD_OUT_EVERY == _HOLD_OUT_EVERY - 1
    mean, std = images[~held_out].double().mean(), images[~held_out].double().std()
    images = ((images.double() - mean) / std).to(torch.float32).to(device)
    # Padding of moved images: the standardized value of an empty pixel.
    background = float(-mean / std)
    train_images, test_images = images[~held_out], images[held_out]
    train_labels, test_labels = labels[~held_out], labels[held_out]
    stays = imbalanced(train_labels, options.get("imbalance", 1.0), _CLASSES)
    repeated, share = options.get("training_samples"), options.get("validation")
    validation = None
    if share is not None:
        stays, held = hold_out(stays, train_labels, len(stays), share)
        targets = one_hot(train_labels[held], _CLASSES).to(device)
        validation = train_images[held.to(device)], targets
        repeated = repeated and repeated - validation_size(repeated, share)
    train_images, train_labels = train_images[stays.to(device)], train_labels[stays].to(device)
    noise = options.get("label_noise", 0.0)

    def batches(data_seed: int, first_step: int, count: int, batch_size: int) -> Batches:
        index = sample_indices(first_step, count, batch_size)
        if repeated is not None:
            index = epoch_places(index, repeated, data_seed)
        index = index.to(device)
        choice = uniform(make_key(data_seed, _CHOICE), index, 1)[:, 0] * len(train_images)
        choice = choice.to(torch.int64)
        augmented = augment(train_images[choice], index, data_seed, options, background)
        shape = (count, batch_size)
        drawn = noisy_labels(train_labels[choice], index, noise, _CLASSES, data_seed)
        targets = one_hot(drawn, _CLASSES).view(*shape, _CLASSES)
        return augmented.view(*shape, 1, _SIDE, _SIDE), targets

    shift = options.get("test_shift")
    empty = torch.full((1, 1, _SIDE, _SIDE), background, device=device)

    return Dataset(
        name="digits",
        input_shape=(1, _SIDE, _SIDE),
        outputs=_CLASSES,
        classification=True,
        samples_per_pass=repeated,
        digest=prepared.digest,
        test_inputs=test_images,
        test_targets=one_hot(test_labels, _CLASSES).to(device),
        batches=batches,
        shifted_inputs=None if shift is None else shifted(test_images, shift, empty),
        validation=validation,
    )


def augment(
    images: Tensor, index: Tensor, data_seed: int, options: dict[str, Any], background: float
) -> Tensor:
    """Rotate, scale, shift, bend and add noise; images (n, 1, 8, 8), index (n,) the sample numbers.

    Each sample's distortion is a function of its own number, so the result does not depend on the other samples
    in a call.
    """
    n, device = len(images), images.device
    draw = 2.0 * uniform(make_key(data_seed, _GEOMETRY), index, 4) - 1.0
    angle = draw[:, 0] * math.radians(options["rotation"])
    zoom = 1.0 / (1.0 + draw[:, 1] * options["scale"])
    # grid_sample measures in half image widths.
    to_grid = 2.0 / _SIDE
    shift = draw[:, 2:] * options["shift"] * to_grid
    cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
    ticks = (torch.arange(_SIDE, device=device, dtype=torch.float32) + 0.5) * to_grid - 1.0
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    grid_x = cos[:, None, None] * x - sin[:, None, None] * y + shift[:, 0, None, None]
    grid_y = sin[:, None, None] * x + cos[:, None, None] * y + shift[:, 1, None, None]
    if options["elastic"] > 0:
        knots = normal(make_key(data_seed, _ELASTIC), index, 2 * _ELASTIC_KNOTS**2)
        unit = torch.eye(_ELASTIC_KNOTS**2).view(-1, 1, _ELASTIC_KNOTS, _ELASTIC_KNOTS)
        # Bilinear interpolation from the knots to all pixels as one matrix, (knots^2, pixels).
        spline = F.interpolate(unit, size=(_SIDE, _SIDE), mode="bilinear").flatten(1).to(device)
        field = knots.view(2 * n, _ELASTIC_KNOTS**2) @ spline
        field = field.view(n, 2, _SIDE, _SIDE) * (options["elastic"] * to_grid)
        grid_x, grid_y = grid_x + field[:, 0], grid_y + field[:, 1]
    grid = torch.stack((grid_x, grid_y), dim=-1)
    # Sampling the difference from the background makes zero padding mean "empty paper".
    moved = F.grid_sample(images - background, grid, align_corners=False) + background
    if options["noise"] > 0:
        noise = normal(make_key(data_seed, _NOISE), index, _SIDE * _SIDE)
        moved = moved + options["noise"] * noise.view_as(moved)
    return moved
