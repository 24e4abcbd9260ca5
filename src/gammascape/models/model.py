"""A model as the engine sees it: parameters to stack over lanes, and a forward pass for all lanes at once.

Every model here is written for a pack of K networks ("lanes"). Parameters are stacked to (K, ...), and the
forward pass maps (parameters, inputs (B, ...)) to outputs (K, B, O); K = 1 is a single network.

Parameterization (mu-P with a free output scale; the code of Atanasov et al., arXiv 2410.04642): weights are
drawn from N(0, 1), biases start at 0, and the width appears as multipliers in the forward pass:

    input and hidden linear   (W h + b) / sqrt(fan_in)
    convolution               (W * h + b) / sqrt(C_in)      not divided by the kernel's area
    readout                   (W h + b) / fan_in

SGD uses one learning rate N * eta for all parameters, where N is the base width. The trained network is
f = (f~(w) - f~(w_0)) / gamma. Division by gamma and centring belong to the engine, not to the model.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gammascape.rng import make_key, normal_tensor

Parameters = Mapping[str, Tensor]
"""Name -> (K, *shape), in the order of the model's declaration."""

Hidden = dict[str, Tensor]
"""Name of a hidden layer -> its outputs (K, B, features), filled in by a forward pass on request."""

Forward = Callable[[Parameters, Tensor, Hidden | None], Tensor]

Reference = tuple[Tensor, ...]
"""Tensors that a form needs of the initial networks on a batch; the first dimension of each is the network.

The second runs over the samples, each of which may occupy several consecutive places."""

Numerator = Callable[[Parameters, Parameters, Reference, Tensor, Hidden | None], Tensor]
"""(trained (K, ...), starts (K, ...), reference (K, ...), x (B, ...), hidden) -> f~(w) - f~(w_0), (K, B, O)."""

Descend = Callable[[Parameters, Parameters, Tensor, Hidden, Tensor], None]
"""Step of gradient descent written by hand, where it is faster than autograd.

(trained, starts, x (B, ...), hidden layers of the forward pass, s (K, B, O)): subtracts sum_bo s_bo df~_bo/dw
from every trained number, in place. The weights are starts + trained, or trained where `starts` is empty.
"""


class Difference(NamedTuple):
    """Functions `reference` and `numerator` of the `CentredForm` that trains w - w_0."""

    reference: Callable[[Parameters, Tensor], Reference]
    numerator: Numerator


@dataclass(frozen=True)
class Parameter:
    """One tensor of a single network."""

    name: str
    shape: tuple[int, ...]
    initial: Literal["normal", "zeros", "ones"]
    padding: int | None = None
    """Padding row of an embedding, which starts at zero and has no gradient."""


def weight_and_bias(name: str, *shape: int) -> list[Parameter]:
    """Parameters of a layer; the first size is the number of outputs."""
    return [
        Parameter(f"{name}.weight", shape, "normal"),
        Parameter(f"{name}.bias", shape[:1], "zeros"),
    ]


def gain_and_shift(name: str, size: int) -> list[Parameter]:
    """Parameters of a normalization."""
    return [
        Parameter(f"{name}.gain", (size,), "ones"),
        Parameter(f"{name}.shift", (size,), "zeros"),
    ]


def multiplier(role: str, fan_in: int) -> float:
    """Multiplier of a layer with this role ("input", "hidden" or "readout"), as in the table above."""
    return 1.0 / fan_in if role == "readout" else fan_in**-0.5


@dataclass(frozen=True)
class Model:
    """One architecture with its sizes.

    `depth` is the exponent L of the theory: f~ is homogeneous of degree L in the weights, so eta_max scales
    as gamma^(2/L) at large gamma. It is None where normalization layers leave no such degree.
    """

    parameters: tuple[Parameter, ...]
    forward: Forward
    base_width: int
    depth: int | None
    hidden: tuple[str, ...]
    """Names of the hidden layers in forward order; the last one is the input of the readout."""
    descend: Descend | None = None
    """Hand-written gradient step; without it autograd differentiates `forward`."""
    difference: Difference | None = None
    """The difference form, if the model has one."""
    compiles: bool = False
    """True if a compiled step on the CPU is faster, as 1.6 times for a CNN and 1.25 times for a ViT."""
    batched: bool = True
    """False for a network that is computed one at a time, on one batch at a time."""
    roles: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Layer -> role and multiplier in words, where they were inferred."""
    layer_outputs: Forward | None = None
    """Forward pass that fills in the output of each layer, for the coordinate check; `forward` if None."""
    constants: str | None = None
    """Digest of the numbers that a user's network holds besides its parameters."""
    watching: Callable[[], AbstractContextManager[None]] = nullcontext
    """Context entered around some steps; for a user's network it raises if they broke a rule."""


def initial_parameters(
    model: Model, seeds: list[int], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """Initial parameters of len(seeds) networks, stacked; each is a function of its seed alone.

    They are drawn in float64 on the CPU and rounded, so that float32 and float64 cells of a seed start from the
    same network and every device starts from the same bits.
    """
    stacked = {}
    for position, parameter in enumerate(model.parameters):
        if parameter.initial == "normal":
            draws = [normal_tensor(make_key(seed, position), parameter.shape) for seed in seeds]
            value = torch.stack(draws).to(torch.float32)
            if parameter.padding is not None:
                value[:, parameter.padding] = 0.0
        else:
            fill = 1.0 if parameter.initial == "ones" else 0.0
            value = torch.full((len(seeds), *parameter.shape), fill)
        stacked[parameter.name] = value.to(device=device, dtype=dtype)
    return stacked
