"""Declaring artifacts current."""

from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.commands.accept import not_by_code
from gammascape.manifests import fingerprint, read_manifest
from gammascape.manifests.code import CELL_MODULES
from gammascape.provenance.current import Results, scripts_folder
from gammascape.provenance.project import code_changes, open_project

from ..project import change_code


def test_a_reason_is_recorded_and_nothing_else_changes(project: Path) -> None:
    path = next(Path("results/cells").glob("*/*/manifest.json"))
    change_code(path, "training/backend.py")
    before, time = read_manifest(path), path.stat().st_mtime_ns
    assert main(["accept", str(path.parent), "--reason", "only a name"]) == 0
    after = read_manifest(path)
    (entry,) = after.accepted
    assert (entry["reason"], entry["source_sha256"]) == ("only a name", fingerprint(*CELL_MODULES))
    assert code_changes(before) == ["training/backend.py"]
    assert code_changes(after) == []
    # Later artifacts refer to the seal, and Snakemake to the time.
    assert (after.seal, path.stat().st_mtime_ns) == (before.seal, time)


def test_what_is_current_gets_no_entry(project: Path) -> None:
    path = next(Path("results/cells").glob("*/*/manifest.json"))
    assert main(["accept", str(path), "--reason", "x"]) == 0
    assert read_manifest(path).accepted == ()


def test_without_a_reason_or_artifacts_nothing_is_accepted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["accept", "--reason", "x"]) == 2
    assert "--all" in capsys.readouterr().err
    assert main(["accept", "--all", "--reason", " "]) == 2
    assert "say why" in capsys.readouterr().err


SLICE = "small-digits-mse-B16-T30"
TABLES = "results/tiny/tables"


def test_tables_are_accepted_with_those_below_them_if_only_code_has_changed(project: Path) -> None:
    cells, edges = (f"{TABLES}/{name}/{SLICE}.manifest.json" for name in ("cells", "thresholds"))
    change_code(Path(cells), "tables/cells.py")
    change_code(Path(edges), "tables/edges/find.py")
    assert not_by_code(Results(open_project()), [cells, edges]) == {}
    above = not_by_code(Results(open_project()), [edges])
    assert above == {edges: f"made from {TABLES}/cells/{SLICE}, which would be made again"}


def test_what_has_other_parameters_is_refused_with_all_that_is_made_of_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, fit = Path(f"{TABLES}/scaling/{SLICE}.manifest.json"), f"{TABLES}/scaling.manifest.json"
    change_code(path, "tables/edges/exponents.py")
    with Path("config/studies/tiny.yaml").open("a") as file:
        file.write("analysis: {confidence: 0.9}\n")
    refused = not_by_code(Results(open_project()), [path.as_posix(), fit])
    assert "params: analysis.confidence 0.95 -> 0.9" in refused[path.as_posix()]
    assert refused[fit].startswith("made from")
    assert main(["accept", str(path), "--reason", "x"]) == 2
    assert "analysis.confidence 0.95 -> 0.9" in capsys.readouterr().err
    assert read_manifest(path).accepted == ()


def test_an_accepted_script_is_current(project: Path) -> None:
    path = Path(f"{TABLES}/scaling/{SLICE}.manifest.json")
    script = Path("workflow/scripts/tables.py")
    script.write_text(script.read_text() + "print()\n")
    assert Results(open_project(), scripts_folder()).differing[path.as_posix()] == {
        "script": ["tables.py"]
    }
    assert main(["accept", "--all", "--reason", "prints"]) == 0
    assert path.as_posix() not in Results(open_project(), scripts_folder()).differing
