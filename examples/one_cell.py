"""One cell in plain numpy and torch, without this library: the losses are those of the artifact.

The model is `{kind: mlp, depth: 3, width: 64}`, the dataset `digits` with all distortions at 0, the seeds are 0.

python examples/one_cell.py
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

DEPTH, WIDTH, BATCH = 3, 64, 32


def mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64, from 64 bits to 64 bits: random numbers are hashes of their own coordinates."""
    z = (z ^ (z >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> 27)) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> 31)


def draw(seed: int, purpose: int, counters: np.ndarray) -> np.ndarray:
    """64 random bits for each counter (n,), from the key of (seed, purpose)."""
    golden, key = np.uint64(0x9E3779B97F4A7C15), np.zeros(1, np.uint64)
    for part in (seed, purpose):
        key = mix(key + np.uint64(part) + golden)
    return mix(counters.astype(np.uint64) * golden + key)


def normal(seed: int, position: int, shape: tuple[int, int]) -> torch.Tensor:
    """Weights of the parameter at this position of the model, from N(0, 1) by Box and Muller's transform."""
    bits = draw(seed, position, np.arange(shape[0] * shape[1] // 2))
    radius = np.sqrt(-2 * np.log(((bits >> 40) + 0.5) * 2.0**-24))
    angle = 2 * np.pi * ((bits >> 16) & np.uint64(0xFFFFFF)) * 2.0**-24
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return torch.from_numpy(pairs).float().view(shape)


def batches(steps: int, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Standardized training images (B, 64) and one-hot labels (B, 10); every fifth digit is for testing."""
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images, labels = (array[torch.arange(len(images)) % 5 != 4] for array in (images, labels))
    images = ((images - images.mean()) / images.std()).float()
    share = (draw(seed, 0, np.arange(steps * BATCH) << 24) >> 40).astype(np.float32) * 2.0**-24
    chosen = torch.from_numpy((share * np.float32(len(images))).astype(np.int64)).split(BATCH)
    return [(images[places], F.one_hot(labels[places], 10).float()) for places in chosen]


def train(loss: str, gamma: float, eta: float, steps: int, seed: int = 0) -> list[float]:
    """Training loss before each of the steps; `loss` is "mse" or "xent"."""
    fans = [64] + [WIDTH] * (DEPTH - 1) + [10]
    weights = [normal(seed, 2 * k, (fans[k + 1], fans[k])) for k in range(DEPTH)]
    biases = [torch.zeros(size) for size in fans[1:]]
    multipliers = [fan**-0.5 for fan in fans[:-2]] + [1 / WIDTH]  # mu-P

    def network(parameters: list[torch.Tensor], h: torch.Tensor) -> torch.Tensor:
        for k in range(DEPTH):
            h = F.linear(h, parameters[k], parameters[DEPTH + k]) * multipliers[k]
            h = F.relu(h) if k < DEPTH - 1 else h
        return h

    start = [*weights, *biases]
    trained = [value.clone().requires_grad_() for value in start]
    optimizer = torch.optim.SGD(trained, lr=WIDTH * eta)
    losses = []
    for x, y in batches(steps):
        f = (network(trained, x) - network(start, x)) / gamma
        value = F.mse_loss(f, y) if loss == "mse" else F.cross_entropy(f, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


if __name__ == "__main__":
    for step, value in enumerate(train("mse", gamma=1.0, eta=1.0, steps=200)):
        if step % 20 == 0:
            print(f"step {step:3d}  loss {value:.5f}")
