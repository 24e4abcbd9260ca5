"""One cell in plain numpy and torch, without this library: the losses are the artifact's.

The model is `{kind: mlp, depth: 3, width: 64}`, the dataset `digits` with all distortions at 0, the seeds are 0.

python examples/one_cell.py
"""

import copy

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

DEPTH, WIDTH, BATCH = 3, 64, 32
GOLDEN = np.array([0x9E3779B97F4A7C15], np.uint64)


def mix(z):
    """SplitMix64, from 64 bits to 64 bits: random numbers are hashes of their own coordinates."""
    z = (z ^ (z >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> 27)) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> 31)


def draw(purpose, counters):
    """Two uniform numbers of 24 bits for each counter (n,), from the key of (seed 0, purpose)."""
    key = mix(mix(GOLDEN) + np.uint64(purpose) + GOLDEN)
    bits = mix(counters.astype(np.uint64) * GOLDEN + key)
    return (bits >> 40) / 2**24, (bits >> 16 & 0xFFFFFF) / 2**24


def normal(position, outputs, inputs):
    """Weights of the parameter at this position of the model, from N(0, 1) by Box and Muller's transform."""
    one, other = draw(position, np.arange(outputs * inputs // 2))
    pairs = np.sqrt(-2 * np.log(one + 0.5 / 2**24)) * np.exp(2j * np.pi * other)
    return torch.from_numpy(pairs.view(float)).float().view(outputs, inputs)


def batches(steps):
    """Standardized training images (B, 64) and one-hot labels (B, 10); every fifth digit is for testing."""
    images, labels = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    train = torch.arange(len(images)) % 5 != 4
    x, y = images[train], F.one_hot(labels[train], 10).float()
    x = ((x - x.mean()) / x.std()).float()
    share, _ = draw(0, np.arange(steps * BATCH) << 24)
    chosen = torch.from_numpy(share * len(x)).float().long()
    return zip(x[chosen].split(BATCH), y[chosen].split(BATCH), strict=True)


def network(layers, h):
    """Outputs (B, 10) in mu-P: hidden layers are divided by the root of their fan-in, the last by its fan-in."""
    for weight, bias in layers[:-1]:
        h = F.relu(F.linear(h, weight, bias) / weight.shape[1] ** 0.5)
    return F.linear(h, *layers[-1]) / WIDTH


def train(loss, gamma, eta, steps):
    """Yield the training loss before each step; `loss` is `F.mse_loss` or `F.cross_entropy`."""
    fans = [64] + [WIDTH] * (DEPTH - 1) + [10]
    start = [(normal(2 * k, fans[k + 1], fans[k]), torch.zeros(fans[k + 1])) for k in range(DEPTH)]
    trained = copy.deepcopy(start)
    parameters = [value.requires_grad_() for layer in trained for value in layer]
    optimizer = torch.optim.SGD(parameters, lr=WIDTH * eta)
    for x, y in batches(steps):
        value = loss((network(trained, x) - network(start, x)) / gamma, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value.item()


if __name__ == "__main__":
    for step, value in enumerate(train(F.mse_loss, gamma=1.0, eta=1.0, steps=20)):
        print(f"step {step:2d}  loss {value:.5f}")
