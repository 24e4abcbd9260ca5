"""Vision transformer (Dosovitskiy et al. 2021): patches, pre-norm blocks, mean over tokens, readout.

Attention logits are divided by the head size, not its square root, as mu-P asks (Yang et al., arXiv 2203.03466).
LayerNorm leaves no degree of homogeneity L, so the theory gives no ultra-rich exponent; it is measured.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from gammascape.models import lanes
from gammascape.models.model import Hidden, Model, Parameter, Parameters


def build(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """options: width N (token features), blocks, heads, patch (pixels), mlp_ratio."""
    width, heads, patch = options["width"], options["heads"], options["patch"]
    channels, height, breadth = input_shape
    rows, columns = height // patch, breadth // patch
    tokens, patch_size = rows * columns, channels * patch**2
    inner = options["mlp_ratio"] * width
    head_size = width // heads
    blocks = [f"block{number + 1}" for number in range(options["blocks"])]

    parameters: list[Parameter] = []

    def add_linear(name: str, fan_in: int, size: int) -> None:
        parameters.append(Parameter(f"{name}.weight", (size, fan_in), "normal"))
        parameters.append(Parameter(f"{name}.bias", (size,), "zeros"))

    def add_norm(name: str) -> None:
        parameters.append(Parameter(f"{name}.gain", (width,), "ones"))
        parameters.append(Parameter(f"{name}.shift", (width,), "zeros"))

    add_linear("embedding", patch_size, width)
    parameters.append(Parameter("position", (tokens, width), "normal"))
    for name in blocks:
        add_norm(f"{name}.norm1")
        add_linear(f"{name}.qkv", width, 3 * width)
        add_linear(f"{name}.mix", width, width)
        add_norm(f"{name}.norm2")
        add_linear(f"{name}.up", width, inner)
        add_linear(f"{name}.down", inner, width)
    add_norm("norm")
    add_linear("readout", width, outputs)

    def linear(p: Parameters, name: str, h: Tensor) -> Tensor:
        w = p[f"{name}.weight"]
        return lanes.linear(h, w, p[f"{name}.bias"], w.shape[2] ** -0.5)

    def norm(p: Parameters, name: str, h: Tensor) -> Tensor:
        return lanes.token_norm(h, p[f"{name}.gain"], p[f"{name}.shift"])

    def forward(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
        batch, count = x.shape[0], p["embedding.weight"].shape[0]
        patches = x.view(batch, channels, rows, patch, columns, patch)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch * tokens, patch_size)
        # Tokens stay flat, (K, B * tokens, N), so that every product is one batched product over lanes.
        h = linear(p, "embedding", patches)
        h = (h.view(count, batch, tokens, width) + p["position"][:, None]).flatten(1, 2)
        for name in blocks:
            qkv = linear(p, f"{name}.qkv", norm(p, f"{name}.norm1", h))
            q, k, v = qkv.view(count * batch, tokens, 3, heads, head_size).permute(2, 0, 3, 1, 4)
            mixed = lanes.attention(q, k, v, 1.0 / head_size).transpose(1, 2)
            h = h + linear(p, f"{name}.mix", mixed.reshape(count, batch * tokens, width))
            up = F.gelu(linear(p, f"{name}.up", norm(p, f"{name}.norm2", h)))
            h = h + linear(p, f"{name}.down", up)
            if hidden is not None:
                hidden[name] = h.view(count, batch, tokens * width)
        pooled = norm(p, "norm", h).view(count, batch, tokens, width).mean(2)
        if hidden is not None:
            hidden["pooled"] = pooled
        return lanes.linear(pooled, p["readout.weight"], p["readout.bias"], 1.0 / width)

    return Model(
        parameters=tuple(parameters),
        forward=forward,
        base_width=width,
        depth=None,
        hidden=(*blocks, "pooled"),
    )
