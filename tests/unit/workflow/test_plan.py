"""What the workflow takes from studies: which slices are trained and which are computed."""

from pathlib import Path

import pytest

from gammascape.study import StudyError
from gammascape.workflow.catalogue import everything, figures_of, tables_of
from gammascape.workflow.plan import Plan, load_plan

from ..study.conftest import STUDY

TOY = """\
datasets:
  one: {kind: constant}
models:
  toy3: {kind: toy, depth: 3}
grids:
  - model: toy3
    dataset: one
    loss: [mse, xent]
    gamma: {log10: [-3, 0]}
    eta: {log10: [-1, 0]}
    batch_size: 1
    steps: 100
"""


def plan(folder: Path, **studies: str) -> Plan:
    for name, text in studies.items():
        (folder / f"{name}.yaml").write_text(text)
    return load_plan({"study": [str(folder / f"{name}.yaml") for name in studies]})


def test_the_cells_of_a_toy_are_not_trained(tmp_path: Path) -> None:
    both = plan(tmp_path, toys=TOY, nets=STUDY)
    assert {cell.model.kind for cell in both.cells.values()} == {"mlp"}
    assert both.trained("toys") == []
    assert both.keys(toy=True) == ["toy3-one-mse-B1-T100", "toy3-one-xent-B1-T100"]
    assert both.keys(toy=False) == ["mlp3-digits-mse-B32-T600"]


def test_a_toy_has_no_figures_of_tests_and_representations(tmp_path: Path) -> None:
    both = plan(tmp_path, toys=TOY, nets=STUDY)
    assert "similarity" in tables_of(both, "nets")
    assert tables_of(both, "toys") == [
        *("cells", "thresholds", "pooled_edges", "scaling", "exponent_models", "crossover"),
        *("sensitivity", "budget", "apex"),
    ]
    kinds = {stem.split("/")[3] for stem in figures_of(both, "toys")}
    slices = {"portrait", "loss_curves", "collapse", "budget"}
    assert kinds == slices | {"edges", "exponents", "sensitivity"}


def test_the_figure_of_phenomena_needs_sharpness_and_alignment(tmp_path: Path) -> None:
    measured = STUDY + "observables: [sharpness, kernel_alignment]\n"
    both = plan(tmp_path, seen=measured, blind=STUDY, toys=TOY)
    stems = {name: figures_of(both, name) for name in both.studies}
    assert "results/seen/figures/phenomena" in stems["seen"]
    assert "phenomena" in tables_of(both, "seen")
    assert "results/blind/figures/phenomena" not in stems["blind"]
    assert "phenomena" not in tables_of(both, "blind")
    assert "results/blind/figures/dynamics" in stems["blind"]
    assert "results/toys/figures/dynamics" not in stems["toys"]


def test_the_points_of_a_toy_travel_as_text(tmp_path: Path) -> None:
    made = everything(plan(tmp_path, toys=TOY))
    given = made["results/toys/tables/cells/toy3-one-xent-B1-T100.manifest.json"].params
    lines = [line.split() for line in given["points"].splitlines()]
    assert given["depth"] == 3
    assert [line[:2] for line in lines] == [["-3", "-1"], ["-3", "0"], ["0", "-1"], ["0", "0"]]
    assert len({line[2] for line in lines}) == 4


def test_one_name_of_a_slice_is_not_a_toy_here_and_a_network_there(tmp_path: Path) -> None:
    net = TOY.replace("kind: toy, depth: 3", "kind: mlp, depth: 3, width: 8")
    net = net.replace("kind: constant", "kind: teacher").replace("[mse, xent]", "mse")
    with pytest.raises(StudyError, match="toy3-one-mse-B1-T100 is a toy in one study"):
        plan(tmp_path, toys=TOY, nets=net)


def test_similarity_against_gamma_is_drawn_where_two_networks_have_one_gamma(
    tmp_path: Path,
) -> None:
    name = "results/nets/figures/similarity_trend"
    assert name not in figures_of(plan(tmp_path, nets=STUDY), "nets")
    two = STUDY.replace("    steps: 600", "    steps: 600\n    seed: [0, 1]")
    assert two != STUDY
    assert name in figures_of(plan(tmp_path, nets=two), "nets")
