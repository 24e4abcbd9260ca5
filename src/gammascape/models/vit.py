"""Vision transformer (Dosovitskiy et al. 2021): patches, pre-norm blocks, mean over tokens, readout.

As mu-P requires, attention logits are divided by the head size, not its root (Yang et al., arXiv 2203.03466).
LayerNorm leaves no degree of homogeneity L, so the theory gives no ultra-rich exponent; it is measured.
"""

from typing import Any

import torch
from torch import Tensor

from gammascape.models.model import Model, Parameter, gain_and_shift, weight_and_bias
from gammascape.models.passes import Outputs, described


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """ViT; options: width N (token features), blocks, heads, patch (pixels), mlp_ratio."""
    width, heads, patch = options["width"], options["heads"], options["patch"]
    channels, height, breadth = input_shape
    rows, columns = height // patch, breadth // patch
    tokens, patch_size = rows * columns, channels * patch**2
    inner = options["mlp_ratio"] * width
    blocks = [f"block{number + 1}" for number in range(options["blocks"])]
    parameters = weight_and_bias("embedding", width, patch_size)
    parameters.append(Parameter("position", (tokens, width), "normal"))
    for name in blocks:
        parameters += gain_and_shift(f"{name}.norm1", width)
        parameters += weight_and_bias(f"{name}.qkv", 3 * width, width)
        parameters += weight_and_bias(f"{name}.mix", width, width)
        parameters += gain_and_shift(f"{name}.norm2", width)
        parameters += weight_and_bias(f"{name}.up", inner, width)
        parameters += weight_and_bias(f"{name}.down", width, inner)
    parameters += gain_and_shift("norm", width)
    parameters += weight_and_bias("readout", outputs, width)

    def network(run: Outputs, x: Tensor) -> Any:
        cut = x.view(len(x), channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        patches = cut.reshape(len(x) * tokens, patch_size)
        # Tokens stay flat, (K, B * tokens, N), so that every product is one batched product over lanes.
        h = run.position(run.linear("embedding", run.read(patches)), tokens)
        for name in blocks:
            qkv = run.linear(f"{name}.qkv", run.token_norm(f"{name}.norm1", h))
            h = h + run.linear(f"{name}.mix", run.attention(qkv, tokens, heads))
            up = run.linear(f"{name}.up", run.token_norm(f"{name}.norm2", h))
            h = h + run.linear(f"{name}.down", run.gelu(up))
            run.see_sum(name, h)
        normed = run.token_norm("norm", h)
        pooled = run.linearly(lambda v: torch.unflatten(v, 1, (-1, tokens)).mean(2), normed)
        run.see("pooled", pooled)
        return run.readout("readout", pooled)

    return described(
        network,
        parameters=tuple(parameters),
        base_width=width,
        depth=None,
        hidden=(*blocks, "pooled"),
        compiles=True,
    )
