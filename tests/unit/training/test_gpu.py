"""What the path for GPUs decides, tried without one."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape import capture
from gammascape.data.dataset import Dataset
from gammascape.models import Model, build_model, convolution, initial_parameters, layers, passes
from gammascape.models.centred import CentredForm, difference_form, subtraction
from gammascape.models.convolution import LaneShape, grouped, unfolded
from gammascape.training import capacity, engine, serve
from gammascape.training import device as device_module
from gammascape.training.backend import Graph, is_out_of_memory
from gammascape.training.capacity import fitting_lanes
from gammascape.training.device import alone_on, float64_slowdown
from gammascape.training.engine import Training
from gammascape.training.exact import inputs_of_lane
from gammascape.training.lanes import Lanes
from gammascape.training.pack import Pack, graph_places, make_pack, places_after
from gammascape.training.sgd import StepInputs, sgd_step_of
from gammascape.training.worker import Interrupted, Task, Worker

CPU = torch.device("cpu")
MODEL = build_model({"kind": "mlp", "depth": 2, "width": 8}, (4,), 3)
FORM = subtraction(MODEL)


def test_places_hold_the_lanes_and_waste_at_most_an_eighth_from_32_on() -> None:
    for lanes in range(1, 5001):
        places = graph_places(lanes)
        assert lanes <= places
        assert graph_places(places) == places
        assert places - lanes <= (places / 8 if lanes >= 32 else 3)


def test_there_are_few_sizes() -> None:
    # Each is captured, and each may choose other algorithms: eight for a factor of two.
    assert len({graph_places(lanes) for lanes in range(32, 4096)}) <= 8 * 7 + 1


def test_a_pack_that_loses_lanes_is_captured_seldom_and_computes_few_that_are_gone() -> None:
    places, captures = graph_places(2000), 0
    for lanes in range(2000, 0, -1):
        after = places_after(lanes, places)
        assert lanes <= after <= places
        assert after <= 4 / 3 * graph_places(lanes)
        captures += after != places
        places = after
    # A quarter goes each time: log(2000 / 2) / log(4 / 3).
    assert captures <= 25


@pytest.mark.parametrize("form", [FORM, difference_form(MODEL)], ids=["subtraction", "difference"])
def test_lanes_that_leave_move_the_weights_of_others_only_where_the_size_changes(
    form: CentredForm,
) -> None:
    lanes_of = [SimpleNamespace(seed=k, gamma=1.0 + k, eta=0.1) for k in range(40)]
    pack = cast(Pack, SimpleNamespace(lanes=lanes_of, shared={"dtype": "float32"}))
    lanes = Lanes(pack, form, CPU, None)
    lanes._on_gpu = True
    with torch.no_grad():
        for value in lanes.trained.values():
            value += torch.arange(40.0).view(-1, *[1] * (value.ndim - 1))
    weights = dict(enumerate(lanes.weights()))
    moved, sizes = 0, {40}
    while len(lanes.owners) > 1:
        places = [value.data_ptr() for value in (*lanes.trained.values(), *lanes.starts.values())]
        lanes.keep([k for k in range(len(lanes.owners)) if k != len(lanes.owners) // 3])
        sizes.add(len(lanes.seed))
        moved += places != [v.data_ptr() for v in (*lanes.trained.values(), *lanes.starts.values())]
        for owner, own in zip(lanes.owners, lanes.weights(), strict=True):
            assert all(np.array_equal(own[name], weights[owner][name]) for name in own)
            assert float(lanes.gammas[lanes.owners.index(owner)]) == 1.0 + owner
    assert moved == len(sizes) - 1


@pytest.mark.parametrize("per_place", [10_000, 3_000_000])
@pytest.mark.parametrize("shared", [0, 50_000_000])
def test_memory_is_counted_in_places(per_place: int, shared: int) -> None:
    def peak(lanes: int) -> int:
        return shared + graph_places(lanes) * per_place

    free = 1_000_000_000
    lanes = fitting_lanes(peak, lambda: free, enough=4096)
    assert peak(lanes) <= 0.7 * free
    assert graph_places(lanes) == lanes
    larger = graph_places(lanes + 1)
    assert peak(larger) > 0.7 * free or larger > graph_places(4096)


def test_no_more_lanes_than_fill_the_device() -> None:
    assert fitting_lanes(lambda n: n, lambda: 10**12, enough=100) == graph_places(100)
    assert fitting_lanes(lambda n: n * 10**9 // 2, lambda: 10**9, enough=100) == 2


@pytest.mark.parametrize("per_place", [10_000, 3_000_000])
@pytest.mark.parametrize("memory", [50_000, 5_000_000, 20_000_000, 80_000_000, 10**9])
def test_trial_packs_that_do_not_fit_give_way_to_smaller_ones(per_place: int, memory: int) -> None:
    tried: list[int] = []

    def peak(lanes: int) -> int | None:
        tried.append(lanes)
        return lanes * per_place if lanes * per_place <= memory else None

    lanes = fitting_lanes(peak, lambda: memory, enough=4096)
    assert len(tried) == len(set(tried))
    assert graph_places(lanes) * per_place <= memory or lanes == 1
    assert (lanes == 1) == (2 * per_place > memory)
    # What fits into 0.7 of the memory is used, but for the distance to the next size of a pack.
    larger = graph_places(lanes + 1)
    assert lanes <= 2 or larger * per_place > 0.7 * memory or larger > 4096


def test_a_trial_that_fails_once_leaves_packs_smaller_than_it() -> None:
    # Memory that is in pieces may hold no pack of 32 lanes where the sum would suffice.
    assert fitting_lanes(lambda n: n if n < 32 else None, lambda: 10**9, enough=4096) == 28
    assert fitting_lanes(lambda n: n if n < 8 else None, lambda: 10**9, enough=4096) == 2
    assert fitting_lanes(lambda n: None, lambda: 10**9, enough=4096) == 1


def test_trial_packs_have_the_seeds_of_the_cells_and_are_gone_before_free_memory_is_read(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset, record: Any
) -> None:
    events: list[Any] = []
    lanes_of_trial: list[int] = []

    class Trial:
        alive = (0,)

        def __init__(self, pack: Pack, *_: object) -> None:
            self.seeds = [lane.seed for lane in pack.lanes]
            lanes_of_trial.append(len(self.seeds))

        def advance(self) -> None:
            if len(self.seeds) == 32:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        def release(self) -> None:
            events.append(self.seeds)

    def free(device: torch.device) -> tuple[int, int]:
        events.append("free")
        return 3 * 10**7, 10**9

    monkeypatch.setattr(capacity, "Training", Trial)
    # 10^6 bytes for a lane; of them, half are kept for no tensor.
    for name, share in (("reserved", 1.0), ("allocated", 0.5)):
        monkeypatch.setattr(torch.cuda, f"memory_{name}", lambda device: 10**5)
        used = lambda device, share=share: int(10**5 + share * 10**6 * lanes_of_trial[-1])  # noqa: E731
        monkeypatch.setattr(torch.cuda, f"max_memory_{name}", used)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append("empty"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    records = [record(seed=seed, gamma=gamma) for seed in (5, 6, 7) for gamma in ("0", "1")]
    model = build_model(records[0]["model"], digits.input_shape, digits.outputs)
    lanes = capacity.suitable_lanes(records, digits, model, torch.device("cuda"))
    # 0.7 of the 30 MB that are free hold 21 lanes, in a pack without empty places 20.
    assert lanes == 20
    eight = [5, 6, 7, 5, 6, 7, 5, 6]
    # Each trial is made once, and memory is looked at for what is reserved and for what is allocated.
    told = [event for event in events if event != "empty"]
    assert told == [eight, eight, [5, 6], "free", "free"]
    assert events[-4:] == ["empty", "free"] * 2
    # Pieces that are reserved may be as many for few lanes as for some more: then what is allocated counts.
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 2 * 10**6)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**7, 10**9))
    # 7 MB hold 14 lanes of half a megabyte, in a pack without empty places 12.
    assert capacity.suitable_lanes(records, digits, model, torch.device("cuda")) == 12


def test_deterministic_kernels_have_their_workspace_and_no_pass_of_nan() -> None:
    code = """
import os, sys, torch
from gammascape.training.device import be_deterministic
be_deterministic()
assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")
assert torch.are_deterministic_algorithms_enabled()
assert not torch.utils.deterministic.fill_uninitialized_memory
# Importing the compiler takes as long as importing torch.
assert "torch._inductor" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_slowdown_of_float64_is_a_ratio_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_SLOW_SIZE", 256)
    # On any processor float64 moves twice the bytes; the bounds only tell a ratio from a time.
    assert 0.5 < float64_slowdown(CPU) < 200


@pytest.mark.parametrize(
    ("dtype", "slowdown", "warnings"),
    [("float64", 32.0, 1), ("float64", 2.0, 0), ("float32", 32.0, 0)],
)
def test_a_gpu_with_slow_float64_is_warned_of_once(
    dtype: str, slowdown: float, warnings: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = Worker("cpu", 60.0)
    worker.device = torch.device("cuda")
    monkeypatch.setattr("gammascape.training.worker.float64_slowdown", lambda device: slowdown)
    events: list[dict[str, Any]] = []
    task = Task("0", {"dtype": dtype}, None, tmp_path / "cell", None)
    for _ in range(2):
        worker._warn_of_float64(task, events.append)
    assert [event["event"] for event in events] == ["warning"] * warnings
    assert all("float64 is 32 times slower" in event["text"] for event in events)
    # The form is part of a cell's identity, so it is the user who chooses.
    assert all("small_gamma: {form: difference}" in event["text"] for event in events)


def inputs(seeds: int, lanes: int) -> tuple[dict[str, Tensor], StepInputs]:
    initial = initial_parameters(MODEL, list(range(seeds)), torch.float32, CPU)
    seed = torch.arange(lanes) % seeds
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    given = StepInputs(
        {},
        torch.full((lanes,), 0.1),
        torch.ones(lanes, 1, 1),
        FORM.reference(initial, x),
        x,
        torch.eye(3)[torch.arange(5) % 3],
        seed,
    )
    return {name: value[seed] for name, value in initial.items()}, given


class Recorded(Graph):
    """A graph whose capture only keeps the step, to be run again."""

    @staticmethod
    def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        result = run().clone()

        def replay() -> None:
            result.copy_(run())

        return replay, result


def trained(step: Any, lanes: int, steps: int = 3) -> tuple[Tensor, dict[str, Tensor]]:
    weights, given = inputs(2, lanes)
    losses = [step(weights, given) for _ in range(steps)]
    return torch.stack(losses), weights


def test_a_captured_step_leaves_no_trace_of_its_trial_and_is_captured_once() -> None:
    graph = Recorded(sgd_step_of(FORM, "mse"))
    losses, weights = trained(graph, 4)
    expected, expected_weights = trained(sgd_step_of(FORM, "mse"), 4)
    assert torch.equal(losses, expected)
    assert all(torch.equal(weights[name], value) for name, value in expected_weights.items())
    assert graph.captures == 1
    trained(graph, 6)
    assert graph.captures == 2


def test_the_memory_of_a_graph_is_free_before_the_next_is_captured_and_after_a_release() -> None:
    old: list[weakref.ref[Any]] = []
    alive: list[int] = []

    class Watched(Recorded):
        @staticmethod
        def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
            alive.append(sum(reference() is not None for reference in old))
            replay, losses = Recorded.record(run)
            old.extend(map(weakref.ref, (replay, losses)))
            return replay, losses

    graph = Watched(sgd_step_of(FORM, "mse"))
    for lanes in (4, 6):
        weights, given = inputs(2, lanes)
        graph(weights, given)
        old.extend(map(weakref.ref, weights.values()))
        del weights, given
    assert alive == [0, 0]
    assert any(reference() is not None for reference in old)
    graph.release()
    assert not any(reference() is not None for reference in old)


@pytest.mark.parametrize("fails", [False, True])
def test_a_pack_that_has_ended_or_failed_holds_no_graph(
    fails: bool, monkeypatch: pytest.MonkeyPatch, digits: Dataset, record: Any
) -> None:
    graphs: list[weakref.ref[Any]] = []

    def recorded(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        replay, losses = Recorded.record(run)
        graphs.append(weakref.ref(replay))
        return replay, losses

    monkeypatch.setattr(Graph, "record", staticmethod(recorded))
    monkeypatch.setattr(engine, "choose_backend", lambda *_: "graph")
    model = build_model(record()["model"], digits.input_shape, digits.outputs)
    training = Training(make_pack([record(seed=seed) for seed in range(2)]), digits, model, CPU)
    training.advance()
    training.advance()
    assert [graph() is not None for graph in graphs] == [True]
    if fails:
        monkeypatch.setattr(training, "_evaluate", lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        while training.alive:
            training.advance()
    assert [graph() is not None for graph in graphs] == [False]
    assert training.captures == 1


def test_a_step_that_cannot_be_captured_is_computed_eagerly_and_says_so() -> None:
    class Refused(Graph):
        @staticmethod
        def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
            run()
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graph = Refused(sgd_step_of(FORM, "mse"))
    with pytest.warns(RuntimeWarning, match="no CUDA graph could be captured"):
        losses, weights = trained(graph, 4)
    expected, expected_weights = trained(sgd_step_of(FORM, "mse"), 4)
    assert torch.equal(losses, expected)
    assert all(torch.equal(weights[name], value) for name, value in expected_weights.items())
    assert graph.fallback is not None
    assert "more" not in graph.fallback


def test_a_capture_that_was_disturbed_once_is_tried_again() -> None:
    outcomes = [RuntimeError("operation not permitted when stream is capturing"), None]

    class Disturbed(Recorded):
        @staticmethod
        def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
            run()
            if (error := outcomes.pop(0)) is not None:
                raise error
            return Recorded.record(run)

    graph = Disturbed(sgd_step_of(FORM, "mse"))
    losses, weights = trained(graph, 4)
    expected, expected_weights = trained(sgd_step_of(FORM, "mse"), 4)
    assert torch.equal(losses, expected)
    assert all(torch.equal(weights[name], value) for name, value in expected_weights.items())
    assert (graph.fallback, graph.captures) == (None, 1)


def test_only_the_capturing_thread_can_end_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def capture(graph: object, **options: Any) -> Any:
        asked.update(options)
        return nullcontext()

    with_fake_streams(monkeypatch)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    Graph.record(lambda: torch.zeros(2))
    assert asked == {"capture_error_mode": "thread_local"}


def with_fake_streams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the two streams of a capture; returns what waits for what."""
    waits: list[str] = []

    class Stream:
        def __init__(self, name: str = "side") -> None:
            self.name = name

        def wait_stream(self, other: "Stream") -> None:
            waits.append(f"{self.name} for {other.name}")

    main = Stream("main")
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **_: nullcontext())
    # With an empty cache of its own; the module's holds no stream of a test.
    monkeypatch.setattr(capture, "_side_stream", cache(capture._side_stream.__wrapped__))
    return waits


def test_weights_are_restored_after_the_steps_that_were_tried_even_if_one_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = with_fake_streams(monkeypatch)

    def fail() -> Tensor:
        waits.append("step")
        raise RuntimeError("no kernel")

    with pytest.raises(RuntimeError, match="no kernel"):
        Graph.record(fail)
    assert waits == ["side for main", "step", "main for side"]


def test_steps_are_tried_on_one_stream_whose_memory_serves_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_fake_streams(monkeypatch)
    fake, made = torch.cuda.Stream, []
    monkeypatch.setattr(torch.cuda, "Stream", lambda: made.append(fake()) or made[-1])
    for _ in range(2):
        Graph.record(lambda: torch.zeros(2))
    assert len(made) == 1


def test_memory_that_ran_out_is_seen_behind_the_error_of_an_ended_capture() -> None:
    error = RuntimeError("operation failed due to a previous error during capture")
    error.__context__ = torch.cuda.OutOfMemoryError("CUDA out of memory")
    assert is_out_of_memory(error)
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))


def test_memory_that_does_not_suffice_for_a_capture_is_no_reason_to_give_graphs_up() -> None:
    class Full(Graph):
        @staticmethod
        def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    graph = Full(sgd_step_of(FORM, "mse"))
    weights, given = inputs(1, 2)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        graph(weights, given)
    assert graph.fallback is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_step_finds_what_belongs_to_the_seed_of_each_lane(seeds: int) -> None:
    step = sgd_step_of(FORM, "xent")
    weights, given = inputs(seeds, 5)
    losses = step(weights, given)
    for lane in range(5):
        own, alone = inputs(seeds, 5)
        one = {name: value[lane : lane + 1].clone() for name, value in own.items()}
        # One product of a single matrix rounds otherwise than a batch of them.
        torch.testing.assert_close(
            step(one, inputs_of_lane(alone, lane))[0], losses[lane], rtol=1e-5, atol=0
        )
        for name, value in one.items():
            torch.testing.assert_close(value[0], weights[name][lane], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 0), (3, 2, 1), (1, 2, 0)])
def test_both_forms_of_a_convolution_are_the_same_function(
    size: int, stride: int, padding: int
) -> None:
    lanes, channels, outputs = 3, 2, 4
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2, lanes * channels, 7, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(
        lanes, outputs, channels, size, size, generator=generator, dtype=torch.float64
    )
    bias = torch.randn(lanes * outputs, generator=generator, dtype=torch.float64)
    found = []
    for form in (grouped, unfolded):
        leaves = [value.clone().requires_grad_() for value in (h, weight, bias)]
        y = form(*leaves, stride, padding)
        found.append([y, *torch.autograd.grad((y**2).sum(), leaves)])
    # Sums of some 20 products in another order, in float64.
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sides", [(8, 6), (7, 6), (8, 5)])
def test_pooling_on_a_gpu_is_that_of_torch(sides: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    found = []
    for pool in (layers.halve_by_sums, layers.halve):
        leaf = maps.clone().requires_grad_()
        y = pool(leaf)
        found += [[y, *torch.autograd.grad((y**2).sum(), leaf)]]
    # Sums of four float32 numbers in another order; odd rows and columns at the border are left out.
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_attention_on_a_gpu_is_that_of_torch() -> None:
    lanes, batch, tokens, heads, width = 2, 3, 5, 2, 8
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(
        lanes, batch * tokens, 3 * width, generator=generator, dtype=torch.float64
    ).requires_grad_()
    outputs = passes.Outputs({"w": torch.zeros(lanes)}, torch.zeros(batch), None)
    found = []
    for attend in (outputs.attention, passes.attend_by_products):
        y = attend(qkv, tokens, heads)
        found += [[y, *torch.autograd.grad((y**2).sum(), qkv)]]
    # Sums of a few products in another order, in float64.
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("device", "lengths"), [("cpu", [17, 13]), ("cuda", [16, 14])])
def test_the_job_of_a_pack_trains_it_in_parts_that_fill_its_device(
    device: str, lengths: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    class Fake:
        stopping = False
        backend = SimpleNamespace(as_record=dict)

        def __init__(self, *_: object, **__: object) -> None:
            self.device = torch.device(device)

        def run(self, tasks: list[Task], emit: object) -> None:
            trained.append(len(tasks))

    monkeypatch.setattr(serve, "Worker", Fake)
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    task = {"identity": "0", "record": {}, "data": None, "log": None, "sources": []}
    tasks = [{**task, "output": str(k)} for k in range(30)]
    (tmp_path / "pack").write_text(json.dumps({"tasks": tasks, "lanes": 17}))
    command = ["--pack", str(tmp_path / "pack"), "--journal", str(tmp_path / "journal")]
    assert serve.main(command) == 0
    assert trained == lengths


SHAPE = LaneShape(CPU, torch.float32, (2, 3, 8, 7), (4, 3, 3, 3), 2, 1, True)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | Exception]:
    """Seconds that each form takes, or the error that it raises, by its name."""
    found: dict[str, float | Exception] = {"grouped": 2.0, "unfolded": 1.0}
    clock = [0.0]

    def form(name: str) -> Callable[..., Tensor]:
        def run(x: Tensor, w: Tensor, *_: object) -> Tensor:
            outcome = found[name]
            if isinstance(outcome, Exception):
                raise outcome
            clock[0] += outcome
            return x.sum() * w.sum()

        run.__name__ = name
        return run

    for name in found:
        monkeypatch.setattr(convolution, name, form(name))
    monkeypatch.setattr(convolution, "_times", {})
    monkeypatch.setattr(convolution, "record", lambda run: (run, run()))
    monkeypatch.setattr(convolution.time, "perf_counter", lambda: clock[0])
    for name in ("synchronize", "empty_cache", "is_current_stream_capturing"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    return found


OOM = torch.cuda.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        ((2.0, 1.0), "unfolded"),
        ((1.0, 2.0), "grouped"),
        ((OOM, 2.0), "unfolded"),
        ((2.0, OOM), "grouped"),
        ((RuntimeError("CUDNN_STATUS_NOT_SUPPORTED"), 2.0), "unfolded"),
        ((2.0, RuntimeError("CUBLAS_STATUS_INTERNAL_ERROR")), "grouped"),
    ],
)
def test_the_faster_form_is_chosen_once_for_any_number_of_lanes(
    timed: dict[str, float | Exception], outcomes: tuple[float | Exception, ...], chosen: str
) -> None:
    timed.update(zip(("grouped", "unfolded"), outcomes, strict=True))
    form = convolution.form_of(SHAPE)
    assert form is getattr(convolution, chosen)
    timed.update(zip(("unfolded", "grouped"), outcomes, strict=True))
    assert convolution.form_of(SHAPE) is form
    other = MODEL.parameters[0], SimpleNamespace(shape=(4, 3, 3, 3))
    shapes = convolution.unfolded_shapes(cast(Model, SimpleNamespace(parameters=other)))
    assert shapes == (["2x3x8x7 by 4x3x3x3"] if chosen == "unfolded" else [])
    # A model without such filters.
    assert convolution.unfolded_shapes(MODEL) == []


@pytest.mark.parametrize("error", [OOM, RuntimeError("CUDNN_STATUS_INTERNAL_ERROR")])
def test_an_error_of_both_forms_is_raised(
    timed: dict[str, float | Exception], error: Exception
) -> None:
    timed.update(grouped=error, unfolded=error)
    with pytest.raises(type(error), match=r"memory|INTERNAL"):
        convolution.form_of(SHAPE)
    assert convolution._times == {}


def test_the_times_of_both_forms_are_told(timed: dict[str, float | Exception]) -> None:
    convolution.form_of(SHAPE)
    large = SHAPE._replace(
        inputs=(convolution._MOST_COLUMN_BYTES, *SHAPE.inputs[1:]), backward=False
    )
    convolution.form_of(large)
    convolution.form_of(large._replace(backward=True))
    # Forms of forward passes alone are not told.
    (shape, times), (_, alone) = convolution.comparisons()
    assert (shape, times) == ("2x3x8x7 by 4x3x3x3", {"grouped": 2.0, "unfolded": 1.0})
    assert list(alone) == ["grouped"]


def test_the_first_convolutions_of_the_paper_come_into_question(
    timed: dict[str, float | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:

    def small(*_: int, **__: object) -> Tensor:
        return torch.zeros(())

    monkeypatch.setattr(torch, "ones", small)
    # The first stage of paper-cifar5m-resnet: width 64, batches of 64 images of 32 by 32.
    stage = SHAPE._replace(inputs=(64, 64, 32, 32), filters=(64, 64, 3, 3), stride=1)
    assert stage.column_bytes == 64 * 1024 * 64 * 9 * 4
    assert convolution.form_of(stage) is convolution.unfolded


def test_forms_are_timed_on_as_many_lanes_as_their_memory_allows(
    timed: dict[str, float | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, ...]] = []
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *s, **_: made.append(s) or ones(1))
    convolution.form_of(SHAPE)
    assert made == [(2, 32 * 3, 8, 7), (32, 4, 3, 3, 3)]
    large = SHAPE._replace(inputs=(2**12, 64, 8, 7), filters=(4, 64, 3, 3))
    convolution.form_of(large)
    assert made[3] == (2**30 // large.column_bytes, 4, 64, 3, 3)
    assert made[3][0] == 7


def test_a_single_sample_as_torch_maps_over_is_not_unfolded(
    timed: dict[str, float | Exception],
) -> None:
    def of_sample(x: Tensor) -> Tensor:
        assert convolution.form_of(SHAPE._replace(inputs=(1, 3, 8, 7))) is convolution.grouped
        return (x**2).sum()

    found = torch.func.vmap(torch.func.grad(of_sample))(torch.ones(2, 3))
    assert torch.equal(found, torch.full((2, 3), 2.0))
    assert convolution.form_of(SHAPE) is convolution.unfolded


def test_forms_that_do_not_fit_are_timed_with_two_lanes(
    timed: dict[str, float | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    unfolded = convolution.unfolded

    def large(x: Tensor, w: Tensor, *others: object) -> Tensor:
        made.append(len(w))
        if len(w) > 2:
            raise OOM
        return unfolded(x, w, *others)

    large.__name__ = "unfolded"
    monkeypatch.setattr(convolution, "unfolded", large)
    assert convolution.form_of(SHAPE) is large
    assert {32, 2} == set(made)


def test_what_would_take_much_memory_is_not_unfolded(timed: dict[str, float | Exception]) -> None:
    _, channels, height, breadth = SHAPE.inputs
    image = torch.zeros(1, channels, height, breadth)
    columns = F.unfold(image, 3, padding=SHAPE.padding, stride=SHAPE.stride)
    assert SHAPE.column_bytes == 2 * 4 * columns.numel()
    large = SHAPE._replace(inputs=(convolution._MOST_COLUMN_BYTES, *SHAPE.inputs[1:]))
    assert convolution.form_of(large) is convolution.grouped
    assert convolution.form_of(SHAPE) is convolution.unfolded


def test_nothing_is_timed_while_a_step_is_captured(
    timed: dict[str, float | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert convolution.form_of(SHAPE) is convolution.grouped
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert convolution.form_of(SHAPE) is convolution.unfolded


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    monkeypatch.setattr(device_module, "_LOCKS", tmp_path)
    monkeypatch.setattr(device_module, "_uuid", lambda device: f"GPU-{device.index}")
    monkeypatch.setattr(device_module, "_WAIT", 0.0)
    monkeypatch.setattr(device_module, "_TAKEN", [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return [torch.device("cuda", number) for number in range(2)]


def test_two_processes_do_not_compute_on_one_gpu(two_gpus: list[torch.device]) -> None:
    # The lock belongs to an open file, so a second one in this process is as good as another process.
    with device_module._lock("GPU-1") as other:
        assert device_module._claim(other)
        looks = iter([True, True, False])
        with alone_on(two_gpus[1], lambda: next(looks)) as alone:
            assert not alone, "it computes beside the other process"
            assert next(looks, None) is None, "it did not wait for the other process"
        assert device_module.take_gpu(1) == two_gpus[0]
    with alone_on(two_gpus[1], lambda: pytest.fail("it waited for nobody")) as alone:
        assert alone
    for lock in device_module._TAKEN:
        lock.close()


def test_one_that_waits_for_a_gpu_comes_before_its_last_holder(
    two_gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake, entered, stop = (threading.Event() for _ in range(4))

    def sleep(_: float) -> None:
        if threading.current_thread() is thread:
            asleep.set()
            awake.wait(60)

    def other() -> None:
        with alone_on(two_gpus[0]):
            entered.set()
            stop.wait(60)

    monkeypatch.setattr(device_module, "time", SimpleNamespace(sleep=sleep))
    thread = threading.Thread(target=other)
    with alone_on(two_gpus[0]):
        thread.start()
        assert asleep.wait(60)

    def go_on() -> bool:
        awake.set()
        return not entered.is_set()

    # The holder wants it again while the other one sleeps: it comes after it all the same.
    with alone_on(two_gpus[0], go_on) as alone:
        assert not alone
    stop.set()
    thread.join()


def test_a_gpu_without_a_lock_is_used_with_a_warning(
    two_gpus: list[torch.device], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "_LOCKS", tmp_path / "absent")
    with pytest.warns(RuntimeWarning, match="other processes"), alone_on(two_gpus[0]) as alone:
        assert alone
    with pytest.warns(RuntimeWarning, match="other processes"):
        assert device_module.take_gpu(1) == two_gpus[1]


def test_an_unwilling_cache_of_memory_stops_nothing(
    two_gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise RuntimeError("captures_underway")

    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    device_module.empty_cache()
    with alone_on(two_gpus[0]) as alone:
        assert alone


def test_a_worker_that_is_told_to_stop_while_it_waits_computes_nothing(
    two_gpus: list[torch.device], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Any
) -> None:
    worker = Worker("cpu", 60.0)
    worker.device = two_gpus[0]
    monkeypatch.setattr(worker, "_prepare", lambda *_: None)
    monkeypatch.setattr(worker, "_train", lambda *_, **__: pytest.fail("it trains"))
    task = Task("0", record(), None, tmp_path / "cells/a/0", None)
    unlocked: list[str] = []
    monkeypatch.setattr(worker._store(task)[0], "unlock", unlocked.append)
    worker.stop()
    with device_module._lock("GPU-0") as other:
        assert device_module._claim(other)
        with pytest.raises(Interrupted):
            worker.run([task], lambda event: None)
        with pytest.raises(Interrupted):
            serve._lanes(worker, [task], lambda event: None)
    assert unlocked == ["0"]


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [15, 15]), ("cuda", [16, 14])])
def test_cells_of_a_pack_that_was_too_large_fill_their_device(
    device: str, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Any
) -> None:
    worker = Worker("cpu", 60.0)
    worker.device = torch.device(device)
    made: list[int] = []
    monkeypatch.setattr(worker, "_train_pack", lambda members, *_: made.append(len(members)))
    tasks = [Task(str(k), record(), None, tmp_path / f"cells/a/{k}", None) for k in range(30)]
    worker._train(tasks, SimpleNamespace(constants={}), most=17)  # type: ignore[arg-type]
    assert made == sizes


def test_locks_do_not_depend_on_the_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = set()
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr(tempfile, "tempdir", None)
        assert tempfile.gettempdir() == str(folder)
        with device_module._lock("test") as lock:
            places.add(Path(lock.name))
    [place] = places
    assert str(os.getuid()) in place.name
    place.unlink()


def test_a_gpu_is_left_with_its_memory(
    two_gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[bool] = []

    def empty() -> None:
        # While the lock is held, or the next process would find no memory.
        with device_module._lock("GPU-0") as other:
            emptied.append(device_module._claim(other))

    monkeypatch.setattr(torch.cuda, "empty_cache", empty)
    with alone_on(two_gpus[0]):
        assert not emptied
    with pytest.raises(ZeroDivisionError), alone_on(two_gpus[0]):
        raise ZeroDivisionError
    assert emptied == [False, False]
