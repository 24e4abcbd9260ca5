"""What is, and what is not, part of a cell's identity."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gammascape.numerics import NUMERICS_VERSION
from gammascape.study import Cell, DatasetSpec, ModelSpec, StudyError, TeacherSpec
from gammascape.study import cell as cells
from gammascape.study.keys.datasets import DigitsSpec, MnistSpec
from gammascape.study.keys.exact import decimal_text
from gammascape.study.keys.models import CnnSpec, MlpSpec, ResnetSpec, VitSpec

MLP = MlpSpec(kind="mlp", depth=3, width=64)
DIGITS = DigitsSpec(kind="digits")
CELL = Cell(MLP, DIGITS, "mse", gamma="-2.5", eta="-3", batch_size=32, steps=600)

MODELS: list[ModelSpec] = [
    MLP,
    CnnSpec(kind="cnn", width=8),
    CnnSpec(kind="cnn", width=8, padding=1),
    ResnetSpec(kind="resnet", width=8),
    ResnetSpec(kind="resnet", width=8, blocks=(2, 1), norm="group"),
    VitSpec(kind="vit", width=32),
    VitSpec(kind="vit", width=30, blocks=3, heads=3, patch=4, mlp_ratio=4),
]
DATASETS: list[DatasetSpec] = [
    DIGITS,
    DigitsSpec(kind="digits", shift=0, rotation=0, scale=0, elastic=0, noise=1),
    TeacherSpec(kind="teacher"),
    TeacherSpec(kind="teacher", inputs=32, polynomial=(0, 0, 1), classes=4, teacher_seed=7),
    MnistSpec(kind="mnist"),
]

exponents = st.decimals(-30, 30, places=6).map(decimal_text)
some_cells = st.builds(
    Cell,
    model=st.sampled_from(MODELS),
    dataset=st.sampled_from(DATASETS),
    loss=st.sampled_from(["mse", "xent"]),
    gamma=exponents,
    eta=exponents,
    batch_size=st.integers(1, 10**6),
    steps=st.integers(1, 10**6),
    seed=st.integers(0, 2**31 - 1),
    data_seed=st.integers(0, 2**31 - 1),
    dtype=st.sampled_from(["float32", "float64", "float32-difference"]),
)

# Identities that exist in somebody's results. This list grows; a line of it never changes.
FROZEN = [
    (
        CELL,
        '{"batch_size":32,"dataset":{"kind":"digits"},"eta":"-3","gamma":"-2.5","loss":"mse",'
        '"model":{"depth":3,"kind":"mlp","width":64},"numerics":1,"steps":600}',
        "mlp_digits_mse/g-2.5_e-3_s0-bfb8398c2c07",
    ),
    (
        replace(CELL, model=MODELS[4], dataset=DATASETS[1], seed=1, data_seed=2, dtype="float64"),
        '{"batch_size":32,"data_seed":2,"dataset":{"elastic":0.0,"kind":"digits","noise":1.0,'
        '"rotation":0.0,"scale":0.0,"shift":0.0},"dtype":"float64","eta":"-3","gamma":"-2.5",'
        '"loss":"mse","model":{"blocks":[2,1],"kind":"resnet","norm":"group","width":8},'
        '"numerics":1,"seed":1,"steps":600}',
        "resnet_digits_mse/g-2.5_e-3_s1-66b0b10c45e3",
    ),
    (
        replace(CELL, model=MODELS[5], dataset=DATASETS[3], loss="xent"),
        '{"batch_size":32,"dataset":{"classes":4,"inputs":32,"kind":"teacher",'
        '"polynomial":[0.0,0.0,1.0],"teacher_seed":7},"eta":"-3","gamma":"-2.5","loss":"xent",'
        '"model":{"kind":"vit","width":32},"numerics":1,"steps":600}',
        "vit_teacher_xent/g-2.5_e-3_s0-10d1ead4ce8c",
    ),
    (
        replace(CELL, model=MODELS[1], dataset=MnistSpec(kind="mnist"), gamma="0", eta="0.333333"),
        '{"batch_size":32,"dataset":{"kind":"mnist"},"eta":"0.333333","gamma":"0","loss":"mse",'
        '"model":{"kind":"cnn","width":8},"numerics":1,"steps":600}',
        "cnn_mnist_mse/g0_e0.333333_s0-9d2aec3f8f97",
    ),
]


@pytest.mark.parametrize(("cell", "canonical", "path"), FROZEN)
def test_an_identity_that_was_given_once_stays(
    cell: Cell, canonical: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "NUMERICS_VERSION", 1)
    again = replace(cell)
    assert again.canonical() == canonical
    assert again.path == path


def test_a_new_option_of_a_model_with_a_default_keeps_old_identities() -> None:
    class MlpWithBias(MlpSpec):
        bias: bool = True

    old = replace(CELL, model=MlpWithBias(**MLP.model_dump()))
    new = replace(CELL, model=MlpWithBias(**MLP.model_dump(), bias=False))
    assert old.record()["model"]["bias"] is True
    assert old.path == CELL.path
    assert new.path != CELL.path


def test_a_validation_split_is_in_no_record_of_cells_without_one() -> None:
    split = replace(CELL, dataset=DigitsSpec(kind="digits", validation=0.1))
    assert "validation" not in CELL.record()["dataset"]
    assert split.record()["dataset"]["validation"] == 0.1
    assert split.path != CELL.path
    few = DigitsSpec(kind="digits", training_samples=1000, validation=0.1)
    assert (few.pass_samples, few.samples) == (900, None)
    assert DigitsSpec(kind="digits", validation=0.1).pass_samples is None
    most = MnistSpec(kind="mnist", validation=0.5)
    assert (most.samples, most.pass_samples) == (55_000, 55_000)


def test_a_new_parameter_of_cells_with_a_default_keeps_old_identities() -> None:
    @dataclass(frozen=True)
    class CellWithMomentum(Cell):
        momentum: float = 0.0

    old = CellWithMomentum(MLP, DIGITS, "mse", "-2.5", "-3", 32, 600)
    assert old.record()["momentum"] == 0.0
    assert old.path == CELL.path
    assert replace(old, momentum=0.9).path != CELL.path


def test_a_raised_version_of_the_numerics_gives_new_identities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    today = replace(CELL).identity
    monkeypatch.setattr(cells, "NUMERICS_VERSION", NUMERICS_VERSION + 1)
    assert replace(CELL).identity != today


def test_swapping_gamma_and_eta_is_a_different_cell() -> None:
    swapped = replace(CELL, gamma=CELL.eta, eta=CELL.gamma)
    assert swapped.identity != CELL.identity


def test_swapping_the_two_seeds_is_a_different_cell() -> None:
    assert replace(CELL, seed=1).identity != replace(CELL, data_seed=1).identity


@pytest.mark.parametrize(
    "change",
    [
        {"model": MODELS[1]},
        {"model": MlpSpec(kind="mlp", depth=3, width=65)},
        {"model": MlpSpec(kind="mlp", depth=4, width=64)},
        {"dataset": DATASETS[1]},
        {"loss": "xent"},
        {"gamma": "-2"},
        {"eta": "-2.5"},
        {"batch_size": 33},
        {"steps": 601},
        {"seed": 1},
        {"data_seed": 1},
        {"dtype": "float64"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_is_part_of_the_identity(change: dict[str, Any]) -> None:
    assert replace(CELL, **change).identity != CELL.identity


@settings(deadline=None)
@given(some_cells)
def test_from_canonical_inverts_canonical(cell: Cell) -> None:
    again = Cell.from_canonical(cell.canonical())
    assert again == cell
    assert again.path == cell.path


@settings(deadline=None)
@given(some_cells)
def test_defaults_written_out_give_the_same_cell(cell: Cell) -> None:
    assert Cell.from_canonical(json.dumps(cell.record())) == cell


@settings(deadline=None)
@given(some_cells, some_cells)
def test_equal_identities_are_equal_cells(one: Cell, other: Cell) -> None:
    assert (one.canonical() == other.canonical()) == (one == other)
    assert (one.path == other.path) == (one == other)


def keys_of(record: object) -> Iterator[str]:
    if isinstance(record, dict):
        for key, value in record.items():
            yield key
            yield from keys_of(value)


RUNTIME_KNOBS = {
    *("attempt", "checkpoint", "device", "executor", "hostname", "log", "logging", "output"),
    *("pack_size", "progress", "scratch", "threads", "workers"),
}
"""Settings that may differ between two runs of a cell."""


@settings(deadline=None)
@given(some_cells)
def test_no_runtime_knob_is_ever_in_a_record(cell: Cell) -> None:
    assert RUNTIME_KNOBS.isdisjoint(keys_of(cell.record()))


@settings(deadline=None)
@given(some_cells)
def test_a_record_is_plain_builtins(cell: Cell) -> None:
    record = cell.record()
    assert json.loads(json.dumps(record)) == record
    assert record["numerics"] == NUMERICS_VERSION


def test_a_changed_record_does_not_change_the_cell() -> None:
    CELL.record()["model"]["width"] = 1
    assert CELL.record()["model"]["width"] == 64


@pytest.mark.parametrize("text", ["1.0", "+1", "01", "-0", "1e3", ".5", "1.", "", "0.1234567"])
def test_another_spelling_of_a_log10_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the exact text"):
        replace(CELL, gamma=text)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"gamma": "-2.50"}, "gamma: is not the exact text"),
        ({"numerics": NUMERICS_VERSION + 1}, "numerics: the record is of numerics"),
        ({"seed": "1"}, "seed: 1 is text to YAML: write 1"),
        ({"device": "cuda"}, "device: unknown key"),
        ({"model": {"kind": "mlp", "depth": 3}}, "model.width: missing"),
    ],
)
def test_a_record_that_is_not_a_cells_is_refused(change: dict[str, Any], fragment: str) -> None:
    with pytest.raises(StudyError, match=fragment):
        Cell.from_canonical(json.dumps({**CELL.record(), **change}))


def test_a_record_that_is_not_json_is_refused() -> None:
    with pytest.raises(StudyError, match="not valid JSON"):
        Cell.from_canonical("{")


def test_trailing_zeros_of_a_polynomial_name_the_same_teacher() -> None:
    adapter: TypeAdapter[DatasetSpec] = TypeAdapter(DatasetSpec)
    given_ = adapter.validate_python({"kind": "teacher", "polynomial": [-0.0, 1, 0.5, 0]})
    assert replace(CELL, dataset=given_) == replace(CELL, dataset=TeacherSpec(kind="teacher"))


def test_observables_are_part_of_the_identity_and_none_is_as_before() -> None:
    measured = replace(CELL, observables=("sharpness", "initial_cka"))
    assert measured.identity != CELL.identity
    assert replace(measured, observables=()).path == CELL.path
    assert "observables" not in CELL.record()
    assert measured.record()["observables"] == ["sharpness", "initial_cka"]
    assert Cell.from_canonical(measured.canonical()) == measured
    assert Cell.from_canonical(json.dumps(measured.record())) == measured


def test_observables_have_one_order() -> None:
    with pytest.raises(ValueError, match="not in order"):
        replace(CELL, observables=("initial_cka", "sharpness"))
