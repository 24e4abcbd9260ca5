"""Tries a user's network before it is trained: what it gives, and whether many can be computed at once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gammascape.models.model import Parameters
from gammascape.usercode import Code, UserCodeError

ALONE = "write batched: false, which trains one cell at a time"
TOLERANCE = 1e-6
"""Relative difference, in float64, beyond which two outputs are not the same up to the order of sums."""


class Callee(Protocol):
    """What is tried: `models.factory.Network`."""

    module: nn.Module
    code: Code
    batched: bool

    def call(self, p: Parameters, x: Tensor, buffers: dict[str, Tensor] | None = None) -> Tensor:
        """Outputs of one network; `buffers` are left as it leaves them."""

    def buffers(self, x: Tensor) -> dict[str, Tensor]:
        """Its buffers."""


class Track:
    """What goes into and comes out of each layer of a module, and the layer that is at work, while it records."""

    def __init__(self, module: nn.Module) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self._stack: list[str] = []
        self._on = False
        for name, layer in module.named_modules():
            if name:
                layer.register_forward_pre_hook(self._enter(name), with_kwargs=True)
                layer.register_forward_hook(self._leave(name), with_kwargs=True)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls inside; of a layer that is called several times, the last."""
        self.inputs, self.outputs, self._stack, self._on = {}, {}, [], True
        try:
            yield
        finally:
            self._on = False

    def where(self, module: nn.Module) -> str:
        """The innermost layer that was at work when an error was raised."""
        if not self._stack:
            return f"the forward pass of {type(module).__name__} itself, outside of any layer,"
        kind = type(module.get_submodule(self._stack[-1])).__name__
        return f"layer {self._stack[-1]} ({kind})"

    def _enter(self, name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            if not self._on:
                return
            self._stack.append(name)
            value = arguments[0] if arguments else next(iter(named.values()), None)
            if isinstance(value, Tensor):
                self.inputs.pop(name, None)
                self.inputs[name] = value

        return hook

    def _leave(self, name: str) -> Any:
        def hook(_: nn.Module, arguments: Any, named: Any, output: Any) -> None:
            if not self._on:
                return
            self._stack.pop()
            if isinstance(output, Tensor):
                self.outputs.pop(name, None)
                self.outputs[name] = output

        return hook


def examine(network: Callee, track: Track, starts: Parameters, x: Tensor, outputs: int) -> None:
    """Try two networks on a few inputs in float64.

    Args:
        network: the module to be tried.
        track: its layers.
        starts: initial parameters (2, ...) of two networks.
        x: (n, *input_shape), n at least 3.
        outputs: the number of outputs that are wanted.

    Raises:
        UserCodeError: if the module fails, gives something else than (n, outputs), changes its inputs, draws
            random numbers, carries state from one pass to the next, or leaves a parameter unused; and, unless it
            is computed one at a time, if it mixes samples, changes buffers, or cannot be batched over networks.
    """
    first = {name: value[0] for name, value in starts.items()}
    kept, buffers = x.clone(), network.buffers(x)
    written = {name: value.clone() for name, value in buffers.items()}
    leaves = {name: value.clone().requires_grad_() for name, value in first.items()}
    output = _run(network, track, leaves, x, written)
    layers = {name: value.detach().clone() for name, value in track.outputs.items()}
    _check_output(network.module, output, len(x), outputs)
    if not torch.equal(x, kept):
        raise UserCodeError(
            "the forward pass changes its inputs in place; work on a copy (x = x.clone())"
        )
    _check_used(output, leaves)
    changed = [name for name, value in buffers.items() if not torch.equal(written[name], value)]
    if changed and network.batched:
        raise UserCodeError(f"{_buffer(network.module, changed[0])} in place; {ALONE}")
    again = _run(network, track, first, x, {**written})
    if not torch.equal(again, output):
        where = _first_difference(network.module, layers, track.outputs)
        if changed:
            raise UserCodeError(
                f"{_buffer(network.module, changed[0])}, and what {where} gives depends on it: the next pass "
                "would give something else, and a network must be a function of its weights and inputs"
            )
        raise UserCodeError(
            f"{where} gives something else each time: it draws random numbers or keeps state; a network must be a "
            "function of its weights and inputs"
        )
    if network.batched:
        _check_samples(network, track, first, x, output.detach(), layers)
        _check_lanes(network, track, starts, x)


def _run(
    network: Callee, track: Track, p: Parameters, x: Tensor, buffers: dict[str, Tensor]
) -> Tensor:
    try:
        with track.recording():
            return network.call(p, x, buffers)
    except Exception as error:
        where = track.where(network.module)
        doing = f"{where.removesuffix(',')}, given inputs of shape {list(x.shape)} in {x.dtype},".replace(
            "torch.", ""
        )
        raise UserCodeError(network.code.told(doing, error)) from error


def _check_output(module: nn.Module, output: object, samples: int, outputs: int) -> None:
    wanted = [samples, outputs]
    kind = type(module).__name__
    if not isinstance(output, Tensor):
        raise UserCodeError(f"{kind} returned {type(output).__name__}; it must return a tensor")
    if list(output.shape) != wanted:
        raise UserCodeError(
            f"{kind} returned shape {list(output.shape)} for {samples} samples; it must return {wanted}, "
            "(samples, outputs)"
        )
    if output.dtype != torch.float64:
        raise UserCodeError(
            f"{kind} returned {output.dtype} for inputs in {torch.float64}; let it compute in the dtype of its "
            "inputs, which is float64 where gamma is small"
        )


def _check_used(output: Tensor, leaves: Mapping[str, Tensor]) -> None:
    unused = list(leaves)
    if output.requires_grad:
        found = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
        unused = [name for name, value in zip(leaves, found, strict=True) if value is None]
    if unused:
        raise UserCodeError(
            f"the output does not depend on {', '.join(unused)}; remove what is not used"
        )


def _check_samples(
    network: Callee,
    track: Track,
    p: Parameters,
    x: Tensor,
    output: Tensor,
    layers: Mapping[str, Tensor],
) -> None:
    fewer = _run(network, track, p, x[:-1], network.buffers(x))
    if _same(fewer, output[:-1]):
        return
    parts = {
        name: value[: len(track.outputs[name])]
        for name, value in layers.items()
        if name in track.outputs and value.dim() and len(value) > len(track.outputs[name])
    }
    where = _first_difference(network.module, parts, track.outputs)
    raise UserCodeError(
        f"{where} gives something else for a sample when its batch has fewer others; use a layer that treats "
        f"each sample on its own, or {ALONE}"
    )


def _check_lanes(network: Callee, track: Track, starts: Parameters, x: Tensor) -> None:
    buffers = network.buffers(x)
    alone = [
        _run(network, track, {name: value[k] for name, value in starts.items()}, x, buffers)
        for k in range(2)
    ]
    layers = {name: value.detach() for name, value in track.outputs.items()}
    several = torch.stack((x, x))
    try:
        with track.recording():
            # Inputs are batched too: what depends on them only must be found out as well.
            batched = torch.func.vmap(lambda p, z: network.call(p, z, dict(buffers)))(
                dict(starts), several
            )
    except Exception as error:
        # What torch says after its first sentences is for its own authors.
        brief = RuntimeError(str(error).partition(" We don't support that")[0])
        brief.__traceback__ = error.__traceback__
        text = network.code.told(f"{track.where(network.module)} cannot be batched: it", brief)
        raise UserCodeError(f"{text}\n{ALONE[0].upper()}{ALONE[1:]}.") from error
    if not all(_same(one, other) for one, other in zip(alone, batched, strict=True)):
        where = _first_difference(network.module, layers, {})
        raise UserCodeError(
            f"{where} gives something else when several networks are computed at once; {ALONE}"
        )


def _first_difference(
    module: nn.Module, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> str:
    """The first layer, in the order in which they end, with another output."""
    for name, value in before.items():
        if name in after and not (value.shape == after[name].shape and _same(after[name], value)):
            return f"layer {name} ({type(module.get_submodule(name)).__name__})"
    return f"{type(module).__name__} itself, outside of any layer,"


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * float(b.abs().max() + 1e-300))


def _buffer(module: nn.Module, name: str) -> str:
    owner, _, kind = name.rpartition(".")
    layer = type(module.get_submodule(owner)).__name__
    who = f"layer {owner} ({layer})" if owner else f"{layer} itself"
    return f"{who} changes its buffer {kind}"
