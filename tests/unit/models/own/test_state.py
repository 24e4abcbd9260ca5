"""What a user's network holds and does, beside giving outputs: what is made twice, tried, refused or put right."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import _BUILT, Hidden, Model, initial_parameters
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import FactoryModelSpec
from gammascape.training.engine import Run
from gammascape.training.worker import Interrupted, Task, Worker
from gammascape.usercode.run import UserCodeError

from ...own import model_of, run_pack, sources_of

Record = Callable[..., dict[str, Any]]
CPU = torch.device("cpu")


def net(forward: str, more: str = "pass", before: str = "") -> str:
    """A network with a layer `odd` between its own, whose forward pass and constructor are the case."""
    return f"""\
import functools, os, random, time, uuid
import numpy as np
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
RNG = np.random.default_rng
{before}

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
        return self.head(self.odd(torch.tanh(self.first(x.flatten(1)))))

def make(input_shape, outputs, width):
    return Net(width)
"""


def run(digits: Dataset, model: Model, record: dict[str, Any]) -> Run:
    (found,) = run_pack([record | {"model": {"kind": "factory"}}], digits, model)
    return found


def refusal(folder: Path, text: str, digits: Dataset, **options: Any) -> str:
    with pytest.raises(UserCodeError) as caught:
        model_of(folder, text, digits.probe_inputs, **options)
    return str(caught.value)


BUFFER = 'self.register_buffer("table", torch.randn(64))'


def test_constants_do_not_know_the_process_or_its_other_networks(
    tmp_path: Path, digits: Dataset
) -> None:
    text = net("return x * 0 + self.table[:1]", BUFFER + "; self.scale = np.random.rand()")
    alone = model_of(tmp_path / "a", text, digits.probe_inputs)
    noisy = "torch.manual_seed(3); np.random.seed(4)"
    model_of(tmp_path / "b", net("return x", before=noisy), digits.probe_inputs)
    torch.rand(5)
    after = model_of(tmp_path / "c", text + "# again\n", digits.probe_inputs, batched=False)
    assert alone.constants == after.constants
    other = model_of(tmp_path / "d", text.replace("randn", "rand"), digits.probe_inputs)
    assert alone.constants != other.constants


def test_constants_are_those_of_other_widths(tmp_path: Path, digits: Dataset) -> None:
    text = net("return x * 0 + self.table[:1]", BUFFER)
    first = "self.first, self.odd = nn.Linear(64, width), Odd(width)"
    # Drawn before anything whose size is the width's.
    text = text.replace(first, "self.odd, self.first = Odd(width), nn.Linear(64, width)")
    seen = []
    for width in (16, 32):
        model = model_of(tmp_path, text, digits.probe_inputs, width=width)
        hidden: Hidden = {}
        start = initial_parameters(model, [0], torch.float32, CPU)
        model.forward(start, digits.probe_inputs[:2], hidden)
        seen.append(hidden["head.input"][..., :16])
    assert torch.equal(*seen)


def test_an_interrupted_cell_goes_on_with_its_own_constants_only(
    tmp_path: Path, digits_file: Path
) -> None:
    table = tmp_path / "table.txt"
    text = net("return x * self.t", f"self.t = float(np.loadtxt({str(table)!r}))")
    model = FactoryModelSpec.model_validate(
        {"factory": "net:make", "width": 16, "sources": sources_of(tmp_path, text)}
    )
    cell = Cell(
        model=model,
        dataset=DigitsSpec(kind="digits"),
        loss="mse",
        gamma="0",
        eta="0",
        batch_size=4,
        steps=200,
    )
    begun = []
    for number, more in ((1.0, False), (1.0, False), (2.0, True)):
        table.write_text(f"{number}")
        worker = Worker("cpu", 0.0)
        output = tmp_path / "cell"
        task = Task(cell.identity, cell.record(), digits_file, output, None, (tmp_path / "net.py",))

        def stop(event: dict[str, Any], worker: Worker = worker, more: bool = more) -> None:
            assert event["event"] != "failed", event
            if event["event"] == "checkpoint" and not more:
                worker.stop()

        try:
            worker.run([task], stop)
        except Interrupted:
            attempts = worker._store(task)[0].attempts(task.identity)
        else:
            attempts = json.loads((output / "manifest.json").read_text())["attempts"]
        begun.append(attempts[-1]["from_step"])
        _BUILT.clear()  # Another process builds the network anew.
    assert begun[0] == 0
    assert begun[1] > 0
    assert begun[2] == 0
    assert len(json.loads((output / "summary.json").read_text())["constants"]) == 64


ANOTHER: dict[str, tuple[str, str]] = {
    "buffer": (
        net("return x * self.b", 'self.register_buffer("b", torch.tensor(np.random.default_rng().random()))'),
        "buffer odd.b differs each time the network is made",
    ),
    "tensors in a list": (
        net("return x * self.t[1]['a'].item()", "self.t = [1, {'a': torch.tensor(RNG().random())}]"),
        "attribute odd.t[1]['a'] differs",
    ),
    "an array": (
        net("return x * self.a[0]", "self.a = np.frombuffer(os.urandom(8), np.uint8)"),
        "attribute odd.a differs",
    ),
    "a clock": (net("return x * (1 + self.t % 1)", "self.t = time.time()"), "attribute odd.t differs"),
    "an address": (net("return x * self.t", "self.t = id(self) % 7919 + 1"), "attribute odd.t differs"),
    "a process": (net("return x * self.t", "self.t = os.getpid()"), "attribute odd.t differs"),
    "a name": (net("return x", "self.t = uuid.uuid4().hex"), "attribute odd.t differs"),
    "a machine": (
        net("return x * self.t", "self.t = len(socket.gethostname())", "import socket"),
        "attribute odd.t differs",
    ),
    "a closure": (
        net("return self.f(x)", "t = torch.tensor(np.random.default_rng().random()); self.f = lambda x: x * t"),
        "attribute odd.f.t differs",
    ),
    "while imported": (
        net("return x * MASK", before="MASK = torch.tensor(np.random.default_rng().random())"),
        "variable net.MASK differs",
    ),
    "sizes": (
        net("return x * self.p.mean()", "self.p = nn.Parameter(torch.ones(2 + RNG().integers(9999)))"),
        "parameter odd.p differs",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "fragment"), ANOTHER.values(), ids=ANOTHER)
def test_what_differs_each_time_is_refused_by_name(
    tmp_path: Path, digits: Dataset, text: str, fragment: str
) -> None:
    options: dict[str, Any] = {"roles": {"odd.p": "gain"}} if "odd.p" in fragment else {}
    said = refusal(tmp_path, text, digits, batched=False, **options)
    assert fragment in said
    assert "default_rng(0)" in said


REFUSED: dict[str, tuple[str, str]] = {
    "python's random numbers": (net("return x * (random.random() >= 0.02)"), "layer odd (Odd) draws random"),
    "an own generator": (
        net("return x * (torch.rand(1, generator=self.g) > 0.001)", "self.g = torch.Generator().manual_seed(0)"),
        "changes odd.g each time",
    ),
    "a generator of the file": (
        net("return x * (SEEDED.random() >= 0.02)", before="SEEDED = RNG(0)"),
        "changes net.SEEDED each time",
    ),
    "dropout of attention": (
        net(
            "return self.a(x[:, None], x[:, None], x[:, None])[0][:, 0]",
            "self.a = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)",
        ),
        "layer odd.a (MultiheadAttention) draws random numbers",
    ),
    "a count": (net("self.n += 1; return x if self.n < 999 else -x", "self.n = 0"), "changes odd.n each time"),
    "a count in the class": (
        net("Odd.n += 1; return x").replace("class Odd(nn.Module):", "class Odd(nn.Module):\n    n = 0"),
        "changes net.Odd.n each time",
    ),
    "a count in the file": (net("global N; N += 1; return x", before="N = 0"), "changes net.N each time"),
    "a count in a list of the file": (net("N.append(0); return x", before="N = []"), "changes net.N[2] each time"),
    "a count in an object of the file": (
        net("N.n += 1; return x", before="class Count:\n    __slots__ = ('n',)\nN = Count()\nN.n = 0"),
        "changes net.N.n each time",
    ),
    "a count in a default": (
        net("return x * count()", before="def count(n=[0]):\n    n[0] += 1\n    return n[0] < 999"),
        "changes net.count defaults[0][0][0] each time",
    ),
    "a count in a function": (
        net("act.n += 1; return x", before="def act(): pass\nact.n = 0"), "changes net.act.n each time",
    ),
    "a count in a hook": (
        net(
            "return self.i(x)",
            "n = [0]; self.i = nn.Identity(); "
            "self.i.register_forward_hook(lambda m, a, o: n.append(0) or (o if len(n) < 999 else -o))",
        ),
        "changes odd.i._forward_hooks[0].n",
    ),
    "a count in the backward pass": (
        net(
            "x.requires_grad and x.register_hook(lambda g: self.n.append(0) or (g if len(self.n) < 999 else -g)); "
            "return x",
            "self.n = []",
        ),
        "a training step changes odd.n",
    ),
    "a count in the object of a method": (
        net("return self.f(x)", "self.f = Count().up", "class Count:\n    n = 0\n    def up(self, x):\n"
            "        self.n += 1\n        return x if self.n < 999 else -x"),
        "changes odd.f.__self__.n each time",
    ),
    "a generator's method": (
        net("return x if self.f() > 1e-9 else -x", "self.f = RNG(0).random"), "changes odd.f.__self__ each time",
    ),
    "a count in settings": (
        net("self.s.n += 1; return x", "self.s = argparse.Namespace(n=0)", "import argparse"),
        "changes odd.s.n each time",
    ),
    "a count in a namespace of the file": (
        net("N.n += 1; return x", before="import types; N = types.SimpleNamespace(n=0)"), "changes net.N.n",
    ),
    "a count of a thread": (
        net("N.n = getattr(N, 'n', 0) + 1; return x if N.n < 999 else -x", before="import threading\n"
            "N = threading.local()"),
        "changes net.N",
    ),
    "a count in a queue": (
        net("self.q.put(0); return x", "self.q = queue.Queue()", "import queue"), "changes odd.q",
    ),
    "a count in a context": (
        net("N.set(N.get() + 1); return x", before="import contextvars as c\nN = c.ContextVar('n', default=0)"),
        "changes net.N",
    ),
    "a count in a stream": (
        net("self.s.write('.'); return x", "self.s = io.StringIO()", "import io"), "changes odd.s",
    ),
    "a count of C": (
        net("self.n.value += 1; return x", "self.n = ctypes.c_int(0)", "import ctypes"), "changes odd.n",
    ),
    "a count among many": (
        net("self.n[70][0] += 1; return x", "self.n = {k: [0] for k in range(20000)}"),
        "changes odd.n",
    ),
    "lists in lists": (
        net("return x", "h = []\n        for _ in range(150): h = [h]\n        self.h = h"),
        "odd.h holds more than 100 lists or mappings inside each other",
    ),
    "an exit of a generator": (net("return x", "raise GeneratorExit"), "failed: GeneratorExit"),
    "a count in bytes": (net("self.n[0] += 1; return x", "self.n = bytearray(1)"), "changes odd.n each"),
    "a count in an array of objects": (
        net("self.n[0] += 1; return x", "self.n = np.array([0], object)"), "changes odd.n[0] each time",
    ),
    "a method of a lost layer": (
        net("return self.f(x)", "self.f = nn.Linear(width, width).forward"),
        "odd.f.__self__ is a layer or parameter",
    ),
    "weights that share their memory": (
        net(
            "return self.a(x) + self.b(x)",
            "self.a, self.b = nn.Linear(width, width), nn.Linear(width, width); "
            "self.b.weight.data = self.a.weight.data",
        ),
        "parameters odd.a.weight and odd.b.weight are two in one memory",
    ),
    "the first batch, in the file": (
        net("return x", before="FIRST = {}").replace(
            "return self.head(", "return FIRST.setdefault(0, x.unique().numel()) * self.head("),
        "keeps something of its first batch",
    ),
    "digits lost in float32 only": (
        net("with torch.autocast('cpu', torch.bfloat16): h = self.w(x)\n        return h.to(x.dtype)",
            "self.w = nn.Linear(width, width)").replace("        with", "\n        with", 1),
        "layer odd.w (Linear) computes in bfloat16 for inputs in float32",
    ),
    "an iterator of the file": (
        net("return x if next(N) < 999 else -x", before="N = iter(range(10**9))"), "changes net.N each time",
    ),
    "an iterator": (
        net("return x if next(self.n) < 999 else -x", "self.n = iter(range(10**9))"), "odd.n is an iterator",
    ),
    "random numbers of the system": (
        net("return -x if RNG().random() < 1e-9 else x"), "random numbers of the operating system",
    ),
    "digits lost on the way": (
        net("return x.softmax(-1, dtype=torch.float32).to(x.dtype)"), "layer odd (Odd) computes in float32",
    ),
    "whole numbers that wrap": (
        net("return x + (100 * x.detach()).to(torch.int8)"),
        "layer odd (Odd) computes in int8, whose numbers wrap around above 127; keep whole numbers in int64",
    ),
    "sums that wrap": (net("k = 3 * self.k; return x * k", "self.k = torch.tensor(200, dtype=torch.uint8)"),
        "layer odd (Odd) computes in uint8, whose numbers wrap around above 255",
    ),
    "outputs that wrap": (
        net("return x").replace("self.first(x.flatten(1)))))", "self.first(x.flatten(1))))).byte().to(x.dtype)"),
        "Net itself, outside of any layer, computes in uint8, whose numbers wrap around above 255",
    ),
    "outputs in float64": (
        net("return x").replace("return self.head(self.odd(torch.tanh(self.first(x.flatten(1)))))",
                                "return self.head(self.first(x.flatten(1))).double() + 0 * self.odd(x).sum()"),
        "returned torch.float64 for inputs in torch.float32",
    ),
    "two rows for padding": (
        net(
            "i = (x > 0).long(); return self.u(i).sum(1) + self.v(i).sum(1)",
            "self.u, self.v = nn.Embedding(2, width, 0), nn.Embedding(2, width, 1); self.v.weight = self.u.weight",
        ),
        "embeddings that share odd.u.weight have padding_idx 0 and 1",
    ),
    "no numbers": (net("return x.log()"), "gives NaN or infinity with the initial weights"),
    "no values": (
        net("return x", "self.register_buffer('t', torch.ones(2, device='meta'))"), "buffer odd.t has no values",
    ),
    "a history": (net("self.h.append(0); return x", "self.h = []"), "changes odd.h"),
    "state of the first batch": (
        net(
            "if self.m is None: self.m = x.mean().item()\n        return x - self.m", "self.m = None"
        ),
        "keeps odd.m",
    ),
    "weights changed in place": (
        net("self.w.weight.data.mul_(0.9); return self.w(x)", "self.w = nn.Linear(width, width)"),
        "layer odd.w (Linear) changes its parameter weight in place",
    ),
    "numpy's errors": (net("np.seterr(all='raise'); return x"), "changes or uses numpy's error handling"),
    "layers in a list": (
        net("return self.l[0](x)", "self.l = [nn.Linear(width, width)]"),
        "odd.l[0] is a layer or parameter that torch does not know",
    ),
    "sparse gradients": (
        net(
            "return x + F.embedding((x[:, 0] > 0).long(), self.w, sparse=True)",
            "self.w = nn.Parameter(torch.ones(2, width))",
        ),
        "the gradient of odd.w is sparse",
    ),
    "a table in the dtype of its first use": (
        net("return x * TABLE.setdefault(0, torch.full((), 0.1, dtype=x.dtype))", before="TABLE = {}"),
        "gives other numbers in float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "fragment"), REFUSED.values(), ids=REFUSED)
def test_what_would_give_wrong_numbers_later_is_refused_before_training(
    tmp_path: Path, digits: Dataset, text: str, fragment: str
) -> None:
    roles = {"odd.w": "input"} if "odd.w is sparse" in fragment else {}
    roles |= (
        {"odd.a.in_proj_weight": "hidden", "odd.a.in_proj_bias": "bias"}
        if "odd.a" in fragment
        else {}
    )
    assert fragment in refusal(tmp_path, text, digits, batched=False, roles=roles)


EXPERTS = "self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)"
SAME: dict[str, tuple[str, str]] = {
    "a mask of small numbers": (
        net("return x * (x > 0)"),
        net("m = (x > 0).to(torch.uint8); return x * torch.stack((m, m))[0]"),
    ),
    "a table made at the first call": (
        net("return x * TABLE"),
        net(
            "if self.t is None: self.t = torch.linspace(0, 1, 16, dtype=x.dtype)\n        self.last = x\n"
            "        return x * self.t",
            "self.t = None",
        ),
    ),
    "activation checkpointing": (
        net("return torch.sin(self.w(x))", "self.w = nn.Linear(width, width)"),
        net(
            "return checkpoint(lambda z: torch.sin(self.w(z)), x, use_reentrant=False)",
            "self.w = nn.Linear(width, width)",
        ),
    ),
    "reentrant checkpointing": (
        net("return torch.sin(self.w(x))", "self.w = nn.Linear(width, width)"),
        net(
            "return checkpoint(lambda z: torch.sin(self.w(z)), x, use_reentrant=True)",
            "self.w = nn.Linear(width, width)",
        ),
    ),
    "plain tensors": (
        net(
            "return x * self.t",
            'self.register_buffer("t", torch.linspace(0, 1, 16, dtype=torch.float64))',
        ),
        net(
            "return x * self.t['table'][0]",
            "self.t = {'table': [torch.linspace(0, 1, 16, dtype=torch.float64)]}",
        ),
    ),
    "experts that a batch leaves out": (
        net("return torch.where(x[:1, :1] > 0, self.a(x), self.b(x))", EXPERTS),
        net("return self.a(x) if x[0, 0] > 0 else self.b(x)", EXPERTS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("plain", "odd"), SAME.values(), ids=SAME)
def test_what_only_looks_unusual_trains_as_its_plain_form(
    tmp_path: Path, digits: Dataset, record: Record, plain: str, odd: str, dtype: str
) -> None:
    table = "torch.linspace(0, 1, 16, dtype=x.dtype)"
    losses = [
        run(
            digits,
            model_of(
                tmp_path / name, text.replace("TABLE", table), digits.probe_inputs, batched=False
            ),
            record(steps=12, dtype=dtype),
        ).losses
        for name, text in (("a", plain), ("b", odd))
    ]
    np.testing.assert_array_equal(*losses)


def test_a_chain_of_many_objects_and_a_closure_without_value_are_no_obstacle(
    tmp_path: Path, digits: Dataset
) -> None:
    chain = "class Link:\n    def __init__(self, link): self.link = link\nCHAIN = None\n"
    chain += "for _ in range(5000): CHAIN = Link(CHAIN)\n"
    empty = "def outer():\n    if False: later = 0\n    return lambda: later\n"
    text = net("return x", "self.chain, self.empty = CHAIN, outer()", chain + empty)
    assert model_of(tmp_path, text, digits.probe_inputs).hidden


@pytest.mark.parametrize(
    "held",
    [
        "{Odd.forward, outer}",
        "{outer: 1, Odd(1): 2}",
        "[random.random, np.random.rand, self.forward]",
    ],
)
def test_addresses_and_functions_of_the_process_are_no_obstacle(
    tmp_path: Path, digits: Dataset, held: str
) -> None:
    text = net(
        "return x",
        "self.held = HELD if width > 1 else 0".replace("HELD", held),
        "def outer(): pass",
    )
    first = model_of(tmp_path, text, digits.probe_inputs)
    random.random()
    np.random.rand()  # noqa: NPY002
    _BUILT.clear()
    assert model_of(tmp_path, text, digits.probe_inputs).constants == first.constants


RECURRENT = (
    "{0}.weight_ih_l0: input, {0}.weight_hh_l0: hidden, {0}.bias_ih_l0: bias, {0}.bias_hh_l0: bias"
)
ENCODER = "nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)"


@pytest.mark.parametrize("layer", ["RNN", "GRU", "LSTM", "encoder"])
def test_recurrent_layers_and_attention_train_from_zero(
    tmp_path: Path, digits: Dataset, record: Record, layer: str
) -> None:
    roles = {f"odd.a.{kind}_{side}_l0": role for kind, side, role in (
        ("weight", "ih", "hidden"), ("weight", "hh", "hidden"), ("bias", "ih", "bias"), ("bias", "hh", "bias")
    )}  # fmt: skip
    text = net(
        "return self.a(x[:, None])[0][:, 0]", f"self.a = nn.{layer}(width, width, batch_first=True)"
    )
    if layer == "encoder":
        roles = {"odd.a.self_attn.in_proj_weight": "hidden", "odd.a.self_attn.in_proj_bias": "bias"}
        text = net("return self.a(x[:, None])[:, 0]", f"self.a = {ENCODER}")
    model = model_of(tmp_path, text, digits.probe_inputs, batched=False, roles=roles)
    found = run(digits, model, record(steps=30, eta="-0.5"))
    # Exactly zero though torch computes another way without gradients: f~ and f~(w_0) go the same way.
    assert found.losses[0] == found.zero_losses[0]
    assert found.losses[-1] < found.losses[0]


@pytest.mark.parametrize("batched", [True, False])
def test_a_padding_row_stays_zero_and_untrained(
    tmp_path: Path, digits: Dataset, record: Record, batched: bool
) -> None:
    text = net(
        "return x + self.t((x > 0).long()).mean(1)",
        "self.t = nn.Embedding(2, width, padding_idx=0)",
    )
    model = model_of(tmp_path, text, digits.probe_inputs, batched=batched)
    start = initial_parameters(model, [0, 1], torch.float32, CPU)
    assert start["odd.t.weight"][:, 0].abs().max() == 0
    assert start["odd.t.weight"][:, 1].abs().min() > 0
    leaves = {name: value.requires_grad_() for name, value in start.items()}
    output = model.forward(leaves, digits.probe_inputs[:4], None).square().sum()
    (gradient,) = torch.autograd.grad(output, [leaves["odd.t.weight"]])
    assert gradient[:, 0].abs().max() == 0
    assert gradient[:, 1].abs().max() > 0


def test_sparse_embeddings_are_trained_as_dense_ones(tmp_path: Path, digits: Dataset) -> None:
    text = net(
        "return x + self.t((x > 0).long()).mean(1)", "self.t = nn.Embedding(2, width, sparse=True)"
    )
    for batched in (True, False):
        model_of(tmp_path, text, digits.probe_inputs, batched=batched)


def test_a_network_moves_to_the_device_with_its_tensors_or_is_refused(
    tmp_path: Path, digits: Dataset
) -> None:
    # "meta" is a device without numbers: what stays on the CPU cannot be mixed with what is there.
    there = digits.probe_inputs.to("meta")
    for text in (
        net("return x * self.t", "self.t = torch.ones(16)"),
        net("return x * self.t[0]['a']", "self.t = [{'a': torch.ones(16)}]"),
    ):
        model_of(tmp_path / "a", text, there)
    for text in (
        net("return x * torch.from_numpy(self.t).to(x.dtype)", "self.t = np.ones(16)"),
        net("return x * torch.ones(16, dtype=x.dtype)"),
    ):
        with pytest.raises(
            UserCodeError, match=r"layer odd \(Odd\) on meta .*\n(.*\n)*.*device=x\.device"
        ):
            model_of(tmp_path / "b", text, there)


@pytest.mark.parametrize(
    ("forward", "more", "fragment"),
    [
        ("return x + 0 * torch.rand(()) if len(x) == 5 else x", "pass", "random numbers of torch"),
        ("self.n += len(x) == 5; return x", "self.n = 0", "odd.n"),
        ("self.t += len(x) == 5; return x", "self.t = torch.zeros(1)", "odd.t"),
        ("torch.set_num_threads(3) if len(x) == 5 else 0; return x", "pass", "number of threads"),
    ],
)
def test_what_only_some_batches_do_ends_their_training(
    tmp_path: Path, digits: Dataset, record: Record, forward: str, more: str, fragment: str
) -> None:
    model = model_of(tmp_path, net(forward, more), digits.probe_inputs, batched=False)
    run(digits, model, record(steps=3, batch_size=4))
    before = torch.get_num_threads()
    with pytest.raises(UserCodeError, match=f"in training has changed or used .*{fragment}"):
        run(digits, model, record(steps=3, batch_size=5))
    assert torch.get_num_threads() == before
