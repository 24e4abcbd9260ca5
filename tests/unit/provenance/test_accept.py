"""Declaring artifacts current."""

from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.origin import fingerprint, read_manifest
from gammascape.origin.code import CELL_MODULES
from gammascape.provenance.accept import acceptable
from gammascape.provenance.dryrun import Job
from gammascape.provenance.project import code_changes

from .synthetic import change_code


def test_a_reason_is_recorded_and_nothing_else_changes(project: Path) -> None:
    path = next(Path("results/cells").glob("*/*/manifest.json"))
    change_code(path, "training/step.py")
    before, time = read_manifest(path), path.stat().st_mtime_ns
    assert main(["accept", str(path.parent), "--reason", "only a name"]) == 0
    after = read_manifest(path)
    (entry,) = after.accepted
    assert (entry["reason"], entry["source_sha256"]) == ("only a name", fingerprint(*CELL_MODULES))
    assert code_changes(before) == ["training/step.py"]
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


def job(name: str, reason: str) -> Job:
    return Job("scaling", {}, (f"{name}.parquet", f"{name}.manifest.json"), reason)


CODE = "Updated input files: results/.fingerprints/analysis.sha256"


def test_a_table_is_accepted_if_only_code_changed_for_it_and_its_inputs() -> None:
    first, second = job("a", CODE), job("b", "Input files updated by another job: a.parquet")
    both = [Path("a.manifest.json"), Path("b.manifest.json")]
    assert acceptable([second, first], [], both) == ([second, first], {})
    assert acceptable([first, second], [], both[:1]) == ([first], {})
    why = "made from a.parquet, which would be made again"
    assert acceptable([first, second], [], both[1:]) == ([], {"b.manifest.json": why})


def test_what_would_be_made_without_a_change_of_code_is_refused_with_all_that_is_made_of_it() -> (
    None
):
    hidden = job("a", "Params have changed since last execution: before and after")
    jobs = [job("a", CODE), job("b", "Input files updated by another job: a.parquet")]
    both = [Path("a.manifest.json"), Path("b.manifest.json")]
    accepted, refused = acceptable(jobs, [hidden], both)
    assert (accepted, set(refused)) == ([], {"a.manifest.json", "b.manifest.json"})
    assert refused["a.manifest.json"] == hidden.reason
