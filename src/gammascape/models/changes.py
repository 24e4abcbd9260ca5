"""Changes of a layer's output, g(a + da) - g(a), without subtracting two numbers that are nearly equal.

Every function takes the layer's values at a and the change da of its input. It returns the change of the output
to a relative error of a few units in the last place, however small da is, and is differentiable in da.
Shapes are as in `layers`: K networks side by side.
"""

import math

import torch
from torch import Tensor

from gammascape.models import layers

NORM_EPS = 1e-5
"""The eps that torch's normalizations add to the variance."""

_SERIES_BELOW = 0.25


def linear(
    dh: Tensor | None, h: Tensor, w0: Tensor, dw: Tensor, db: Tensor, multiplier: float
) -> Tensor:
    """Change of (W h + b) * multiplier: (W_0 dh + dW h + db) * multiplier.

    Args:
        dh: (K, B, n), or None where the input does not change.
        h: (B, n) or (K, B, n), the input after the change.
        w0: (K, m, n), weights before the change.
        dw: (K, m, n).
        db: (K, m).

    Returns:
        (K, B, m).
    """
    change = layers.linear(h, dw, db, multiplier)
    if dh is None:
        return change
    return torch.baddbmm(change, dh, w0.transpose(1, 2), alpha=multiplier)


def conv(
    dh: Tensor | None,
    h: Tensor,
    w0: Tensor,
    dw: Tensor,
    db: Tensor | None,
    multiplier: float,
    *,
    stride: int,
    padding: int,
) -> Tensor:
    """Change of a convolution, as in `linear`; lanes side by side in the channels, (B, K*O, H', W')."""
    change = layers.conv(h, dw, db, multiplier, stride=stride, padding=padding)
    if dh is None:
        return change
    return change + layers.conv(dh, w0, None, multiplier, stride=stride, padding=padding)


def relu(p: Tensor, dp: Tensor) -> tuple[Tensor, Tensor]:
    """Change of relu(p), and relu(p + dp).

    The change is max(dp, -p) where p > 0 and relu(p + dp) elsewhere. One choice by the sign of p + dp covers both,
    so that the derivative at the kink is 0, as for relu.
    """
    h = torch.relu(p + dp)
    return torch.where(h > 0, dp + p.clamp(max=0), -p.clamp(min=0)), h


def gelu(p: Tensor, dp: Tensor) -> tuple[Tensor, Tensor]:
    """Change of p Phi(p), and its value after the change; Phi is the normal distribution.

    The change is dp Phi(p + dp) + p (Phi(p + dp) - Phi(p)). For small dp, the last difference is computed as dp
    times the density at the midpoint times a series in dp (even powers, Hermite polynomials of the midpoint).
    """
    after, middle = p + dp, p + dp / 2
    phi = _normal(after)
    density = torch.exp(-middle.square() / 2) / math.sqrt(2 * math.pi)
    m2, d2 = middle.square(), dp.square()
    # The next term is at most 15 dp^6 / 322560 of the first: 1e-8.
    series = dp * density * (1 + (m2 - 1) * d2 / 24 + (m2 * m2 - 6 * m2 + 3) * d2 * d2 / 1920)
    rise = torch.where(dp.abs() < _SERIES_BELOW, series, phi - _normal(p))
    return dp * phi + p * rise, after * phi


def normalization_change(y: Tensor, r: Tensor, da: Tensor) -> Tensor:
    """Change of a normalization over the last dimension.

    With y the normalized input and r = 1 / sqrt(variance + eps) before the change, u = r (da - mean da) and
    s = r / r_after: the change is (y + u) / s - y = (u - y q / (1 + s)) / s, where q = s^2 - 1 = mean u (2 y + u).

    Args:
        y: (..., n).
        r: (..., 1).
        da: (..., n), change of the input.

    Returns:
        (..., n).
    """
    u = r * (da - da.mean(-1, keepdim=True))
    q = (u * (2 * y + u)).mean(-1, keepdim=True)
    s = ((y + u).square().mean(-1, keepdim=True) + NORM_EPS * r.square()).sqrt()
    return (u - y * (q / (1 + s))) / s


def normalize(a: Tensor) -> tuple[Tensor, Tensor]:
    """Normalize over the last dimension; also return 1 / sqrt(variance + eps): (..., n) -> (..., n), (..., 1)."""
    centred = a - a.mean(-1, keepdim=True)
    r = (centred.square().mean(-1, keepdim=True) + NORM_EPS).rsqrt()
    return centred * r, r


def softmax(shares: Tensor, da: Tensor) -> Tensor:
    """Change of a softmax over the last dimension; `shares` is its value p before the change.

    The value after it is p exp(da) / sum p exp(da), so with e = expm1(da) and m = sum p e the change is
    p (e - m) / (1 + m). A common shift of da changes nothing and keeps e from overflowing.
    """
    e = torch.expm1(da - da.detach().amax(-1, keepdim=True))
    m = (shares * e).sum(-1, keepdim=True)
    return shares * ((e - m) / (1 + m))


def _normal(a: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(a * math.sqrt(0.5)))
