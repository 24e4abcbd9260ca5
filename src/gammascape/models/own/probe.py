"""Try a user's network before training: its outputs, its state, and whether several can be computed at once."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gammascape.models.model import Parameters
from gammascape.models.own.roles import NOISE
from gammascape.models.own.state import Marks, difference, tensor_bytes, values_of
from gammascape.usercode.isolation import generators, isolated
from gammascape.usercode.run import SEED_IT, UserCodeError

if TYPE_CHECKING:
    from gammascape.models.own.factory import Network

ALONE = "write batched: false, which trains one cell at a time"
TOLERANCE = 1e-6
"""Largest relative difference, in float64, that the order of sums may cause between two outputs."""
FUNCTION = "a network must be a function of its weights and inputs"
RATE = 0.1
"""Length of a trial step; the initial weights, each near 1, have a norm of some hundreds."""


class Track:
    """Recorder of the input and output of each layer of a module, and of the layer that is running."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.random_layer: str | None = None
        """Innermost layer that has drawn random numbers."""
        self.stack: list[str] = []
        """Layers that have begun and not ended, innermost last."""
        self._states: list[Any] = []
        self._on = self._watching = False
        for name, layer in module.named_modules():
            if name:
                layer.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True)
                layer.register_forward_hook(partial(self._leave, name), with_kwargs=True)

    @contextmanager
    def recording(self, watching: bool = False) -> Iterator[None]:
        """Record the calls inside; the last call counts for a layer that is called several times.

        With `watching`, also find the layer that draws random numbers.
        """
        self.inputs, self.outputs, self.stack, self._on = {}, {}, [], True
        self.random_layer, self._watching, self._states = None, watching, [generators()]
        try:
            yield
            if watching and self.random_layer is None and self._states[0] != generators():
                self.random_layer = ""
        finally:
            self._on = False

    def where(self) -> str:
        """Name of the innermost layer that was running when an error was raised."""
        if self.stack:
            return layer_name(self._module, self.stack[-1])
        return f"the forward pass of {type(self._module).__name__} itself, outside of any layer,"

    def _enter(self, name: str, _: nn.Module, arguments: Any, named: dict[str, Any]) -> None:
        if self._on:
            self.stack.append(name)
            if self._watching:
                self._states.append(generators())
            value = arguments[0] if arguments else next(iter(named.values()), None)
            _note(self.inputs, name, value)

    def _leave(self, name: str, _: nn.Module, arguments: Any, named: Any, output: Any) -> None:
        if self._on:
            self.stack.pop()
            if self._watching and self._states.pop() != generators() and self.random_layer is None:
                self.random_layer = name
            _note(self.outputs, name, output)


def _note(outputs: dict[str, Tensor], name: str, value: object) -> None:
    """Store a tensor last, so that the mapping follows the order of the calls."""
    if isinstance(value, Tensor):
        outputs.pop(name, None)
        outputs[name] = value


_SMALL = {torch.uint8: 255, torch.int8: 127, torch.int16: 32767, torch.uint16: 65535}
"""Dtype whose numbers wrap around -> the largest of them."""
_CONVERSIONS = {"to", "type", "type_as", "byte", "char", "short", "copy"}
_SUMS = re.compile(
    "[ir]?(add|sub|mul|pow)|neg|abs|square|i?lshift|r?matmul|b?mm|dot|einsum|(cum)?(sum|prod)"
)
"""Names of functions, without underscores at their ends, whose result may be larger than what they are given."""


class _Narrow(TorchFunctionMode):
    """Finder of values in too small a dtype: floats smaller than parameters, and integers that wrap around."""

    def __init__(self, track: Track, dtype: torch.dtype) -> None:
        super().__init__()
        self.problem: str | None = None
        self._where, self._dtype = track.where, dtype

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        if self.problem is None and isinstance(found, Tensor):
            name = getattr(function, "__name__", "").strip("_")
            given = {value.dtype for value in args if isinstance(value, Tensor)}
            if (
                found.requires_grad
                and torch.finfo(found.dtype).bits < torch.finfo(self._dtype).bits
            ):
                self._note(
                    f"{found.dtype} for inputs in {self._dtype}, and loses the digits that are needed where gamma "
                    "is small; let it compute in the dtype of its inputs"
                )
            elif found.dtype in _SMALL and (
                _SUMS.fullmatch(name)
                or (name in _CONVERSIONS and given - {torch.bool, found.dtype})
            ):
                self._note(
                    f"{found.dtype}, whose numbers wrap around above {_SMALL[found.dtype]}; keep whole numbers in "
                    "torch.int64 (long())"
                )
        return found

    def _note(self, text: str) -> None:
        self.problem = f"{self._where()} computes in {text}".replace("torch.", "")

    def check(self) -> None:
        """Raise UserCodeError if such a value was found."""
        if self.problem is not None:
            raise UserCodeError(self.problem)


def check_made_twice(
    modules: Sequence[nn.Module], held: Sequence[Marks], defined: Sequence[Marks]
) -> None:
    """Compare the networks that two calls of the function have made, each after a fresh import.

    Raises:
        UserCodeError: naming the first difference.
    """
    for name, value in values_of(modules[0]):
        if isinstance(value, nn.Module | nn.Parameter):
            raise UserCodeError(
                f"{name} is a layer or parameter that torch does not know, so nothing would train it; keep "
                "layers in nn.ModuleList or nn.ModuleDict, parameters in nn.ParameterList"
            )
        if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            raise UserCodeError(
                f"{name} is an iterator, and each pass would see a different part of it; keep a list (list(...))"
            )
    one, other = ({n: tuple(p.shape) for n, p in m.named_parameters()} for m in modules)
    buffers = dict(modules[0].named_buffers())
    differing = [f"parameter {n}" for n in {**one, **other} if one.get(n) != other.get(n)]
    for place, name in difference(*held).items():
        differing.append(f"{'buffer' if place in buffers else 'attribute'} {name}")
    for place, name in difference(*defined).items():
        if defined[0][place][name][0] in ("tensor", "generator"):
            differing.append(f"variable {name}")
    if differing:
        raise UserCodeError(
            f"{differing[0]} differs each time the network is made, so each process would train another "
            f"network; {SEED_IT}"
        )


def padding_row(module: nn.Module, name: str) -> int | None:
    """Row of a parameter that an embedding reserves for padding.

    Raises:
        UserCodeError: if embeddings that share the parameter reserve different rows.
    """
    value = module.get_parameter(name)
    tables = (m for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag))
    kept = {m.padding_idx for m in tables if m.weight is value and m.padding_idx is not None}
    if len(kept) > 1:
        raise UserCodeError(
            f"embeddings that share {name} have padding_idx {' and '.join(map(str, sorted(kept)))}; give them one"
        )
    return next(iter(kept), None)


def changed_weight(module: nn.Module, name: str) -> str:
    """Message about a forward pass that writes to a parameter."""
    owner, _, kind = name.rpartition(".")
    who = layer_name(module, owner)
    return f"{who} changes its parameter {kind} in place, which only a step may do; {FUNCTION}"


def examine(
    network: "Network", starts: Parameters, batches: Sequence[Tensor], outputs: int
) -> None:
    """Try two networks on a few inputs in float64; `network` records places that passes write to without effect.

    Args:
        starts: initial parameters (2, ...) of two networks.
        batches: several batches (n, *input_shape), n at least 3.

    Raises:
        UserCodeError: if the module fails, returns anything but (n, outputs), changes its inputs, its
            parameters or the state of the process, draws random numbers, carries state from one pass to the next,
            or leaves a parameter unused; and, unless it is computed one at a time, if it mixes samples, changes
            buffers, or cannot be batched over networks.
    """
    first, x = {name: value[0] for name, value in starts.items()}, batches[0]
    with network.code.active(), isolated(0) as changed:
        output, layers = _check_pass(network, first, x, outputs)
        _check_state(network, first, batches, output, layers)
        _check_used(network, first, batches)
        if network.batched:
            _check_samples(network, first, x, output, layers)
            _check_lanes(network, starts, x)
    _check_process(changed)


def _check_pass(
    network: "Network", p: Parameters, x: Tensor, outputs: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs of the network and of each layer in one pass with gradients; the module's state is restored."""
    kept, buffers = x.clone(), network.buffers(x)
    network.install(x)
    before, held = network.marks(tensor_bytes), network.snapshot()
    written, leaves = _copies(buffers), _leaves(p)
    with _Narrow(network.track, x.dtype) as narrow:
        output = _run(network, leaves, x, written)
    network.put_back(held, difference(before, network.marks(tensor_bytes)))
    layers = {name: value.detach().clone() for name, value in network.track.outputs.items()}
    _check_output(network.module, output, x, outputs)
    if not bool(output.isfinite().all()):
        raise UserCodeError(
            f"{type(network.module).__name__} gives NaN or infinity with the initial weights, which are N(0, 1); "
            "look for logarithms, roots and divisions"
        )
    narrow.check()
    if not torch.equal(x, kept):
        raise UserCodeError(
            "the forward pass changes its inputs in place; work on a copy (x = x.clone())"
        )
    changed = _changed_buffer(network.module, buffers, written)
    if changed and network.batched:
        raise UserCodeError(f"{changed} in place; {ALONE}")
    return output.detach(), layers


def _check_state(
    network: "Network",
    p: Parameters,
    batches: Sequence[Tensor],
    output: Tensor,
    layers: Mapping[str, Tensor],
) -> None:
    """Run several passes without restoring state between them: their outputs must not depend on it."""
    x, other = batches[:2]
    held = network.snapshot()
    buffers = _copies(network.buffers(x))
    written = _copies(buffers)
    marks = [network.marks(tensor_bytes)]
    given = []
    for batch in (x, x, other, x):
        given.append(_run(network, p, batch, written))
        marks.append(network.marks(tensor_bytes))
        if batch is x and not _same(given[-1], output):
            where = _first_difference(network.module, layers, network.track.outputs)
            if changed := _changed_buffer(network.module, buffers, written):
                raise UserCodeError(
                    f"{changed}, and what {where} gives depends on it: the next pass would give something else, "
                    f"and {FUNCTION}"
                )
            raise UserCodeError(
                f"{where} gives something else each time: it draws random numbers or keeps state; {FUNCTION}"
            )
    # The first pass may fill empty places, and later ones may record what they saw last. A counter keeps changing.
    for before, after in ((marks[1], marks[2]), (marks[2], marks[4])):
        for name in difference(before, after).values():
            raise UserCodeError(
                f"the forward pass changes {name} each time, as a count or a history does; remove it, since "
                f"{FUNCTION}"
            )
    changes = {**difference(marks[0], marks[1]), **difference(marks[2], marks[3])}
    network.put_back(held, changes)
    network.changing_places = frozenset(changes)
    fresh = _run(network, p, other, {**network.buffers(other)})
    if not _same(given[2], fresh):
        what = next(iter(changes.values()), "something")
        raise UserCodeError(
            f"the forward pass keeps {what} of one batch and uses it for the next; {FUNCTION}"
        )


def check_steps(
    made: "Network", again: "Network", starts: Parameters, batches: Sequence[Tensor]
) -> None:
    """Train two networks for a few steps in both dtypes, alone and together; repeat with a second build.

    The second build begins with the other dtype and the last batch, which reveals state kept from the first use.

    Raises:
        UserCodeError: if a step fails, if the two builds do not give the same bits, or if a network alone gives
            another result than together with a second one.
    """
    dtypes = [torch.float64, torch.float32]
    results: list[dict[torch.dtype, dict[str, Tensor]]] = []
    for network, order in ((made, dtypes), (again, dtypes[::-1])):
        network.changing_places, network.needs_gradients = (
            made.changing_places,
            made.needs_gradients,
        )
        found = {}
        with network.code.active(), isolated(0) as changed:
            for dtype in order:

                def doing(dtype: torch.dtype = dtype, track: Track = network.track) -> str:
                    step = f"a training step in {dtype}"
                    return f"{track.where()} in {step}" if track.stack else step

                with _explain_errors(
                    network, doing, "Let the network compute in the dtype of its inputs."
                ):
                    found[dtype] = _steps(network, starts, batches, dtype, network is made)
        _check_process(changed)
        results.append(found)
    for dtype in dtypes:
        one, other = results[0][dtype], results[1][dtype]
        for name, value in one.items():
            if not torch.equal(value.nan_to_num(), other[name].nan_to_num()):
                raise UserCodeError(
                    f"a network that is made again gives other numbers in {dtype}, seen in {name} after "
                    f"{len(batches)} steps: it keeps something of its first batch or dtype, or draws without a "
                    f"seed; {SEED_IT}".replace("torch.float", "float")
                )


def _steps(
    network: "Network",
    starts: Parameters,
    batches: Sequence[Tensor],
    dtype: torch.dtype,
    compared: bool,
) -> dict[str, Tensor]:
    """Parameters (2, ...) after a step on each batch; if `compared`, check each network alone as well."""
    initial = {name: value.to(dtype) for name, value in starts.items()}
    with _Narrow(network.track, dtype) as narrow, network.track.recording():
        network.call(_leaves({name: v[0] for name, v in initial.items()}), batches[-1].to(dtype))
    narrow.check()

    def trained(start: Parameters) -> dict[str, Tensor]:
        p = dict(start)
        for step, x in enumerate(batch.to(dtype) for batch in batches):
            leaves, held = _leaves(p), network.marks(tensor_bytes)
            with network.track.recording():
                f = network.forward(leaves, x)
            _check_output(network.module, f[0], x, f.shape[-1])
            with torch.no_grad():
                reference = network.forward(dict(start), x)
                if step == 0 and not torch.equal(f, reference):
                    network.needs_gradients = True
                    reference = network.forward(dict(start), x)
            loss = (f - reference - 1).square().sum()
            found = torch.autograd.grad(
                loss, list(leaves.values()), allow_unused=True, materialize_grads=True
            )
            for (name, value), change in zip(p.items(), found, strict=True):
                length = change.flatten(1).norm(dim=1).clamp(min=1e-30)
                p[name] = value - RATE * change / length.view(-1, *[1] * (change.dim() - 1))
            for name in difference(held, network.marks(tensor_bytes)).values() if step else ():
                raise UserCodeError(f"a training step changes {name}; {FUNCTION}")
        return p

    together = trained(initial)
    # In float32, rounding alone would cause differences.
    for k in range(2 if network.batched and dtype == torch.float64 and compared else 0):
        alone = trained({name: value[k : k + 1] for name, value in initial.items()})
        for name, value in alone.items():
            if not _same(value[0], together[name][k]):
                raise UserCodeError(
                    f"a step changes {name} differently when two networks train at once; {ALONE}"
                )
    return together


def check_device(network: "Network", starts: Parameters, x: Tensor, device: torch.device) -> None:
    """Try one network on the device that will train it.

    Raises:
        UserCodeError: if something stays behind on the CPU.
    """
    if device.type == "cpu":
        return
    x = x.to(device, torch.float32)
    p = {name: value[0].to(x) for name, value in starts.items()}
    with network.code.active(), isolated(0):
        advice = (
            "Make constants on the device of the inputs (device=x.device), or keep them as tensors: "
            "self.register_buffer(name, tensor)."
        )
        where = network.track.where
        told = _explain_errors(
            network, lambda: f"{where()} on {device.type}", advice, whole_text=True
        )
        with told, network.track.recording():
            network.call(p, x)


def _check_process(changed: Sequence[str]) -> None:
    if changed:
        raise UserCodeError(
            f"the forward pass changes or uses {changed[0]}, which all networks of the process share; remove it"
        )


def _run(network: "Network", p: Parameters, x: Tensor, buffers: dict[str, Tensor]) -> Tensor:
    scaled = network.scaled(p)
    before = {name: value.detach().clone() for name, value in scaled.items()}

    def doing() -> str:
        where = network.track.where().removesuffix(",")
        return f"{where}, given inputs of shape {list(x.shape)} in {x.dtype},"

    advice = ""
    if any(isinstance(part, torch.nn.Embedding) for part in network.module.modules()):
        advice = "Inputs of own files are standardized: for tokens write standardize: none under the dataset."
    with (
        _explain_errors(network, doing, advice, whole_text=True),
        network.track.recording(watching=True),
    ):
        output = network.apply(scaled, x, buffers)
    if network.track.random_layer is not None:
        who = layer_name(network.module, network.track.random_layer)
        raise UserCodeError(
            f"{who} draws random numbers in the forward pass, which would differ when the cell is trained "
            "again; remove them: build it without dropout, and draw constants in the constructor. "
            f"{NOISE}"
        )
    for name, value in scaled.items():
        if not torch.equal(value, before[name]):
            raise UserCodeError(changed_weight(network.module, name))
    return output


def _check_output(module: nn.Module, output: object, x: Tensor, outputs: int) -> None:
    wanted = [len(x), outputs]
    kind = type(module).__name__
    if not isinstance(output, Tensor):
        raise UserCodeError(f"{kind} returned {type(output).__name__}; it must return a tensor")
    if list(output.shape) != wanted:
        raise UserCodeError(
            f"{kind} returned shape {list(output.shape)} for {len(x)} samples; it must return {wanted}, "
            "(samples, outputs)"
        )
    if output.dtype != x.dtype:
        raise UserCodeError(
            f"{kind} returned {output.dtype} for inputs in {x.dtype}; let it compute in the dtype of its "
            "inputs, which is float64 where gamma is small"
        )


def _check_used(network: "Network", p: Parameters, batches: Sequence[Tensor]) -> None:
    unused = dict.fromkeys(p)
    for x in batches:
        leaves = _leaves(p)
        output = _run(network, leaves, x, {**network.buffers(x)})
        if not output.requires_grad:
            continue
        with _explain_errors(network, lambda: "the backward pass"):
            found = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, found, strict=True):
            if gradient is None:
                continue
            unused.pop(name, None)
            if gradient.layout != torch.strided:
                raise UserCodeError(
                    f"the gradient of {name} is sparse, and networks with sparse gradients cannot be stacked; "
                    "write sparse=False"
                )
    if unused:
        raise UserCodeError(
            f"the output does not depend on {', '.join(unused)}; remove unused parameters"
        )


def _check_samples(
    network: "Network", p: Parameters, x: Tensor, output: Tensor, layers: Mapping[str, Tensor]
) -> None:
    fewer = _run(network, p, x[:-1], network.buffers(x))
    if _same(fewer, output[:-1]):
        return
    after = network.track.outputs
    counts = {
        name: len(after[name]) for name, value in layers.items() if value.dim() and name in after
    }
    parts = {name: layers[name][:n] for name, n in counts.items() if len(layers[name]) > n}
    where = _first_difference(network.module, parts, after)
    raise UserCodeError(
        f"{where} gives something else for a sample when its batch has fewer others; use a layer that treats "
        f"each sample on its own, or {ALONE}"
    )


def _check_lanes(network: "Network", starts: Parameters, x: Tensor) -> None:
    buffers = network.buffers(x)
    lanes = ({name: value[k] for name, value in starts.items()} for k in range(2))
    alone = [_run(network, lane, x, buffers) for lane in lanes]
    layers = {name: value.detach() for name, value in network.track.outputs.items()}
    advice, where = f"{ALONE[0].upper()}{ALONE[1:]}.", network.track.where
    call = torch.func.vmap(lambda p, z: network.call(p, z, dict(buffers)))
    told = _explain_errors(network, lambda: f"{where()} cannot be batched: it", advice)
    with told, network.track.recording():
        # Inputs are batched too, to find layers that depend on them only.
        batched = call(dict(starts), torch.stack((x, x)))
    if not all(_same(one, other) for one, other in zip(alone, batched, strict=True)):
        first = _first_difference(network.module, layers, {})
        raise UserCodeError(
            f"{first} gives something else when several networks are computed at once; {ALONE}"
        )


def _first_difference(
    module: nn.Module, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> str:
    """First layer, in the order in which they end, with a different output."""
    for name, value in before.items():
        if name in after and not (value.shape == after[name].shape and _same(after[name], value)):
            return layer_name(module, name)
    return f"{type(module).__name__} itself, outside of any layer,"


@contextmanager
def _explain_errors(
    network: "Network", doing: Callable[[], str], advice: str = "", *, whole_text: bool = False
) -> Iterator[None]:
    """Turn errors into messages: text of `doing`, the error in the user's own frames, and advice.

    Unless `whole_text` is set, torch's advice to its own developers, after its first sentences, is left out.
    """
    try:
        yield
    except UserCodeError:
        raise
    except (Exception, SystemExit) as error:
        shown: BaseException = error
        if isinstance(error, RuntimeError) and not whole_text:
            text = str(error).partition(" We don't support that")[0].partition("\n\n")[0]
            shown = RuntimeError(text).with_traceback(error.__traceback__)
        told = network.code.failure_text(doing().replace("torch.", ""), shown)
        raise UserCodeError(f"{told}\n{advice}" if advice else told) from error


def _same(a: Tensor, b: Tensor) -> bool:
    size = float(b.abs().nan_to_num(0.0, 0.0).max())
    return torch.allclose(a, b, TOLERANCE, TOLERANCE * size + 1e-300, equal_nan=True)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


def _leaves(p: Parameters) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_() for name, value in p.items()}


def _changed_buffer(
    module: nn.Module, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> str | None:
    """Message naming a layer and the buffer that it has changed."""
    for name, value in before.items():
        if tensor_bytes(after[name]) != tensor_bytes(value):
            owner, _, kind = name.rpartition(".")
            return f"{layer_name(module, owner)} changes its buffer {kind}"
    return None


def layer_name(module: nn.Module, name: str) -> str:
    """Name of a layer for messages; an empty name stands for the network itself."""
    kind = type(module.get_submodule(name)).__name__
    return f"layer {name} ({kind})" if name else f"{kind} itself"
