"""Roles of the layers of a user's network, and their mu-P multipliers."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from gammascape.models.model import Parameter, multiplier
from gammascape.usercode.run import UserCodeError, plain

WEIGHTED = (nn.Linear, _ConvNd, nn.Embedding)
"""Layers with random initial weights and a multiplier that depends on their role."""
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _BatchNorm, _InstanceNorm)
"""Layers with a gain that starts at 1 and a shift that starts at 0."""

NOISE = (
    "Noise that is a function of seed, step and sample belongs to the dataset: write mixup, label_noise or, of "
    "images, augment there"
)
"""Advice for a model with dropout."""

OWN_ROLES = ("gain", "bias")
"""Roles only for parameters outside known layers."""

Start = Literal["normal", "zeros", "ones"]


@dataclass(frozen=True)
class Fans:
    """Number of terms in one output of a layer, and number of outputs."""

    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Layer:
    """A layer with weights, or a standalone parameter, with its role and multiplier in mu-P."""

    name: str
    role: str
    multiplier: float
    how: Literal["inferred", "given"]


@dataclass(frozen=True)
class Plan:
    """Parameters of a network: initial distributions, and multipliers in the forward pass."""

    parameters: tuple[Parameter, ...]
    multipliers: Mapping[str, float]
    """Parameter, by any of its names, -> multiplier there; multipliers of 1 are left out."""
    layers: Mapping[str, Layer]
    shared: Mapping[str, tuple[str, float]]
    """Further name of a shared tensor or buffer -> its first name and its multiplier here. Empty if every tensor
    has one multiplier at all of its places."""


@dataclass(frozen=True)
class _Use:
    """A parameter at one place of a module."""

    name: str
    first: str
    """Name at the first place of the same tensor, under which it is trained."""
    layer: str | None
    """Layer of WEIGHTED or NORMS that owns it as weight or bias."""
    shape: tuple[int, ...]


def plan(
    module: nn.Module, wide: nn.Module, roles: Mapping[str, str] | Sequence[tuple[str, str]]
) -> Plan:
    """Give every parameter of `module` its initial distribution and its multiplier.

    The rule compares the network with the same network at twice the width, `wide`. A layer whose fan-in does not
    grow with the width is an input layer. If only its fan-in grows, it is a readout; if both fans grow, it is
    hidden. With weights drawn from N(0, 1), the multiplier is fan_in^-1/2 for input and hidden layers and
    1 / fan_in for a readout (the table of Yang et al., arXiv 2203.03466, written as multipliers).
    Biases have the multiplier of their layer. The fan-in of a convolution is its number of input channels. An
    embedding is a table: its fan-in is 1. A tensor shared by several layers has a multiplier in each of them.

    Args:
        module: the network.
        wide: the network at twice the width.
        roles: name, or pattern of names, of layers and parameters -> role; the first match counts.

    Raises:
        UserCodeError: if a role is missing, unknown or without effect, or a layer cannot be trained.
    """
    _check_layers(module)
    before, after = dict(_fans(module)), dict(_fans(wide))
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())[0]
        raise UserCodeError(
            f"layer {odd} exists at one width and not at twice this width, so it is unclear how layers scale; "
            "let the width change only the sizes of layers"
        )
    uses = [
        _Use(name, first, _owner(module, name), tuple(value.shape))
        for name, first, value in _places(module, "parameters")
    ]
    loose = [use for use in uses if use.layer is None]
    given = _roles_of_layers(dict(roles), list(before), [use.name for use in loose])
    layers: dict[str, Layer] = {}
    for name, fans in before.items():
        role = given.get(name) or _infer(fans, after[name])
        how: Literal["inferred", "given"] = "given" if name in given else "inferred"
        layers[name] = Layer(name, role, multiplier(role, fans.fan_in), how)
    grown = {name: tuple(value.shape) for name, _, value in _places(wide, "parameters")}
    for use in loose:
        if use.name in given:
            role, more = given[use.name], grown.get(use.name, use.shape)
            layers[use.name] = Layer(use.name, role, _loose_multiplier(use, role, more), "given")
    settled = [use for use in uses if use.layer is not None or use.name in given]
    _check_roles_complete({use.first for use in settled}, loose)
    _check_readout(before, after, layers)
    multipliers: dict[str, float] = {}
    starts: dict[str, tuple[Start, _Use]] = {}
    for use in settled:
        layer = layers.get(use.name if use.layer is None else use.layer)
        multipliers[use.name] = layer.multiplier if layer else 1.0
        start = _start(use, layer)
        other, elsewhere = starts.setdefault(use.first, (start, use))
        if other != start:
            raise UserCodeError(
                f"{elsewhere.name} and {use.name} are one parameter, and it would have to start as {other} and as "
                f"{start}; give each its own"
            )
    # A place without its own role takes the role of another place.
    every = {
        use.name: multipliers.get(use.name, multipliers[starts[use.first][1].name]) for use in uses
    }
    shared = {use.name: (use.first, every[use.name]) for use in uses if use.name != use.first}
    if all(every[first] == multiplier for first, multiplier in shared.values()):
        shared = {}
    else:
        shared |= {
            name: (first, 1.0) for name, first, _ in _places(module, "buffers") if name != first
        }
    return Plan(
        tuple(
            Parameter(name, tuple(value.shape), starts[name][0])
            for name, value in module.named_parameters()
        ),
        {name: multiplier for name, multiplier in every.items() if multiplier != 1.0},
        layers,
        shared,
    )


def check_batch_statistics(module: nn.Module) -> None:
    """Refuse layers that mix the samples of a batch or change their own buffers.

    Raises:
        UserCodeError: naming the first such layer.
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
        who = f"layer {name} ({kind})" if name else f"the network itself ({kind})"
        if isinstance(layer, torch.jit.ScriptModule) or _is_compiled(layer):
            raise UserCodeError(
                f"{who} is compiled by torch.jit or torch.compile, and compiled networks do not take their "
                "weights from each call; build it from plain modules"
            )
        computed = _computed(layer)
        if computed:
            raise UserCodeError(
                f"{who} computes its {' and '.join(computed)} from other numbers, as weight_norm, spectral_norm, "
                "orthogonal and pruning do, and no role says how those scale; use the plain layer, or write a "
                "module of your own that computes it from nn.Parameter tensors, which then get roles (hidden for "
                "a direction, gain for its length), and from constants kept with register_buffer (a mask)"
            )
        if isinstance(layer, _DropoutNd | nn.AlphaDropout | nn.FeatureAlphaDropout) and layer.p > 0:
            raise UserCodeError(
                f"layer {name} ({kind}) draws random numbers in the forward pass, which would differ when "
                f"the cell is trained again; remove it or build it with p=0. {NOISE}"
            )
        if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
            raise UserCodeError(
                f"layer {name} ({kind}) changes its weights in place; build it without max_norm"
            )
    for name, buffer in module.named_buffers():
        if buffer.is_meta:
            raise UserCodeError(f"buffer {name} has no values (device meta); make it on the CPU")
    places: dict[int, str] = {}
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise UserCodeError(
                f"parameter {name} has no shape yet; give its layer its sizes, in place of a lazy layer"
            )
        owner = name.rpartition(".")[0]
        where = f" of layer {owner} ({type(module.get_submodule(owner)).__name__})" if owner else ""
        if parameter.is_complex():
            raise UserCodeError(
                f"parameter {name}{where} is {plain(parameter.dtype)}, and only real numbers are trained; keep "
                f"its real and imaginary parts as a real parameter of shape {[*parameter.shape, 2]}, and use "
                "torch.view_as_complex of that in the forward pass"
            )
        if parameter.layout != torch.strided:
            raise UserCodeError(
                f"parameter {name}{where} is stored as {plain(parameter.layout)}; keep a dense one (to_dense())"
            )
        if not parameter.requires_grad:
            raise UserCodeError(
                f"parameter {name} does not require a gradient; keep a constant with register_buffer"
            )
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise UserCodeError(
                f"parameter {name} has a hook, which training would not call; remove it, and change gradients in "
                "the forward pass by a torch.autograd.Function"
            )
        place = parameter.data_ptr()
        if place and (other := places.setdefault(place, name)) != name:
            raise UserCodeError(
                f"parameters {other} and {name} are two in one memory, and would be trained as two; share the "
                "parameter itself, not its data"
            )
    if not list(module.parameters()):
        raise UserCodeError("the network has no parameters to train")


def _fans(module: nn.Module) -> Iterator[tuple[str, Fans]]:
    for name, layer in module.named_modules():
        if "weight" not in layer._parameters:
            continue  # A weight in a buffer is a constant.
        if isinstance(layer, nn.Embedding):
            yield name, Fans(1, layer.embedding_dim)
        elif isinstance(layer, _ConvTransposeNd):
            yield name, Fans(layer.in_channels // layer.groups, layer.out_channels)
        elif isinstance(layer, WEIGHTED):
            shape = layer.get_parameter("weight").shape
            yield name, Fans(shape[1], shape[0])


def _places(module: nn.Module, kind: str) -> Iterator[tuple[str, str, Tensor]]:
    """Name, first name of the same tensor, and value of the parameters or buffers of each layer."""
    first: dict[int, str] = {}
    for prefix, layer in module.named_modules():
        found = getattr(layer, f"named_{kind}")(prefix, recurse=False, remove_duplicate=False)
        for name, value in found:
            yield name, first.setdefault(id(value), name), value


def _owner(module: nn.Module, parameter: str) -> str | None:
    owner, _, kind = parameter.rpartition(".")
    known = isinstance(module.get_submodule(owner), (*WEIGHTED, *NORMS))
    return owner if known and kind in ("weight", "bias") else None


def _is_compiled(layer: nn.Module) -> bool:
    # Importing the class of compiled modules would import the compiler, which takes seconds.
    outside = type(layer).__module__.startswith("torch._dynamo")
    return outside or getattr(layer, "_compiled_call_impl", None) is not None


def _computed(layer: nn.Module) -> list[str]:
    """Names of tensors computed from others before each forward pass, by torch's tools or in a known layer."""
    names: list[str] = []
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm):
            names.append(hook.name)
        elif isinstance(hook, BasePruningMethod):
            names.append(hook._tensor_name)
    if isinstance(layer, (*WEIGHTED, *NORMS)):
        names += [kind for kind in ("weight", "bias") if isinstance(vars(layer).get(kind), Tensor)]
        if is_parametrized(layer):
            names += list(layer.get_submodule("parametrizations")._modules)
    return list(dict.fromkeys(names))


def _start(use: _Use, layer: Layer | None) -> Start:
    """Initial distribution of a parameter of a known layer (norms have no entry), or of a standalone one."""
    if use.layer is None:
        assert layer is not None
        return "ones" if layer.role == "gain" else "zeros" if layer.role == "bias" else "normal"
    if not use.name.endswith("weight"):
        return "zeros"
    return "normal" if layer else "ones"


def _infer(fans: Fans, wide: Fans) -> str:
    if wide.fan_in <= fans.fan_in:
        return "input"
    return "hidden" if wide.fan_out > fans.fan_out else "readout"


def _loose_multiplier(use: _Use, role: str, wide: tuple[int, ...]) -> float:
    """Multiplier of a standalone parameter; `wide` is its shape at twice the width.

    Its fan-in is its second dimension, as in the weight of nn.Linear. If this one does not grow with the width and
    others do, it is the first that grows.
    """
    if role not in ("hidden", "readout"):
        return 1.0
    shape = use.shape
    grows = [at for at, (size, more) in enumerate(zip(shape, wide, strict=False)) if more > size]
    if len(shape) < 2 and not (role == "readout" and grows):
        raise UserCodeError(
            f"roles.{use.name}: a parameter of shape {list(shape)} has no fan-in, so it cannot be {role}; "
            "write input, gain or bias"
        )
    return multiplier(role, shape[1 if 1 in grows or not grows else grows[0]])


def _roles_of_layers(
    roles: Mapping[str, str], layers: Sequence[str], loose: Sequence[str]
) -> Mapping[str, str]:
    """Name of a layer or a standalone parameter -> role, from the first key that matches the name."""
    chosen: dict[str, str] = {}
    for key, role in roles.items():
        matched = [name for name in (*layers, *loose) if name == key or fnmatchcase(name, key)]
        new = [name for name in matched if name not in chosen]
        if not matched:
            raise UserCodeError(
                f"roles.{key}: no layer with weights has this name; there are {', '.join([*layers, *loose])}"
            )
        if not new:
            raise UserCodeError(
                f"roles.{key}: has no effect, because {chosen[matched[0]]} stands before it and matches "
                f"{', '.join(matched)} as well; write it before, or remove it"
            )
        wrong = [name for name in new if name in layers and role in OWN_ROLES]
        if wrong:
            this = "this" if wrong == [key] else wrong[0]
            raise UserCodeError(
                f"roles.{key}: {role} is for a parameter on its own, and {this} is a layer; write input, hidden "
                "or readout"
            )
        chosen |= dict.fromkeys(new, key)
    return {name: roles[key] for name, key in chosen.items()}


def _check_roles_complete(settled: Set[str], loose: Sequence[_Use]) -> None:
    """Require that each parameter belongs to a known layer, or has a role, at one of its places."""
    unnamed = [use.name for use in loose if use.first not in settled and use.name == use.first]
    if not unnamed:
        return
    belong = "parameters {} belong" if len(unnamed) > 1 else "parameter {} belongs"
    example = ", ".join(f"{name}: ..." for name in unnamed)
    raise UserCodeError(
        f"{belong.format(', '.join(unnamed))} to no layer whose role can be inferred; write roles: {{{example}}} "
        "with input (drawn from N(0, 1), multiplier 1), hidden (fan_in^-1/2), readout (1 / fan_in), gain (starts "
        "at 1) or bias (starts at 0)"
    )


def _check_readout(
    fans: Mapping[str, Fans], wide: Mapping[str, Fans], layers: Mapping[str, Layer]
) -> None:
    roles = {layer.role for layer in layers.values()}
    if "readout" in roles or any(_infer(fans[name], wide[name]) == "readout" for name in fans):
        return  # The coordinate check reveals a readout that was given another role.
    last = list(fans)[-1] if fans else "name"
    if dict(fans) == dict(wide):
        raise UserCodeError(
            "no layer is larger at twice the width, so it is unclear how layers scale with it; use the argument "
            f"width for the sizes of layers, or say which layer is the readout: roles: {{{last}: readout}}"
        )
    raise UserCodeError(
        "no layer is a readout: none has a fan-in that grows with the width and a fan-out that does not; say "
        f"which is: roles: {{{last}: readout}}. If it reuses the weights of another layer, give them a "
        "second name (self.out = self.table.weight) that it uses, and that name the role: roles: {out: readout}"
    )
