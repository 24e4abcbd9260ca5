"""A study is the union of its grids, expanded into slices of cells."""

import polars as pl
import pytest

from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import CnnSpec, MlpSpec
from gammascape.tables.cells import in_window

from .conftest import STUDY, Loader

GRID = STUDY.partition("grids:\n")[2]


def test_a_grid_holds_every_combination(load: Loader) -> None:
    study = load("steps: 600", "steps: 600\n    seed: [0, 1, 2]\n    data_seed: [0, 5]")
    assert len(study.cells) == 2 * 2 * 3 * 2
    assert study.name == "mine"
    (part,) = study.slices
    assert part.key == "mlp3-digits-mse-B32-T600"
    assert part.model_spec == MlpSpec(kind="mlp", depth=3, width=64)
    assert part.dataset_spec == DigitsSpec(kind="digits")
    assert part.depth_exponent == 3


def test_each_seed_may_have_a_stream_of_its_own(load: Loader) -> None:
    study = load("steps: 600", "steps: 600\n    seed: [0, 3]\n    data_seed: seed")
    assert {(cell.seed, cell.data_seed) for cell in study.cells} == {(0, 0), (3, 3)}
    # The same cells as with the numbers written out.
    one = load("steps: 600", "steps: 600\n    seed: 3\n    data_seed: 3")
    assert {cell.path for cell in one.cells} < {cell.path for cell in study.cells}


def test_cells_are_ordered_by_the_values_of_gamma_and_eta(load: Loader) -> None:
    study = load("gamma: {log10: [-3, 0]}", "gamma: {log10: [10, 2, -3]}")
    assert [(cell.gamma, cell.eta) for cell in study.cells] == [
        ("-3", "-1"), ("-3", "0"), ("2", "-1"), ("2", "0"), ("10", "-1"), ("10", "0"),
    ]  # fmt: skip


def test_slices_come_in_the_order_of_the_file(load: Loader) -> None:
    study = load("loss: mse", "loss: [xent, mse]", "batch_size: 32", "batch_size: [32, 8]")
    assert [part.key for part in study.slices] == [
        "mlp3-digits-xent-B32-T600",
        "mlp3-digits-xent-B8-T600",
        "mlp3-digits-mse-B32-T600",
        "mlp3-digits-mse-B8-T600",
    ]
    assert len(study.cells) == sum(len(part.cells) for part in study.slices) == 16


def test_a_cell_in_two_grids_is_one_cell_of_one_slice(load: Loader) -> None:
    second = GRID.replace("[-3, 0]", "{from: -1, to: 1, per_decade: 1}")
    study = load(text=STUDY + second)
    (part,) = study.slices
    assert sorted({cell.gamma for cell in part.cells}) == ["-1", "-3", "0", "1"]
    assert len(study.cells) == 4 * 2 == len(study.by_path)


def test_a_grid_that_repeats_another_adds_nothing(load: Loader) -> None:
    assert load(text=STUDY + GRID).cells == load().cells


@pytest.mark.parametrize("one", ["1", "1.0", "1.00", "+1", "[1]", "[1.0]"])
def test_one_number_has_one_cell_however_it_is_written(load: Loader, one: str) -> None:
    study = load("eta: {log10: [-1, 0]}", f"eta: {{log10: {one}}}")
    reference = load("eta: {log10: [-1, 0]}", "eta: {log10: 1}")
    assert study.cells == reference.cells
    assert {cell.eta for cell in study.cells} == {"1"}


@pytest.mark.parametrize("one", ["1", "1.0", "1.00"])
def test_an_option_has_one_value_however_it_is_written(load: Loader, one: str) -> None:
    study = load("{kind: digits}", f"{{kind: digits, noise: {one}}}")
    reference = load("{kind: digits}", "{kind: digits, noise: 1.0}")
    assert [cell.path for cell in study.cells] == [cell.path for cell in reference.cells]


def test_defaults_written_out_give_the_same_cells(load: Loader) -> None:
    study = load(
        "{kind: digits}",
        "{kind: digits, shift: 1, rotation: 10, scale: 0.1, elastic: 0.5, noise: 0.3}",
        "steps: 600",
        "steps: 600\n    seed: 0\n    data_seed: [0]",
    )
    assert [cell.path for cell in study.cells] == [cell.path for cell in load().cells]


def test_renaming_models_datasets_and_the_study_keeps_the_cells(load: Loader) -> None:
    renamed = load("mlp3", "other", "digits:", "images:", "dataset: digits", "dataset: images",
                   name="renamed")  # fmt: skip
    assert [cell.path for cell in renamed.cells] == [cell.path for cell in load().cells]
    assert renamed.slices[0].key == "other-images-mse-B32-T600"


def test_the_analysis_changes_no_cell(load: Loader) -> None:
    study = load(text=STUDY + "analysis: {trained_below: 0.3, lazy: {to: -2}}\n")
    assert study.cells == load().cells
    assert study.analysis.trained_below == 0.3
    gammas = pl.DataFrame({"gamma_log10": [-2.0, -1.5, 0.5, 1.0]})
    assert gammas.filter(in_window(study.analysis.lazy)).to_series().to_list() == [-2.0]
    assert gammas.filter(in_window(study.analysis.rich)).to_series().to_list() == [1.0]
    assert gammas.filter(in_window(None)).height == 4


def test_gammas_strictly_below_the_bound_are_trained_with_care(load: Loader) -> None:
    gammas = ("gamma: {log10: [-3, 0]}", "gamma: {log10: [-2.5, -2, 0]}")
    study = load(*gammas)
    assert {cell.gamma: cell.dtype for cell in study.cells} == {
        "-2.5": "float32-difference",
        "-2": "float32",
        "0": "float32",
    }
    text = STUDY + "small_gamma: {below: 0.5, form: float64}\n"
    assert {cell.dtype for cell in load(*gammas, text=text).cells} == {"float64"}
    text = STUDY + "small_gamma: {form: difference}\n"
    assert load(*gammas, text=text).cells == study.cells


def test_float64_is_the_fastest_care_for_convolutions(load: Loader) -> None:
    study = load(
        "gamma: {log10: [-3, 0]}", "gamma: {log10: -3}",
        "{kind: mlp, depth: 3, width: 64}", "{kind: cnn, width: 8, padding: 1}",
    )  # fmt: skip
    assert {cell.dtype for cell in study.cells} == {"float64"}


def test_each_model_of_a_grid_has_the_window_of_its_own_depth(load: Loader) -> None:
    study = load(
        "models:\n", "models:\n  mlp2: {kind: mlp, depth: 2, width: 64}\n",
        "model: mlp3", "model: [mlp2, mlp3]",
        "gamma: {log10: [-3, 0]}", "gamma: {log10: 3}",
        "eta: {log10: [-1, 0]}", "eta: {window: {per_decade: 1, lower: 0, upper: 0, follow: upper}}",
    )  # fmt: skip
    assert [(part.model, [cell.eta for cell in part.cells]) for part in study.slices] == [
        ("mlp2", ["3"]),
        ("mlp3", ["2"]),
    ]


def test_by_path_finds_each_cell(load: Loader) -> None:
    study = load()
    assert [study.by_path[cell.path] for cell in study.cells] == list(study.cells)


@pytest.mark.parametrize(("padding", "smallest"), [(0, 10), (1, 4)])
def test_a_cnn_needs_sides_that_leave_a_pixel(padding: int, smallest: int) -> None:
    cnn = CnnSpec(kind="cnn", width=8, padding=padding)
    assert cnn.misfit((1, smallest, smallest)) is None
    assert f"at least {smallest}x{smallest}" in (cnn.misfit((1, smallest, smallest - 1)) or "")


def test_a_study_of_ten_thousand_cells(load: Loader) -> None:
    study = load(
        "gamma: {log10: [-3, 0]}", "gamma: {log10: {from: -5, to: 5, per_decade: 10}}",
        "eta: {log10: [-1, 0]}", "eta: {log10: {from: -5, to: 5, per_decade: 10}}",
    )  # fmt: skip
    assert len(study.by_path) == 101 * 101


def test_observables_of_the_study_and_of_its_grids_are_united(load: Loader) -> None:
    second = GRID.replace("[-3, 0]", "[0, 3]") + "    observables: [sharpness]\n"
    study = load(text="observables: [initial_cka, hessian_trace]\n" + STUDY + second)
    found = {cell.gamma: cell.observables for cell in study.cells}
    less, more = ("hessian_trace", "initial_cka"), ("sharpness", "hessian_trace", "initial_cka")
    assert found == {"-3": less, "0": more, "3": more}
    assert study.slices[0].observables == more
    assert len(study.cells) == len(study.by_path)


def test_the_order_of_grids_does_not_change_what_is_measured(load: Loader) -> None:
    first = GRID + "    observables: [sharpness]\n"
    second = GRID + "    observables: [hessian_trace]\n"
    head = STUDY.partition("grids:\n")[0] + "grids:\n"
    one, other = load(text=head + first + second), load(text=head + second + first)
    assert one.cells == other.cells
    assert {cell.observables for cell in one.cells} == {("sharpness", "hessian_trace")}


@pytest.mark.parametrize(
    ("loss", "options", "level"),
    [
        ("mse", "", 0.9),
        ("xent", "", None),
        ("mse", "imbalance: 0.1", 0.851),
        ("xent", "imbalance: 0.1", 0.899),
        ("mse", "imbalance: 0.01", 0.747),
        ("xent", "imbalance: 0.01", 0.714),
        # Targets of mixup 1 have the mean square 0.07: 1 - 1 / (100 * 0.07).
        ("mse", "mixup: 1", 0.857),
        ("xent", "mixup: 1", None),
        # As good as equal classes.
        ("mse", "imbalance: 0.01, label_noise: 0.9", 0.9),
    ],
)
def test_the_class_prior_is_the_loss_of_the_class_frequencies(
    load: Loader, loss: str, options: str, level: float | None
) -> None:
    given = ("kind: digits", f"kind: digits, {options}".rstrip(", "))
    (part,) = load("loss: mse", f"loss: {loss}", *given).slices
    assert part.class_prior == (None if level is None else pytest.approx(level, abs=6e-4))
