"""Snakemake makes a tiny study; what it made is audited and trained again by the command."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

from gammascape.cli import main

from .projects import ROOT, copy_tree, run

FIGURES = "results/tiny/figures"


@pytest.fixture(scope="module")
def project(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    copy_tree(finished, folder)
    return folder


def test_everything_that_a_run_makes_has_an_origin(project: Path) -> None:
    done = run(project, "gammascape", "audit", "--all", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (chain,) = json.loads(done.stdout)
    assert {f["finding"] for f in chain["findings"]} <= {"dirty tree"}
    kinds = {link["kind"] for link in chain["links"]}
    assert kinds == {"page", "figure", "table", "cell", "data"}
    schema = json.loads((ROOT / "docs/manifest.schema.json").read_text())
    for path in project.glob("results/**/*manifest.json"):
        jsonschema.validate(json.loads(path.read_text()), schema)


def test_figures_are_audited_wherever_they_are(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project)
    copies = []
    for kind in ("png", "svg", "html"):
        copies.append(tmp_path / f"figure-1.{kind}")
        shutil.copy(project / f"{FIGURES}/edges.{kind}", copies[-1])
    for copy in copies:
        assert main(["audit", str(copy)]) == 0
        said = capsys.readouterr().out
        assert f"{FIGURES}/edges  figure  verified" in said
        assert "4 cells  verified" in said
    cell = next(project.glob("results/cells/*/*/summary.json"))
    text = cell.read_text()
    cell.write_text(re.sub(r'"final_loss": [0-9.]+', '"final_loss": 0.001', text))
    try:
        for copy in copies:
            assert main(["audit", str(copy)]) == 1
            assert capsys.readouterr().out.startswith(
                f"first mismatch: {cell.parent.relative_to(project)}/manifest.json: altered: summary.json"
            )
    finally:
        cell.write_text(text)


def test_two_cells_behind_a_figure_are_trained_again(project: Path, tmp_path: Path) -> None:
    copy = shutil.copy(project / f"{FIGURES}/performance.png", tmp_path / "copy.png")
    done = run(project, "gammascape", "replay", str(copy), "--cells", "2", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 4 cells" in done.stdout
    assert "2 of 2 agree, 2 of them bit for bit" in done.stdout
