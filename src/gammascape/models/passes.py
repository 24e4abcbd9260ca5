"""Passes through a network described once: `Outputs`, `Notes` (values that a change needs) and `Changes`.

An architecture is a function of a pass and its input, written with the layers below. Between layers, the outputs
are a tensor. Their change is a pair (change, value after it) after a nonlinearity, and the change alone
after a linear layer. Multipliers come from `model.multiplier`. Lanes K, samples B.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.models import changes, layers
from gammascape.models.model import Difference, Hidden, Model, Parameters, Reference, multiplier


class Outputs:
    """Pass that computes f~ and, on request, the hidden layers."""

    def __init__(self, p: Parameters, x: Tensor, hidden: Hidden | None) -> None:
        self.p, self.hidden = p, hidden
        self.lanes, self.batch = len(next(iter(p.values()))), len(x)

    def read(self, x: Tensor) -> Any:
        """Input of the first layer."""
        return x

    def linear(self, name: str, h: Any, role: str = "hidden") -> Any:
        """(W h + b) times its multiplier, (K, B, m)."""
        w = self.p[f"{name}.weight"]
        return layers.linear(h, w, self.p[f"{name}.bias"], multiplier(role, w.shape[2]))

    def readout(self, name: str, h: Any) -> Any:
        """Last layer, (K, B, O)."""
        return self.linear(name, h, "readout")

    def conv(self, name: str, h: Any, *, stride: int = 1, padding: int) -> Any:
        """Convolution, lanes side by side in the channels, (B, K*O, H', W')."""
        w, b = self.p[f"{name}.weight"], self.p.get(f"{name}.bias")
        return layers.conv(
            h, w, b, multiplier("hidden", w.shape[2]), stride=stride, padding=padding
        )

    def relu(self, p: Tensor) -> Any:
        return torch.relu_(p)

    def gelu(self, p: Tensor) -> Any:
        return F.gelu(p)

    def channel_norm(self, name: str, h: Tensor, groups: int) -> Any:
        """Group normalization of (B, K*C, H, W), separate for each lane and sample; 1 group is layer norm."""
        gain, shift = self.p[f"{name}.gain"], self.p[f"{name}.shift"]
        return F.group_norm(h, self.lanes * groups, gain.flatten(), shift.flatten())

    def token_norm(self, name: str, h: Tensor) -> Any:
        """Layer normalization of (K, B * tokens, N)."""
        gain, shift = self.p[f"{name}.gain"][:, None], self.p[f"{name}.shift"][:, None]
        return torch.addcmul(shift, F.layer_norm(h, h.shape[-1:]), gain)

    def attention(self, qkv: Tensor, tokens: int, heads: int) -> Any:
        """(K, B * tokens, 3 N) -> (K, B * tokens, N); logits are divided by the head size."""
        if qkv.device.type == "cuda":
            # torch's kernels are not deterministic there, and fill tiles of 64 tokens by 32 numbers.
            return attend_by_products(qkv, tokens, heads)
        split = qkv.view(self.lanes * self.batch, tokens, 3, heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0 / q.shape[-1])
        return mixed.transpose(1, 2).reshape(self.lanes, self.batch * tokens, -1)

    def position(self, h: Tensor, tokens: int) -> Tensor:
        """Tokens (K, B * tokens, N) with their position embedding added."""
        placed = torch.add(torch.unflatten(h, 1, (-1, tokens)), self.p["position"][:, None])
        return placed.flatten(1, 2)

    def linearly(self, f: Callable[[Tensor], Tensor], h: Any) -> Any:
        """Linear map without weights."""
        return f(h)

    def add(self, h: Any, p: Tensor) -> Tensor:
        """Input of a ReLU after a skip connection."""
        return torch.add(p, h)

    def see(self, name: str, h: Any) -> None:
        """Record a hidden layer."""
        if self.hidden is not None:
            self.hidden[name] = layers.channels_to_lanes(h, self.lanes) if h.dim() == 4 else h

    def see_sum(self, name: str, h: Tensor) -> None:
        """`see` for a sum of linear layers of tokens."""
        if self.hidden is not None:
            self.hidden[name] = h.view(self.lanes, self.batch, -1)


class Notes(Outputs):
    """Pass that stores the values of the initial networks that `Changes` needs, in the order of use.

    Stored are the inputs of nonlinearities, y and r of `changes.normalize`, q, k, v and the shares of attention,
    and the values of sums. Lanes are first, samples second; tokens count as places of their sample.
    """

    def __init__(self, w0: Parameters, x: Tensor) -> None:
        super().__init__(w0, x, None)
        self.values: list[Tensor] = []

    def readout(self, name: str, h: Any) -> None:
        """Do nothing: `Changes` needs no value of it."""

    def relu(self, p: Tensor) -> Tensor:
        self._keep(p)
        return torch.relu(p)

    def gelu(self, p: Tensor) -> Tensor:
        self._keep(p)
        return F.gelu(p)

    def channel_norm(self, name: str, h: Tensor, groups: int) -> Tensor:
        y, r = changes.normalize(_grouped(h, self.lanes * groups))
        y = y.reshape(h.shape)
        self._keep(y)
        self.values.append(layers.split_lanes(r, self.lanes))
        gain, shift = self.p[f"{name}.gain"], self.p[f"{name}.shift"]
        return y * gain.view(-1, 1, 1) + shift.view(-1, 1, 1)

    def token_norm(self, name: str, h: Tensor) -> Tensor:
        y, r = changes.normalize(h)
        self.values.extend((y, r))
        return y * self.p[f"{name}.gain"][:, None] + self.p[f"{name}.shift"][:, None]

    def attention(self, qkv: Tensor, tokens: int, heads: int) -> Tensor:
        q, k, v = _split_heads(qkv, tokens, heads)
        shares = torch.softmax(q @ k.mT / q.shape[-1], -1)
        self.values.extend((q, k, v, shares))
        return _join_heads(shares @ v)

    def see_sum(self, name: str, h: Tensor) -> None:
        self.values.append(h)

    def _keep(self, h: Tensor) -> None:
        self.values.append(layers.split_lanes(h, self.lanes) if h.dim() == 4 else h)


class Changes(Outputs):
    """Pass that computes f~(w_0 + d) - f~(w_0) without subtracting nearly equal numbers (see `changes`)."""

    def __init__(
        self,
        d: Parameters,
        w0: Parameters,
        initial_values: Reference,
        x: Tensor,
        hidden: Hidden | None,
    ) -> None:
        super().__init__(d, x, hidden)
        self.w0, self._values = w0, iter(initial_values)

    def read(self, x: Tensor) -> Any:
        return None, x

    def linear(self, name: str, h: Any, role: str = "hidden") -> Tensor:
        w0, dw = self.w0[f"{name}.weight"], self.p[f"{name}.weight"]
        dh, after = h
        return changes.linear(
            dh, after, w0, dw, self.p[f"{name}.bias"], multiplier(role, w0.shape[2])
        )

    def conv(self, name: str, h: Any, *, stride: int = 1, padding: int) -> Tensor:
        w0, dw, db = self.w0[f"{name}.weight"], self.p[f"{name}.weight"], self.p.get(f"{name}.bias")
        scale = multiplier("hidden", w0.shape[2])
        dh, after = h
        return changes.conv(dh, after, w0, dw, db, scale, stride=stride, padding=padding)

    def relu(self, p: Tensor) -> Any:
        return changes.relu(self._next(), p)

    def gelu(self, p: Tensor) -> Any:
        return changes.gelu(self._next(), p)

    def channel_norm(self, name: str, h: Tensor, groups: int) -> Tensor:
        y, r = self._next(), layers.join_lanes(next(self._values))
        groups *= self.lanes
        dy = changes.normalization_change(_grouped(y, groups), r, _grouped(h, groups)).reshape(
            y.shape
        )
        gain, dgain, dshift = (
            v.view(-1, 1, 1)
            for v in (self.w0[f"{name}.gain"], self.p[f"{name}.gain"], self.p[f"{name}.shift"])
        )
        return dy * gain + (y + dy) * dgain + dshift

    def token_norm(self, name: str, h: Tensor) -> Any:
        y = next(self._values)
        dy = changes.normalization_change(y, next(self._values), h)
        gain, shift = self.w0[f"{name}.gain"][:, None], self.w0[f"{name}.shift"][:, None]
        dgain, dshift = self.p[f"{name}.gain"][:, None], self.p[f"{name}.shift"][:, None]
        after = y + dy
        return dy * gain + after * dgain + dshift, after * (gain + dgain) + shift + dshift

    def attention(self, qkv: Tensor, tokens: int, heads: int) -> Any:
        q, k, v, shares = (next(self._values) for _ in range(4))
        dq, dk, dv = _split_heads(qkv, tokens, heads)
        dshares = changes.softmax(shares, (dq @ k.mT + (q + dq) @ dk.mT) / q.shape[-1])
        after = shares + dshares
        return _join_heads(dshares @ v + after @ dv), _join_heads(after @ (v + dv))

    def linearly(self, f: Callable[[Tensor], Tensor], h: Any) -> Any:
        return tuple(map(f, h))

    def add(self, h: Any, p: Tensor) -> Tensor:
        return torch.add(p, h[0] if isinstance(h, tuple) else h)

    def see(self, name: str, h: Any) -> None:
        super().see(name, h[1])

    def see_sum(self, name: str, h: Tensor) -> None:
        before = next(self._values)
        if self.hidden is not None:
            super().see_sum(name, before + h)

    def _next(self) -> Tensor:
        kept = next(self._values)
        return layers.join_lanes(kept) if kept.dim() == 5 else kept


def described(network: Callable[[Any, Tensor], Any], **sizes: Any) -> Model:
    """Model of a network written as a function of a pass and the inputs; `sizes` are the other fields."""

    def forward(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
        outputs: Tensor = network(Outputs(p, x, hidden), x)
        return outputs

    def reference(w0: Parameters, x: Tensor) -> Reference:
        notes = Notes(w0, x)
        with torch.no_grad():
            network(notes, x)
        return tuple(notes.values)

    def numerator(
        d: Parameters, w0: Parameters, initial_values: Reference, x: Tensor, hidden: Hidden | None
    ) -> Tensor:
        change: Tensor = network(Changes(d, w0, initial_values, x, hidden), x)
        return change

    return Model(forward=forward, difference=Difference(reference, numerator), **sizes)


def _grouped(h: Tensor, groups: int) -> Tensor:
    """(B, channels, H, W) -> (B, groups, numbers normalized together)."""
    return h.reshape(len(h), groups, -1)


def attend_by_products(qkv: Tensor, tokens: int, heads: int) -> Tensor:
    """`Outputs.attention` by matrix products and softmax."""
    q, k, v = _split_heads(qkv, tokens, heads)
    return _join_heads(torch.softmax(q @ k.mT / q.shape[-1], -1) @ v)


def _split_heads(h: Tensor, tokens: int, heads: int) -> tuple[Tensor, ...]:
    """(K, B * tokens, 3 N) -> q, k, v, each (K, B, heads, tokens, head size)."""
    split = h.view(len(h), -1, tokens, 3, heads, h.shape[2] // (3 * heads))
    return split.permute(3, 0, 1, 4, 2, 5).unbind()


def _join_heads(h: Tensor) -> Tensor:
    """(K, B, heads, tokens, head size) -> (K, B * tokens, N)."""
    return h.transpose(2, 3).flatten(3).flatten(1, 2)
