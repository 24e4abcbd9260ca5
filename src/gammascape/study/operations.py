"""Operations of a training step and numbers in memory, computed from the sizes of a network."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gammascape.needs import needs
from gammascape.study.keys.datasets import DatasetSpec
from gammascape.study.keys.models import CnnSpec, MlpSpec, Network, ResnetSpec, Shape, VitSpec


@dataclass(frozen=True)
class Operations:
    """Multiply-adds in the forward pass of one sample through a network."""

    forward: int
    first: int
    """Part of `forward` that reads the input: no signal goes back through it."""
    again: int = 0
    """Part of `forward` that is repeated in the backward pass, to save memory."""
    weights: int = 0
    """Numbers in all weights, without biases and gains."""
    units: int = 0
    """Outputs of all layers for one sample."""

    @property
    def training(self) -> int:
        """Floating point operations (two for each multiply-add) of one sample, forward and backward.

        Backward, each product costs one product for its weights and one for the signal below it, except for the
        first, which has no signal below. Sums, activations and normalizations are left out.
        """
        return 2 * (3 * self.forward - self.first + self.again)


def operations(model: Network, input_shape: Shape, outputs: int) -> Operations | None:
    """Operations of a network that reads `input_shape`, (C, H, W) or (D,); None for other kinds."""
    products = next((of for kind, of in _PRODUCTS.items() if isinstance(model, kind)), None)
    if products is None:
        return None
    # Fused attention does not store logits.
    again = 0
    if isinstance(model, VitSpec):
        again = model.blocks * _tokens(model, input_shape) ** 2 * model.width
    counted = list(products(model, input_shape, outputs))
    forward, weights, units = (sum(column) for column in zip(*counted, strict=True))
    return Operations(forward, counted[0].operations, again, weights, units)


def lane_needs(
    model: Network, dataset: DatasetSpec, batch_size: int, steps: int, item: int = 4
) -> Mapping[str, int]:
    """Bytes of memory for training one network, by purpose; without weights and layers of a factory's network."""
    counted = operations(model, dataset.input_shape, dataset.outputs)
    sample = math.prod(dataset.input_shape) + dataset.outputs
    weights, units = (counted.weights, counted.units) if counted else (0, 0)
    return needs(weights, units, sample, batch_size, steps, item)


class _Product(NamedTuple):
    """One product of a forward pass: multiply-adds and outputs for a sample, and its weights."""

    operations: int
    weights: int
    units: int


def _linear(inputs: int, outputs: int, places: int = 1) -> _Product:
    """Product of a layer that is applied at several places, such as a convolution."""
    return _Product(places * inputs * outputs, inputs * outputs, places * outputs)


# Each of these yields all products, the input's first.


def _mlp(model: MlpSpec, input_shape: Shape, outputs: int) -> Iterator[_Product]:
    yield _linear(math.prod(input_shape), model.width)
    for _ in range(model.depth - 2):
        yield _linear(model.width, model.width)
    yield _linear(model.width, outputs)


def _cnn(model: CnnSpec, input_shape: Shape, outputs: int) -> Iterator[_Product]:
    channels, *sides = input_shape
    for size in (model.width, 2 * model.width):
        sides = [side - 2 + 2 * model.padding for side in sides]
        yield _conv(sides, channels, size, 3)
        channels, sides = size, [side // 2 for side in sides]
    yield _linear(channels * math.prod(sides), 8 * model.width)
    yield _linear(8 * model.width, outputs)


def _resnet(model: ResnetSpec, input_shape: Shape, outputs: int) -> Iterator[_Product]:
    sides = list(input_shape[1:])
    yield _conv(sides, input_shape[0], model.width, 3)
    channels = model.width
    for stage, blocks in enumerate(model.blocks):
        size = model.width * 2**stage
        for block in range(blocks):
            if stage > 0 and block == 0:
                sides = [(side + 1) // 2 for side in sides]
            yield _conv(sides, channels, size, 3)
            yield _conv(sides, size, size, 3)
            if channels != size:
                yield _conv(sides, channels, size, 1)
            channels = size
    yield _linear(channels, outputs)


def _vit(model: VitSpec, input_shape: Shape, outputs: int) -> Iterator[_Product]:
    tokens, width = _tokens(model, input_shape), model.width
    yield _linear(input_shape[0] * model.patch**2, width, tokens)
    for _ in range(model.blocks):
        yield _linear(width, 4 * width, tokens)  # queries, keys, values, mixing
        yield _Product(2 * tokens**2 * width, 0, 0)  # attention: its logits and its means
        yield _linear(width, model.mlp_ratio * width, tokens)
        yield _linear(model.mlp_ratio * width, width, tokens)
    yield _linear(width, outputs)


_PRODUCTS: Mapping[type[Network], Callable[..., Iterator[_Product]]] = {
    MlpSpec: _mlp,
    CnnSpec: _cnn,
    ResnetSpec: _resnet,
    VitSpec: _vit,
}


def _tokens(model: VitSpec, input_shape: Shape) -> int:
    return math.prod(side // model.patch for side in input_shape[1:])


def _conv(sides: list[int], channels: int, size: int, kernel: int) -> _Product:
    return _linear(channels * kernel**2, size, math.prod(sides))
