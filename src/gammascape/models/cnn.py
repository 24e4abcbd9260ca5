"""Convolutional network of four weight layers: two convolutions with average pooling, one hidden linear layer."""

from typing import Any

from torch import Tensor

from gammascape.models import layers
from gammascape.models.model import Model, weight_and_bias
from gammascape.models.passes import Outputs, described


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """The CNN of the paper's code: 3x3 convolutions of N and 2N channels, linear 8N, readout.

    Options: width N; padding 0 (as in the paper's code) or 1 (for images too small to lose their border).
    """
    width, padding = options["width"], options["padding"]
    channels, height, breadth = input_shape
    # Each block: the convolution takes 2 - 2 * padding pixels, average pooling halves.
    final = [((side - 2 + 2 * padding) // 2 - 2 + 2 * padding) // 2 for side in (height, breadth)]

    def network(run: Outputs, x: Tensor) -> Any:
        h = run.read(x)
        for name in ("conv1", "conv2"):
            h = run.relu(run.conv(name, h, padding=padding))
            h = run.linearly(layers.halve, h)
            run.see(name, h)
        h = run.linearly(lambda maps: layers.channels_to_lanes(maps, run.lanes), h)
        h = run.relu(run.linear("linear", h))
        run.see("linear", h)
        return run.readout("readout", h)

    return described(
        network,
        parameters=(
            *weight_and_bias("conv1", width, channels, 3, 3),
            *weight_and_bias("conv2", 2 * width, width, 3, 3),
            *weight_and_bias("linear", 8 * width, 2 * width * final[0] * final[1]),
            *weight_and_bias("readout", outputs, 8 * width),
        ),
        base_width=width,
        depth=4,
        hidden=("conv1", "conv2", "linear"),
        compiles=True,
    )
