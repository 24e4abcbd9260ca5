"""A table, a figure and commands that write, when a file operation of theirs fails: the next call ends alike."""

import contextlib
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.commands.audit import audit_all
from gammascape.manifests import ManifestError, read_manifest
from gammascape.provenance.project import code_changes
from gammascape.provenance.remake import run_rule
from gammascape.workflow.catalogue import artifacts
from gammascape.workflow.plan import load_plan

from ..faults import KILL, Trial, partial_files, snapshot, trials
from ..project import change_code
from .test_prune import WITHOUT_DEEP

CELLS_TABLE = "results/tiny/tables/cells/small-digits-mse-B16-T30"
FIGURE = "results/tiny/figures/loss_curves/small-digits-mse-B16-T30"


@pytest.fixture(scope="module")
def finished(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study with few figures and no page of them: each trial copies, reads and hashes all."""
    folder = tmp_path_factory.mktemp("light") / "project"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    for path in (folder / "results").glob("tiny/figures/*"):
        if path.is_dir() and path.name != "loss_curves":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    for pattern in ("index.*", "tiny/provenance.*"):
        for path in (folder / "results").glob(pattern):
            path.unlink()
    return folder


def copier(project: Path) -> Callable[[Path], object]:
    return lambda folder: shutil.copytree(project, folder, dirs_exist_ok=True, symlinks=True)


def undisturbed(tmp_path: Path, project: Path, act: Callable[[Path], object]) -> Path:
    folder = tmp_path / "undisturbed"
    copier(project)(folder)
    act(folder)
    return folder


def disturb(trial: Trial, act: Callable[[Path], object]) -> None:
    """Act with a fault and then without one."""
    with trial.fault():
        act(trial.folder)
    assert trial.kind == KILL or not partial_files(trial.folder), trial.done[-1]
    act(trial.folder)
    assert not partial_files(trial.folder), trial.done[-1]


def content(folder: Path) -> dict[str, bytes]:
    """All but logs and manifests, which hold times; of those the names."""
    found = snapshot(folder / "results")
    timed = ("manifest.json", ".log", "/")
    return {name: b"" if name.endswith(timed) else data for name, data in found.items()}


def errors(root: Path) -> list[str]:
    chain = audit_all(root)
    return [
        f"{name}: {finding.text}"
        for name, link in chain.links.items()
        for finding in link.findings
        if finding.severity == "error"
    ]


def runner(project: Path, stem: str) -> Callable[[Path], None]:
    with contextlib.chdir(project):
        plan = load_plan({"study": "config/studies/tiny.yaml"})
        (item,) = (item for item in artifacts(plan, "tiny") if item.stem == stem)

    def run(root: Path) -> None:
        with contextlib.chdir(root):
            # What a failed job leaves, Snakemake removes before it runs again.
            for path in (*item.outputs, item.manifest):
                Path(path).unlink(missing_ok=True)
            try:
                run_rule(item)
            except ManifestError as error:
                # A job of Snakemake's ends with it as with any other.
                sys.exit(str(error))

    return run


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", KILL])
def test_a_table_is_the_same_after_any_file_operation_has_failed(
    finished: Path, tmp_path: Path, kind: str
) -> None:
    run = runner(finished, CELLS_TABLE)
    wanted = content(undisturbed(tmp_path, finished, run))
    for trial in trials(tmp_path, copier(finished), kind, step=11):
        disturb(trial, run)
        assert content(trial.folder) == wanted, trial.done[-1]
    assert errors(tmp_path / "undisturbed") == []


@pytest.mark.parametrize("kind", ["EACCES", KILL])
def test_a_figure_is_the_same_after_any_file_operation_has_failed(
    finished: Path, tmp_path: Path, kind: str
) -> None:
    run = runner(finished, FIGURE)
    wanted = content(undisturbed(tmp_path, finished, run))
    for trial in trials(tmp_path, copier(finished), kind, step=7):
        disturb(trial, run)
        # The mark of a figure holds the claim of its manifest, and so the time.
        assert content(trial.folder).keys() == wanted.keys(), trial.done[-1]
        assert read_manifest(trial.folder / f"{FIGURE}.manifest.json").content
        for form in ("json", "png"):
            assert (trial.folder / f"{FIGURE}.{form}").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", KILL])
def test_acceptances_are_whole_after_any_file_operation_has_failed(
    finished: Path, tmp_path: Path, kind: str
) -> None:
    def run(root: Path) -> None:
        with contextlib.chdir(root):
            main(["accept", "--all", "--reason", "a name"])

    stale = tmp_path / "stale"
    copier(finished)(stale)
    cell = next((stale / "results/cells").glob("*/*/manifest.json")).relative_to(stale)
    changed = [cell, Path(f"{CELLS_TABLE}.manifest.json")]
    for path, module in zip(changed, ("training/backend.py", "tables/cells.py"), strict=True):
        time = (stale / path).stat()
        change_code(stale / path, module)
        os.utime(stale / path, ns=(time.st_atime_ns, time.st_mtime_ns))

    def manifests(root: Path) -> dict[Path, bytes]:
        found = {path.relative_to(root): path for path in root.glob("results/**/*manifest.json")}
        return {name: found[name].read_bytes() for name in found.keys() - set(changed)}

    whole = undisturbed(tmp_path, stale, run)
    wanted, untouched = content(whole), manifests(stale)
    # The edit that stands for other code is seen as what it is, and nothing else is wrong.
    assert errors(whole) == errors(stale)
    for trial in trials(tmp_path, copier(stale), kind, step=29):
        disturb(trial, run)
        assert content(trial.folder) == wanted, trial.done[-1]
        for path in changed:
            manifest = read_manifest(trial.folder / path)
            assert code_changes(manifest) == []
            assert [entry["reason"] for entry in manifest.accepted] == ["a name"]
        assert manifests(trial.folder) == untouched, trial.done[-1]


@pytest.mark.parametrize("kind", ["ENOSPC", "EACCES", KILL])
def test_what_is_pruned_is_whole_after_any_file_operation_has_failed(
    finished: Path, tmp_path: Path, kind: str
) -> None:
    def run(root: Path) -> None:
        with contextlib.chdir(root):
            main(["prune", "--yes"])

    def left_and_moved(root: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
        left, moved = {}, {}
        for name, data in snapshot(root / "results").items():
            parts = Path(name).parts
            if not name.endswith("/"):
                if parts[0] == ".trash":
                    moved["/".join(parts[2:])] = data
                else:
                    left[name] = data
        return left, moved

    smaller = tmp_path / "smaller"
    copier(finished)(smaller)
    (smaller / "config/studies/tiny.yaml").write_text(WITHOUT_DEEP)
    for cell in (smaller / "results/cells").glob("*/*"):
        log = smaller / "results/logs/cells" / cell.parent.name / f"{cell.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("trained\n")
    wanted = left_and_moved(undisturbed(tmp_path, smaller, run))
    assert any(name.endswith(".log") for name in wanted[1])
    for trial in trials(tmp_path, copier(smaller), kind, step=101):
        disturb(trial, run)
        assert left_and_moved(trial.folder) == wanted, trial.done[-1]


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", KILL])
def test_a_crate_is_whole_or_not_there_after_any_file_operation_has_failed(
    finished: Path, tmp_path: Path, kind: str
) -> None:
    def run(root: Path) -> None:
        with contextlib.chdir(root):
            main(["export-crate", "out/study.zip", "--data"])

    def members(root: Path) -> set[str]:
        with zipfile.ZipFile(root / "out/study.zip") as crate:
            assert crate.testzip() is None
            return set(crate.namelist())

    wanted = members(undisturbed(tmp_path, finished, run))
    for trial in trials(tmp_path, copier(finished), kind, step=1009):
        disturb(trial, run)
        assert members(trial.folder) == wanted, trial.done[-1]
        assert [path.name for path in (trial.folder / "out").iterdir()] == ["study.zip"]
