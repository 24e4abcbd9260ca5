"""mu-P: what must not depend on the width does not; lanes are networks of their own."""

from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import Hidden, build_model, initial_parameters
from gammascape.models.centred import subtraction
from gammascape.training.backend import make_step
from gammascape.training.sgd import StepInputs

CPU = torch.device("cpu")
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "depth": 3},
    "cnn": {"kind": "cnn", "padding": 1},
    "resnet": {"kind": "resnet", "blocks": [1, 1], "norm": "layer"},
    "vit": {"kind": "vit", "blocks": 1, "heads": 2, "patch": 2, "mlp_ratio": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_lane_is_the_network_it_is_alone(kind: str, digits: Dataset) -> None:
    model = build_model({**KINDS[kind], "width": 8}, digits.input_shape, 10)
    x = digits.probe_inputs[:5].double()
    pack = initial_parameters(model, [3, 1, 2], torch.float64, CPU)
    together = model.forward(pack, x, None)
    for lane, seed in enumerate([3, 1, 2]):
        alone = model.forward(initial_parameters(model, [seed], torch.float64, CPU), x, None)
        # Sums in another order: a few units in the last place of float64.
        torch.testing.assert_close(together[lane], alone[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_layers_are_recorded_by_name_and_the_readout_reads_the_last(
    kind: str, digits: Dataset
) -> None:
    model = build_model({**KINDS[kind], "width": 8}, digits.input_shape, 10)
    hidden: Hidden = {}
    model.forward(
        initial_parameters(model, [0, 1], torch.float32, CPU), digits.probe_inputs[:4], hidden
    )
    assert tuple(hidden) == model.hidden
    assert all(features.shape[:2] == (2, 4) for features in hidden.values())
    readout = next(p for p in reversed(model.parameters) if p.initial == "normal")
    assert hidden[model.hidden[-1]].shape[2] == readout.shape[1]


def test_float32_and_float64_start_from_the_same_network(digits: Dataset) -> None:
    model = build_model({**KINDS["mlp"], "width": 8}, digits.input_shape, 10)
    single = initial_parameters(model, [7], torch.float32, CPU)
    double = initial_parameters(model, [7], torch.float64, CPU)
    for name, value in single.items():
        assert torch.equal(value.double(), double[name])


def coordinates(kind: str, width: int, digits: Dataset, readout: float = 1.0) -> dict[str, float]:
    """RMS of activations, of their change and of the output after 3 steps, over three seeds."""
    model = build_model({**KINDS[kind], "width": width}, digits.input_shape, 10)
    form, seeds = subtraction(model), [0, 1, 2]
    start = initial_parameters(model, seeds, torch.float32, CPU)
    weights = {name: value.clone().requires_grad_() for name, value in start.items()}
    etas = torch.full((3,), float(width))
    gammas = torch.full((3, 1, 1), 1.0 / readout)
    xs, ys = digits.batches(0, 0, 3, 16)
    for x, y in zip(xs, ys, strict=True):
        reference = form.reference(start, x)
        make_step(form, "mse", "eager")(weights, StepInputs({}, etas, gammas, reference, x, y))
    before: Hidden = {}
    after: Hidden = {}
    probe = digits.probe_inputs[:16]
    with torch.no_grad():
        f0 = model.forward(start, probe, before)
        f = (model.forward(weights, probe, after) - f0) / gammas
    rms = {"output": float(f.square().mean().sqrt())}
    for name in model.hidden:
        rms[name] = float(after[name].square().mean().sqrt())
        rms[f"change of {name}"] = float((after[name] - before[name]).square().mean().sqrt())
    return rms


def slopes(kind: str, widths: list[int], digits: Dataset) -> dict[str, float]:
    measured = [coordinates(kind, width, digits) for width in widths]
    return {
        name: float(np.polyfit(np.log(widths), np.log([m[name] for m in measured]), 1)[0])
        for name in measured[0]
    }


@pytest.mark.parametrize("kind", KINDS)
def test_coordinate_check_nothing_grows_or_fades_with_width(kind: str, digits: Dataset) -> None:
    # The widest residual network would cost more than all others together.
    widths = {"mlp": [32, 64, 128, 256, 512], "resnet": [16, 64, 128]}.get(kind, [16, 64, 256])
    found = slopes(kind, widths, digits)
    # A layer with the wrong multiplier or learning rate scales as a power 1/2 or 1 of the width; finite
    # width and three seeds leave slopes of up to about 0.17.
    assert {name: s for name, s in found.items() if abs(s) > 0.25} == {}


def test_coordinate_check_notices_a_readout_without_mean_field_scaling(digits: Dataset) -> None:
    widths = [32, 128, 512]
    outputs = [coordinates("mlp", n, digits, readout=n**0.5)["output"] for n in widths]
    assert np.polyfit(np.log(widths), np.log(outputs), 1)[0] > 0.4
