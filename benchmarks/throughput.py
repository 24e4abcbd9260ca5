"""Cell-steps per second: the engine's step against a plain PyTorch loop.

    python benchmarks/throughput.py --model mlp-64 cnn --json throughput.json

A cell-step is one step of SGD of one network. Three rates are measured in turns, so that a noisy machine hits all:

a   a loop over cells, one nn.Module at a time with torch.optim.SGD, torch's default threads, the frozen initial
    network evaluated beside the trained one, loss.item() at each step
b   the same loop without the second network and without item()
c   the engine's step: on CPU one process of one thread for each core, rates summed; on CUDA one process

The limit is the rate of a large float32 (or float64) product on all cores, divided by the operations of a step.
"""

import argparse
import copy
import datetime
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from gammascape.models import build_model, initial_parameters
from gammascape.models.centred import subtraction
from gammascape.models.resnet import CHANNELS_PER_GROUP
from gammascape.training.backend import choose_backend, make_step
from gammascape.training.capacity import cpu_lanes
from gammascape.training.device import keep_freed_memory, set_up_backend
from gammascape.training.sgd import StepInputs

IMAGE = (1, 28, 28)
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mlp-64": ({"kind": "mlp", "depth": 3, "width": 64}, (64,)),
    "mlp-784-256": ({"kind": "mlp", "depth": 3, "width": 256}, (784,)),
    "mlp-784-1024": ({"kind": "mlp", "depth": 3, "width": 1024}, (784,)),
    "cnn": ({"kind": "cnn", "width": 16, "padding": 0}, IMAGE),
    "vit": (
        {"kind": "vit", "width": 64, "blocks": 2, "heads": 4, "patch": 7, "mlp_ratio": 2},
        IMAGE,
    ),
    "resnet": ({"kind": "resnet", "width": 8, "blocks": [1, 1, 1], "norm": "layer"}, IMAGE),
}
BATCH, OUTPUTS, BATCHES, BLOCK = 128, 10, 16, 50
INITIAL_BATCHES = 8
"""Batches that the engine evaluates an initial network on at once."""
CUDA_LANES = 512


class Layer(nn.Module):
    """weight and bias of one layer, with the multiplier of the parameterization."""

    def __init__(self, shape: tuple[int, ...], multiplier: float, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0])) if bias else None
        self.multiplier = multiplier


class Linear(Layer):
    def __init__(self, fan_in: int, size: int, readout: bool = False) -> None:
        super().__init__((size, fan_in), 1.0 / fan_in if readout else fan_in**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) * self.multiplier


class Conv(Layer):
    def __init__(
        self, fan_in: int, size: int, kernel: int, stride: int, padding: int, bias: bool
    ) -> None:
        super().__init__((size, fan_in, kernel, kernel), fan_in**-0.5, bias)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding)
        return y * self.multiplier


class PlainMLP(nn.Module):
    def __init__(self, options: dict[str, Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        fans = [*shape, *[options["width"]] * (options["depth"] - 1)]
        self.hidden = nn.ModuleList(Linear(a, b) for a, b in itertools.pairwise(fans))
        self.readout = Linear(fans[-1], OUTPUTS, readout=True)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.readout(x)


class PlainCNN(nn.Module):
    def __init__(self, options: dict[str, Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        width, padding = options["width"], options["padding"]
        self.conv1 = Conv(shape[0], width, 3, 1, padding, bias=True)
        self.conv2 = Conv(width, 2 * width, 3, 1, padding, bias=True)
        side = ((shape[1] - 2 + 2 * padding) // 2 - 2 + 2 * padding) // 2
        self.linear = Linear(2 * width * side**2, 8 * width)
        self.readout = Linear(8 * width, OUTPUTS, readout=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(torch.relu(self.conv2(x)), 2)
        return self.readout(torch.relu(self.linear(x.flatten(1))))


class ConvNorm(nn.Module):
    def __init__(self, fan_in: int, size: int, kernel: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv = Conv(fan_in, size, kernel, stride, kernel // 2, bias=False)
        groups = max(1, size // CHANNELS_PER_GROUP) if norm == "group" else 1
        self.norm = nn.GroupNorm(groups, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Residual(nn.Module):
    def __init__(self, fan_in: int, size: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = ConvNorm(fan_in, size, 3, stride, norm)
        self.conv2 = ConvNorm(size, size, 3, 1, norm)
        same = stride == 1 and fan_in == size
        self.skip = nn.Identity() if same else ConvNorm(fan_in, size, 1, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.skip(x) + self.conv2(torch.relu(self.conv1(x))))


class PlainResNet(nn.Module):
    def __init__(self, options: dict[str, Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        size, norm = options["width"], options["norm"]
        self.stem = ConvNorm(shape[0], size, 3, 1, norm)
        self.blocks = nn.Sequential()
        for stage, count in enumerate(options["blocks"]):
            for block in range(count):
                fan_in, size = size, options["width"] * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                self.blocks.append(Residual(fan_in, size, stride, norm))
        self.readout = Linear(size, OUTPUTS, readout=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.blocks(torch.relu(self.stem(x))).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv, self.mix = Linear(width, 3 * width), Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up, self.down = Linear(width, inner), Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.heads / width)
        x = x + self.mix(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class PlainViT(nn.Module):
    def __init__(self, options: dict[str, Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        width, self.patch = options["width"], options["patch"]
        tokens = (shape[1] // self.patch) * (shape[2] // self.patch)
        self.embedding = Linear(shape[0] * self.patch**2, width)
        # A list is a child as a layer is, and keeps its place in the order of the parameters.
        self.position = nn.ParameterList([torch.empty(tokens, width)])
        self.blocks = nn.Sequential(
            *(
                Block(width, options["heads"], options["mlp_ratio"] * width)
                for _ in range(options["blocks"])
            )
        )
        self.norm = nn.LayerNorm(width)
        self.readout = Linear(width, OUTPUTS, readout=True)

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, self.patch, stride=self.patch).transpose(1, 2)
        return self.readout(
            self.norm(self.blocks(self.embedding(patches) + self.position[0])).mean(1)
        )


PLAIN: dict[str, Callable[[dict[str, Any], tuple[int, ...]], nn.Module]] = {
    "mlp": PlainMLP,
    "cnn": PlainCNN,
    "resnet": PlainResNet,
    "vit": PlainViT,
}


class Bench:
    """One case in one process: networks, data, and a rate for each `--role`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.options, shape = spec["options"], tuple(spec["shape"])
        self.device, self.dtype = torch.device(spec["device"]), getattr(torch, spec["dtype"])
        self.model = build_model(self.options, shape, OUTPUTS)
        self.batch = int(spec.get("batch", BATCH))
        generator = torch.Generator().manual_seed(0)
        xs = torch.randn(BATCHES, self.batch, *shape, generator=generator)
        labels = torch.randint(OUTPUTS, (BATCHES, self.batch), generator=generator)
        ys = F.one_hot(labels, OUTPUTS)
        self.xs, self.ys = (v.to(self.device, self.dtype) for v in (xs, ys))
        self.initial = initial_parameters(self.model, [0], self.dtype, self.device)
        self.rate = 1e-3 * self.model.base_width

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def network(self) -> nn.Module:
        """The plain network with the engine's initial weights, checked to be the same function."""
        network = PLAIN[self.options["kind"]](self.options, tuple(self.xs.shape[2:]))
        network = network.to(self.device, self.dtype)
        weights = list(network.parameters())
        with torch.no_grad():
            for weight, value in zip(weights, self.initial.values(), strict=True):
                weight.copy_(value[0])
            ours = self.model.forward(self.initial, self.xs[0], None)[0]
            torch.testing.assert_close(network(self.xs[0]), ours, rtol=1e-3, atol=1e-4)
        return network

    def flop(self) -> int:
        network = self.network()
        with FlopCounterMode(display=False) as counter:
            network(self.xs[0]).sum().backward()
        return int(counter.get_total_flops())

    def plain_loop(self, seconds: float, careful: bool) -> float:
        network, gamma = self.network(), 1.0
        frozen = copy.deepcopy(network).requires_grad_(False)
        optimizer = torch.optim.SGD(network.parameters(), lr=self.rate)
        self.wait()
        begun, steps = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            x, y = self.xs[steps % BATCHES], self.ys[steps % BATCHES]
            f = network(x)
            if careful:
                with torch.no_grad():
                    f_initial = frozen(x)
                f = f - f_initial
            loss = (f / gamma - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if careful:
                loss.item()
            steps += 1
            if steps % BLOCK == 0:
                self.wait()
        self.wait()
        return steps / (time.perf_counter() - begun)

    def start_engine(self, lanes: int) -> dict[str, Any]:
        """Lanes of one seed at several gamma; returns the backend, the lanes and the seconds of the first step."""
        record = {"model": self.options, "steps": 10**6, "dtype": str(self.dtype)[6:]}
        backend = choose_backend(record, self.model, self.device)
        if not lanes:
            cuda = self.device.type == "cuda"
            lanes = CUDA_LANES if cuda else cpu_lanes(self.model, self.batch)
        self.step = make_step(subtraction(self.model), "mse", backend)
        self.weights = {
            name: value.expand(lanes, *value.shape[1:]).clone()
            for name, value in self.initial.items()
        }
        gammas = torch.logspace(-1, 1, lanes, dtype=self.dtype, device=self.device)
        self.gammas = gammas[:, None, None]
        self.rates = self.rate * gammas.square().clamp(max=1.0)
        self.seed = torch.zeros(lanes, dtype=torch.long, device=self.device)
        begun = time.perf_counter()
        self.engine(0.0)
        return {
            "backend": backend,
            "lanes": lanes,
            "first_seconds": round(time.perf_counter() - begun, 2),
        }

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        while True:
            for at in range(0, BATCHES, INITIAL_BATCHES):
                xs = self.xs[at : at + INITIAL_BATCHES]
                with torch.no_grad():
                    f = self.model.forward(self.initial, xs.flatten(0, 1), None)
                f = f.view(len(xs), 1, self.batch, OUTPUTS)
                yield from zip(f, xs, self.ys[at : at + INITIAL_BATCHES], strict=True)

    def engine(self, seconds: float) -> float:
        self.wait()
        begun, steps, size, block = time.perf_counter(), 0, 1, []
        for f_initial, x, y in self.batches():
            given = StepInputs({}, self.rates, self.gammas, (f_initial,), x, y, self.seed)
            block.append(self.step(self.weights, given))
            steps += 1
            ended = time.perf_counter() - begun >= seconds
            if ended or len(block) == size:
                if not torch.stack(block).cpu().isfinite().all():
                    raise RuntimeError("a lane diverged: the timing would not be of training")
                # A GPU goes on by itself: the clock tells nothing until the host has waited for it.
                each = (time.perf_counter() - begun) / steps
                size, block = max(1, min(BLOCK, int(seconds / 4 / each))), []
            if ended:
                break
        return steps * len(self.rates) / (time.perf_counter() - begun)

    def products(self, seconds: float) -> float:
        """FLOP per second of a large matrix product."""
        size = 1024 if self.device.type == "cpu" else 8192
        a, b = torch.randn(2, size, size, dtype=self.dtype, device=self.device)
        self.wait()
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            torch.mm(a, b)
            count += 1
            if count % 4 == 0:
                self.wait()
        self.wait()
        return 2.0 * size**3 * count / (time.perf_counter() - begun)


def work(spec: dict[str, Any]) -> None:
    """Be one process of the benchmark: answer each line of standard input with one of standard output."""
    about: dict[str, Any] = {"threads": torch.get_num_threads()}
    if spec["role"] == "engine":
        keep_freed_memory()
        about = set_up_backend(spec["device"])[1].as_record()
    bench = Bench(spec)
    measure: dict[str, Callable[[float], float]] = {"products": bench.products}
    if spec["role"] == "engine":
        about |= bench.start_engine(spec["lanes"])
        measure["c"] = bench.engine
    else:
        about["flop"] = bench.flop()
        measure["a"] = lambda seconds: bench.plain_loop(seconds, careful=True)
        measure["b"] = lambda seconds: bench.plain_loop(seconds, careful=False)
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        what, seconds = line.split()
        print(measure[what](float(seconds)), flush=True)


class Worker:
    """A process that measures when it is told to."""

    def __init__(self, spec: dict[str, Any], stack: ExitStack) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--work", json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(self._process.terminate)

    def ask(self, what: str, seconds: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what} {seconds}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process of the benchmark ended early; its message stands above")
        return json.loads(line)


def run_case(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    options, shape = CASES[name]
    options = options | ({"width": arguments.width} if arguments.width else {})
    spec = {
        "options": options,
        "shape": shape,
        "device": arguments.device,
        "dtype": arguments.dtype,
        "lanes": arguments.lanes,
    }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = int(cores or 1) if arguments.device == "cpu" else 1
    with ExitStack() as stack:
        engines = [Worker(spec | {"role": "engine"}, stack) for _ in range(processes)]
        about = [worker.answer() for worker in engines]
        loop = Worker(spec | {"role": "loop"}, stack)
        plain = loop.answer()
        rates: dict[str, list[float]] = {"a": [], "b": [], "c": [], "products": []}
        for turn in range(arguments.rounds + 1):
            for what, rate in rates.items():
                workers = engines if what in ("c", "products") else [loop]
                for worker in workers:
                    worker.ask(what, arguments.seconds if turn else arguments.seconds / 4)
                total = sum(worker.answer() for worker in workers)
                # The first turn warms up.
                rate += [total] if turn else []
    middle = {what: statistics.median(rate) for what, rate in rates.items()}
    return {
        "model": name,
        "options": options,
        "dtype": arguments.dtype,
        "rates": rates,
        "plain_threads": plain["threads"],
        "processes": processes,
        "engine": about[0],
        "flop": plain["flop"],
        "c/a": middle["c"] / middle["a"],
        "c/b": middle["c"] / middle["b"],
        "limit": max(rates["products"]) / plain["flop"],
        "fraction": middle["c"] * plain["flop"] / max(rates["products"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--model", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--width", type=int, default=0, help="in place of the case's own")
    parser.add_argument("--lanes", type=int, default=0, help="of each process; 0: the engine's")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements, of which the median")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(json.loads(arguments.work))
        return
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    print(f"{date}  torch {torch.__version__}  Python {platform.python_version()}  batch {BATCH}")
    print(
        f"{'model':13}{'lanes':>6} {'backend':8}{'a':>9}{'b':>9}{'c':>9}{'c/a':>7}{'c/b':>7}"
        f"{'limit':>9}{'c/limit':>9}{'first s':>9}  range of a, of c"
    )
    cases = []
    for name in arguments.model:
        case = run_case(name, arguments)
        cases.append(case)
        engine, rates = case["engine"], case["rates"]
        a, b, c = (statistics.median(rates[what]) for what in "abc")
        print(
            f"{name:13}{engine['lanes']:6} {engine['backend']:8}{a:9.1f}{b:9.1f}{c:9.1f}"
            f"{case['c/a']:7.1f}{case['c/b']:7.1f}{case['limit']:9.0f}{case['fraction']:9.0%}"
            f"{engine['first_seconds']:9.1f}  {min(rates['a']):.0f}-{max(rates['a']):.0f}, "
            f"{min(rates['c']):.0f}-{max(rates['c']):.0f}",
            flush=True,
        )
    engine = cases[-1]["engine"]
    print(
        f"{engine['device_model']}; a and b: {cases[-1]['plain_threads']} threads; c: "
        f"{cases[-1]['processes']} processes of {engine['threads']} thread, float32 products "
        f"{engine['matmul_precision']}"
    )
    if arguments.json:
        record = {"date": date, "torch": torch.__version__, "batch": BATCH, "cases": cases}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
