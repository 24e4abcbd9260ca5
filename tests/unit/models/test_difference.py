"""The difference form is the centred network, and keeps its digits where subtraction loses them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import build_model, changes, initial_parameters
from gammascape.models.centred import CentredForm, difference_form, subtraction
from gammascape.training.backend import make_step
from gammascape.training.engine import Training
from gammascape.training.pack import make_pack
from gammascape.training.sgd import StepInputs

CPU = torch.device("cpu")
SHAPE = (2, 8, 8)
OPTIONS: dict[str, dict[str, Any]] = {
    "mlp2": {"kind": "mlp", "depth": 2, "width": 24},
    "mlp4": {"kind": "mlp", "depth": 4, "width": 24},
    "cnn": {"kind": "cnn", "width": 4, "padding": 1},
    "resnet": {"kind": "resnet", "width": 4, "blocks": [1, 1], "norm": "layer"},
    "resnet-group": {"kind": "resnet", "width": 16, "blocks": [2], "norm": "group"},
    "vit": {"kind": "vit", "width": 16, "blocks": 2, "heads": 2, "patch": 4, "mlp_ratio": 2},
}


def trained(
    form: CentredForm, dtype: torch.dtype, gammas: list[float], loss: str, steps: int = 20
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """f (K, B, O) on fresh inputs after some steps at eta = gamma^2 / 20, and hidden layers; lane k has seed k."""
    generator = torch.Generator().manual_seed(0)
    xs = torch.randn(steps + 1, 8, *SHAPE, generator=generator).to(dtype)
    ys = torch.eye(3)[torch.randint(3, (steps, 8), generator=generator)].to(dtype)
    initial = initial_parameters(form.model, list(range(len(gammas))), dtype, CPU)
    starts = initial if form.trains_difference else {}
    begin = torch.zeros_like if form.trains_difference else torch.clone
    weights = {name: begin(value) for name, value in initial.items()}
    gamma = torch.tensor(gammas, dtype=dtype)
    rates = 0.05 * form.model.base_width * gamma.square().clamp(max=1)
    step = make_step(form, loss, "eager")
    constants = rates, gamma[:, None, None]
    for x, y in zip(xs[:-1], ys, strict=True):
        step(weights, StepInputs(starts, *constants, form.reference(initial, x), x, y))
    hidden: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        f = form.numerator(weights, starts, form.reference(initial, xs[-1]), xs[-1], hidden)
    return f / gamma[:, None, None], hidden


@pytest.mark.parametrize("loss", ["mse", "xent"])
@pytest.mark.parametrize("kind", list(OPTIONS))
def test_it_is_the_function_that_subtraction_gives(kind: str, loss: str) -> None:
    model = build_model(OPTIONS[kind], SHAPE, 3)
    form = difference_form(model)
    # gamma of order one and above, where weights move far and ReLUs switch.
    gammas = [0.5, 1.0, 20.0]
    f, hidden = trained(form, torch.float64, gammas, loss)
    expected, features = trained(subtraction(model), torch.float64, gammas, loss)
    assert expected.abs().max() > 1e-2
    # Subtraction loses the digits of f~ / (gamma f), some two, and 20 steps add their rounding. The change of GELU
    # is a series that is cut at 1e-8.
    close = {"rtol": 1e-6, "atol": 1e-8} if kind == "vit" else {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(f, expected, **close)
    assert list(hidden) == list(features)
    for name, value in features.items():
        torch.testing.assert_close(hidden[name], value, **close)


@pytest.mark.parametrize("kind", list(OPTIONS))
def test_it_keeps_float32_digits_at_any_gamma(kind: str) -> None:
    model = build_model(OPTIONS[kind], SHAPE, 3)
    form = difference_form(model)
    gammas = [1e-1, 1e-3, 1e-5]
    f, _ = trained(form, torch.float32, gammas, "mse")
    exact, _ = trained(subtraction(model), torch.float64, gammas, "mse")
    error = (f - exact).norm(dim=(1, 2)) / exact.norm(dim=(1, 2))
    # A few units in the last place, 6e-8, for each of 20 steps; a ReLU that is within rounding of its kink for one
    # sample changes f by its share of a sum over samples and units.
    assert error.max() < 3e-5
    lost, _ = trained(subtraction(model), torch.float32, gammas[2:], "mse")
    # The test can fail: what subtraction leaves of f~ of order one at gamma = 1e-5 is a hundredth.
    assert (lost - exact[2:]).norm() / exact[2:].norm() > 1e-3


def test_an_mlp_steps_by_hand_as_autograd_would() -> None:
    form = difference_form(build_model(OPTIONS["mlp4"], SHAPE, 3))
    automatic = CentredForm(form.model, True, form.reference, form.numerator, None)
    for gammas in ([1e-4, 1.0], [10.0, 100.0]):
        f, _ = trained(form, torch.float64, gammas, "xent")
        expected, _ = trained(automatic, torch.float64, gammas, "xent")
        torch.testing.assert_close(f, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e-2, 0.2, 0.3, 3.0])
@pytest.mark.parametrize("name", ["gelu", "softmax", "norm", "relu"])
def test_changes_of_layers_keep_their_digits(name: str, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.randn(64, 16, generator=generator, dtype=torch.float64)
    dp = size * torch.randn(64, 16, generator=generator, dtype=torch.float64)

    def change(p: torch.Tensor, dp: torch.Tensor) -> torch.Tensor:
        if name == "softmax":
            return changes.softmax(torch.softmax(p, -1), dp)
        if name == "norm":
            return changes.normalization_change(*changes.normalize(p), dp)
        return (changes.gelu if name == "gelu" else changes.relu)(p, dp)[0]

    exact = change(p, dp)
    if size >= 1e-6:
        layer = {
            "gelu": torch.nn.functional.gelu,
            "softmax": lambda v: torch.softmax(v, -1),
            "norm": lambda v: torch.nn.functional.layer_norm(v, (16,)),
            "relu": torch.relu,
        }[name]
        # Two values of order one are subtracted: 1e-16 each, and erf's own error. The series of GELU ends with its
        # changes up to 0.25 at a relative error of 1e-8.
        atol = 3e-9 if name == "gelu" and size > 0.1 else 2e-15
        torch.testing.assert_close(exact, layer(p + dp) - layer(p), rtol=1e-8, atol=atol)
    # Changes of order one cost a softmax digits as exp(change), which nothing hangs on: subtraction would do.
    single = change(p.float(), dp.float()).double()
    share = 1e-4 if size > 1 else 1e-5
    torch.testing.assert_close(single, exact, rtol=0, atol=share * float(exact.abs().max()))


def test_the_engine_trains_it_and_goes_on_from_its_checkpoints(
    digits: Dataset, record: Callable[..., dict[str, Any]]
) -> None:
    cell = {"gamma": "-4", "eta": "-8.5", "steps": 120}
    options = record()["model"]
    model = build_model(options, digits.input_shape, 10)
    pack = make_pack([record(**cell, dtype="float32-difference", seed=seed) for seed in (0, 1)])
    whole = Training(pack, digits, model, CPU)
    runs = {}
    while whole.alive:
        runs.update(whole.advance())
    first = Training(pack, digits, model, CPU)
    first.advance()
    first.advance()
    second = Training(pack, digits, model, CPU, [state for _, state in first.states()])
    again = {}
    while second.alive:
        again.update(second.advance())
    exact = Training(
        make_pack([record(**cell, dtype="float64", seed=seed) for seed in (0, 1)]),
        digits, model, CPU,
    )  # fmt: skip
    expected = {}
    while exact.alive:
        expected.update(exact.advance())
    for lane in (0, 1):
        assert runs[lane].losses.tobytes() == again[lane].losses.tobytes()
        outputs = torch.tensor(runs[lane].probe_outputs)
        assert torch.equal(outputs, torch.tensor(again[lane].probe_outputs))
        # As in the test of forms above.
        torch.testing.assert_close(
            outputs, torch.tensor(expected[lane].probe_outputs), rtol=1e-3, atol=1e-4
        )
        for name, value in expected[lane].relative_change.items():
            assert runs[lane].relative_change[name] == pytest.approx(value, rel=1e-4)
            assert value > 0
