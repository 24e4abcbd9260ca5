"""Residual network (He et al. 2016, basic blocks) with layer or group normalization.

BatchNorm is not used. It ties the output for a sample to its batch, so f~(w_0) would need the same batch to be
subtracted. Its running buffers are a second state besides the weights. It mixes the samples of a batch into the
representation that is compared between networks. Normalizing each sample on its own (GroupNorm, or LayerNorm as
its one-group case) keeps the network a function of its input.

Normalized convolutions are scale-free, so f~ has no degree of homogeneity L and the theory gives no ultra-rich
exponent; it is measured.
"""

from typing import Any

from torch import Tensor

from gammascape.models import layers
from gammascape.models.model import Model, Parameter, gain_and_shift, weight_and_bias
from gammascape.models.passes import Outputs, described

CHANNELS_PER_GROUP = 4


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """ResNet; options: width N (stem channels), blocks (residual blocks per stage), norm ("layer" or "group").

    Stage s has N * 2^s channels; every stage after the first halves the image. Convolutions have no bias, the
    readout has one.
    """
    width, norm = options["width"], options["norm"]
    convs: dict[str, tuple[int, int, int, int]] = {}
    """Name -> output and input channels, side of the kernel, stride."""
    convs["stem"] = width, input_shape[0], 3, 1
    blocks: list[str] = []
    channels = width
    for stage, count in enumerate(options["blocks"]):
        size = width * 2**stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            blocks.append(name := f"stage{stage + 1}.block{block + 1}")
            convs[f"{name}.conv1"] = size, channels, 3, stride
            convs[f"{name}.conv2"] = size, size, 3, 1
            if stride != 1 or channels != size:
                convs[f"{name}.skip"] = size, channels, 1, stride
            channels = size
    parameters: list[Parameter] = []
    for name, (size, fan_in, kernel, _) in convs.items():
        parameters.append(Parameter(f"{name}.weight", (size, fan_in, kernel, kernel), "normal"))
        parameters += gain_and_shift(name, size)

    def network(run: Outputs, x: Tensor) -> Any:
        def conv_norm(name: str, h: Any) -> Any:
            size, _, kernel, stride = convs[name]
            groups = max(1, size // CHANNELS_PER_GROUP) if norm == "group" else 1
            p = run.conv(name, h, stride=stride, padding=kernel // 2)
            return run.channel_norm(name, p, groups)

        h = run.relu(conv_norm("stem", run.read(x)))
        run.see("stem", h)
        for name in blocks:
            p = conv_norm(f"{name}.conv2", run.relu(conv_norm(f"{name}.conv1", h)))
            skip = f"{name}.skip"
            h = run.relu(run.add(conv_norm(skip, h) if skip in convs else h, p))
            run.see(name, h)
        h = run.linearly(lambda maps: layers.split_lanes(maps.mean((2, 3)), run.lanes), h)
        run.see("pooled", h)
        return run.readout("readout", h)

    return described(
        network,
        parameters=(*parameters, *weight_and_bias("readout", outputs, channels)),
        base_width=width,
        depth=None,
        hidden=("stem", *blocks, "pooled"),
    )
