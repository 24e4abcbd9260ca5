"""Qualify a GPU: is what it computes right, and how fast is it?

    python benchmarks/gpu.py                    # all of it, in at most nine minutes
    python benchmarks/gpu.py --device cpu       # the same without what needs CUDA
    python benchmarks/gpu.py --parts right rates

Needs torch, numpy and this package's source alone. It prints Markdown for RESULTS.md after each part, so a run
that is cut off is worth what it has printed, and names what it had no time for. Exit status 1 if something that is
computed is wrong, or fails.
"""

import argparse
import dataclasses
import itertools
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from throughput import Bench

from gammascape.data.augment import augment
from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.models import build_model
from gammascape.models.convolution import comparisons
from gammascape.numerics import NUMERICS_VERSION
from gammascape.training.backend import Graph, is_out_of_memory, one_line
from gammascape.training.checkpoint import Checkpoints
from gammascape.training.device import float64_slowdown, set_up_backend
from gammascape.training.engine import Run, State, Training
from gammascape.training.pack import make_pack
from gammascape.training.worker import Task, Worker
from gammascape.usercode.find import find_sources
from gammascape.usercode.run import provide

OUTPUTS, SEEDS = 10, 3
IMAGE = (1, 8, 8)
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "depth": 3, "width": 64},
    "cnn": {"kind": "cnn", "width": 8, "padding": 1},
    "resnet": {"kind": "resnet", "width": 8, "blocks": [1, 1], "norm": "group"},
    "vit": {"kind": "vit", "width": 32, "blocks": 1, "heads": 2, "patch": 4, "mlp_ratio": 2},
}
"""Networks for the parts that look at numbers."""

TEACHER: dict[str, Any] = {
    "kind": "teacher",
    "inputs": math.prod(IMAGE),
    "classes": OUTPUTS,
    "polynomial": [0.0, 1.0],
    "teacher_seed": 0,
}
"""Data for them."""

_OWN = find_sources("gated:make_net", [Path(__file__).parents[1] / "examples" / "own_model"])
provide(_OWN.files.values())
SMALL["own"] = {
    "kind": "factory",
    "factory": "gated:make_net",
    "arguments": {},
    "sources": dict(_OWN.hashes),
    "width": 64,
    "roles": {},
    "depth": None,
    "batched": True,
    "contract": 2,
}
"""A network of a user's, with the options that the record of a cell has."""

OBSERVABLES = (
    *("sharpness", "gauss_newton_sharpness", "hessian_trace", "kernel_alignment", "ntk_alignment"),
    *("initial_cka", "relative_change", "effective_rank", "singular_values"),
    *("gradient_noise_scale", "equal_loss", "training_accuracy"),
)
"""All names, as a study gives them; that module needs more than torch."""

FORMS = {"float32": "0", "float64": "-3", "float32-difference": "-3"}
"""dtype of a cell -> log10 gamma at which it is tried; by subtraction float32 has no digits left at 10^-3."""

TOLERANCES = {"float32": 1e-4, "float64": 1e-9, "float32-difference": 1e-4, "product": 1e-5}
"""Largest relative difference of a loss from the CPU's float64 within 50 steps. Rounding is 6e-8 (1e-16) for each
operation; sums of some thousand terms and 50 steps that each carry the error on make 1e-5 (1e-14) of it, which a
ResNet was seen to reach. TF32 may stay within it, so products are looked at by themselves: there it is off by some
1e-3 of the largest number, and float32 by 1e-6."""

_DRAWN, _MEASURED = 1e-6, 1e-5
"""Tolerances of what is drawn, to a few last digits of float32, and of what is measured on it in float64, of which
a part is stored as float32."""

RATES: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "MLP 784-128, B = 64": ({"kind": "mlp", "depth": 3, "width": 128}, (784,), 64),
    "MLP 784-1000, B = 64": ({"kind": "mlp", "depth": 3, "width": 1000}, (784,), 64),
    "CNN of quickstart": ({"kind": "cnn", "width": 8, "padding": 1}, IMAGE, 32),
    "ResNet of quickstart": (
        {"kind": "resnet", "width": 8, "blocks": [1, 1], "norm": "layer"},
        IMAGE,
        32,
    ),
    "ViT of quickstart": (
        {"kind": "vit", "width": 16, "blocks": 1, "heads": 2, "patch": 2, "mlp_ratio": 2},
        IMAGE,
        32,
    ),
    "CNN of paper-cifar5m-cnn": ({"kind": "cnn", "width": 64, "padding": 0}, (3, 32, 32), 64),
    "ResNet of paper-cifar5m-resnet": (
        {"kind": "resnet", "width": 64, "blocks": [2, 2, 2, 2], "norm": "group"},
        (3, 32, 32),
        64,
    ),
    "ViT of paper-tinyimagenet-vit": (
        {"kind": "vit", "width": 192, "blocks": 6, "heads": 6, "patch": 8, "mlp_ratio": 4},
        (3, 64, 64),
        128,
    ),
}
"""Name -> model, shape of an input, batch size: as in the studies of these names. A CPU takes batches of 4."""
_CPU_BATCH = 4


class OutOfTime(BaseException):
    """Time is over. No Exception: what falls back after an error would take it for one and go on."""


class Session:
    """The device, what time is left, what is left out for want of it, and whether all so far is right."""

    def __init__(self, device: str, minutes: float, *, toy: bool) -> None:
        self.device, self.backend = set_up_backend(device)
        if self.device.type == "cuda":
            # For what results are held against; one thread is set for steps on the CPU.
            torch.set_num_threads(os.cpu_count() or 1)
        self.toy = toy
        self.right = True
        self.left_out: list[str] = []
        self._ends = time.monotonic() + 60.0 * minutes

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._ends - time.monotonic()

    @contextmanager
    def limited(self, share: float) -> Iterator[None]:
        """Raise OutOfTime in whatever computes when a share of the time left is over."""

        def end(*_: object) -> None:
            raise OutOfTime

        before = signal.signal(signal.SIGALRM, end)
        # Again and again: an error in the middle of another's clean-up may be lost.
        signal.setitimer(signal.ITIMER_REAL, max(share * self.left, 1e-3), 5.0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def judge(self, holds: bool) -> str:
        """A word for a table."""
        self.right = self.right and holds
        return "yes" if holds else "**NO**"

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def time(self, run: Callable[[], object], seconds: float) -> float:
        """Seconds of one call, the least of several."""
        if self.toy:
            seconds = 0.0
        run()
        best, begun = math.inf, time.perf_counter()
        while best == math.inf or time.perf_counter() - begun < seconds:
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            best = min(best, time.perf_counter() - start)
        return best


def table(columns: Sequence[str]) -> None:
    """Print the head of a Markdown table."""
    row(columns)
    row(["---"] * len(columns))


def row(values: Sequence[object]) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(map(str, values))} |", flush=True)


def dataset_of(kind: str, device: torch.device) -> Dataset:
    """A stream of a known law, its inputs in the shape that the model reads.

    It is drawn on the CPU, since logarithms and cosines are rounded otherwise on a GPU.
    """
    found = load_dataset(TEACHER, None, torch.device("cpu"))
    shape = found.input_shape if kind == "mlp" else IMAGE

    def batches(seed: int, first: int, count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = found.batches(seed, first, count, size)
        return x.unflatten(2, shape).to(device), y.to(device)

    return dataclasses.replace(
        found,
        input_shape=shape,
        test_inputs=found.test_inputs.unflatten(1, shape).to(device),
        test_targets=found.test_targets.to(device),
        batches=batches,
    )


def record_of(kind: str, dtype: str = "float32", **changes: Any) -> dict[str, Any]:
    """The record of a cell."""
    return {
        "model": SMALL[kind],
        "dataset": TEACHER,
        "loss": "mse",
        "batch_size": 32,
        "steps": 50,
        "gamma": FORMS[dtype],
        # A tenth of the largest stable eta: it goes as gamma^2 where gamma is small.
        "eta": str(2 * float(FORMS[dtype]) - 1),
        "seed": 0,
        "data_seed": 0,
        "dtype": dtype,
        "numerics": NUMERICS_VERSION,
    } | changes


def losses(
    records: Sequence[dict[str, Any]],
    device: torch.device,
    states: Sequence[State] | None = None,
) -> np.ndarray:
    """(lanes, steps) of a pack that is trained to its end."""
    return np.stack([run.losses for run in runs(records, device, states)])


def runs(
    records: Sequence[dict[str, Any]],
    device: torch.device,
    states: Sequence[State] | None = None,
) -> list[Run]:
    """Runs of a pack that is trained to its end."""
    dataset = dataset_of(records[0]["model"]["kind"], device)
    model = build_model(records[0]["model"], dataset.input_shape, dataset.outputs)
    training = Training(make_pack(records), dataset, model, device, states)
    found: dict[int, Run] = {}
    while training.alive:
        found |= dict(training.advance())
    return [found[lane] for lane in range(len(records))]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest relative difference."""
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-300)))


def about(session: Session) -> None:
    """The device, and the limits that rates are held against."""
    limit, bandwidth = limits(session)
    table(["what", "value"])
    row(["date", f"{datetime.now(UTC):%Y-%m-%d}"])
    row(["device", session.backend.device_model])
    row(["versions", f"Python {platform.python_version()}, torch {torch.__version__}"])
    if older := older_than_asked():
        row(["note", older])
    row(["CUDA, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}"])
    row(["float32 product", f"{limit / 1e12:.2f} TFLOP/s"])
    row(["memory", f"{bandwidth / 1e9:.0f} GB/s"])
    row(["float64 product", f"{float64_slowdown(session.device):.1f} times as long as float32"])


def older_than_asked() -> str | None:
    """Words if torch is older than the package asks for."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    [asked] = [text[7:] for text in project["dependencies"] if text.startswith("torch>=")]
    numbers = [tuple(map(int, v.split("+")[0].split(".")[:2])) for v in (torch.__version__, asked)]
    return (
        f"older than torch {asked}, which the package asks for" if numbers[0] < numbers[1] else None
    )


def limits(session: Session) -> tuple[float, float]:
    """FLOP per second of a large float32 product, and bytes per second of a copy."""
    size = 256 if session.toy else 8192 if session.device.type == "cuda" else 1024
    a, b = torch.randn(2, size, size, device=session.device)
    product = session.time(lambda: torch.mm(a, b), 1.0)
    x = torch.zeros(2**16 if session.toy else 2**28, dtype=torch.uint8, device=session.device)
    y = torch.empty_like(x)
    copy = session.time(lambda: y.copy_(x), 0.5)
    return 2.0 * size**3 / product, 2.0 * len(x) / copy


def right(session: Session) -> None:
    """Losses of 50 steps against the CPU in float64."""
    cpu = torch.device("cpu")
    table(["model", "form", "loss", "largest relative difference", "tolerance", "right"])
    for name, found in products(session.device).items():
        holds, limit = found <= TOLERANCES["product"], TOLERANCES["product"]
        row([name, "float32", "", f"{found:.1e}", f"{limit:.0e}", session.judge(holds)])
    kinds = ["mlp", "cnn"] if session.toy else list(SMALL)
    exact: dict[str, np.ndarray] = {}
    for kind, dtype, loss in itertools.product(kinds, FORMS, ("mse", "xent")):
        if kind == "own" and dtype == "float32-difference":
            continue
        changes = {"loss": loss, "steps": 5 if session.toy else 50}
        records = [record_of(kind, dtype, seed=seed, **changes) for seed in range(SEEDS)]
        same = [dict(record, dtype="float64") for record in records]
        if (key := json.dumps(same)) not in exact:
            exact[key] = losses(same, cpu)
        found = apart(losses(records, session.device), exact[key])
        holds = found <= TOLERANCES[dtype]
        row([kind, dtype, loss, f"{found:.1e}", f"{TOLERANCES[dtype]:.0e}", session.judge(holds)])


def products(device: torch.device) -> dict[str, float]:
    """Errors of products of float32, in terms of the largest number: of matrices, and in convolutions."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 2, 256, 256, generator=generator)
    x, w = (
        torch.randn(8, 64, 8, 8, generator=generator),
        torch.randn(64, 32, 3, 3, generator=generator),
    )
    found = {}
    for name, run, values in (
        ("matrix product", torch.bmm, (a, b)),
        ("convolution", partial(F.conv2d, groups=2), (x, w)),
    ):
        exact = run(*(value.double() for value in values))
        error = run(*(value.to(device) for value in values)).cpu() - exact
        found[name] = float(error.abs().max() / exact.abs().max())
    return found


def measured(session: Session) -> None:
    """What is drawn, and what is measured during and after a run, against the CPU."""
    table(["of", "quantities", "largest relative difference", "tolerance", "right"])
    at = session.device, torch.device("cpu")
    # Bits are the same everywhere; logarithms and cosines are rounded in the last digits.
    drawn = [load_dataset(TEACHER, None, device).batches(0, 0, 50, 32) for device in at]
    both = [{"inputs": x.cpu().numpy(), "targets": y.cpu().numpy()} for x, y in drawn]
    compared(session, "batches", *both, _DRAWN)
    names = OBSERVABLES[-2:] if session.toy else OBSERVABLES
    # A CPU is only compared with itself.
    for kind in SMALL if session.device.type == "cuda" else ["mlp"]:
        # At this eta an MLP comes to a level of its loss at which equal_loss measures it.
        changes = {"gamma": "0", "eta": "1" if kind == "mlp" else "0", "steps": 20}
        records = [
            record_of(kind, "float64", seed=seed, observables=list(names), **changes)
            for seed in range(2)
        ]
        both = [numbers(runs(records, device)) for device in at]
        compared(session, kind, *both, _MEASURED)


def compared(
    session: Session,
    of: str,
    here: dict[str, np.ndarray],
    there: dict[str, np.ndarray],
    tolerance: float,
) -> None:
    """Print the largest difference of all quantities, each in terms of its largest number, and which it is."""
    found = {}
    for name, exact in there.items():
        difference = np.max(np.abs(here[name] - exact)) / max(np.max(np.abs(exact)), 1e-300)
        found[name] = float(np.nan_to_num(difference, nan=np.inf))
    worst = max(found, key=found.__getitem__)
    holds = here.keys() == there.keys() and found[worst] <= tolerance
    words = f"{found[worst]:.1e} ({worst})"
    row([of, len(found), words, f"{tolerance:.0e}", session.judge(holds)])


def numbers(found: Sequence[Run]) -> dict[str, np.ndarray]:
    """All numbers of runs but their times, by the name of the field or of the observable."""
    flat: dict[str, list[float]] = {}

    def take(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                take(key if name in ("observations", "facts", "evaluations") else name, part)
        elif isinstance(value, list | tuple):
            for part in value:
                take(name, part)
        elif value is not None and name not in ("seconds", "step"):
            flat.setdefault(name, []).extend(np.asarray(value, float).ravel().tolist())

    for run in found:
        take("facts", dataclasses.asdict(run))
    return {name: np.array(values) for name, values in flat.items()}


def packs(session: Session) -> None:
    """A lane alone and in packs; a run that was interrupted and goes on."""
    sizes = (2, 31, 128) if session.device.type == "cuda" else (2, 5)
    table(["model", *(f"in a pack of {n}" for n in sizes), "resumed", "right"])
    for kind in ["mlp"] if session.toy else SMALL:
        records = [
            record_of(kind, seed=k % SEEDS, eta=str(-1 - k % 4), steps=100)
            for k in range(max(sizes))
        ]
        alone = losses(records[:1], session.device)[0]
        words, differences = [], []
        for size in sizes:
            there = losses(records[:size], session.device)[0]
            differences.append(apart(there, alone))
            same = np.array_equal(there, alone)
            words.append("same bits" if same else f"{differences[-1]:.1e}")
        dataset = dataset_of(kind, session.device)
        model = build_model(SMALL[kind], dataset.input_shape, dataset.outputs)
        training = Training(make_pack(records[:5]), dataset, model, session.device)
        while training.step < 50:
            training.advance()
        states = stored(session, training)
        whole = losses(records[:5], session.device)
        resumed = losses(records[:5], session.device, states)
        same = np.array_equal(resumed, whole)
        words.append("same bits" if same else f"{apart(resumed, whole):.1e}")
        row([kind, *words, session.judge(max(differences) <= TOLERANCES["float32"] and same)])


def stored(session: Session, training: Training) -> list[State]:
    """States of the lanes, written to checkpoints and read again as a run that goes on does."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), session.backend.as_record())
        for lane, state in training.states():
            checkpoints.save(f"{lane:012x}", state)
        found = [checkpoints.load(f"{lane:012x}") for lane in training.alive]
    if None in found:
        raise RuntimeError("a checkpoint that was just written cannot be read")
    return [state for state in found if state is not None]


def troubles(session: Session) -> None:
    """What the trainer does when memory runs out, and when a graph cannot be captured."""
    table(["trouble", "what the trainer did", "right"])
    cells, steps = (6, 20) if session.toy else (64, 60)
    if session.device.type == "cuda":
        with short_of_memory():
            manifests, events = train_cells(session, cells, steps, width=1024)
        halved = [event["lanes"] for event in events if event["event"] == "lanes"]
        row(
            [
                "out of memory",
                f"{len(manifests)} of {cells} cells trained, packs of at most {halved} lanes",
                session.judge(len(manifests) == cells and bool(halved)),
            ]
        )
        with refused_captures():
            manifests, _ = train_cells(session, cells, steps, width=96)
        told = {str(manifest["device"].get("steps")) for manifest in manifests}
        holds = len(manifests) == cells and all("captured" in text for text in told)
        row(["no capture", f"{len(manifests)} of {cells} cells: {told}", session.judge(holds)])
    manifests, _ = train_cells(session, cells, steps, width=64)
    captures = {manifest["cost"].get("captures", 0) for manifest in manifests}
    row(
        [
            "none",
            f"captures of a pack of {cells}: {captures}",
            session.judge(len(manifests) == cells),
        ]
    )


def train_cells(
    session: Session, cells: int, steps: int, width: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Train cells as a run of the workflow does; returns their manifests and the worker's events."""
    events: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        records = [
            record_of("mlp", seed=k, steps=steps, model={"kind": "mlp", "depth": 3, "width": width})
            for k in range(cells)
        ]
        outputs = [Path(folder) / f"results/cells/mlp_teacher_mse/{k}" for k in range(cells)]
        tasks = [
            Task(f"{k:012x}", record, None, output, output.with_suffix(".log"))
            for k, (record, output) in enumerate(zip(records, outputs, strict=True))
        ]
        Worker(session.device.type, 60.0).run(tasks, events.append)
        made = [path / "manifest.json" for path in outputs]
        return [json.loads(path.read_text()) for path in made if path.is_file()], events


@contextmanager
def short_of_memory() -> Iterator[None]:
    """Leave little of the GPU's memory to this process."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 3 * 2**27) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@contextmanager
def refused_captures() -> Iterator[None]:
    """Let each step read a number of the device, which no graph can capture."""
    kept = Graph.record

    def refuse(run: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        def reading() -> torch.Tensor:
            found = run()
            found.sum().item()
            return found

        return kept(reading)

    Graph.record = staticmethod(refuse)  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        Graph.record = staticmethod(kept)  # type: ignore[method-assign]


def rates(session: Session) -> None:
    """Cell-steps per second: (a) a plain loop, (b) without its costs, (c) the engine over K lanes."""
    limits_ = limits(session)
    print(
        "(a) one network after another, both networks of the centred model, `loss.item()` in each step; (b) "
        "without the second network and without `item()`; both in float32 without TF32 and with whatever kernels "
        "torch chooses. Limit: the float32 product divided by the operations of a step. Weights: the share of the "
        "memory's rate that reading weights twice and writing them once takes.\n"
    )
    table(["model", "a", "b", "K", "c", "c/a", "c/limit", "weights", "first step"])
    cases = dict(list(RATES.items())[:2]) if session.toy else RATES
    for number, name in enumerate(cases):
        share = session.left / (len(cases) - number)
        if share < 8:
            session.left_out.append(f"rates of {name}")
            continue
        try:
            rates_of(session, name, share, limits_)
        except Exception as error:
            session.judge(False)
            row([name, f"FAILED: {one_line(error)}", *[""] * 7])
        if session.device.type == "cuda":
            torch.cuda.empty_cache()
    if found := comparisons():
        print("\nForms of convolutions, forward and backward, of which the faster is used:\n")
        table(["inputs by filters of a lane", "grouped, ms", "unfolded, ms"])
        for shape, times in found:
            row([shape, *(words_of(times, form) for form in ("grouped", "unfolded"))])


def words_of(times: dict[str, float], form: str) -> str:
    """Milliseconds of a form; NaN for a form that is used without a comparison."""
    alone = any(map(math.isnan, times.values()))
    if form not in times:
        return "too large" if alone else "failed"
    return "not timed" if alone else f"{1e3 * times[form]:.3f}"


def rates_of(session: Session, name: str, share: float, limits_: tuple[float, float]) -> None:
    """Print the rates of one case, in some `share` seconds."""
    until = session.left - share
    options, shape, batch = RATES[name]
    if session.toy:
        options, shape, batch = options | {"width": 16}, (16,), 8
    elif session.device.type == "cpu" and options["kind"] != "mlp":
        batch = _CPU_BATCH
    bench = Bench(
        {"options": options, "shape": shape, "batch": batch, "dtype": "float32"}
        | {"device": session.device.type}
    )
    with plain_settings(session):
        seconds = 0.05 if session.toy else min(2.0, share / 10)
        for careful in (True, False):
            bench.plain_loop(seconds / 4, careful=careful)
        a, b = (bench.plain_loop(seconds, careful=careful) for careful in (True, False))
    weights = sum(math.prod(parameter.shape) for parameter in bench.model.parameters)
    flop, (limit, bandwidth) = bench.flop(), limits_
    lanes = (8, 32, 128, 512, 2048) if session.device.type == "cuda" else (2,)
    for k in lanes:
        if k > lanes[0] and session.left < until:
            session.left_out.append(f"rates of {name} from K = {k} on")
            break
        try:
            first = bench.start_engine(k)["first_seconds"]
            bench.engine(seconds / 2)
            c = bench.engine(seconds)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            row([name, "", "", k, "out of memory", "", "", "", ""])
            break
        if fallback := getattr(bench.step, "fallback", None):
            raise RuntimeError(f"with K = {k}, steps were computed {fallback}")
        shares = f"{c * flop / limit:.0%}", f"{12 * weights * c / bandwidth:.0%}"
        row([name, f"{a:.0f}", f"{b:.0f}", k, f"{c:.0f}", f"{c / a:.1f}", *shares, first])


@contextmanager
def plain_settings(session: Session) -> Iterator[None]:
    """What a script of one's own would compute with: kernels need not be deterministic."""
    if session.device.type == "cuda":
        torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        if session.device.type == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)


def beside(session: Session) -> None:
    """What stands beside the steps: augmentation, batches from the disk, the start of a worker."""
    table(["what", "milliseconds"])
    size, shape = (8, (3, 8, 8)) if session.toy else (256, (3, 32, 32))
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (size, *shape), generator=generator, dtype=torch.uint8)
    images, index = images.to(session.device), torch.arange(size, device=session.device)
    seconds = session.time(lambda: augment(images, index, 0, "strong"), 1.0)
    row([f"strong augmentation of {size} images {shape}", f"{1e3 * seconds:.2f}"])
    options = SMALL["mlp"] if session.toy else {"kind": "cnn", "width": 16, "padding": 1}
    spec = {"options": options, "shape": shape, "batch": size}
    bench = Bench(spec | {"dtype": "float32", "device": session.device.type})
    bench.start_engine(2)
    steps = bench.engine(0.1 if session.toy else 1.0) / 2
    row([f"a step of two networks ({options}) on them", f"{1e3 / steps:.2f}"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        rows = 64 if session.toy else 65_536
        np.save(path, np.zeros((rows, *shape), np.uint8))
        stored = np.load(path, mmap_mode="r")
        chosen = np.random.default_rng(0).permutation(rows)[:size]
        host = torch.empty((size, *shape), dtype=torch.uint8)
        if session.device.type == "cuda":
            host = host.pin_memory()

        def fetch() -> None:
            host.copy_(torch.from_numpy(stored[chosen]))
            host.to(session.device, non_blocking=True)

        row([f"{size} images from the disk to the device", f"{1e3 * session.time(fetch, 0.5):.2f}"])
    if not session.toy:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "gammascape.training.serve", "--serve"]
        source = str(Path(__file__).parents[1] / "src")
        environment = {**os.environ, "PYTHONPATH": source, "PYTHONHASHSEED": "0"}
        worker = subprocess.run(
            [*command, "--device", session.device.type],
            input="",
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        found = f"{1e3 * (time.perf_counter() - begun):.0f}"
        if '"ready"' not in worker.stdout:
            session.judge(False)
            found = f"FAILED: {worker.stderr.strip().splitlines()[-1:]}"
        row(["start and end of a worker", found])


PARTS = {
    "about": about,
    "right": right,
    "measured": measured,
    "packs": packs,
    "rates": rates,
    "beside": beside,
    # Last: after a failed capture, torch before 2.13 may refuse to empty its cache, and to capture again.
    "troubles": troubles,
}


SHARES = {"about": 0.2, "right": 0.35, "measured": 0.3, "packs": 0.3, "rates": 0.8, "beside": 0.5}
"""Most of the time left that a part may take, so that a slow one leaves some to those that follow."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    # The ninth minute is for the start of torch and for the call in which the end is noticed.
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it ends")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument(
        "--toy", action="store_true", help="tiny sizes, to see that it runs through"
    )
    chosen = parser.parse_args(arguments)
    session = Session(chosen.device, chosen.minutes, toy=chosen.toy)
    for name in chosen.parts:
        if session.left <= 0:
            session.left_out.append(name)
            continue
        print(f"\n### {PARTS[name].__doc__}\n", flush=True)
        begun = session.left
        try:
            with session.limited(SHARES.get(name, 1.0)):
                PARTS[name](session)
        except OutOfTime:
            session.left_out.append(f"the rest of {name}")
        except Exception as error:
            # The parts that follow are worth their minutes all the same.
            session.judge(False)
            print(f"\n**{name} FAILED**: {one_line(error)}", flush=True)
        print(f"\n{name}: {begun - session.left:.0f} s", flush=True)
    if session.left_out:
        print(f"\n**No time was left for**: {'; '.join(session.left_out)}")
    print(
        f"\n{'All that was computed is right' if session.right else 'NOT all is right'}; ", end=""
    )
    print(f"{60 * chosen.minutes - session.left:.0f} s")
    return 0 if session.right else 1


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # torch would wait for minutes until its compiler has finished what nobody waits for any more.
    os._exit(status)
