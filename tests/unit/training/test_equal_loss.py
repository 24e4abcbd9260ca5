"""Networks at equal loss: when they are kept, what is kept, and that nothing else changes."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import build_model
from gammascape.study.keys.models import CnnSpec, MlpSpec
from gammascape.training.artifact import make_arrays, make_summary
from gammascape.training.checkpoint import Checkpoints
from gammascape.training.engine import Run, Training
from gammascape.training.equal_loss import LEVELS, watch_steps
from gammascape.training.pack import make_pack

from ..own import MLP, model_of, options_of, run_pack

CPU = torch.device("cpu")
Record = Callable[..., dict[str, Any]]
ASKED = ["equal_loss"]
NET: dict[str, Any] = {"eta": "1", "steps": 40}
CNN: dict[str, Any] = {"eta": "0.5", "steps": 60, "loss": "xent"}


def text(run: Run) -> str:
    arrays = {name: value.tolist() for name, value in make_arrays(run).items()}
    return repr((run.evaluations, run.facts, run.steps_done, arrays))


def probe_loss(run: Run, dataset: Dataset) -> float:
    """Relative, from the definition, of a network of MSE."""
    assert run.probe_outputs is not None
    targets = dataset.probe_targets.numpy()
    return float(np.mean((run.probe_outputs - targets) ** 2) / np.mean(targets**2))


@pytest.mark.parametrize("steps", [1, 7, 100, 1000, 15625])
def test_the_loss_is_looked_at_on_a_grid_that_longer_runs_share(steps: int) -> None:
    found = watch_steps(steps)
    assert found[-1] == steps
    assert set(found[:-1]) <= set(watch_steps(10**6))
    assert all(b - a <= max(2, 0.12 * a) for a, b in itertools.pairwise(found))


def test_a_run_of_thousand_steps_is_looked_at_some_sixty_times() -> None:
    assert 50 <= len(watch_steps(1000)) <= 65


def test_a_level_is_kept_at_the_first_look_below_it(digits: Dataset, record: Record) -> None:
    [run] = run_pack([record(eta="1", observables=ASKED)], digits)
    reached = run.reached
    assert [item.level for item in reached] == list(LEVELS[: len(reached)])
    assert len(reached) >= 2
    looks = watch_steps(100)
    for item in reached:
        # A run that ends there is the same network.
        [then] = run_pack([record(eta="1", steps=item.step)], digits)
        assert then.probe_outputs is not None
        assert then.grams is not None
        np.testing.assert_array_equal(item.probe_outputs, then.probe_outputs)
        assert item.grams.keys() == then.grams.keys()
        for layer, gram in then.grams.items():
            # Products of one lane and of two may differ in the last digit of float64 before rounding.
            np.testing.assert_allclose(item.grams[layer], gram, rtol=1e-6, atol=1e-6)
        assert item.relative_loss == pytest.approx(probe_loss(then, digits), rel=1e-5)
        assert item.relative_loss <= item.level
        earlier = looks[looks.index(item.step) - 1]
        [before] = run_pack([record(eta="1", steps=earlier)], digits)
        assert probe_loss(before, digits) > item.level


def test_nothing_else_of_the_artifact_changes(digits: Dataset, record: Record) -> None:
    # The second diverges inside a block.
    changes = [{}, {"gamma": "-1", "eta": "1.5"}]
    plain = run_pack([record(**change) for change in changes], digits)
    watched = run_pack([record(observables=ASKED, **change) for change in changes], digits)
    assert not plain[1].facts.finite
    for before, after in zip(plain, watched, strict=True):
        assert (before.steps_done, repr(before.facts)) == (after.steps_done, repr(after.facts))
        first, second = make_arrays(before), make_arrays(after)
        assert all(name.startswith("equal.") for name in set(second) - set(first))
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_a_run_that_diverges_after_a_level_keeps_no_network(
    digits: Dataset, record: Record
) -> None:
    model = build_model(record()["model"], digits.input_shape, digits.outputs)
    calm = Training(make_pack([record(eta="1", observables=ASKED)]), digits, model, CPU)
    while calm.step < 50:
        calm.advance()
    [(_, state)] = calm.states()
    assert state.reached
    wild = record(eta="9", observables=ASKED)
    goes_on = Training(make_pack([wild]), digits, model, CPU, [state])
    runs: dict[int, Run] = {}
    while goes_on.alive:
        runs |= dict(goes_on.advance())
    assert not runs[0].facts.finite
    assert runs[0].reached == ()


def test_the_summary_says_when_each_level_was_reached(digits: Dataset, record: Record) -> None:
    cell = record(eta="1", observables=ASKED)
    [run] = run_pack([cell], digits)
    model = build_model(cell["model"], digits.input_shape, digits.outputs)
    found = json.loads(json.dumps(make_summary(cell, run, digits, model)))["equal_loss"]
    assert [item["level"] for item in found] == [item.level for item in run.reached]
    assert all(item["relative_loss"] <= item["level"] for item in found)
    names = {name for name in make_arrays(run) if name.startswith("equal.0.5.")}
    assert names == {"equal.0.5.probe_outputs", "equal.0.5.gram.layer1", "equal.0.5.gram.layer2"}
    assert "equal_loss" not in make_summary(record(), run, digits, model)


@pytest.mark.parametrize(
    ("model", "dtype", "options"),
    [
        (MlpSpec(kind="mlp", depth=3, width=16), "float32", NET),
        (MlpSpec(kind="mlp", depth=2, width=13), "float64", NET),
        (MlpSpec(kind="mlp", depth=3, width=16), "float32-difference", NET),
        (CnnSpec(kind="cnn", width=4, padding=1), "float32", CNN),
    ],
)
def test_a_cell_keeps_the_same_bits_in_any_pack(
    digits: Dataset, record: Record, model: Any, dtype: str, options: dict[str, Any]
) -> None:
    changes = [{}, {"eta": "2.5", "gamma": "-1"}, {"seed": 1}]
    cells = [
        record(
            model=model.model_dump(mode="json"),
            dtype=dtype,
            observables=ASKED,
            **options | change,
        )
        for change in changes
    ]
    together = run_pack(cells, digits)
    assert together[0].reached
    assert text(run_pack([cells[0]], digits)[0]) == text(together[0])
    assert text(run_pack([cells[2], cells[0]], digits)[0]) == text(together[2])


@pytest.mark.parametrize("blocks", [4, 7])
def test_a_run_that_goes_on_keeps_what_it_reached_before(
    digits: Dataset, record: Record, tmp_path: Path, blocks: int
) -> None:
    cells = [record(eta="1", observables=ASKED, seed=seed) for seed in (0, 1)]
    undisturbed = run_pack(cells, digits)
    model = build_model(cells[0]["model"], digits.input_shape, digits.outputs)
    interrupted = Training(make_pack(cells), digits, model, CPU)
    for _ in range(blocks):
        interrupted.advance()
    store = Checkpoints(tmp_path, {})
    for k, state in interrupted.states():
        assert blocks < 7 or state.reached
        store.save(f"{k:012x}", state)
        loaded = store.load(f"{k:012x}")
        assert loaded is not None
        goes_on = Training(make_pack([cells[k]]), digits, model, CPU, [loaded])
        runs: dict[int, Run] = {}
        while goes_on.alive:
            runs |= dict(goes_on.advance())
        assert runs[0].reached
        assert text(runs[0]) == text(undisturbed[k])


@pytest.mark.parametrize("batched", [True, False])
def test_a_network_of_the_users_own_is_kept(
    digits: Dataset, record: Record, tmp_path: Path, batched: bool
) -> None:
    options = options_of(tmp_path, MLP, batched=batched)
    model = model_of(tmp_path, MLP, digits.probe_inputs, batched=batched)
    cells = [record(model=options, eta=eta, observables=ASKED) for eta in ("0.5", "1")]
    for run in run_pack(cells, digits, model):
        assert run.reached
        assert set(run.reached[0].grams) == {"second.input", "head.input"}
