"""Which role each layer of a user's network has, and the multiplier that mu-P gives it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from gammascape.models.model import Parameter
from gammascape.usercode import UserCodeError

WEIGHTED = (nn.Linear, _ConvNd, nn.Embedding)
"""Layers whose weights are drawn, and whose role decides their multiplier."""
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _BatchNorm, _InstanceNorm)
"""Layers with a gain that starts at 1 and a shift that starts at 0."""

OWN_ROLES = ("gain", "bias")
"""Roles for parameters outside of known layers only."""


@dataclass(frozen=True)
class Fans:
    """Numbers that one output of a layer is a sum of, and of outputs."""

    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Layer:
    """A layer with weights, or a parameter on its own, and what mu-P makes of it."""

    name: str
    role: str
    multiplier: float
    how: Literal["inferred", "given"]


@dataclass(frozen=True)
class Plan:
    """What a network's parameters are: how they start, and what multiplies them in the forward pass."""

    parameters: tuple[Parameter, ...]
    multipliers: Mapping[str, float]
    """Parameter -> multiplier; those of 1 are left out."""
    layers: Mapping[str, Layer]


def plan(module: nn.Module, wide: nn.Module, roles: Mapping[str, str]) -> Plan:
    """Give every parameter of `module` its start and its multiplier.

    The rule compares the network with the same one of twice the width, `wide`. A layer whose fan-in does not grow
    with the width reads the input; one whose fan-in grows and whose fan-out does not is a readout; where both grow
    it is hidden. With weights drawn from N(0, 1), the multipliers of input and hidden layers are fan_in^-1/2 and
    that of a readout 1 / fan_in (the table of Yang et al., arXiv 2203.03466, written as multipliers).
    Biases have the multiplier of their layer. The fan-in of a convolution is its number of input channels. An
    embedding is a table: its fan-in is 1.

    Raises:
        UserCodeError: if a role is missing, unknown, or without effect.
    """
    _check_layers(module)
    before, after = dict(_fans(module)), dict(_fans(wide))
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())[0]
        raise UserCodeError(
            f"layer {odd} is there at one width and not at twice this width, so nobody can say how layers scale; "
            "let the width change the sizes of layers only"
        )
    owners = _owners(module)
    _check_roles(roles, before, owners)
    layers: dict[str, Layer] = {}
    for name, fans in before.items():
        role = roles.get(name) or _infer(fans, after[name])
        how: Literal["inferred", "given"] = "given" if name in roles else "inferred"
        layers[name] = Layer(name, role, _multiplier(role, fans.fan_in), how)
    loose = [name for name, owner in owners.items() if owner is None]
    unnamed = [name for name in loose if name not in roles]
    if unnamed:
        example = ", ".join(f"{name}: ..." for name in unnamed)
        raise UserCodeError(
            f"{_parameters(unnamed)} to no layer whose role can be inferred; write roles: {{{example}}} with "
            "input (drawn from N(0, 1), multiplier 1), hidden (fan_in^-1/2), readout (1 / fan_in), gain (starts "
            "at 1) or bias (starts at 0)"
        )
    _check_readout(before, after, layers, [roles[name] for name in loose])
    shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
    multipliers: dict[str, float] = {}
    parameters = []
    for name, shape in shapes.items():
        initial: Literal["normal", "zeros", "ones"]
        owner = owners[name]
        kind = name.rpartition(".")[2]
        if owner is None:
            role = roles[name]
            initial = "ones" if role == "gain" else "zeros" if role == "bias" else "normal"
            multipliers[name] = _loose_multiplier(name, role, shape)
            layers[name] = Layer(name, role, multipliers[name], "given")
        elif owner in layers:
            initial = "normal" if kind == "weight" else "zeros"
            multipliers[name] = layers[owner].multiplier
        else:
            initial = "ones" if kind == "weight" else "zeros"
        parameters.append(Parameter(name, shape, initial))
    _check_shared(module, layers)
    kept = {name: value for name, value in multipliers.items() if value != 1.0}
    return Plan(tuple(parameters), kept, layers)


def check_batch_statistics(module: nn.Module) -> None:
    """Refuse layers that mix the samples of a batch or change their own buffers.

    Raises:
        UserCodeError: naming the first of them.
    """
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, _BatchNorm):
            raise UserCodeError(
                f"layer {name} ({kind}) makes the output for one sample depend on the others of its batch; use "
                "GroupNorm or LayerNorm, or write batched: false, which trains one cell at a time"
            )
        if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
            raise UserCodeError(
                f"layer {name} ({kind}) changes its running statistics in place; build it with "
                "track_running_stats=False, or write batched: false, which trains one cell at a time"
            )


def _check_layers(module: nn.Module) -> None:
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, _DropoutNd | nn.AlphaDropout | nn.FeatureAlphaDropout) and layer.p > 0:
            raise UserCodeError(
                f"layer {name} ({kind}) draws random numbers in the forward pass, which would be other ones when "
                "the cell is trained again; remove it or build it with p=0"
            )
        if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
            raise UserCodeError(
                f"layer {name} ({kind}) changes its weights in place; build it without max_norm"
            )
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise UserCodeError(
                f"parameter {name} has no shape yet; give its layer its sizes, in place of a lazy layer"
            )
        if not parameter.requires_grad:
            raise UserCodeError(
                f"parameter {name} does not require a gradient; keep a constant with register_buffer"
            )
    if not list(module.parameters()):
        raise UserCodeError("the network has no parameters to train")


def _fans(module: nn.Module) -> Iterator[tuple[str, Fans]]:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Embedding):
            yield name, Fans(1, layer.embedding_dim)
        elif isinstance(layer, _ConvTransposeNd):
            yield name, Fans(layer.in_channels // layer.groups, layer.out_channels)
        elif isinstance(layer, WEIGHTED):
            shape = layer.get_parameter("weight").shape
            yield name, Fans(shape[1], shape[0])


def _owners(module: nn.Module) -> dict[str, str | None]:
    """Parameter -> the known layer that it belongs to; a parameter under several names has its first."""
    owners: dict[str, str | None] = {}
    first = {id(value): name for name, value in module.named_parameters()}
    for prefix, layer in module.named_modules():
        known = isinstance(layer, (*WEIGHTED, *NORMS))
        for kind, value in layer.named_parameters(recurse=False):
            name = first[id(value)]
            belongs = prefix if known and kind in ("weight", "bias") else None
            owners[name] = owners.get(name) or belongs
    return {name: owners[name] for name in first.values()}


def _infer(fans: Fans, wide: Fans) -> str:
    if wide.fan_in <= fans.fan_in:
        return "input"
    return "hidden" if wide.fan_out > fans.fan_out else "readout"


def _multiplier(role: str, fan_in: int) -> float:
    return 1.0 / fan_in if role == "readout" else fan_in**-0.5


def _loose_multiplier(name: str, role: str, shape: tuple[int, ...]) -> float:
    """Of a parameter on its own, whose fan-in is its second dimension, as that of a weight of nn.Linear."""
    if role not in ("hidden", "readout"):
        return 1.0
    if len(shape) < 2:
        raise UserCodeError(
            f"roles.{name}: a parameter of shape {list(shape)} has no fan-in, so it cannot be {role}; "
            "write input, gain or bias"
        )
    return _multiplier(role, shape[1])


def _check_roles(
    roles: Mapping[str, str], fans: Mapping[str, Fans], owners: Mapping[str, str | None]
) -> None:
    loose = [name for name, owner in owners.items() if owner is None]
    for name, role in roles.items():
        if name not in fans and name not in loose:
            known = ", ".join([*fans, *loose])
            raise UserCodeError(
                f"roles.{name}: no layer with weights has this name; there are {known}"
            )
        if name in fans and role in OWN_ROLES:
            raise UserCodeError(
                f"roles.{name}: {role} is for a parameter on its own, and this is a layer; write input, hidden "
                "or readout"
            )


def _check_readout(
    fans: Mapping[str, Fans],
    wide: Mapping[str, Fans],
    layers: Mapping[str, Layer],
    loose: list[str],
) -> None:
    roles = {layer.role for layer in layers.values()} | {*loose}
    if "readout" in roles or any(_infer(fans[name], wide[name]) == "readout" for name in fans):
        return  # Whoever takes the readout for something else may see what the coordinate check says.
    last = list(fans)[-1] if fans else "name"
    if dict(fans) == dict(wide):
        raise UserCodeError(
            "no layer is larger at twice the width, so nobody can say how layers scale with it; use the argument "
            f"width for the sizes of layers, or say which layer is the readout: roles: {{{last}: readout}}"
        )
    raise UserCodeError(
        "no layer is a readout: none has a fan-in that grows with the width and a fan-out that does not; say "
        f"which is: roles: {{{last}: readout}}"
    )


def _check_shared(module: nn.Module, layers: Mapping[str, Layer]) -> None:
    """Weights that two layers share can have one multiplier only."""
    users: dict[int, Layer] = {}
    for name, layer in module.named_modules():
        if name not in layers:
            continue
        first = users.setdefault(id(layer.weight), layers[name])
        if not math.isclose(first.multiplier, layers[name].multiplier):
            raise UserCodeError(
                f"layers {first.name} ({first.role}) and {name} ({layers[name].role}) share their weights and "
                "need different multipliers; give each its own"
            )


def _parameters(names: list[str]) -> str:
    return (
        f"parameter {names[0]} belongs"
        if len(names) == 1
        else f"parameters {', '.join(names)} belong"
    )
