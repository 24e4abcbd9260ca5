"""How MNIST-1M comes about is part of what a cell is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gammascape.study import Cell, StudyError, load_config, load_study
from gammascape.study.keys.datasets import Mnist1mSpec
from gammascape.study.keys.generators import DeformSpec, DiffusionSpec, Generated
from gammascape.study.keys.models import MlpSpec
from gammascape.workflow.catalogue import figures_of
from gammascape.workflow.plan import Plan, load_plan

FILES = Mnist1mSpec(kind="mnist1m")
DEFORM = DeformSpec(kind="deform")
DIFFUSION = DiffusionSpec(kind="diffusion")

STUDY = """\
datasets:
  million: {kind: mnist1m}
models:
  small: {kind: mlp, depth: 2, width: 16}
grids:
  - {model: small, dataset: million, loss: mse, gamma: {log10: 0}, eta: {log10: 0}, batch_size: 10, steps: 20}
"""


def cell(generator: Generated | None) -> Cell:
    dataset = FILES.model_copy(update={"generator": generator})
    return Cell(MlpSpec(kind="mlp", depth=2, width=16), dataset, "mse", "0", "0", 10, 20)


def plan(folder: Path, text: str, data: dict[str, Any] | None = None) -> Plan:
    path = folder / "tiny.yaml"
    path.write_text(text)
    return load_plan({"study": str(path)} | ({"data": data} if data else {}))


def test_a_cell_of_the_users_own_chunks_keeps_its_identity() -> None:
    assert '"dataset":{"kind":"mnist1m"}' in cell(None).canonical()


@pytest.mark.parametrize(
    "other",
    [
        DIFFUSION,
        DEFORM,
        DEFORM.model_copy(update={"seed": 1}),
        DEFORM.model_copy(update={"elastic": 2.0}),
        DEFORM.model_copy(update={"size": 50_000}),
        DIFFUSION.model_copy(update={"method": "ddpm"}),
        DIFFUSION.model_copy(update={"steps": 1}),
        DIFFUSION.model_copy(update={"precision": "bfloat16"}),
    ],
    ids=lambda spec: spec.key,
)
def test_other_digits_are_another_cell_with_files_of_its_own(other: Generated) -> None:
    known = [None, *(spec for spec in (DIFFUSION, DEFORM) if spec != other)]
    assert cell(other).path not in {cell(spec).path for spec in known}
    assert other.key not in {spec.key for spec in known if spec is not None}
    assert Cell.from_canonical(cell(other).canonical()) == cell(other)


def test_options_with_their_defaults_are_the_same_cell_and_files() -> None:
    spelled = DeformSpec(kind="deform", chunks=10, size=100_000, rotation=10.0)
    assert cell(spelled).path == cell(DEFORM).path
    assert spelled.key == DEFORM.key


def test_names_of_generated_files_stay() -> None:
    # Of files that exist in somebody's results.
    assert DEFORM.key == "deform-bb440add"
    assert DIFFUSION.key == "diffusion-5cbbf99c"


def test_sets_that_differ_in_the_sampling_alone_share_a_model() -> None:
    sampling = {"method": "ddpm", "sampling_steps": 50, "guidance": 1.0, "size": 10, "chunks": 2}
    assert DIFFUSION.model_copy(update=sampling).model_key == DIFFUSION.model_key
    assert DIFFUSION.model_copy(update={"seed": 1}).model_key != DIFFUSION.model_key


def test_the_configuration_says_how_digits_are_made_where_the_study_does_not(
    tmp_path: Path,
) -> None:
    deform = {"kind": "deform", "chunks": 2, "size": 300}
    by_files, by_config = plan(tmp_path, STUDY), plan(tmp_path, STUDY, {"generator": deform})
    text = STUDY.replace("{kind: mnist1m}", f"{{kind: mnist1m, generator: {deform}}}")
    by_study = plan(tmp_path, text.replace("'", ""), {"generator": {"kind": "diffusion"}})
    assert by_config.cells.keys() == by_study.cells.keys()
    assert not by_config.cells.keys() & by_files.cells.keys()
    (path,) = by_config.cells
    (key,) = by_config.generators
    assert by_config.reads(path) == [f"results/data/mnist1m-{key}/manifest.json"]
    assert len(by_config.chunks(key)) == 2
    assert f"results/generated/mnist1m-{key}/quality" in figures_of(by_config, "tiny")
    (path,) = by_files.cells
    assert by_files.reads(path) == ["results/data/mnist1m/manifest.json"]
    assert by_files.generators == {}


def test_one_study_can_compare_generators(tmp_path: Path) -> None:
    text = STUDY.replace(
        "models:",
        "  other: {kind: mnist1m, generator: {kind: diffusion, steps: 9}}\nmodels:",
    ).replace("dataset: million", "dataset: [million, other]")
    made = plan(tmp_path, text, {"generator": {"kind": "deform"}})
    assert len(made.cells) == len(made.generators) == 2
    assert list(made.models) == [DIFFUSION.model_copy(update={"steps": 9}).model_key]


def test_more_steps_than_the_configured_digits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="need 200 samples, and million has 100, each used once"):
        plan(tmp_path, STUDY, {"generator": {"kind": "deform", "chunks": 1, "size": 100}})


def test_a_mistake_in_the_generator_names_the_configuration() -> None:
    with pytest.raises(
        StudyError, match=r"data\.generator\.chunk: unknown key; did you mean chunks"
    ):
        load_config({"study": "a.yaml", "data": {"generator": {"kind": "deform", "chunk": 3}}})


def test_the_study_alone_reads_without_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY)
    assert [c.dataset for c in load_study(path).cells] == [FILES]
    assert replace(cell(None)).path == load_study(path).cells[0].path
