"""Coordinate check: test whether a few steps of SGD move every layer equally far at all widths.

In mu-P (Yang et al., arXiv 2203.03466, appendix D.1) the features of a layer and their change in training neither
grow nor shrink with the width. A wrong multiplier makes them scale as a power of the width, mostly 1/2 or 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gammascape.models import Hidden, Model, initial_parameters
from gammascape.models.centred import subtraction
from gammascape.training.backend import make_step
from gammascape.training.exact import lane_of
from gammascape.training.sgd import StepInputs

OUTPUT = "f"
"""Name of the network's centred output among the layers."""

LARGEST_SLOPE = 0.25
"""Half of the smallest power due to a wrong multiplier; finite widths and few seeds cause up to some 0.15."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Coordinates:
    """Measurements of one layer at each width, and the verdict."""

    layer: str
    role: str
    sizes: tuple[float, ...]
    """Root mean square of the layer's output at initialization."""
    changes: tuple[float, ...]
    """Root mean square of its change over the steps."""
    size_slope: float | None
    """Power of the width with which the size scales; None if the size is zero or not finite."""
    change_slope: float | None

    may_fade: bool = False
    """True if its size may scale as N^-1/2, as a readout's does in mu-P; f subtracts this initial output."""
    fixed_units: int | None = None
    """Outputs of a hidden layer for one sample, if they are the same at all widths."""

    @property
    def verdict(self) -> str:
        """Description of the fault, or "right"."""
        change = _wrong("its change", self.changes, self.change_slope)
        return self.size_verdict or change or "right"

    @property
    def size_verdict(self) -> str | None:
        """Description of a fault at initialization, or None."""
        if self.layer == OUTPUT:
            return None  # f begins at zero.
        return _wrong("its size", self.sizes, self.size_slope, self.may_fade)


def _wrong(
    what: str, values: Sequence[float], slope: float | None, may_fade: bool = False
) -> str | None:
    if not all(map(math.isfinite, values)):
        return f"grows with width: {what} is not finite"
    if slope is None:
        return f"does not move: {what} is zero"
    if slope > LARGEST_SLOPE:
        return f"grows with width: {what} goes as N^{slope:.2f}"
    if slope < -LARGEST_SLOPE - (0.5 if may_fade else 0.0):
        return f"vanishes with width: {what} goes as N^{slope:.2f}"
    return None


def check_coordinates(
    build: Callable[[int], Model],
    batches: tuple[Tensor, Tensor],
    loss: str,
    widths: Sequence[int],
    seeds: Sequence[int],
    eta: float,
) -> list[Coordinates]:
    """Train networks of several widths for a few steps and measure how far each layer moves.

    Args:
        build: width -> model.
        batches: inputs (T, B, ...) and targets (T, B, O) of the T steps; layers are compared on the inputs of the
            first step.
        loss: "mse" or "xent".
        widths: at least two.
        seeds: seeds of the initial weights; measurements are averaged over them.
        eta: learning rate, with gamma = 1.

    Returns:
        The layers in the order of the forward pass, the output last.
    """
    units: list[dict[str, int]] = [{} for _ in widths]
    roles = build(widths[0]).roles
    measured = [
        _measure(build(width), batches, loss, seeds, eta, found)
        for width, found in zip(widths, units, strict=True)
    ]
    names = list(measured[0])

    def may_fade(layer: str) -> bool:
        # The check must not trust a role that was given; the last layer is a readout in any case.
        role = roles.get(layer, "")
        return role.startswith("readout") and ("(given)" not in role or layer == names[-2])

    return [
        Coordinates(
            layer,
            roles.get(layer, "").partition(",")[0],
            sizes := tuple(one[layer][0] for one in measured),
            changes := tuple(one[layer][1] for one in measured),
            _slope(widths, sizes),
            _slope(widths, changes),
            may_fade(layer),
            units[0][layer]
            if layer in names[:-2] and len({u[layer] for u in units}) == 1
            else None,
        )
        for layer in names
    ]


def _measure(
    model: Model,
    batches: tuple[Tensor, Tensor],
    loss: str,
    seeds: Sequence[int],
    eta: float,
    units: dict[str, int],
) -> Mapping[str, tuple[float, float]]:
    """Layer -> root mean squares, over seeds, samples and units, of its output and of the output's change.

    `units` receives the number of outputs of each layer.
    """
    form = subtraction(model)
    step = make_step(form, loss, "eager")
    watch = model.layer_outputs or model.forward
    squares: dict[str, list[tuple[float, float]]] = {}
    for seed in seeds:
        # One network at a time: wide networks fill the memory.
        start = initial_parameters(model, [seed], torch.float32, CPU)
        trained = lane_of(start, 0)
        rate, gamma = torch.tensor([eta * model.base_width]), torch.ones(1, 1, 1)
        for x, y in zip(*batches, strict=True):
            step(trained, StepInputs({}, rate, gamma, form.reference(start, x), x, y))
        before: Hidden = {}
        after: Hidden = {}
        probe = batches[0][0]
        with torch.no_grad():
            f0, f = watch(start, probe, before), watch(trained, probe, after)
        before[OUTPUT], after[OUTPUT] = torch.zeros_like(f), f - f0
        units.update({name: value.shape[-1] for name, value in after.items()})
        for name, value in after.items():
            squares.setdefault(name, []).append(
                (_mean_square(before[name]), _mean_square(value - before[name]))
            )
    return {
        name: (_root([one for one, _ in pairs]), _root([other for _, other in pairs]))
        for name, pairs in squares.items()
    }


def _mean_square(values: Tensor) -> float:
    return float(values.double().square().mean())


def _root(squares: Sequence[float]) -> float:
    return math.sqrt(sum(squares) / len(squares))


def _slope(widths: Sequence[int], values: Sequence[float]) -> float | None:
    """Least-squares slope of log value against log width."""
    if not all(math.isfinite(value) and value > 0 for value in values):
        return None
    x = [math.log(width) for width in widths]
    y = [math.log(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
