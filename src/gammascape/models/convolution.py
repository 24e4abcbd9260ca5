"""Convolution with separate filters for each lane: grouped, or unfolded into one matrix product for each lane.

On a CPU it is always grouped. cuDNN is slow on many small groups for some shapes, above all backward, so on a
GPU both forms are timed once for each shape, and the faster one is used.
"""

import contextlib
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_TRIALS = 3
_chosen: dict[tuple[object, ...], Callable[..., Tensor]] = {}


def lanes_conv(h: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolution of every lane's channels with its own filters.

    Args:
        h: (B, K*C, H, W), lanes side by side in the channels.
        weight: (K, O, C, k, k).
        bias: (K*O,) or None.

    Returns:
        (B, K*O, H', W').
    """
    if h.device.type != "cuda" or len(weight) == 1:
        return grouped(h, weight, bias, stride, padding)
    backward = torch.is_grad_enabled() and (h.requires_grad or weight.requires_grad)
    key = (h.device, h.dtype, tuple(h.shape), tuple(weight.shape), stride, padding, backward)
    if key not in _chosen:
        if torch.cuda.is_current_stream_capturing():
            # Nothing can be timed during capture; a step is computed outside the graph before it is captured.
            return grouped(h, weight, bias, stride, padding)
        _chosen[key] = _faster(h, weight, stride, padding, backward=backward)
    return _chosen[key](h, weight, bias, stride, padding)


def unfolded_shapes() -> list[str]:
    """Shapes, inputs by filters, for which this process uses the unfolded form."""
    return sorted(
        {
            f"{'x'.join(map(str, inputs))} by {'x'.join(map(str, filters))}"
            for (_, _, inputs, filters, *_), form in _chosen.items()
            if form is unfolded and isinstance(inputs, tuple) and isinstance(filters, tuple)
        }
    )


def grouped(h: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolve with torch's grouped convolution; arguments as for `lanes_conv`."""
    kernel = weight.flatten(0, 1)
    return F.conv2d(h, kernel, bias, stride=stride, padding=padding, groups=len(weight))


def unfolded(h: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolve by a product of filters and patches for each lane; arguments as for `lanes_conv`."""
    lanes, outputs, channels, size, _ = weight.shape
    batch = len(h)
    patches = F.pad(h, (padding,) * 4).unfold(2, size, stride).unfold(3, size, stride)
    height, breadth = patches.shape[2:4]
    columns = torch.unflatten(patches, 1, (lanes, channels)).permute(1, 2, 5, 6, 0, 3, 4)
    product = torch.bmm(weight.flatten(2), columns.reshape(lanes, channels * size * size, -1))
    maps = product.view(lanes, outputs, batch, height, breadth).permute(2, 0, 1, 3, 4).flatten(1, 2)
    return maps if bias is None else maps + bias[:, None, None]


def _faster(
    h: Tensor, weight: Tensor, stride: int, padding: int, *, backward: bool
) -> Callable[..., Tensor]:
    x, w = (torch.randn_like(value).requires_grad_(backward) for value in (h, weight))

    def run(form: Callable[..., Tensor]) -> None:
        with torch.enable_grad() if backward else contextlib.nullcontext():
            y = form(x, w, None, stride, padding)
            if backward:
                torch.autograd.grad(y, (x, w), torch.ones_like(y))

    return min((grouped, unfolded), key=lambda form: _time(lambda: run(form)))


def _time(run: Callable[[], None]) -> float:
    """Seconds of the fastest of a few runs after the first; infinity if memory does not suffice."""
    best = math.inf
    try:
        for trial in range(_TRIALS + 1):
            torch.cuda.synchronize()
            begun = time.perf_counter()
            run()
            torch.cuda.synchronize()
            if trial:
                best = min(best, time.perf_counter() - begun)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
    return best
