"""Convolution with separate filters for each lane: grouped, or unfolded into one matrix product for each lane.

On a CPU it is always grouped. cuDNN calls kernels for each of many groups, so on a GPU both forms are timed once
for each shape of a lane, and the faster one is used for any number of lanes. They are timed in a CUDA graph, where
steps run: elsewhere launches would take most of the time of small kernels.
"""

import contextlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.capture import record
from gammascape.models.model import Model

_TRIALS = 3
_TIMED_LANES = 32
"""Lanes in the packs that are timed: cuDNN calls a kernel for each."""
_TIMED_BYTES = 2**30
"""Bytes of their unfolded inputs, for which fewer lanes are timed."""
_MOST_COLUMN_BYTES = 2**28
"""Bytes of a lane's unfolded inputs beyond which it is not unfolded: they are k^2 times its feature maps."""


class LaneShape(NamedTuple):
    """Shapes of one lane's convolution: inputs (B, C, H, W) by filters (O, C, k, k)."""

    device: torch.device
    dtype: torch.dtype
    inputs: tuple[int, ...]
    filters: tuple[int, ...]
    stride: int
    padding: int
    backward: bool

    @property
    def column_bytes(self) -> int:
        """Size of the unfolded inputs."""
        reach = 2 * self.padding - self.filters[-1]
        places = math.prod((side + reach) // self.stride + 1 for side in self.inputs[2:])
        return self.inputs[0] * math.prod(self.filters[1:]) * places * self.dtype.itemsize

    @property
    def words(self) -> str:
        """Inputs by filters."""
        return f"{'x'.join(map(str, self.inputs))} by {'x'.join(map(str, self.filters))}"


_times: dict[LaneShape, dict[Callable[..., Tensor], float]] = {}
"""Seconds that each form took; NaN if only one form was possible."""


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
    inputs, filters = (len(h), weight.shape[2], *h.shape[2:]), tuple(weight.shape[1:])
    lane = LaneShape(h.device, h.dtype, inputs, filters, stride, padding, backward)
    return form_of(lane)(h, weight, bias, stride, padding)


def form_of(lane: LaneShape) -> Callable[..., Tensor]:
    """Form for lanes of this shape, chosen when the first pack of them is computed."""
    if lane not in _times:
        # Nothing can be timed during capture; a step is computed outside the graph before it is captured.
        if torch.cuda.is_current_stream_capturing():
            return grouped
        # A single sample: torch.func maps over samples, has no rule for the gradients of unfolded inputs, and lets
        # nothing be timed.
        compared = lane.inputs[0] > 1 and lane.column_bytes <= _MOST_COLUMN_BYTES
        _times[lane] = _times_of(lane) if compared else {grouped: math.nan}
    return _fastest(_times[lane])


def comparisons() -> list[tuple[str, dict[str, float]]]:
    """Shapes in steps, inputs by filters of one lane, and seconds of each form by its name, in this process."""
    return [
        (lane.words, {form.__name__: seconds for form, seconds in times.items()})
        for lane, times in _times.items()
        if lane.backward
    ]


def unfolded_shapes(model: Model) -> list[str]:
    """Shapes, inputs by filters of one lane, for which a model's convolutions are unfolded in this process."""
    own = {parameter.shape for parameter in model.parameters}
    return sorted(
        {
            lane.words
            for lane, times in _times.items()
            if _fastest(times) is unfolded and lane.filters in own
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


def _fastest(times: dict[Callable[..., Tensor], float]) -> Callable[..., Tensor]:
    return min(times, key=times.__getitem__)


def _times_of(lane: LaneShape) -> dict[Callable[..., Tensor], float]:
    """Seconds of each form with many lanes, or with two where not both forms fit into memory."""
    lanes = max(2, min(_TIMED_LANES, _TIMED_BYTES // lane.column_bytes))
    with contextlib.suppress(RuntimeError):
        if len(times := _compare(lane, lanes)) > 1:
            return times
    return _compare(lane, 2)


def _compare(lane: LaneShape, lanes: int) -> dict[Callable[..., Tensor], float]:
    """Seconds of each form that can be computed; raises the error of the last if there is none."""
    batch, channels, *sides = lane.inputs
    x = torch.ones(batch, lanes * channels, *sides, dtype=lane.dtype, device=lane.device)
    w = torch.ones(lanes, *lane.filters, dtype=lane.dtype, device=lane.device)

    def run(form: Callable[..., Tensor]) -> object:
        # Create tensors on the capturing stream; tensors of another stream would end the capture.
        leaves = [value.detach().requires_grad_(lane.backward) for value in (x, w)]
        with torch.enable_grad() if lane.backward else contextlib.nullcontext():
            y = form(*leaves, None, lane.stride, lane.padding)
            return torch.autograd.grad(y, leaves, torch.ones_like(y)) if lane.backward else y

    times: dict[Callable[..., Tensor], float] = {}
    for form in (grouped, unfolded):
        try:
            times[form] = _time(partial(run, form))
        except RuntimeError:
            # Memory that does not suffice, or a shape for which cuDNN has no algorithm.
            if form is unfolded and not times:
                raise
            with contextlib.suppress(RuntimeError):
                torch.cuda.empty_cache()
    return times


def _time(run: Callable[[], object]) -> float:
    """Seconds of the fastest of a few runs."""
    replay, _ = record(run)
    best = math.inf
    for _ in range(_TRIALS):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        replay()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return best
