"""f~(w_0 + d) - f~(w_0) as a function of d, computed without cancellation: the difference form of each model.

f = (f~(w) - f~(w_0)) / gamma loses digits as gamma shrinks, for two reasons: f~ hardly moves, so the subtraction
cancels, and a step of w is less than its last place. The form keeps d = w - w_0 as what is trained and carries
the change of every activation through the network beside its value. It is the same function, and its gradient
with respect to d is that of f~ with respect to w.
"""

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.models import build_model, changes, lanes
from gammascape.models.centred import CentredForm, Reference
from gammascape.models.model import Hidden, Parameters
from gammascape.models.resnet import CHANNELS_PER_GROUP

_Parts = tuple[
    Callable[[Parameters, Tensor], Reference],
    Callable[[Parameters, Parameters, Reference, Tensor, Hidden | None], Tensor],
    Callable[[Parameters, Parameters, Tensor, Hidden, Tensor], None] | None,
]
"""reference, numerator and descend of a `CentredForm`."""


def difference_form(
    options: dict[str, Any], input_shape: tuple[int, ...], outputs: int
) -> CentredForm:
    """The difference form of the model of a cell's record.

    Equal arguments return the same object.

    Raises:
        KeyError: if that kind of model has none.
    """
    return _form(json.dumps(options, sort_keys=True), tuple(input_shape), outputs)


@cache
def _form(options: str, input_shape: tuple[int, ...], outputs: int) -> CentredForm:
    record = json.loads(options)
    model = build_model(record, input_shape, outputs)
    reference, numerator, descend = FORMS[record["kind"]](record, input_shape)
    return CentredForm(model, True, reference, numerator, descend)


def _mlp(options: dict[str, Any], input_shape: tuple[int, ...]) -> _Parts:
    depth, width = options["depth"], options["width"]
    fans = [math.prod(input_shape)] + [width] * (depth - 1)
    multipliers = [fan_in**-0.5 for fan_in in fans[:-1]] + [1.0 / fans[-1]]
    layers = range(1, depth)

    def reference(w0: Parameters, x: Tensor) -> Reference:
        kept = []
        h = x.flatten(1)
        with torch.no_grad():
            for layer in layers:
                w, b = w0[f"layer{layer}.weight"], w0[f"layer{layer}.bias"]
                kept.append(lanes.linear(h, w, b, multipliers[layer - 1]))
                h = torch.relu(kept[-1])
        return tuple(kept)

    def numerator(
        d: Parameters, w0: Parameters, kept: Reference, x: Tensor, hidden: Hidden | None
    ) -> Tensor:
        dh, h = None, x.flatten(1)
        for layer in range(1, depth + 1):
            name = f"layer{layer}"
            weights = w0[f"{name}.weight"], d[f"{name}.weight"], d[f"{name}.bias"]
            change = changes.linear(dh, h, *weights, multipliers[layer - 1])
            if layer < depth:
                dh, h = changes.relu(kept[layer - 1], change)
                if hidden is not None:
                    hidden[name] = h
        return change

    def descend(d: Parameters, w0: Parameters, x: Tensor, hidden: Hidden, signal: Tensor) -> None:
        inputs = [x.flatten(1).expand(len(signal), -1, -1), *hidden.values()]
        # As in the model's own step, the multipliers are collected in one number.
        scale = 1.0
        for layer in range(depth, 0, -1):
            dw, db = d[f"layer{layer}.weight"], d[f"layer{layer}.bias"]
            h = inputs[layer - 1]
            scale *= multipliers[layer - 1]
            below = signal
            if layer > 1:
                # The signal goes through the weights before they are changed.
                below = lanes.relu_backward(torch.bmm(signal, w0[f"layer{layer}.weight"] + dw), h)
            dw.baddbmm_(signal.transpose(1, 2), h, alpha=-scale)
            db.sub_(signal.sum(1), alpha=scale)
            signal = below

    return reference, numerator, descend


def _cnn(options: dict[str, Any], input_shape: tuple[int, ...]) -> _Parts:
    width, padding = options["width"], options["padding"]
    fans = {"conv1": input_shape[0], "conv2": width}

    def reference(w0: Parameters, x: Tensor) -> Reference:
        kept, h = [], x
        seeds = w0["conv1.weight"].shape[0]
        with torch.no_grad():
            for name, fan_in in fans.items():
                w, b = w0[f"{name}.weight"], w0[f"{name}.bias"]
                h = lanes.conv(h, w, b, fan_in**-0.5, stride=1, padding=padding)
                kept.append(_apart(h, seeds))
                h = F.avg_pool2d(torch.relu(h), 2)
            features = lanes.channels_to_lanes(h, seeds)
            w, b = w0["linear.weight"], w0["linear.bias"]
            kept.append(lanes.linear(features, w, b, features.shape[2] ** -0.5))
        return tuple(kept)

    def numerator(
        d: Parameters, w0: Parameters, kept: Reference, x: Tensor, hidden: Hidden | None
    ) -> Tensor:
        count = d["conv1.weight"].shape[0]
        dh, h = None, x
        for (name, fan_in), p in zip(fans.items(), kept[:2], strict=True):
            weights = w0[f"{name}.weight"], d[f"{name}.weight"], d[f"{name}.bias"]
            dp = changes.conv(dh, h, *weights, fan_in**-0.5, stride=1, padding=padding)
            dh, h = (F.avg_pool2d(v, 2) for v in changes.relu(_beside(p), dp))
            if hidden is not None:
                hidden[name] = lanes.channels_to_lanes(h, count)
        assert dh is not None
        dh, h = lanes.channels_to_lanes(dh, count), lanes.channels_to_lanes(h, count)
        weights = w0["linear.weight"], d["linear.weight"], d["linear.bias"]
        dh, h = changes.relu(kept[2], changes.linear(dh, h, *weights, h.shape[2] ** -0.5))
        if hidden is not None:
            hidden["linear"] = h
        weights = w0["readout.weight"], d["readout.weight"], d["readout.bias"]
        return changes.linear(dh, h, *weights, 1.0 / (8 * width))

    return reference, numerator, None


def _resnet(options: dict[str, Any], input_shape: tuple[int, ...]) -> _Parts:
    blocks = [
        (f"stage{stage + 1}.block{block + 1}", 2 if stage > 0 and block == 0 else 1)
        for stage, count in enumerate(options["blocks"])
        for block in range(count)
    ]

    def has_skip(w0: Parameters, name: str) -> bool:
        return f"{name}.skip.weight" in w0

    def groups(size: int) -> int:
        return max(1, size // CHANNELS_PER_GROUP) if options["norm"] == "group" else 1

    # What is kept, in the order of use: y and r of each normalization, then what the ReLU behind it reads.
    def reference(w0: Parameters, x: Tensor) -> Reference:
        kept: list[Tensor] = []
        seeds = w0["stem.weight"].shape[0]

        def conv_norm(name: str, h: Tensor, stride: int) -> Tensor:
            w = w0[f"{name}.weight"]
            size, fan_in, kernel = w.shape[1:4]
            h = lanes.conv(h, w, None, fan_in**-0.5, stride=stride, padding=kernel // 2)
            y, r = changes.normalize(_grouped(h, seeds * groups(size)))
            y = y.reshape(h.shape)
            kept.extend((_apart(y, seeds), _apart(r, seeds)))
            return y * w0[f"{name}.gain"].view(-1, 1, 1) + w0[f"{name}.shift"].view(-1, 1, 1)

        def relu(p: Tensor) -> Tensor:
            kept.append(_apart(p, seeds))
            return torch.relu(p)

        with torch.no_grad():
            h = relu(conv_norm("stem", x, 1))
            for name, stride in blocks:
                p = conv_norm(f"{name}.conv2", relu(conv_norm(f"{name}.conv1", h, stride)), 1)
                if has_skip(w0, name):
                    h = conv_norm(f"{name}.skip", h, stride)
                h = relu(p + h)
        return tuple(kept)

    def numerator(
        d: Parameters, w0: Parameters, reference: Reference, x: Tensor, hidden: Hidden | None
    ) -> Tensor:
        kept = iter(reference)
        count = d["stem.weight"].shape[0]

        def conv_norm(name: str, dh: Tensor | None, h: Tensor, stride: int) -> Tensor:
            w, dw = w0[f"{name}.weight"], d[f"{name}.weight"]
            size, fan_in, kernel = w.shape[1:4]
            da = changes.conv(dh, h, w, dw, None, fan_in**-0.5, stride=stride, padding=kernel // 2)
            together = count * groups(size)
            y, r = _beside(next(kept)), _beside(next(kept))
            dy = changes.normalized(_grouped(y, together), r, _grouped(da, together)).reshape(
                y.shape
            )
            gain, dgain, dshift = (
                v.view(-1, 1, 1)
                for v in (w0[f"{name}.gain"], d[f"{name}.gain"], d[f"{name}.shift"])
            )
            return dy * gain + (y + dy) * dgain + dshift

        def relu(dp: Tensor) -> tuple[Tensor, Tensor]:
            return changes.relu(_beside(next(kept)), dp)

        dh, h = relu(conv_norm("stem", None, x, 1))
        if hidden is not None:
            hidden["stem"] = lanes.channels_to_lanes(h, count)
        for name, stride in blocks:
            dp = conv_norm(f"{name}.conv2", *relu(conv_norm(f"{name}.conv1", dh, h, stride)), 1)
            if has_skip(w0, name):
                dh = conv_norm(f"{name}.skip", dh, h, stride)
            dh, h = relu(dp + dh)
            if hidden is not None:
                hidden[name] = lanes.channels_to_lanes(h, count)
        dh, h = (_apart(v.mean((2, 3)), count) for v in (dh, h))
        if hidden is not None:
            hidden["pooled"] = h
        weights = w0["readout.weight"], d["readout.weight"], d["readout.bias"]
        return changes.linear(dh, h, *weights, 1.0 / h.shape[2])

    return reference, numerator, None


def _vit(options: dict[str, Any], input_shape: tuple[int, ...]) -> _Parts:
    width, heads, patch = options["width"], options["heads"], options["patch"]
    head_size = width // heads
    channels, height, breadth = input_shape
    rows, columns = height // patch, breadth // patch
    tokens = rows * columns
    blocks = [f"block{number + 1}" for number in range(options["blocks"])]

    def patches(x: Tensor) -> Tensor:
        cut = x.view(len(x), channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        return cut.reshape(len(x) * tokens, -1)

    def split_heads(h: Tensor) -> tuple[Tensor, ...]:
        """(K, B * tokens, 3 N) -> q, k, v, each (K, B, heads, tokens, head size)."""
        split = h.view(len(h), -1, tokens, 3, heads, head_size)
        return split.permute(3, 0, 1, 4, 2, 5).unbind()

    def join_heads(h: Tensor) -> Tensor:
        """(K, B, heads, tokens, head size) -> (K, B * tokens, N)."""
        return h.transpose(2, 3).flatten(3).flatten(1, 2)

    # Kept, in the order of use: y and r of each normalization, h of each block's end, and in a block q, k, v, the
    # shares of attention, and what GELU reads. The batch is a dimension of its own, so that all have it second.
    def reference(w0: Parameters, x: Tensor) -> Reference:
        kept: list[Tensor] = []

        def linear(name: str, h: Tensor) -> Tensor:
            w = w0[f"{name}.weight"]
            return lanes.linear(h, w, w0[f"{name}.bias"], w.shape[2] ** -0.5)

        def norm(name: str, h: Tensor) -> Tensor:
            y, r = changes.normalize(h)
            kept.extend((y, r))
            return y * w0[f"{name}.gain"][:, None] + w0[f"{name}.shift"][:, None]

        with torch.no_grad():
            h = torch.unflatten(linear("embedding", patches(x)), 1, (-1, tokens))
            h = (h + w0["position"][:, None]).flatten(1, 2)
            for name in blocks:
                q, k, v = split_heads(linear(f"{name}.qkv", norm(f"{name}.norm1", h)))
                shares = torch.softmax(q @ k.mT / head_size, -1)
                kept.extend((q, k, v, shares))
                h = h + linear(f"{name}.mix", join_heads(shares @ v))
                kept.append(linear(f"{name}.up", norm(f"{name}.norm2", h)))
                h = h + linear(f"{name}.down", F.gelu(kept[-1]))
                kept.append(h)
            norm("norm", h)
        return tuple(kept)

    def numerator(
        d: Parameters, w0: Parameters, reference: Reference, x: Tensor, hidden: Hidden | None
    ) -> Tensor:
        kept = iter(reference)

        def linear(name: str, dh: Tensor | None, h: Tensor) -> Tensor:
            w, dw, db = w0[f"{name}.weight"], d[f"{name}.weight"], d[f"{name}.bias"]
            return changes.linear(dh, h, w, dw, db, w.shape[2] ** -0.5)

        def norm(name: str, dh: Tensor) -> tuple[Tensor, Tensor]:
            y = next(kept)
            dy = changes.normalized(y, next(kept), dh)
            gain, shift = w0[f"{name}.gain"][:, None], w0[f"{name}.shift"][:, None]
            dgain, dshift = d[f"{name}.gain"][:, None], d[f"{name}.shift"][:, None]
            after = y + dy
            return dy * gain + after * dgain + dshift, after * (gain + dgain) + shift + dshift

        def attend(dqkv: Tensor) -> tuple[Tensor, Tensor]:
            q, k, v, shares = (next(kept) for _ in range(4))
            dq, dk, dv = split_heads(dqkv)
            dlogits = (dq @ k.mT + (q + dq) @ dk.mT) / head_size
            dshares = changes.softmax(shares, dlogits)
            after = shares + dshares
            return join_heads(dshares @ v + after @ dv), join_heads(after @ (v + dv))

        dh = torch.unflatten(linear("embedding", None, patches(x)), 1, (-1, tokens))
        dh = (dh + d["position"][:, None]).flatten(1, 2)
        for name in blocks:
            dqkv = linear(f"{name}.qkv", *norm(f"{name}.norm1", dh))
            dh = dh + linear(f"{name}.mix", *attend(dqkv))
            dup = linear(f"{name}.up", *norm(f"{name}.norm2", dh))
            dh = dh + linear(f"{name}.down", *changes.gelu(next(kept), dup))
            h = next(kept)
            if hidden is not None:
                hidden[name] = (h + dh).view(len(h), len(x), tokens * width)
        pooled = [torch.unflatten(v, 1, (-1, tokens)).mean(2) for v in norm("norm", dh)]
        if hidden is not None:
            hidden["pooled"] = pooled[1]
        weights = w0["readout.weight"], d["readout.weight"], d["readout.bias"]
        return changes.linear(pooled[0], pooled[1], *weights, 1.0 / width)

    return reference, numerator, None


def _apart(h: Tensor, count: int) -> Tensor:
    """Feature maps with lanes side by side, (B, K*C, H, W), as (K, B, C, H, W)."""
    return torch.unflatten(h, 1, (count, -1)).transpose(0, 1)


def _beside(h: Tensor) -> Tensor:
    """The inverse of `_apart`."""
    return h.transpose(0, 1).flatten(1, 2)


def _grouped(h: Tensor, groups: int) -> Tensor:
    """(B, channels, H, W) -> (B, groups, what is normalized together)."""
    return h.reshape(len(h), groups, -1)


FORMS: dict[str, Callable[[dict[str, Any], tuple[int, ...]], _Parts]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
    "vit": _vit,
}
