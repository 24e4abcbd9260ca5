"""A network of the user's own, any `torch.nn.Module` that a function makes, as a model in mu-P."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gammascape.models.model import Hidden, Model, Parameters, initial_parameters
from gammascape.models.probe import Track, examine
from gammascape.models.roles import WEIGHTED, Plan, check_batch_statistics, plan
from gammascape.usercode import Code, UserCodeError, load_code

EXAMPLES = 3
"""Samples on which a network is tried before it is trained."""


class Network:
    """A module whose parameters are given to each call."""

    def __init__(self, module: nn.Module, arranged: Plan, code: Code, batched: bool) -> None:
        self.module = module
        self.code = code
        self.batched = batched
        self._multipliers = arranged.multipliers
        self._shared = arranged.shared
        self._buffers = dict(module.named_buffers())
        self._cast: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    def buffers(self, x: Tensor) -> dict[str, Tensor]:
        """The module's buffers in the dtype and on the device of the inputs."""
        key = x.dtype, x.device
        if key not in self._cast:
            self._cast[key] = {
                name: value.to(x.device, x.dtype if value.is_floating_point() else value.dtype)
                for name, value in self._buffers.items()
            }
        if self.batched:
            return self._cast[key]
        # What a forward pass writes to its buffers is dropped: every pass begins with those of the module.
        return {name: value.clone() for name, value in self._cast[key].items()}

    def call(self, p: Parameters, x: Tensor, buffers: dict[str, Tensor] | None = None) -> Tensor:
        """Outputs of one network on x (B, ...), weights multiplied as mu-P says.

        `buffers` takes the place of the module's own, and is left as the forward pass leaves it.
        """
        scaled = {
            name: value * self._multipliers[name] if name in self._multipliers else value
            for name, value in p.items()
        }
        given = self.buffers(x) if buffers is None else buffers
        values = {**scaled, **given}
        for name, (first, multiplier) in self._shared.items():
            values[name] = p[first] * multiplier if first in p else given[first]
        output: Tensor = functional_call(self.module, values, (x,), tie_weights=not self._shared)
        if buffers is not None:
            # torch puts into the mapping what the forward pass has put in a buffer's place.
            buffers.update((name, values[name]) for name in buffers)
        return output


def build(
    options: dict[str, Any], input_shape: tuple[int, ...], outputs: int, example: Tensor | None
) -> Model:
    """Make the network, infer the roles of its layers, and try whether it can be trained as it is meant to be.

    Args:
        options: a study's options of a model with `factory`, and the hashes of its source files.
        input_shape: shape of one input.
        outputs: number of outputs.
        example: some inputs (n, *input_shape), of which the first few are used; normal numbers if None.

    Raises:
        UserCodeError: if it cannot be made or trained; the message names the layer.
    """
    factory, width, batched = options["factory"], options["width"], options["batched"]
    code = load_code(options["sources"])
    make = code.get(factory)

    def made(at: int) -> nn.Module:
        arguments = {"input_shape": tuple(input_shape), "outputs": outputs, "width": at}
        with code.active(f"{factory} with width={at}"), torch.random.fork_rng(devices=[]):
            module = make(**arguments, **options["arguments"])
        if not isinstance(module, nn.Module):
            raise UserCodeError(
                f"{factory} returned {type(module).__name__}; it must return a torch.nn.Module"
            )
        return module.train()

    module, wide = made(width), made(2 * width)
    if batched:
        check_batch_statistics(module)
    arranged = plan(module, wide, options["roles"])
    del wide
    network = Network(module, arranged, code, batched)
    track = Track(module)
    if example is None:
        example = torch.randn(EXAMPLES, *input_shape, generator=torch.Generator().manual_seed(0))
    x = example[:EXAMPLES].detach().to("cpu", torch.float64, copy=True)
    shell = Model(arranged.parameters, _unused, width, options.get("depth"), ())
    starts = initial_parameters(shell, [0, 1], torch.float64, torch.device("cpu"))
    with code.active():
        examine(network, track, starts, x, outputs)
        hidden, layers = _watched(network, track, starts, x, arranged)

    def forward_of(
        read: Callable[[Track], dict[str, Tensor]], names: tuple[str, ...]
    ) -> Callable[[Parameters, Tensor, Hidden | None], Tensor]:
        def single(
            p: dict[str, Tensor], x: Tensor, watch: bool
        ) -> tuple[Tensor, dict[str, Tensor]]:
            if not watch:
                return network.call(p, x), {}
            with track.recording():
                output = network.call(p, x)
                seen = read(track)
            seen = {**seen, "output": output}
            return output, {name: seen[name].reshape(len(x), -1) for name in names}

        def forward(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
            watch = hidden is not None
            lanes = len(next(iter(p.values())))
            with code.active():
                if batched and lanes > 1:
                    output, seen = torch.func.vmap(lambda q: single(q, x, watch))(dict(p))
                else:
                    each = [
                        single({name: value[k] for name, value in p.items()}, x, watch)
                        for k in range(lanes)
                    ]
                    output = torch.stack([one for one, _ in each])
                    seen = {
                        name: torch.stack([several[name] for _, several in each])
                        for name in (names if watch else ())
                    }
            if hidden is not None:
                hidden.update((name, seen[name]) for name in names)
            return output

        return forward

    return Model(
        parameters=arranged.parameters,
        forward=forward_of(
            lambda seen: {f"{name}.input": value for name, value in seen.inputs.items()}, hidden
        ),
        base_width=width,
        depth=options.get("depth"),
        hidden=hidden,
        batched=batched,
        roles={
            layer.name: f"{layer.role}, times {layer.multiplier:.4g}"
            + (" (given)" if layer.how == "given" else "")
            for layer in arranged.layers.values()
        },
        layers=forward_of(lambda seen: dict(seen.outputs), layers),
    )


def _watched(
    network: Network, track: Track, starts: Parameters, x: Tensor, arranged: Plan
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the hidden layers, and of layers whose outputs can be checked, in the order of the forward pass.

    A hidden layer is what a hidden layer or a readout reads: "fc2.input". Layers that read the same tensor count
    once. Tensors whose first dimension does not run over the samples are left out.
    """
    shapes = []
    tensors: dict[str, Tensor] = {}
    for count in (len(x), len(x) - 1):
        with track.recording(), torch.no_grad():
            network.call({name: value[0] for name, value in starts.items()}, x[:count])
            tensors = dict(track.inputs)
            found = {f"{name}.input": value for name, value in track.inputs.items()}
            shapes.append({name: tuple(v.shape) for name, v in {**found, **track.outputs}.items()})
    one, other = shapes

    def by_sample(name: str) -> bool:
        a, b = one.get(name, ()), other.get(name, ())
        return bool(a and b) and a[0] * (len(x) - 1) == b[0] * len(x) and a[1:] == b[1:]

    layers = {
        name: layer
        for name, layer in network.module.named_modules()
        if isinstance(layer, WEIGHTED) and name in arranged.layers
    }
    readers: dict[int, str] = {}
    for name, value in tensors.items():
        inner = name in layers and arranged.layers[name].role != "input"
        if inner and by_sample(f"{name}.input"):
            readers.setdefault(id(value), f"{name}.input")
    hidden = tuple(readers.values()) or ("output",)
    return hidden, tuple(name for name in one if name in layers and by_sample(name))


def _unused(p: Parameters, x: Tensor, hidden: Hidden | None) -> Tensor:
    raise AssertionError("a model that only says which parameters there are")
