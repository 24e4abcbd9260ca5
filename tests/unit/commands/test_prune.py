"""What no study asks for."""

import shutil
from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.provenance.project import open_project

from ..project import STUDY

WITHOUT_DEEP = STUDY[: STUDY.index("  - model: deep")].replace(
    "  deep: {kind: mlp, depth: 3, width: 16}\n", ""
)


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def pruned(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["prune", *words]) == 0
    return capsys.readouterr().out


def test_a_study_that_asks_for_everything_leaves_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = pruned(capsys)
    assert answer == (
        "studies considered: tiny (config/studies/tiny.yaml)\nevery artifact is asked for\n"
    )


def test_it_lists_and_moves_only_when_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(project / "results")
    Path("config/studies/tiny.yaml").write_text(WITHOUT_DEEP)
    answer = pruned(capsys)
    assert "cell: 2 not asked for" in answer
    assert "table: 10 not asked for" in answer
    assert "figure: 4 not asked for" in answer
    assert files(project / "results") == before
    pruned(capsys, "--yes")
    after = files(project / "results")
    moved = before - after
    cells = {path for path in moved if path.parts[0] == "cells"}
    assert len({path.parent for path in cells}) == 2
    assert len(cells) == 6
    # Four tables and three figures of four files, and their manifests.
    assert len(moved - cells) == 10 * 2 + 4 * 5
    kept = {path for path in after if path.parts[0] != ".trash"}
    assert kept == before - moved
    (folder,) = (project / "results/.trash").iterdir()
    assert files(folder) == moved
    assert "every artifact is asked for" in pruned(capsys)


def test_every_cell_of_the_study_stays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config/studies/tiny.yaml").write_text(WITHOUT_DEEP)
    pruned(capsys, "--yes")
    for path in open_project().cells:
        assert Path("results/cells", path, "summary.json").is_file()


def test_the_considered_studies_are_named_and_others_that_ask_are_noted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("config/studies/tiny.yaml", "config/studies/other.yaml")
    Path("config/studies/tiny.yaml").write_text(WITHOUT_DEEP)
    answer = pruned(capsys)
    assert "note: config/studies/other.yaml, which is not considered, asks for 2 of" in answer
    both = ("--study", "config/studies/tiny.yaml", "config/studies/other.yaml")
    answer = pruned(capsys, *both)
    assert "tiny (config/studies/tiny.yaml), other (config/studies/other.yaml)" in answer
    assert "cell: " not in answer


def test_data_that_no_cell_reads_are_listed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data/digits", "data/mnist", "generated/mnist1m-deform-00000000"):
        (project / "results" / name).mkdir(parents=True)
    answer = pruned(capsys)
    assert "data: 2 not asked for" in answer
    assert "  data/mnist\n  generated/mnist1m-deform-00000000\n" in answer


def test_nothing_is_moved_while_snakemake_works(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config/studies/tiny.yaml").write_text(WITHOUT_DEEP)
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.input.lock").touch()
    before = files(project / "results")
    assert main(["prune", "--yes"]) == 2
    assert files(project / "results") == before
