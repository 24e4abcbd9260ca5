"""Observables in the engine: when they are taken, of which lane, and what they leave alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.models import build_model
from gammascape.runs.history import measurement_steps
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec, TeacherSpec
from gammascape.study.keys.models import CnnSpec, MlpSpec, VitSpec
from gammascape.study.keys.observables import OBSERVABLES
from gammascape.training.artifact import make_arrays, make_summary
from gammascape.training.checkpoint import Checkpoints
from gammascape.training.engine import Run, Training
from gammascape.training.pack import make_pack

from ..own import MLP, model_of, options_of, run_pack

CPU = torch.device("cpu")
Record = Callable[..., dict[str, Any]]
EVERYTHING = list(OBSERVABLES)


def text(run: Run) -> str:
    """As text, where NaN equals NaN and every float has its shortest exact form."""
    arrays = {name: value.tolist() for name, value in make_arrays(run).items()}
    return repr((run.evaluations, run.facts, run.observations, arrays))


def test_observables_change_nothing_of_the_training(digits: Dataset, record: Record) -> None:
    [plain] = run_pack([record(steps=20)], digits)
    [measured] = run_pack([record(steps=20, observables=EVERYTHING)], digits)
    np.testing.assert_array_equal(plain.losses, measured.losses)
    assert (plain.evaluations, plain.facts) == (measured.evaluations, measured.facts)
    before, after = make_arrays(plain), make_arrays(measured)
    singular = {f"singular.layer{k}.weight" for k in (1, 2, 3)}
    added = {name for name in set(after) - set(before) if not name.startswith("equal.")}
    assert added == singular
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name])


def test_a_cell_without_observables_has_none_in_its_summary(
    digits: Dataset, record: Record
) -> None:
    cell = record(steps=10)
    [run] = run_pack([cell], digits)
    model = build_model(cell["model"], digits.input_shape, digits.outputs)
    assert "observables" not in cell
    assert "observables" not in make_summary(cell, run, digits, model)


def test_observables_are_taken_where_test_losses_are(digits: Dataset, record: Record) -> None:
    cell = record(observables=EVERYTHING)
    [run] = run_pack([cell], digits)
    model = build_model(cell["model"], digits.input_shape, digits.outputs)
    found = json.loads(json.dumps(make_summary(cell, run, digits, model)["observables"]))
    assert [item["step"] for item in found] == measurement_steps(100)
    asked = {"step", "eta_times_sharpness", *EVERYTHING} - {"singular_values", "equal_loss"}
    for item in found:
        assert set(item) == asked
    first, last = found[0], found[-1]
    layers = {f"layer{k}.weight" for k in (1, 2, 3)}
    assert first["relative_change"] == dict.fromkeys(layers, 0.0)
    assert last["relative_change"] == run.relative_change
    assert set(last["effective_rank"]) == layers
    # A network is its own initialization at step 0; the centring costs a few float64 digits.
    assert first["initial_cka"] == pytest.approx({"layer1": 1.0, "layer2": 1.0}, abs=1e-9)
    assert last["initial_cka"]["layer2"] < 0.99
    assert last["kernel_alignment"] > first["kernel_alignment"]
    # N eta = 64 at eta = 1.
    assert last["eta_times_sharpness"] == pytest.approx(64 * last["sharpness"])
    # The Gauss-Newton part is all of the sharpness but the curvature of f times the residuals.
    assert last["sharpness"] == pytest.approx(last["gauss_newton_sharpness"], rel=0.5)


def test_training_accuracy_is_that_of_the_first_samples_as_they_are_trained_on(
    digits_file: Path, record: Record
) -> None:
    options = DigitsSpec(kind="digits", training_samples=64, label_noise=0.5).model_dump()
    few = load_dataset(options, digits_file, CPU)
    cell = record(dataset=options, observables=["training_accuracy"], steps=500, eta="0.5")
    [run] = run_pack([cell], few)
    values = [taken["training_accuracy"] for taken in run.observations]
    assert {round(64 * value, 6) % 1 for value in values} == {0}
    # It fits the wrong labels too, which the test set does not have.
    assert values[-1] > 0.95
    assert run.evaluations[-1].accuracy is not None
    assert run.evaluations[-1].accuracy < 0.8


def cell_of(model: Any, dtype: str, gamma: str, eta: str, seed: int = 0) -> dict[str, Any]:
    return Cell(
        model=model,
        dataset=TeacherSpec(kind="teacher", inputs=64, classes=3),
        loss="xent",
        gamma=gamma,
        eta=eta,
        batch_size=16,
        steps=3,
        seed=seed,
        dtype=dtype,  # type: ignore[arg-type]
        observables=OBSERVABLES,
    ).record()


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        # Sizes whose matrices are aligned, so that lanes are computed together, and sizes whose are not.
        (MlpSpec(kind="mlp", depth=3, width=16), "float32"),
        (MlpSpec(kind="mlp", depth=3, width=16), "float64"),
        (MlpSpec(kind="mlp", depth=3, width=16), "float32-difference"),
        (MlpSpec(kind="mlp", depth=2, width=13), "float64"),
    ],
)
def test_a_cell_measures_the_same_bits_in_any_pack(model: MlpSpec, dtype: str) -> None:
    dataset = load_dataset(
        TeacherSpec(kind="teacher", inputs=64, classes=3).model_dump(mode="json"), None, CPU
    )
    # The second diverges, the others have seeds of their own.
    cells = [
        cell_of(model, dtype, "0", "0"),
        cell_of(model, dtype, "0", "120", seed=2),
        cell_of(model, dtype, "-1", "-2", seed=3),
        cell_of(model, dtype, "2", "1", seed=1),
    ]
    together = run_pack(cells, dataset)
    pair = run_pack([cells[3], cells[0]], dataset)
    assert not together[1].facts.finite
    assert text(pair[1]) == text(together[0])
    assert text(pair[0]) == text(together[3])
    assert text(run_pack([cells[2]], dataset)[0]) == text(together[2])


@pytest.mark.parametrize(
    "model",
    [
        CnnSpec(kind="cnn", width=4, padding=1),
        VitSpec(kind="vit", width=8, heads=2, blocks=1, patch=4),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float32-difference"])
def test_other_architectures_measure_the_same_bits_in_any_pack(
    digits: Dataset, record: Record, model: Any, dtype: str
) -> None:
    changes = [{}, {"gamma": "1", "seed": 1}]
    cells = [
        record(
            model=model.model_dump(mode="json"),
            steps=1,
            dtype=dtype,
            observables=EVERYTHING,
            **change,
        )
        for change in changes
    ]
    together = run_pack(cells, digits)
    assert text(run_pack(cells[1:], digits)[0]) == text(together[1])


@pytest.mark.parametrize("names", [["sharpness"], ["initial_cka", "ntk_alignment"]])
def test_the_difference_form_sees_the_same_network(
    digits: Dataset, record: Record, names: list[str]
) -> None:
    cells = [record(dtype=dtype, observables=names) for dtype in ("float64", "float32-difference")]
    found = [run_pack([cell], digits)[0].observations[-1] for cell in cells]

    def flat(item: Any) -> list[float]:
        if isinstance(item, dict):
            return [number for value in item.values() for number in flat(value)]
        return [float(item)]

    # 100 steps in float32 leave some 1e-5.
    assert flat(found[1]) == pytest.approx(flat(found[0]), rel=1e-3)


def test_a_run_that_goes_on_keeps_what_was_measured(
    digits: Dataset, record: Record, tmp_path: Path
) -> None:
    # The second diverges after the break.
    cells = [record(observables=EVERYTHING), record(observables=EVERYTHING, gamma="-1", eta="0.5")]
    undisturbed = run_pack(cells, digits)
    model = build_model(cells[0]["model"], digits.input_shape, digits.outputs)
    interrupted = Training(make_pack(cells), digits, model, CPU)
    for _ in range(4):
        interrupted.advance()
    store = Checkpoints(tmp_path, {})
    for k, state in interrupted.states():
        store.save(f"{k:012x}", state)
        loaded = store.load(f"{k:012x}")
        assert loaded is not None
        assert len(loaded.observations) == 4
        goes_on = Training(make_pack([cells[k]]), digits, model, CPU, [loaded])
        runs: dict[int, Run] = {}
        while goes_on.alive:
            runs |= dict(goes_on.advance())
        assert text(runs[0]) == text(undisturbed[k])


def sharpness_at_start(log10_gammas: list[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    spec = TeacherSpec(kind="teacher", inputs=16)
    dataset = load_dataset(spec.model_dump(mode="json"), None, CPU)
    cells = [
        Cell(
            model=MlpSpec(kind="mlp", depth=3, width=32),
            dataset=spec,
            loss="mse",
            gamma=f"{gamma:g}",
            eta="0",
            batch_size=16,
            steps=1,
            dtype="float64",
            observables=("sharpness",),
        ).record()
        for gamma in log10_gammas
    ]
    model = build_model(cells[0]["model"], dataset.input_shape, dataset.outputs)
    training = Training(make_pack(cells), dataset, model, CPU)
    training.advance()
    return np.array([state.observations[0]["sharpness"] for _, state in training.states()])


def test_sharpness_at_the_start_falls_as_gamma_squared_when_lazy_and_as_gamma_when_rich() -> None:
    # The Gauss-Newton part of the Hessian goes as gamma^-2 and the curvature of f times the residuals as gamma^-1.
    # They meet near gamma = 1, so three decades away the weaker one changes the slope by some 1e-3.
    lazy, rich = sharpness_at_start([-4.0, -3.0]), sharpness_at_start([3.0, 4.0])
    assert np.diff(np.log10(lazy))[0] == pytest.approx(-2.0, abs=0.05)
    assert np.diff(np.log10(rich))[0] == pytest.approx(-1.0, abs=0.05)


def test_a_network_of_the_users_own_is_measured_alone_as_in_a_batch(
    digits: Dataset, record: Record, tmp_path: Path
) -> None:
    found = []
    for batched, names in ((True, EVERYTHING), (False, ["sharpness", "initial_cka"])):
        options = options_of(tmp_path, MLP, batched=batched)
        cells = [
            record(model=options, steps=1, gamma=gamma, observables=names) for gamma in ("0", "1")
        ]
        model = model_of(tmp_path, MLP, digits.probe_inputs, batched=batched)
        training = Training(make_pack(cells), digits, model, CPU)
        training.advance()
        found.append([state.observations[0] for _, state in training.states()])
    for together, alone in zip(*found, strict=True):
        # Two orders of summation in float32.
        assert together["sharpness"] == pytest.approx(alone["sharpness"], rel=1e-4)
        assert set(together["initial_cka"]) == {"second.input", "head.input"}
        assert np.isfinite([together["ntk_alignment"], together["kernel_alignment"]]).all()
