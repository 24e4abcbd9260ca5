"""A network of the user's own: the roles of its layers, how it trains, and what is refused before it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import Hidden, build_model, initial_parameters
from gammascape.training.engine import Run
from gammascape.usercode.run import UserCodeError, provide

from ...own import HEAD, MLP, model_of, options_of, run_pack

CPU = torch.device("cpu")
Record = Callable[..., dict[str, Any]]

ALL_LAYERS = """\
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = nn.Embedding(7, width)
        self.conv = nn.Conv1d(width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose1d(2 * width, width, 2, bias=False)
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, 5)
        self.widen = nn.Linear(5, width)
        self.head = nn.Linear(width, 10, bias=False)
        self.place = nn.Parameter(torch.zeros(4, width))
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        h = self.table(x.flatten(1)[:, :4].abs().long() % 7) + self.place
        h = self.up(torch.relu(self.conv(h.transpose(1, 2)))).mean(2)
        return self.head(torch.relu(self.widen(self.narrow(self.norm(h)))) * self.scale)

def make(input_shape, outputs, width):
    return Net(width)
"""
LOOSE = {"place": "input", "scale": "gain"}


def run(record: dict[str, Any], dataset: Dataset, model: Any) -> Run:
    (found,) = run_pack([record], dataset, model)
    return found


def test_roles_follow_from_which_sides_of_a_layer_grow_with_the_width(
    tmp_path: Path, digits: Dataset
) -> None:
    model = model_of(tmp_path, ALL_LAYERS, digits.probe_inputs, roles=LOOSE)
    assert dict(model.roles) == {
        "table": "input, times 1",
        "conv": "hidden, times 0.25",  # 16 channels, the kernel's three pixels do not count
        "up": "hidden, times 0.1768",  # 32 channels
        "narrow": "readout, times 0.0625",
        "widen": "input, times 0.4472",  # 5 inputs
        "head": "readout, times 0.0625",
        "place": "input, times 1 (given)",
        "scale": "gain, times 1 (given)",
    }
    starts = {parameter.name: parameter.initial for parameter in model.parameters}
    assert starts == {
        "place": "normal",
        "scale": "ones",
        "table.weight": "normal",
        "conv.weight": "normal",
        "conv.bias": "zeros",
        "up.weight": "normal",
        "norm.weight": "ones",
        "norm.bias": "zeros",
        "narrow.weight": "normal",
        "narrow.bias": "zeros",
        "widen.weight": "normal",
        "widen.bias": "zeros",
        "head.weight": "normal",
    }


def test_parameters_in_half_precision_are_said_to_be_trained_in_another(
    tmp_path: Path, digits: Dataset
) -> None:
    halved = MLP.replace(
        "return Net(width)", "net = Net(width)\n    net.head.half()\n    return net"
    )
    model = model_of(tmp_path, halved, digits.probe_inputs)
    assert model.roles["head"] == "readout, times 0.0625, in the dtype of the cell, not in float16"
    assert model.roles["second"] == "hidden, times 0.25"


def test_a_study_overrides_a_role(tmp_path: Path, digits: Dataset) -> None:
    model = model_of(tmp_path, MLP, digits.probe_inputs, roles={"second": "readout"})
    assert model.roles["second"] == "readout, times 0.0625 (given)"
    plain = model_of(tmp_path, MLP, digits.probe_inputs)
    p = initial_parameters(plain, [0], torch.float64, CPU)
    x = digits.probe_inputs[:4].double()
    one, other = {}, {}  # type: ignore[var-annotated]
    plain.forward(p, x, one)
    model.forward(p, x, other)
    # sqrt(16) = 4 is a power of two: the product is exact.
    assert torch.equal(one["head.input"], 4 * other["head.input"])


@pytest.mark.parametrize(
    ("gamma", "eta", "dtype", "most"),
    # Multipliers are applied to weights here and to products there: rounding of float32, then of float64.
    [("0", "-0.5", "float32", 2e-6), ("-3", "-6", "float64", 1e-11)],
)
def test_an_mlp_of_the_user_trains_as_the_built_in_one(
    tmp_path: Path,
    digits: Dataset,
    record: Record,
    gamma: str,
    eta: str,
    dtype: str,
    most: float,
) -> None:
    common = record(gamma=gamma, eta=eta, dtype=dtype, steps=60)
    built_in = {"kind": "mlp", "depth": 3, "width": 16}
    own = options_of(tmp_path, MLP)
    one = run(common | {"model": built_in}, digits, build_model(built_in, (1, 8, 8), 10))
    other = run(
        common | {"model": own}, digits, build_model(own, (1, 8, 8), 10, digits.probe_inputs)
    )
    assert one.losses[-1] < 0.99 * one.losses[0]
    np.testing.assert_allclose(other.losses, one.losses, rtol=0, atol=most)
    assert other.grams is not None
    assert one.grams is not None
    for mine, theirs in zip(other.grams.values(), one.grams.values(), strict=True):
        # Of float32 numbers with a mean diagonal of 1.
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_one_at_a_time_agrees_with_batched(tmp_path: Path, digits: Dataset, record: Record) -> None:
    models = [
        model_of(tmp_path, ALL_LAYERS, digits.probe_inputs, roles=LOOSE, batched=batched)
        for batched in (True, False)
    ]
    assert [model.batched for model in models] == [True, False]
    p = initial_parameters(models[0], [0, 1, 2], torch.float64, CPU)
    x = digits.probe_inputs[:6].double()
    outputs, layers = [], []
    for model in models:
        hidden: Hidden = {}
        outputs.append(model.forward(p, x, hidden))
        layers.append(hidden)
        assert tuple(hidden) == model.hidden
    # Sums in another order: a few units in the last place of float64.
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-13)
    for name, value in layers[0].items():
        torch.testing.assert_close(value, layers[1][name], rtol=1e-12, atol=1e-13)
    losses = [run(record(model={"kind": "factory"}, steps=20), digits, m).losses for m in models]
    np.testing.assert_array_equal(losses[0], losses[1])


def test_hidden_layers_are_what_hidden_layers_and_readouts_read_each_once(
    tmp_path: Path, digits: Dataset
) -> None:
    text = """\
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(64, width), nn.ReLU())
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        h = self.inner(x.flatten(1))
        return self.head(self.q(h) * self.k(h))

def make(input_shape, outputs, width):
    return Net(width)
"""
    model = model_of(tmp_path, text, digits.probe_inputs)
    assert model.hidden == ("q.input", "head.input")
    hidden: Hidden = {}
    p = initial_parameters(model, [0, 1], torch.float32, CPU)
    model.forward(p, digits.probe_inputs[:5], hidden)
    assert [tuple(value.shape) for value in hidden.values()] == [(2, 5, 16), (2, 5, 16)]


def test_batch_normalization_trains_one_cell_at_a_time_from_zero(
    tmp_path: Path, digits: Dataset, record: Record
) -> None:
    text = MLP.replace("self.head =", "self.norm = nn.BatchNorm1d(width)\n        self.head =")
    text = text.replace("self.second(h)", "self.norm(self.second(h))")
    with pytest.raises(UserCodeError, match=r"layer norm \(BatchNorm1d\) makes .* batched: false"):
        model_of(tmp_path, text, digits.probe_inputs)
    model = model_of(tmp_path, text, digits.probe_inputs, batched=False)
    found = run(record(model={"kind": "factory"}, steps=60, eta="-0.5"), digits, model)
    # f is zero at the start on every batch only if both networks see the same batch.
    assert found.losses[0] == found.zero_losses[0]
    assert found.losses[-1] < 0.95 * found.losses[0]


def body(forward: str, more: str = "pass") -> str:
    """A network with a layer `odd` between its own, which is what the case is about."""
    return f"""\
class Odd(nn.Module):
    def __init__(self, width):
        super().__init__()
        {more}

    def forward(self, x):
        {forward}

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.odd = nn.Linear(64, width), Odd(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.odd(self.first(x.flatten(1))))

def make(input_shape, outputs, width):
    return Net(width)
"""


COUNTER = 'self.register_buffer("seen", torch.zeros(1))'
# Text, fragments of the error, and whether batched: false trains it.
ODD: dict[str, tuple[str, list[str], bool]] = {
    "control flow": (
        body("return x if x.sum() > 0 else -x"),
        ["layer odd (Odd) cannot be batched", "data-dependent control flow", "batched: false"],
        True,
    ),
    "control flow on the inputs": (
        body("return x").replace("self.first(x", "self.first((x.sum() < 0).item() + x"),
        ["the forward pass of Net itself", "cannot be batched", "batched: false"],
        True,
    ),
    "a number taken out": (body("return x * float(x.mean() ** 2)"), ["layer odd (Odd)"], True),
    "a counter": (
        body("self.seen += 1; return x", COUNTER),
        ["layer odd (Odd) changes its buffer seen in place; write batched: false"],
        True,
    ),
    "a replaced buffer": (
        body("self.seen = self.seen + 1; return x", COUNTER),
        ["layer odd (Odd) changes its buffer seen in place; write batched: false"],
        True,
    ),
    "state that matters": (
        body("self.seen += 1; return x * self.seen", COUNTER),
        ["layer odd (Odd) changes its buffer seen"],
        False,
    ),
    "a batch mean": (
        body("return x - x.mean(0)"),
        ["layer odd (Odd) gives something else for a sample when its batch has fewer", "batched: false"],
        True,
    ),
    "running statistics": (
        body("return self.norm(x[:, None])[:, 0]", "self.norm = nn.InstanceNorm1d(1, track_running_stats=True)"),
        ["layer odd.norm (InstanceNorm1d) changes its running statistics", "batched: false"],
        True,
    ),
    "random numbers": (
        body("return x * torch.rand_like(x)"),
        ["layer odd (Odd) draws random numbers in the forward pass", "build it without dropout"],
        False,
    ),
    "dropout": (
        body("return self.drop(x)", "self.drop = nn.Dropout(0.1)"),
        ["layer odd.drop (Dropout) draws random numbers", "p=0"],
        False,
    ),
    "inputs changed": (
        body("return x").replace("return self.head", "x.mul_(2)\n        return self.head"),
        ["changes its inputs in place"],
        False,
    ),
    "a failing layer": (
        body("return self.inner(x)", "self.inner = nn.Linear(3, width)"),
        ["layer odd.inner (Linear), given inputs of shape [3, 1, 8, 8]", "RuntimeError", "net.py"],
        False,
    ),
    "float32 only": (
        body("return x @ torch.eye(x.shape[1])"),
        ["layer odd (Odd)", "float64"],
        False,
    ),
    "wrong outputs": (
        body("return x").replace("nn.Linear(width, 10)", "nn.Linear(width, 9)"),
        ["Net returned shape [3, 9] for 3 samples; it must return [3, 10]"],
        False,
    ),
    "no tensor": (body("return x").replace("return self.head(", "return (0, "), ["must return a tensor"], False),
    "an unused layer": (
        body("return x", "self.unused = nn.Linear(width, width)"),
        ["the output does not depend on odd.unused.weight, odd.unused.bias"],
        False,
    ),
    "a parameter without role": (
        body("return x * self.gain", "self.gain = nn.Parameter(torch.ones(width))"),
        ["parameter odd.gain belongs to no layer", "write roles: {odd.gain: ...}"],
        False,
    ),
    "a frozen parameter": (
        body("return x", "self.fixed = nn.Parameter(torch.ones(2), requires_grad=False)"),
        ["parameter odd.fixed does not require a gradient", "register_buffer"],
        False,
    ),
    "a hook on a gradient": (
        body(
            "return x",
            "self.gain = nn.Linear(width, width)\n        self.gain.weight.register_hook(lambda g: 0 * g)",
        ),
        ["parameter odd.gain.weight has a hook, which training would not call"],
        False,
    ),
    "a hook on a gradient that is kept": (
        body(
            "return x",
            "self.gain = nn.Linear(width, width)\n"
            "        self.gain.weight.register_post_accumulate_grad_hook(lambda p: p.grad.zero_())",
        ),
        ["parameter odd.gain.weight has a hook, which training would not call"],
        False,
    ),
    "a lazy layer": (
        body("return self.lazy(x)", "self.lazy = nn.LazyLinear(width)"),
        ["parameter odd.lazy.weight has no shape yet"],
        False,
    ),
    "no growth with width": (
        body("return x").replace("class Net", "class Net").replace("return Net(width)", "return Net(16)"),
        ["no layer is larger at twice the width", "roles: {head: readout}"],
        False,
    ),
    "no readout": (
        body("return x").replace("(width, 10)", "(width, width)").replace("(1))))", "(1))))[:, :10]"),
        ["no layer is a readout", "roles: {head: readout}"],
        False,
    ),
    "depth by width": (
        body(
            "return self.more(x)",
            "self.more = nn.Sequential(*[nn.Linear(width, width) for _ in range(width // 16)])",
        ),
        ["exists at one width and not at twice this width"],
        False,
    ),
    "not a module": (body("return x").replace("return Net(width)", "return 3"), ["returned int"], False),
    "an error in the function": (
        body("return x").replace("return Net(width)", "raise KeyError('sizes')"),
        ["net:make with width=16 failed: KeyError: 'sizes'", "raise KeyError"],
        False,
    ),
    "an exit": (body("return x").replace("return Net(width)", "raise SystemExit(3)"), ["SystemExit: 3"], False),
}  # fmt: skip


@pytest.mark.parametrize(("text", "fragments", "alone"), ODD.values(), ids=ODD)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_what_cannot_be_trained_is_named_before_training(
    tmp_path: Path,
    digits: Dataset,
    record: Record,
    text: str,
    fragments: list[str],
    alone: bool,
) -> None:
    with pytest.raises(UserCodeError) as caught:
        model_of(tmp_path, text, digits.probe_inputs)
    for fragment in fragments:
        assert fragment in str(caught.value)
    # Of a traceback only what the user wrote is shown.
    assert "gammascape/" not in str(caught.value)
    if not alone:
        with pytest.raises(UserCodeError):
            model_of(tmp_path, text, digits.probe_inputs, batched=False)
        return
    model = model_of(tmp_path, text, digits.probe_inputs, batched=False)
    found = run(record(model={"kind": "factory"}, steps=30, eta="-0.5"), digits, model)
    assert found.losses[0] == found.zero_losses[0]
    assert found.losses[-1] < found.losses[0]


@pytest.mark.parametrize(
    ("roles", "fragment"),
    [
        (
            {"third": "hidden"},
            "roles.third: no layer with weights has this name; there are first, ",
        ),
        ({"first": "gain"}, "roles.first: gain is for a parameter on its own"),
    ],
)
def test_roles_that_cannot_be_are_named(
    tmp_path: Path, digits: Dataset, roles: dict[str, str], fragment: str
) -> None:
    with pytest.raises(UserCodeError) as caught:
        model_of(tmp_path, MLP, digits.probe_inputs, roles=roles)
    assert fragment in str(caught.value)


TIED = """\
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = nn.Embedding(32, width)
        {readout}

    def forward(self, x):
        h = self.table((x.flatten(1) * 4 + 16).round().clamp(0, 31).long()).mean(1)
        return ({use})[:, :10]

def make(input_shape, outputs, width):
    return Net(width)
"""


@pytest.mark.parametrize(
    ("readout", "use", "roles"),
    [
        (
            "self.out = nn.Linear(width, 32, bias=False); self.out.weight = self.table.weight",
            "self.out(torch.tanh(h))",
            {},
        ),
        ("self.out = self.table.weight", "torch.tanh(h) @ self.out.T", {"out": "readout"}),
    ],
    ids=["a layer", "a parameter"],
)
@pytest.mark.parametrize("batched", [True, False])
def test_a_tied_readout_is_scaled_as_a_readout_and_its_embedding_as_an_embedding(
    tmp_path: Path, digits: Dataset, readout: str, use: str, roles: dict[str, str], batched: bool
) -> None:
    text = TIED.format(readout=readout, use=use)
    model = model_of(tmp_path, text, digits.probe_inputs, roles=roles, batched=batched)
    assert model.roles["table"] == "input, times 1"
    assert model.roles["out"].startswith("readout, times 0.0625")
    (parameter,) = model.parameters
    p = initial_parameters(model, [0, 1], torch.float64, CPU)
    p = {name: value.requires_grad_() for name, value in p.items()}
    x = digits.probe_inputs[:5].double()
    found = model.forward(p, x, None)
    w = p[parameter.name]
    h = w[:, (x.flatten(1) * 4 + 16).round().clamp(0, 31).long()].mean(2)
    wanted = (torch.tanh(h) @ (w / 16).transpose(1, 2))[..., :10]
    # Sums in another order: a few units in the last place of float64, here and in the gradient.
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-13)
    slopes = [
        torch.autograd.grad(f.square().sum(), w, retain_graph=True)[0] for f in (found, wanted)
    ]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-13)


def test_an_embedding_without_place_for_its_inputs_is_told_of_tokens(
    tmp_path: Path, digits: Dataset
) -> None:
    text = TIED.replace("clamp(0, 31)", "clamp(500, 900)").format(
        readout="self.out = nn.Linear(width, 32)", use="self.out(h)"
    )
    with pytest.raises(UserCodeError, match=r"(?s)IndexError.*for tokens write standardize: none"):
        model_of(tmp_path, text, digits.probe_inputs)


def test_layers_of_one_role_share_weights_as_one_parameter(tmp_path: Path, digits: Dataset) -> None:
    text = MLP.replace(
        "self.head =",
        "self.back = nn.Linear(64, width)\n        self.first.weight = self.back.weight\n        self.head =",
    ).replace("self.second(h)", "self.second(h) + self.back(x.flatten(1))")
    model = model_of(tmp_path, text, digits.probe_inputs)
    assert "back.weight" not in {parameter.name for parameter in model.parameters}
    x = digits.probe_inputs[:4].double()
    hidden: list[Hidden] = [{}, {}]
    other = model_of(tmp_path, text, digits.probe_inputs, roles={"back": "readout"})
    p = initial_parameters(model, [0], torch.float64, CPU)
    for one, seen in zip((model, other), hidden, strict=True):
        assert one.layer_outputs is not None
        one.layer_outputs(p, x, seen)
    assert torch.equal(hidden[0]["first"], hidden[1]["first"])
    # 64 inputs: 1 / 8 as an input layer, 1 / 64 as a readout; both are powers of two.
    assert torch.equal(hidden[0]["back"], 8 * hidden[1]["back"])


def test_a_parameter_that_would_start_in_two_ways_is_refused(
    tmp_path: Path, digits: Dataset
) -> None:
    text = MLP.replace("self.head =", "self.gain = self.first.weight; self.head =")
    with pytest.raises(
        UserCodeError, match=r"gain and first\.weight are one parameter.* give each"
    ):
        model_of(tmp_path, text, digits.probe_inputs, roles={"gain": "gain"})


BLOCKS = """\
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.mix = nn.Parameter(torch.zeros(width, width))

    def forward(self, h):
        return torch.relu(h * self.norm + self.shift) @ self.mix

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Parameter(torch.zeros(64, width))
        self.blocks = nn.ModuleList([Block(width) for _ in range(3)])
        self.heads = nn.Parameter(torch.zeros(width, 5, 2))
        self.last = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        h = x.flatten(1) @ self.first / 8
        for block in self.blocks:
            h = block(h)
        return (h @ self.heads.flatten(1)) + (h @ self.last)[:, None]

def make(input_shape, outputs, width):
    return Net(width)
"""
PATTERNS = {
    "first": "input",
    "blocks.1.mix": "input",
    "*.mix": "hidden",
    "*norm": "gain",
    "blocks.?.shift": "bias",
}


def test_the_first_pattern_that_matches_gives_the_role(tmp_path: Path, digits: Dataset) -> None:
    roles = PATTERNS | {"[hl]*": "readout"}
    found = model_of(tmp_path, BLOCKS, digits.probe_inputs, roles=roles).roles
    assert found["blocks.1.mix"] == "input, times 1 (given)"
    assert {found[f"blocks.{n}.mix"] for n in (0, 2)} == {"hidden, times 0.25 (given)"}
    assert {found[f"blocks.{n}.norm"] for n in range(3)} == {"gain, times 1 (given)"}
    assert {found[f"blocks.{n}.shift"] for n in range(3)} == {"bias, times 1 (given)"}
    # Of a parameter (width, 5, 2) or (width,) the fan-in is what grows with the width.
    assert found["heads"] == found["last"] == "readout, times 0.0625 (given)"


@pytest.mark.parametrize(
    ("more", "fragment"),
    [
        (
            {"*.gain": "gain"},
            r"roles.*.gain: no layer with weights has this name; there are first, ",
        ),
        (
            {"blocks.2.mix": "input"},
            "roles.blocks.2.mix: has no effect, because *.mix stands before it",
        ),
        ({"blocks.*": "gain"}, "roles.blocks.*: has no effect, because *norm stands before it"),
    ],
)
def test_a_pattern_without_effect_is_named(
    tmp_path: Path, digits: Dataset, more: dict[str, str], fragment: str
) -> None:
    with pytest.raises(UserCodeError) as caught:
        model_of(tmp_path, BLOCKS, digits.probe_inputs, roles=PATTERNS | more)
    assert fragment in str(caught.value)


def test_a_weight_that_is_a_buffer_is_a_constant(tmp_path: Path, digits: Dataset) -> None:
    text = MLP.replace(
        "self.head =",
        "del self.first.weight; self.first.register_buffer('weight', torch.eye(width, 64)); self.head =",
    )
    model = model_of(tmp_path, text, digits.probe_inputs)
    assert set(model.roles) == {"second", "head"}
    assert model.hidden == ("second.input", "head.input")
    p = initial_parameters(model, [0], torch.float64, CPU)
    hidden: Hidden = {}
    x = digits.probe_inputs[:4].double()
    model.forward(p, x, hidden)
    assert torch.equal(hidden["second.input"][0], torch.relu(x.flatten(1)[:, :16]))


TOOLS = "from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm\n\n"
COMPUTED = {
    "weight_norm": "weight_norm(self.second)",
    "spectral_norm": "spectral_norm(self.second)",
    "parametrized weight_norm": "parametrizations.weight_norm(self.second)",
    "parametrized spectral_norm": "parametrizations.spectral_norm(self.second)",
    "orthogonal": "parametrizations.orthogonal(self.second)",
    "pruned": "prune.l1_unstructured(self.second, 'weight', 0.5)",
    "pruned bias": "prune.l1_unstructured(self.second, 'bias', 0.5)",
    "by hand": "self.scale = nn.Parameter(self.second.weight); del self.second.weight; "
    "self.second.weight = 2 * self.scale",
}


@pytest.mark.parametrize("line", COMPUTED.values(), ids=COMPUTED)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_layer_whose_weight_is_computed_is_refused_by_name(
    tmp_path: Path, digits: Dataset, line: str
) -> None:
    text = TOOLS + MLP.replace("self.head =", f"{line}\n        self.head =")
    with pytest.raises(UserCodeError) as caught:
        model_of(tmp_path, text, digits.probe_inputs)
    kind = "ParametrizedLinear" if "parametrizations" in line else "Linear"
    what = "bias" if "bias" in line else "weight"
    assert str(caught.value).startswith(f"layer second ({kind}) computes its {what} from other")
    assert "write a module of your own" in str(caught.value)


@pytest.mark.parametrize(
    ("made", "who"),
    [
        ("torch.jit.script(Net(width))", "the network itself (RecursiveScriptModule)"),
        (
            "nn.Sequential(nn.Flatten(), torch.jit.trace(nn.Linear(64, 10), torch.ones(2, 64)))",
            "layer 1 (TopLevelTracedModule)",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_compiled_module_is_refused_by_name(
    tmp_path: Path, digits: Dataset, made: str, who: str
) -> None:
    with pytest.raises(UserCodeError) as caught:
        model_of(tmp_path, MLP.replace("return Net(width)", f"return {made}"), digits.probe_inputs)
    assert str(caught.value).startswith(f"{who} is compiled")


@pytest.mark.parametrize(
    ("value", "fragment"),
    [
        ("torch.ones(3, dtype=torch.cfloat)", "of layer odd (Odd) is complex64"),
        ("torch.eye(3).to_sparse()", "of layer odd (Odd) is stored as sparse_coo"),
    ],
)
def test_a_parameter_that_is_not_real_and_dense_is_refused(
    tmp_path: Path, digits: Dataset, value: str, fragment: str
) -> None:
    text = body("return x * self.filter.sum()", f"self.filter = nn.Parameter({value})")
    with pytest.raises(UserCodeError) as caught:
        model_of(tmp_path, text, digits.probe_inputs, roles={"odd.filter": "input"})
    assert f"parameter odd.filter {fragment}" in str(caught.value)


def test_two_files_of_one_name_are_two_networks(tmp_path: Path, digits: Dataset) -> None:
    one = model_of(tmp_path / "a", MLP, digits.probe_inputs)
    other = model_of(
        tmp_path / "b",
        MLP.replace("torch.relu(self.second", "torch.tanh(self.second"),
        digits.probe_inputs,
    )
    p = initial_parameters(one, [0], torch.float32, CPU)
    x = digits.probe_inputs[:4]
    first = one.forward(p, x, None)
    assert not torch.equal(first, other.forward(p, x, None))
    assert torch.equal(first, one.forward(p, x, None))


def test_a_late_import_finds_the_file_of_its_own_network(tmp_path: Path, digits: Dataset) -> None:
    text = MLP.replace(
        "        h = torch", "        from helper import factor\n        h = factor * torch"
    )
    models = []
    for folder, factor in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        helper = tmp_path / folder / "helper.py"
        helper.write_text(f"factor = {factor}\n")
        provide([helper])
        models.append(model_of(tmp_path / folder, text, digits.probe_inputs))
    p = initial_parameters(models[0], [0], torch.float64, CPU)
    hidden: list[Hidden] = [{}, {}, {}]
    for model, found in zip((models[0], models[1], models[0]), hidden, strict=True):
        model.forward(p, digits.probe_inputs[:2].double(), found)
    assert torch.equal(hidden[1]["second.input"], 2 * hidden[0]["second.input"])
    assert torch.equal(hidden[2]["second.input"], hidden[0]["second.input"])


def test_code_in_another_version_than_the_cell_names_is_not_run(
    tmp_path: Path, digits: Dataset
) -> None:
    options = options_of(tmp_path, MLP)
    options["sources"] = {"net.py": "0" * 64}
    (tmp_path / "net.py").write_text(HEAD + MLP)
    with pytest.raises(UserCodeError, match=r"net\.py has changed since the cell was planned"):
        build_model(options, (1, 8, 8), 10, digits.probe_inputs)


def test_a_module_outside_of_the_named_files_cannot_be_imported(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("hidden_away.py").write_text("x = 1\n")
    text = MLP.replace("    return Net", "    __import__('hidden_' + 'away')\n    return Net")
    with pytest.raises(UserCodeError, match="hidden_away is not among the source files"):
        model_of(tmp_path / "a", text, digits.probe_inputs)
