"""The engine against a plain loop, and a cell's independence of its pack-mates."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import build_model, initial_parameters
from gammascape.runs.history import FULL_HISTORY, measurement_steps, thin
from gammascape.training.losses import lane_losses, zero_losses
from gammascape.training.pack import make_pack

from ..own import run_pack

CPU = torch.device("cpu")
Record = Callable[..., dict[str, Any]]


def plain_loop(record: dict[str, Any], dataset: Dataset) -> np.ndarray:
    """Losses of one MLP trained by a loop that shares no code with the engine's step."""
    dtype = getattr(torch, record["dtype"])
    depth, width = record["model"]["depth"], record["model"]["width"]
    model = build_model(record["model"], dataset.input_shape, dataset.outputs)
    start = initial_parameters(model, [record["seed"]], dtype, CPU)
    frozen = {name: value[0] for name, value in start.items()}
    weights = {name: value.clone().requires_grad_() for name, value in frozen.items()}

    def network(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        h = x.flatten(1)
        for layer in range(1, depth + 1):
            w, b = p[f"layer{layer}.weight"], p[f"layer{layer}.bias"]
            fan_in = w.shape[1]
            if layer == depth:
                return (h @ w.T + b) / fan_in
            h = torch.relu((h @ w.T + b) / fan_in**0.5)
        raise AssertionError

    gamma, eta = 10.0 ** float(record["gamma"]), 10.0 ** float(record["eta"])
    losses = []
    xs, ys = dataset.batches(record["data_seed"], 0, record["steps"], record["batch_size"])
    for x, y in zip(xs.to(dtype), ys.to(dtype), strict=True):
        f = (network(weights, x) - network(frozen, x)) / gamma
        if record["loss"] == "mse":
            loss = ((f - y) ** 2).mean()
        else:
            loss = torch.nn.functional.cross_entropy(f, y.argmax(1))
        gradients = torch.autograd.grad(loss, list(weights.values()))
        with torch.no_grad():
            for weight, gradient in zip(weights.values(), gradients, strict=True):
                weight -= width * eta * gradient
        losses.append(loss.item())
    return np.array(losses)


@pytest.mark.parametrize("loss", ["mse", "xent"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # Two orders of summation differ by a rounding error per step; a stable cell does not amplify it, so after
    # 100 steps some hundred units in the last place are left.
    [("float32", 1e-4), ("float64", 1e-11)],
)
def test_the_engine_trains_as_a_plain_loop_does(
    record: Record, digits: Dataset, loss: str, dtype: str, tolerance: float
) -> None:
    cell = record(loss=loss, dtype=dtype)
    [run] = run_pack([cell], digits)
    np.testing.assert_allclose(run.losses, plain_loop(cell, digits), rtol=tolerance)
    assert run.losses[-1] < 0.9 * run.losses[0]


@pytest.mark.parametrize("gamma", ["-4", "0", "4"])
def test_training_starts_at_the_zero_function(record: Record, digits: Dataset, gamma: str) -> None:
    [run] = run_pack([record(gamma=gamma, eta="-8", steps=1, dtype="float64")], digits)
    assert run.losses[0] == run.zero_losses[0] == pytest.approx(0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cell_does_not_feel_its_pack_mates(record: Record, digits: Dataset, dtype: str) -> None:
    cells = [
        record(gamma=g, eta=e, seed=s, dtype=dtype)
        for g, e, s in (("0", "0", 0), ("1", "1", 1), ("0", "6", 0), ("-1", "-2", 0), ("1", "8", 2))
    ]
    together = run_pack(cells, digits)
    reordered = run_pack(cells[::-1], digits)[::-1]
    for cell, a, b in zip(cells, together, reordered, strict=True):
        assert np.array_equal(a.losses, b.losses, equal_nan=True)
        [alone] = run_pack([cell], digits)
        assert np.array_equal(alone.losses, a.losses, equal_nan=True)


def test_a_diverged_lane_ends_early_and_leaves_no_numbers_behind(
    record: Record, digits: Dataset
) -> None:
    stable, wild = run_pack([record(steps=400), record(steps=400, eta="8")], digits)
    assert stable.steps_done == 400
    assert stable.facts.finite
    assert wild.steps_done < 100
    assert wild.facts.seen_nan
    assert wild.facts.final_loss is None
    assert wild.grams is None


def test_a_small_cell_reaches_the_numbers_it_reached_before(
    record: Record, digits: Dataset
) -> None:
    """If this fails on purpose: raise NUMERICS_VERSION, and write the new numbers here."""
    assert record()["numerics"] == 1
    [run] = run_pack([record(dtype="float64", eta="0.5")], digits)
    # Weights and updates are float64, but the stream's sines and logarithms are float32 and may differ between
    # CPUs in the last place, some 1e-7 of an input.
    assert run.losses[-1] == pytest.approx(GOLDEN_LOSS, rel=1e-5)
    assert run.evaluations[-1].loss == pytest.approx(GOLDEN_TEST_LOSS, rel=1e-5)


GOLDEN_LOSS = 0.07248564121834708
GOLDEN_TEST_LOSS = 0.055874534076367194


def test_long_histories_keep_every_minimum_and_maximum() -> None:
    losses = np.random.default_rng(0).uniform(size=300_000)
    short = thin(losses)
    assert len(short["step"]) < 15_000
    assert np.array_equal(short["loss"][:FULL_HISTORY], losses[:FULL_HISTORY])
    assert short["loss_min"].min() == losses.min()
    assert short["loss_max"].max() == losses.max()
    counts = np.diff(np.append(short["step"], len(losses)))
    assert (short["loss"] * counts).sum() == pytest.approx(losses.sum())


def test_test_loss_is_taken_at_1_2_5_10_and_the_last_step() -> None:
    assert measurement_steps(234) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 234]
    assert measurement_steps(100)[-2:] == [50, 100]


def test_lanes_of_a_pack_must_share_the_batch_size(record: Record) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        make_pack([record(), record(batch_size=64)])


def test_the_loss_of_the_zero_function_is_that_of_f_equal_to_zero() -> None:
    y = torch.eye(10, dtype=torch.float64)[None]
    for loss in ("mse", "xent"):
        assert lane_losses(loss, torch.zeros_like(y), y[0]).item() == pytest.approx(
            zero_losses(loss, y).item()
        )
