"""Quality of generated digits, by a classifier of real digits and by distance to the training images."""

import base64
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gammascape.generate.adam import Adam
from gammascape.generate.numbers import CLASSES, Purpose, cycled
from gammascape.rng import make_key, permutation

_BATCH = 128
_ROWS = 1000
_PICTURE_ROWS = 3
# Statistics of the pixels of MNIST's training images, 0..1.
_MEAN, _STD = 0.1307, 0.3081
_LEARNING_RATE = 2e-3
QUANTILES = 51

Classifier = Callable[[Tensor], Tensor]
"""Function returning scores (n, 10) of images uint8 (n, 28, 28)."""


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(1, 16, 5, padding=2)
        self.conv_2 = nn.Conv2d(16, 32, 5, padding=2)
        self.hidden = nn.Linear(32 * 7 * 7, 128)
        self.out = nn.Linear(128, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = (images[:, None].to(torch.float32) / 255 - _MEAN) / _STD
        x = F.max_pool2d(F.relu(self.conv_1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv_2(x)), 2)
        scores: Tensor = self.out(F.relu(self.hidden(x.flatten(1))))
        return scores


def train_classifier(
    images: Tensor, labels: Tensor, device: torch.device, passes: int, seed: int
) -> Classifier:
    """Train a small convolutional network for some passes over images uint8 (N, 28, 28) with labels (N,).

    After two passes over MNIST's training images it classifies 99 % of the test images correctly.
    """
    steps = -(-passes * len(images) // _BATCH)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(make_key(seed, Purpose.WEIGHTS))
        network = _Network().to(device)
    optimizer = Adam(network.parameters())
    images, labels = images.to(device), labels.to(device, torch.int64)
    for step in range(steps):
        numbers = torch.arange(step * _BATCH, (step + 1) * _BATCH)
        chosen = cycled(numbers, len(images), seed, Purpose.BATCH).to(device)
        loss = F.cross_entropy(network(images[chosen]), labels[chosen])
        optimizer.step(loss, _LEARNING_RATE * (1 - step / steps))
    return network.eval()


@torch.no_grad()
def predictions(classifier: Classifier, images: Tensor, device: torch.device) -> Tensor:
    """Predicted classes (n,) of images uint8 (n, 28, 28), int64 on the CPU."""
    parts = [classifier(part.to(device)).argmax(dim=1).cpu() for part in torch.split(images, _ROWS)]
    return torch.cat(parts)


def nearest_distances(images: Tensor, references: Tensor, device: torch.device) -> Tensor:
    """L2 distance (n,) of images uint8 (n, 28, 28), scaled to 0..1, to the nearest reference uint8 (N, 28, 28).

    A matrix product finds the nearest one, and the distance is then computed from the difference: a product
    would lose digits for near copies, where the distance matters most.
    """
    known = references.to(device).flatten(1).to(torch.float32) / 255
    half_norms = known.square().sum(dim=1) / 2
    found = []
    for part in torch.split(images, _ROWS):
        x = part.to(device).flatten(1).to(torch.float32) / 255
        # |x - r|^2 / 2 up to a term of x alone.
        nearest = torch.addmm(half_norms, x, known.T, alpha=-1).argmin(dim=1)
        found.append((x - known[nearest]).square().sum(dim=1).sqrt().cpu())
    return torch.cat(found)


def quality(
    samples: Tensor,
    labels: Tensor,
    train_images: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    *,
    classifier: Classifier,
    device: torch.device,
    subset: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures of samples uint8 (n, 28, 28) with their intended labels (n,), ready for JSON.

    - `accuracy`: share classified as labelled, among real test images and among samples, overall and for each
      class (None for a class without samples).
    - `pixels`: mean and standard deviation of all pixels, 0..1, of test images and of samples.
    - `nearest`: quantiles 0, 2, .. 100 % of the L2 distance to the nearest training image, pixels scaled to 0..1,
      of `subset` test images and as many samples. `close_share` is the share of samples that are closer than the
      1 % quantile of test images: 0.01 if samples are as new as test images, more if they are memorized.

    Raises:
        ValueError: if there are no samples, or not one label for each.
    """
    if len(samples) != len(labels) or not len(samples):
        raise ValueError(f"{len(labels)} labels for {len(samples)} samples")
    right = predictions(classifier, samples, device) == labels.cpu()
    test_right = predictions(classifier, test_images, device) == test_labels.cpu()
    own = nearest_distances(_some(samples, subset, seed), train_images, device)
    test = nearest_distances(_some(test_images, subset, seed), train_images, device)
    limit = test.quantile(0.01)
    return {
        "samples": len(samples),
        "accuracy": {
            "test": test_right.double().mean().item(),
            "samples": right.double().mean().item(),
            "test_classes": _by_class(test_right, test_labels.cpu()),
            "samples_classes": _by_class(right, labels.cpu()),
        },
        "pixels": {"test": _pixels(test_images), "samples": _pixels(samples)},
        "nearest": {
            "subset": len(own),
            "test_subset": len(test),
            "test_quantiles": _quantiles(test),
            "samples_quantiles": _quantiles(own),
            "close_limit": limit.item(),
            "close_share": (own < limit).double().mean().item(),
        },
    }


def picture(images: Tensor, labels: Tensor) -> str:
    """Data URL of the first images uint8 (n, 28, 28) of each class, black on white, a column for each class."""
    rows = _PICTURE_ROWS
    from PIL import Image

    height, width = images.shape[1:]
    tiles = torch.zeros(rows, height, CLASSES, width, dtype=torch.uint8)
    for label in range(CLASSES):
        own = images[labels == label][:rows]
        tiles[: len(own), :, label] = own
    buffer = io.BytesIO()
    Image.fromarray(255 - tiles.view(rows * height, CLASSES * width).numpy()).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _some(images: Tensor, subset: int, seed: int) -> Tensor:
    return images[permutation(make_key(seed, Purpose.SUBSET), len(images))[:subset]]


def _by_class(right: Tensor, labels: Tensor) -> list[float | None]:
    chosen = [right[labels == label].double() for label in range(CLASSES)]
    return [part.mean().item() if len(part) else None for part in chosen]


def _quantiles(values: Tensor) -> list[float]:
    shares = torch.linspace(0, 1, QUANTILES, dtype=torch.float64)
    found: list[float] = values.double().quantile(shares).tolist()
    return found


def _pixels(images: Tensor) -> dict[str, float]:
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(256, dtype=torch.float64)
    for part in torch.split(images, _ROWS):
        counts += torch.bincount(part.flatten().to(torch.int64), minlength=256).cpu()
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean).square()).sum() / counts.sum()
    return {"mean": mean.item(), "std": variance.sqrt().item()}
