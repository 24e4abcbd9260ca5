"""The update step: by hand and by autograd, eager and compiled, and a lane's independence of its pack."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from gammascape.models import Model, build_model, initial_parameters, layers, passes
from gammascape.models.centred import difference_form, subtraction
from gammascape.models.convolution import unfolded
from gammascape.training import backend as step_module
from gammascape.training.backend import (
    COMPILE_FROM_STEPS,
    Backend,
    choose_backend,
    has_compiler,
    make_step,
)
from gammascape.training.capacity import cpu_lanes
from gammascape.training.exact import exact
from gammascape.training.sgd import StepInputs

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)
OPTIONS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "depth": 3, "width": 32},
    "cnn": {"kind": "cnn", "width": 4, "padding": 1},
    "resnet": {"kind": "resnet", "width": 4, "blocks": [1, 1], "norm": "group"},
    "vit": {"kind": "vit", "width": 16, "blocks": 1, "heads": 2, "patch": 4, "mlp_ratio": 2},
}


def train(
    model: Model,
    seeds: list[int],
    *,
    backend: Backend = "eager",
    loss: str = "mse",
    dtype: torch.dtype = torch.float32,
    batch: int = 32,
    wild: tuple[int, ...] = (),
    device: torch.device = CPU,
    steps: int = 4,
    difference: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses (steps, K) and what is trained, one lane for each seed, which its gamma and eta are functions of.

    `difference` trains the difference form.
    """
    form = difference_form(model) if difference else subtraction(model)
    generator = torch.Generator().manual_seed(0)
    xs = torch.randn(steps, batch, *SHAPE, generator=generator).to(device, dtype)
    ys = torch.eye(10)[torch.randint(10, (steps, batch), generator=generator)].to(device, dtype)
    initial = initial_parameters(model, seeds, dtype, device)
    # In packs of two a seed's own copies, which is the least number of lanes that is computed.
    same = exact(form)
    alone = [initial_parameters(model, [seed] * same.least, dtype, device) for seed in seeds]
    starts = {name: value.clone() for name, value in initial.items()} if difference else {}
    begin = torch.zeros_like if difference else torch.clone
    trained = {name: begin(value) for name, value in initial.items()}
    rates = [1e30 if k in wild else 0.05 * model.base_width for k in range(len(seeds))]
    learning_rates = torch.tensor(rates, dtype=dtype, device=device)
    gammas = torch.tensor([0.5 + seed for seed in seeds], dtype=dtype, device=device)
    step = make_step(form, loss, backend)
    losses = []
    for x, y in zip(xs, ys, strict=True):
        kept = zip(*([v[:1] for v in same.reference(start, x)] for start in alone), strict=True)
        reference = tuple(torch.cat(several) for several in kept)
        constants = learning_rates, gammas[:, None, None], reference
        losses.append(step(trained, StepInputs(starts, *constants, x, y)))
    return torch.stack(losses), trained


def assert_same_lane(
    a: tuple[Tensor, dict[str, Tensor]], i: int, b: tuple[Tensor, dict[str, Tensor]], j: int
) -> None:
    assert torch.equal(a[0][:, i], b[0][:, j])
    for name, value in a[1].items():
        assert torch.equal(value[i], b[1][name][j]), name


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_the_step_by_hand_is_that_of_autograd(loss: str, depth: int) -> None:
    model = build_model({"kind": "mlp", "depth": depth, "width": 24}, SHAPE, 10)
    automatic = Model(
        model.parameters, model.forward, model.base_width, model.depth, model.hidden, None
    )
    by_hand = train(model, [0, 1, 2], loss=loss, dtype=torch.float64)
    expected = train(automatic, [0, 1, 2], loss=loss, dtype=torch.float64)
    torch.testing.assert_close(by_hand[0], expected[0], rtol=1e-12, atol=1e-14)
    start = initial_parameters(model, [0, 1, 2], torch.float64, CPU)
    for name, value in by_hand[1].items():
        torch.testing.assert_close(value, expected[1][name], rtol=1e-12, atol=1e-13)
        assert not torch.equal(value, start[name])


@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize("kind", ["cnn", "resnet", "vit"])
def test_what_only_a_gpu_computes_trains_the_same_networks(
    kind: str, difference: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(OPTIONS[kind], SHAPE, 10)
    options: Any = {"dtype": torch.float64, "difference": difference, "batch": 8}
    expected = train(model, [0, 1, 2], **options)
    monkeypatch.setattr(layers, "halve", layers.halve_by_sums)
    monkeypatch.setattr(layers, "lanes_conv", unfolded)
    monkeypatch.setattr(
        passes.Outputs, "attention", lambda _, *given: passes.attend_by_products(*given)
    )
    found = train(model, [0, 1, 2], **options)
    # Four steps of sums in another order, in float64.
    torch.testing.assert_close(found[0], expected[0], rtol=1e-10, atol=0)
    for name, value in found[1].items():
        torch.testing.assert_close(value, expected[1][name], rtol=1e-10, atol=1e-12)


@pytest.fixture(params=["medium", "highest"])
def precision(request: pytest.FixtureRequest) -> Any:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", list(OPTIONS))
@pytest.mark.usefixtures("precision")
def test_a_lane_has_the_same_bits_in_any_pack(kind: str, dtype: torch.dtype) -> None:
    model = build_model(OPTIONS[kind], SHAPE, 10)
    reference = train(model, [0, 1, 2, 3, 4], dtype=dtype)
    assert reference[0].isfinite().all()
    assert_same_lane(train(model, [4, 3, 2, 1, 0], dtype=dtype), 1, reference, 3)
    assert_same_lane(train(model, [2, 3, 7], dtype=dtype), 1, reference, 3)
    assert_same_lane(train(model, [0, 1, 2, 3], dtype=dtype, wild=(0, 1)), 3, reference, 3)
    assert_same_lane(
        train(model, [3] * exact(subtraction(model)).least, dtype=dtype), 0, reference, 3
    )


@pytest.mark.parametrize("difference", [False, True])
# Matrices of the last begin at multiples of 64 bytes, so that lanes are computed together.
@pytest.mark.parametrize(("width", "batch"), [(16, 1), (17, 2), (64, 1), (8, 8)])
@pytest.mark.usefixtures("precision")
def test_products_of_any_size_do_not_tie_a_lane_to_the_number_of_lanes(
    width: int, batch: int, difference: bool
) -> None:
    # With precision "medium" torch has another routine for more than 4096 multiplications of all lanes together.
    model = build_model({"kind": "mlp", "depth": 2, "width": width}, SHAPE, 10)
    reference = train(model, [*range(40)], batch=batch, difference=difference)
    assert reference[0].isfinite().all()
    for several in (2, 3, 7, 20):
        some = train(model, [*range(30, 30 + several)], batch=batch, difference=difference)
        assert_same_lane(some, 1, reference, 31)


@pytest.mark.parametrize("kind", list(OPTIONS))
@pytest.mark.usefixtures("precision")
def test_a_lane_of_the_difference_form_has_the_same_bits_in_any_pack(kind: str) -> None:
    model = build_model(OPTIONS[kind], SHAPE, 10)
    reference = train(model, [0, 1, 2, 3, 4], difference=True)
    assert reference[0].isfinite().all()
    assert_same_lane(train(model, [4, 3, 2, 1, 0], difference=True), 1, reference, 3)
    wild = train(model, [0, 2, 3], wild=(0,), difference=True)
    assert_same_lane(wild, 2, reference, 3)
    alone = train(model, [3] * exact(subtraction(model)).least, difference=True)
    assert_same_lane(alone, 0, reference, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("width", "batch"), [(10, 32), (17, 30), (100, 100)])
@pytest.mark.usefixtures("precision")
def test_odd_sizes_do_not_tie_a_lane_to_its_pack(
    width: int, batch: int, dtype: torch.dtype
) -> None:
    # Matrices of these sizes do not all begin at a multiple of 64 bytes.
    model = build_model({"kind": "mlp", "depth": 3, "width": width}, SHAPE, 10)
    reference = train(model, [0, 1, 2, 3, 4], dtype=dtype, batch=batch)
    assert_same_lane(train(model, [3, 1], dtype=dtype, batch=batch), 0, reference, 3)
    assert_same_lane(train(model, [1, 2, 3], dtype=dtype, batch=batch), 2, reference, 3)


def record(kind: str, steps: int, dtype: str = "float32") -> dict[str, Any]:
    return {"model": OPTIONS[kind], "steps": steps, "dtype": dtype}


def test_long_runs_of_models_that_gain_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {kind: build_model(options, SHAPE, 10) for kind, options in OPTIONS.items()}

    def chosen(kind: str, steps: int, dtype: str = "float32") -> Backend:
        return choose_backend(record(kind, steps, dtype), models[kind], CPU)

    monkeypatch.setattr(step_module, "has_compiler", lambda: True)
    assert chosen("cnn", COMPILE_FROM_STEPS) == "compile"
    assert chosen("cnn", COMPILE_FROM_STEPS - 1) == "eager"
    assert chosen("vit", COMPILE_FROM_STEPS, "float64") == "eager"
    assert chosen("mlp", 10**6) == "eager"
    monkeypatch.setattr(step_module, "has_compiler", lambda: False)
    assert chosen("cnn", COMPILE_FROM_STEPS) == "eager"
    cuda = torch.device("cuda")
    assert choose_backend(record("cnn", 1), models["cnn"], cuda) == "graph"


def test_packs_shrink_as_networks_grow() -> None:
    lanes = [
        cpu_lanes(build_model({"kind": "mlp", "depth": 3, "width": width}, (784,), 10), 128)
        for width in (16, 256, 2048)
    ]
    assert lanes == sorted(lanes, reverse=True)
    assert lanes[0] > lanes[-1] >= 2


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")
@pytest.mark.filterwarnings("default")
def test_the_compiled_step_is_the_eager_one_up_to_rounding_for_any_number_of_lanes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Else processes are started, each of which imports PyTorch.
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    model = build_model(OPTIONS["cnn"], SHAPE, 10)
    compiled = train(model, [0, 1, 2, 3], backend="compile")
    torch.testing.assert_close(compiled[0], train(model, [0, 1, 2, 3])[0], rtol=1e-4, atol=1e-6)
    assert_same_lane(train(model, [3], backend="compile"), 0, compiled, 3)
    assert_same_lane(train(model, [2, 3], backend="compile", wild=(0,)), 1, compiled, 3)


def test_without_a_working_compiler_the_step_warns_and_is_eager(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = OPTIONS["cnn"] | {"width": 3}
    model = build_model(options, SHAPE, 10)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fallen_back = train(model, [0, 1], backend="compile")
    told = [str(w.message) for w in caught if w.category is RuntimeWarning]
    assert any("torch.compile failed" in message for message in told)
    step = make_step(subtraction(model), "mse", "compile")
    assert "torch.compile failed" in str(getattr(step, "fallback", None))
    assert_same_lane(fallen_back, 1, train(model, [0, 1]), 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", list(OPTIONS))
def test_the_captured_step_is_the_eager_one(kind: str) -> None:
    model, cuda = build_model(OPTIONS[kind], SHAPE, 10), torch.device("cuda")
    graph = train(model, [0, 1], backend="graph", device=cuda)
    eager = train(model, [0, 1], backend="eager", device=cuda)
    torch.testing.assert_close(graph[0], eager[0], rtol=1e-4, atol=1e-6)
    for name, value in graph[1].items():
        torch.testing.assert_close(value, eager[1][name], rtol=1e-4, atol=1e-5)
