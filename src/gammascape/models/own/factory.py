"""A user's own network, any `torch.nn.Module` returned by a function, as a model in mu-P."""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.func import functional_call

from gammascape.models.model import Hidden, Model, Parameters, initial_parameters
from gammascape.models.own import probe, state
from gammascape.models.own.roles import WEIGHTED, Plan, check_batch_statistics, plan
from gammascape.usercode.find import CONTRACTS
from gammascape.usercode.isolation import another_process, isolated, seed_of
from gammascape.usercode.run import Code, UserCodeError, load_code, plain

_CHECKPOINT: Any = torch.utils.checkpoint

Read = Callable[[probe.Track], dict[str, Tensor]]
"""Function returning tensors of a recorded pass, by the names of hidden layers."""

EXAMPLES = 6
"""Number of samples, in two batches, on which a network is tried before training."""


class Network:
    """A module that is given its parameters in each call.

    Its buffers and plain tensors take the dtype and the device of the inputs. State that a forward pass leaves for
    the next one is dropped: every pass begins with the state that the module had when it was made.
    """

    def __init__(self, module: nn.Module, arranged: Plan, code: Code, batched: bool) -> None:
        self.module, self.code, self.batched = module, code, batched
        self.track = probe.Track(module)
        self.changing_places: frozenset[str] = frozenset()
        """Places that forward passes write to, without effect on the next output."""
        self.needs_gradients = False
        """True if a pass without gradients gives different bits."""
        self._multipliers = arranged.multipliers
        self._shared = arranged.shared
        self._padding = {p.name: p.padding for p in arranged.parameters if p.padding is not None}
        self._buffers = dict(module.named_buffers())
        self._cast: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}
        self._tensors = []
        for where, key, place in state.attributes(module):
            try:
                if place not in self._buffers and state.has_tensor(where[key]):
                    self._tensors.append((where, key, where[key]))
            except RecursionError:
                raise UserCodeError(
                    f"{place} holds more than {state.NESTED} lists or mappings inside each other; write it flat"
                ) from None
        self._installed: tuple[torch.dtype, torch.device] | None = None

    def buffers(self, x: Tensor) -> dict[str, Tensor]:
        """Buffers of the module in the dtype and on the device of the inputs."""
        key = x.dtype, x.device
        if key not in self._cast:
            self._cast[key] = state.to_device(self._buffers, *key)
        if self.batched:
            return self._cast[key]
        # Writes to buffers are dropped: every pass begins with the module's own buffers.
        return {name: value.clone() for name, value in self._cast[key].items()}

    def scaled(self, p: Parameters) -> dict[str, Tensor]:
        """Parameters as the module sees them: padding rows at zero, each use times its mu-P multiplier."""
        plain = dict(p)
        for name, row in self._padding.items():
            # torch leaves out their gradient only in a single lane, or only if the table has no other use.
            rows = torch.arange(len(p[name]), device=p[name].device)
            plain[name] = p[name] * (rows != row)[:, None]
        scaled = {
            name: value * self._multipliers[name] if name in self._multipliers else value
            for name, value in plain.items()
        }
        for name, (first, multiplier) in self._shared.items():
            if first in plain:
                scaled[name] = plain[first] * multiplier
        return scaled

    def call(self, p: Parameters, x: Tensor, buffers: dict[str, Tensor] | None = None) -> Tensor:
        """Outputs of one network on x (B, ...), weights times their mu-P multipliers.

        `buffers` replaces the module's own buffers and holds their final values afterwards.
        """
        return self.apply(self.scaled(p), x, self.buffers(x) if buffers is None else buffers)

    def forward(
        self,
        p: Parameters,
        x: Tensor,
        hidden: Hidden | None = None,
        read: Read = lambda track: {},
        names: tuple[str, ...] = (),
    ) -> Tensor:
        """Forward pass of all lanes; `read` and `names` choose the hidden layers to fill in."""
        if self.needs_gradients and not torch.is_grad_enabled():
            # The passes of a step and of the initial network must round alike, or f would not begin at zero.
            with torch.enable_grad():
                leaves = {name: value.detach().requires_grad_() for name, value in p.items()}
                output = self.forward(leaves, x, hidden, read, names).detach()
            if hidden is not None:
                hidden.update({name: hidden[name].detach() for name in names})
            return output

        def single(q: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            if hidden is None:
                return self.call(q, x), {}
            with self.track.recording():
                output = self.call(q, x)
                seen = {**read(self.track), "output": output}
            return output, {name: seen[name].reshape(len(x), -1) for name in names}

        lanes = len(next(iter(p.values())))
        with self.code.active():
            if self.batched and lanes > 1:
                output, seen = torch.func.vmap(single)(dict(p))
            else:
                each = [single({name: value[k] for name, value in p.items()}) for k in range(lanes)]
                output = torch.stack([one for one, _ in each])
                seen = {name: torch.stack([s[name] for _, s in each]) for name in each[0][1]}
        if hidden is not None:
            hidden.update((name, seen[name]) for name in names)
        return output

    def apply(self, scaled: Parameters, x: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        """`call` with parameters that are already multiplied.

        Raises:
            UserCodeError: if the forward pass changes its parameters.
        """
        self.install(x)
        before = self.snapshot(self.changing_places) if self.changing_places else {}
        versions = [value._version for value in scaled.values()]
        tied = {name: buffers[one] for name, (one, _) in self._shared.items() if one in buffers}
        values = {**scaled, **buffers, **tied}
        try:
            with _whole_graphs():
                output: Tensor = functional_call(
                    self.module, values, (x,), tie_weights=not self._shared
                )
        finally:
            if self.changing_places:
                self.put_back(before, self.changing_places)
        for (name, value), version in zip(scaled.items(), versions, strict=True):
            if value._version != version:
                raise UserCodeError(probe.changed_weight(self.module, name))
        # torch updates the mapping when the forward pass replaces a buffer.
        buffers.update((name, values[name]) for name in buffers)
        return output

    def install(self, x: Tensor) -> None:
        """Convert plain tensors, as first made, to the dtype and the device of the inputs."""
        if self._installed != (x.dtype, x.device):
            for where, key, value in self._tensors:
                where[key] = state.to_device(value, x.dtype, x.device)
            self._installed = x.dtype, x.device

    def marks(self, numbers_of: Callable[[Tensor], bytes] = state.short_bytes) -> state.Marks:
        """Marks of all state that must not change while the network is trained."""
        found = state.marks_of(self.module, numbers_of) | state.variables(
            self.code.variables(), numbers_of
        )
        return {name: mark for name, mark in found.items() if name not in self.changing_places}

    def snapshot(self, places: Collection[str] | None = None) -> dict[str, Any]:
        """Place -> the module's value there, with lists and mappings copied; all places if None."""
        return {
            place: state.copy_of(where[key])
            for where, key, place in state.attributes(self.module)
            if place not in self._buffers and (places is None or place in places)
        }

    def put_back(self, before: Mapping[str, Any], places: Collection[str]) -> None:
        """Restore the values that `snapshot` returned at these places."""
        for where, key, place in list(state.attributes(self.module)):
            if place in places and place not in self._buffers:
                if place in before:
                    where[key] = before[place]
                else:
                    del where[key]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Check that training steps keep the rules that the trial has checked.

        Raises:
            UserCodeError: if a step drew random numbers, or changed the state of the module or the process.
        """
        try:
            with self.code.active(), isolated(None) as changed:
                before, installed = self.marks(), self._installed
                cast = {key: [v._version for v in b.values()] for key, b in self._cast.items()}
                parameters = [*map(id, self.module.parameters())]
                yield
                # A change of dtype replaces the tensors.
                after = self.marks() if installed == self._installed else before
        except SystemExit as error:
            raise UserCodeError(self.code.failure_text("the forward pass", error)) from error
        names = [*changed, *state.difference(before, after).values()]
        if parameters != [*map(id, self.module.parameters())]:
            names.append("its parameters")
        for key, versions in cast.items():
            for (name, value), version in zip(self._cast[key].items(), versions, strict=True):
                names += [] if value._version == version else [name]
        if names:
            raise UserCodeError(
                f"a forward pass in training has changed or used {names[0]}, which none did when the network "
                f"was tried; {probe.FUNCTION}"
            )


@contextmanager
def _whole_graphs() -> Iterator[None]:
    """Disable activation checkpoints: a second pass would find different parameters from the first."""
    before = _CHECKPOINT._checkpoint_hook, _CHECKPOINT.CheckpointFunction
    _CHECKPOINT._checkpoint_hook, _CHECKPOINT.CheckpointFunction = nullcontext, _Through
    try:
        yield
    finally:
        _CHECKPOINT._checkpoint_hook, _CHECKPOINT.CheckpointFunction = before


class _Through:
    """Substitute for `torch.utils.checkpoint.CheckpointFunction`."""

    @staticmethod
    def apply(function: Callable[..., Any], _: bool, *arguments: Any) -> Any:
        return function(*arguments)


def build(
    options: dict[str, Any], input_shape: tuple[int, ...], outputs: int, example: Tensor | None
) -> Model:
    """Build the network, infer the roles of its layers, and test that it can be trained in packs of cells.

    Args:
        options: a study's options of a model with `factory`, and the hashes of its source files.
        input_shape: shape of one input.
        outputs: number of outputs.
        example: some inputs (n, *input_shape) on the device that will train, of which the first few are used;
            normal numbers if None.

    Raises:
        UserCodeError: if it cannot be built or trained; the message names the layer.
    """
    width, batched = options["width"], options["batched"]
    code = load_code(options["sources"])
    module = _build_module(code, options, input_shape, outputs, width)
    wide = _build_module(code, options, input_shape, outputs, 2 * width)
    if batched:
        check_batch_statistics(module)
    arranged = plan(module, wide, options["roles"])
    del wide
    # Import the files again, so that random numbers drawn at import are seen to differ.
    code_again = Code(options["sources"])
    with another_process():
        again = _build_module(code_again, options, input_shape, outputs, width)
    kept, defined = [], []
    for one, loaded in ((module, code), (again, code_again)):
        with loaded.active():
            kept.append(state.marks_of(one, state.tensor_bytes))
            defined.append(state.variables(loaded.variables(), state.tensor_bytes))
    probe.check_made_twice((module, again), kept, defined)
    parameters = tuple(
        replace(parameter, padding=probe.padding_row(module, parameter.name))
        for parameter in arranged.parameters
    )
    arranged = replace(arranged, parameters=parameters)
    network = Network(module, arranged, code, batched)
    twin = Network(again, arranged, code_again, batched)
    device = torch.device("cpu") if example is None else example.device
    if example is None or example.is_meta or len(example) < EXAMPLES:
        example = torch.randn(EXAMPLES, *input_shape, generator=torch.Generator().manual_seed(0))
    x = example[:EXAMPLES].detach().to("cpu", torch.float64, copy=True)
    shell = Model(parameters, network.forward, width, options.get("depth"), ())
    starts = initial_parameters(shell, [0, 1], torch.float64, torch.device("cpu"))
    batches = [part.clone() for part in torch.split(x, EXAMPLES // 2)]
    probe.examine(network, starts, batches, outputs)
    probe.check_steps(network, twin, starts, batches)
    probe.check_device(network, starts, batches[0], device)
    with code.active():
        hidden, layers = _watched(network, starts, batches[0], arranged)
    small = {
        owner: f", in the dtype of the cell, not in {plain(parameter.dtype)}"
        for name, parameter in module.named_parameters()
        for owner in (name, name.rpartition(".")[0])
        if parameter.is_floating_point() and torch.finfo(parameter.dtype).bits < 32
    }
    return Model(
        parameters=parameters,
        forward=partial(network.forward, read=_inputs, names=hidden),
        base_width=width,
        depth=options.get("depth"),
        hidden=hidden,
        batched=batched,
        roles={
            layer.name: f"{layer.role}, times {layer.multiplier:.4g}"
            + (" (given)" if layer.how == "given" else "")
            + small.get(layer.name, "")
            for layer in arranged.layers.values()
        },
        layer_outputs=partial(network.forward, read=lambda seen: dict(seen.outputs), names=layers),
        constants=state.constants_digest(kept[0]),
        watching=network.watching,
    )


def _inputs(track: probe.Track) -> dict[str, Tensor]:
    return {f"{name}.input": value for name, value in track.inputs.items()}


def _build_module(
    code: Code, options: dict[str, Any], input_shape: tuple[int, ...], outputs: int, width: int
) -> nn.Module:
    factory, arguments = options["factory"], options["arguments"]
    sizes = {"input_shape": tuple(input_shape), "outputs": outputs, "width": width}
    make = code.get(factory)
    # The seed leaves out the width: constants whose size does not depend on it are the same at every width.
    try:
        with code.active(f"{factory} with width={width}", seed_of("model", factory, arguments)):
            module = make(**sizes, **copy.deepcopy(arguments))
    except UserCodeError as error:
        if isinstance(error.__cause__, TypeError) and "argument" in str(error.__cause__):
            raise UserCodeError(f"{error}\n{CONTRACTS['models']}") from None
        raise
    if not isinstance(module, nn.Module):
        raise UserCodeError(
            f"{factory} returned {type(module).__name__}; it must return a torch.nn.Module"
        )
    for layer in module.modules():
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            # The numbers are the same, and sparse gradients cannot be stacked.
            layer.sparse = False
    return module.train()


def _watched(
    network: Network, starts: Parameters, x: Tensor, arranged: Plan
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the hidden layers, and of layers whose outputs can be checked, in the order of the forward pass.

    "Hidden layers" are the inputs of layers with the role hidden or readout, such as "fc2.input". Layers that read
    the same tensor count once. Tensors whose first dimension does not run over the samples are left out.
    """
    track, shapes = network.track, []
    tensors: dict[str, Tensor] = {}
    for count in (len(x), len(x) - 1):
        with track.recording(), torch.no_grad():
            network.call({name: value[0] for name, value in starts.items()}, x[:count])
            tensors = dict(track.inputs)
            found = _inputs(track)
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
