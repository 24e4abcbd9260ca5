"""How many operations a step of training costs, counted from the sizes of a network."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gammascape.study.models import CnnSpec, MlpSpec, Network, ResnetSpec, Shape, VitSpec


@dataclass(frozen=True)
class Operations:
    """Multiply-adds of one sample's way forward through a network."""

    forward: int
    first: int
    """Those of `forward` that read the input: no signal is sent back through them."""
    again: int = 0
    """Those of `forward` that are made a second time on the way back, to save memory."""

    @property
    def training(self) -> int:
        """Floating point operations (two a multiply-add) of one sample, forward and backward.

        Backward, each product costs one product for its weights and one for the signal below; the
        first has no signal below. Sums, activations and normalizations are left out.
        """
        return 2 * (3 * self.forward - self.first + self.again)


def operations(model: Network, input_shape: Shape, outputs: int) -> Operations | None:
    """The count for a network that reads `input_shape`, (C, H, W) or (D,); None for other kinds."""
    again = 0
    if isinstance(model, MlpSpec):
        products = _mlp(model, input_shape, outputs)
    elif isinstance(model, CnnSpec):
        products = _cnn(model, input_shape, outputs)
    elif isinstance(model, ResnetSpec):
        products = _resnet(model, input_shape, outputs)
    elif isinstance(model, VitSpec):
        products = _vit(model, input_shape, outputs)
        # Fused attention keeps no logits.
        again = model.blocks * _tokens(model, input_shape) ** 2 * model.width
    else:
        return None
    first, *others = products
    return Operations(first + sum(others), first, again)


# Each of these gives the multiply-adds of all products, that of the input first.


def _mlp(model: MlpSpec, input_shape: Shape, outputs: int) -> Iterator[int]:
    yield math.prod(input_shape) * model.width
    for _ in range(model.depth - 2):
        yield model.width**2
    yield model.width * outputs


def _cnn(model: CnnSpec, input_shape: Shape, outputs: int) -> Iterator[int]:
    channels, *sides = input_shape
    for size in (model.width, 2 * model.width):
        sides = [side - 2 + 2 * model.padding for side in sides]
        yield _conv(sides, channels, size, 3)
        channels, sides = size, [side // 2 for side in sides]
    yield channels * math.prod(sides) * 8 * model.width
    yield 8 * model.width * outputs


def _resnet(model: ResnetSpec, input_shape: Shape, outputs: int) -> Iterator[int]:
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
    yield channels * outputs


def _vit(model: VitSpec, input_shape: Shape, outputs: int) -> Iterator[int]:
    tokens, width = _tokens(model, input_shape), model.width
    yield math.prod(input_shape) * width
    for _ in range(model.blocks):
        yield tokens * 4 * width**2  # queries, keys, values, mixing
        yield 2 * tokens**2 * width  # attention: its logits and its means
        yield tokens * 2 * model.mlp_ratio * width**2
    yield width * outputs


def _tokens(model: VitSpec, input_shape: Shape) -> int:
    return math.prod(side // model.patch for side in input_shape[1:])


def _conv(sides: list[int], channels: int, size: int, kernel: int) -> int:
    return math.prod(sides) * channels * size * kernel**2
