"""Declaring artifacts current."""

from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.origin import fingerprint, read_manifest
from gammascape.origin.code import CELL_MODULES
from gammascape.provenance.accept import acceptable
from gammascape.provenance.dryrun import Job
from gammascape.provenance.project import code_changes
from gammascape.study import StudyError

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
    assert acceptable([second, first], both) == [second, first]
    assert acceptable([first, second], both[:1]) == [first]
    with pytest.raises(StudyError, match=r"made from a\.parquet, which would be made again"):
        acceptable([first, second], both[1:])


@pytest.mark.parametrize(
    "reason",
    [
        "Missing output files: a.parquet",
        "Params have changed since last execution: before and after",
        "Updated input files: results/cells/x/summary.json",
        f"{CODE}, results/cells/x/summary.json",
        f"Set of input files has changed since last execution; {CODE}",
    ],
)
def test_a_table_is_refused_if_more_than_code_changed(reason: str) -> None:
    with pytest.raises(StudyError, match="more than code has changed"):
        acceptable([job("a", reason)], [Path("a.manifest.json")])
