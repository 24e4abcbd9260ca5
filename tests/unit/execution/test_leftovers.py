"""Cells that are whole although Snakemake wants them to be trained again."""

import asyncio
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from snakemake.jobs import Reason

from gammascape.execution.leftovers import begin, status_of, sweep
from gammascape.execution.tasks import Task
from gammascape.manifests import File, Manifest, code_state, environment, utc_now, write_manifest

from .test_packing import task

ASIDE = Path("results/.scratch/aside")


def write_artifact(made: Task, folder: Path | None = None) -> Path:
    """An artifact as small as one can be."""
    folder = folder or Path(made.output)
    folder.mkdir(parents=True)
    outputs = []
    for name, content in (
        ("arrays.npz", b"numbers"),
        ("summary.json", json.dumps({"cell": made.record, "status": "trained"}).encode()),
    ):
        (folder / name).write_bytes(content)
        outputs.append(File(name, len(content), hashlib.sha256(content).hexdigest()))
    write_manifest(
        folder / "manifest.json",
        Manifest(
            kind="cell",
            name=made.output,
            rule="train",
            record=made.record,
            inputs=(),
            code=code_state("numerics.py"),
            environment=environment(("numpy",)),
            started=utc_now(),
            finished=utc_now(),
            outputs=tuple(outputs),
            device={"device": "cpu", "device_model": "one"},
            executor="packed",
            attempts=({"started": utc_now(), "from_step": 0, "reason": "fresh"},),
            cost={"seconds": 1.0, "lanes": 1},
        ),
    )
    return folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_artifact_is_whole_if_it_is_what_its_manifest_says() -> None:
    cell = task()
    write_artifact(cell)
    assert status_of(cell) == "trained"


@pytest.mark.parametrize("name", ["arrays.npz", "summary.json", "manifest.json"])
@pytest.mark.parametrize("how", ["missing", "cut", "altered", "folder"])
def test_an_artifact_that_is_damaged_is_trained_again(name: str, how: str) -> None:
    cell = task()
    path = write_artifact(cell) / name
    content = path.read_bytes()
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes(content[:-3] if how == "cut" else content.replace(b"a", b"b", 1) + b"!")
    assert status_of(cell) is None


def test_an_artifact_of_another_record_is_trained_again() -> None:
    write_artifact(task(), Path(task(gamma="1").output))
    assert status_of(task(gamma="1")) is None


def test_what_an_earlier_run_has_set_aside_is_put_back() -> None:
    cell = task()
    write_artifact(cell, ASIDE / cell.parsed.identity)
    assert status_of(cell) == "trained"
    assert (Path(cell.output) / "manifest.json").exists()
    assert not list(ASIDE.iterdir())


def test_what_was_set_aside_gives_way_to_a_whole_artifact() -> None:
    cell = task()
    write_artifact(cell)
    (ASIDE / cell.parsed.identity).mkdir(parents=True)
    assert status_of(cell) == "trained"
    assert not list(ASIDE.iterdir())


class Workflow:
    """What Snakemake tells an executor about one job, and whether it removed the job's files."""

    def __init__(self, cell: Task, **settings: Any) -> None:
        folder = Path(cell.output)
        self.prepared = False
        self.reason = Reason()
        self.job = Mock(rule="train", log=[])
        self.job.output = [
            Mock(__str__=Mock(return_value=str(folder / name)))
            for name in ("summary.json", "arrays.npz", "manifest.json")
        ]
        self.job.prepare = self._prepare
        self.dag_settings = SimpleNamespace(**{"forcerun": (), "forcetargets": False} | settings)
        self.dag = SimpleNamespace(
            reason=lambda job: self.reason,
            forcerules=settings.get("forcerules", ()),
            targetfiles={str(folder / "summary.json")},
        )

    async def _prepare(self) -> None:
        self.prepared = True

    def async_run(self, work: Any) -> None:
        asyncio.run(work)


def test_a_whole_cell_that_snakemake_calls_incomplete_is_kept() -> None:
    cell = task()
    write_artifact(cell)
    workflow = Workflow(cell)
    # With --rerun-incomplete the reason says only that the job is forced.
    workflow.reason.forced = True
    assert begin(workflow, cell, workflow.job) == "trained"
    assert not workflow.prepared


@pytest.mark.parametrize(
    "settings",
    [
        {"forcerules": ("train",)},
        {"forcerun": (f"./{task().output}/summary.json",)},
        {"forcetargets": True},
    ],
)
def test_a_cell_that_a_person_forces_is_trained(settings: dict[str, Any]) -> None:
    cell = task()
    write_artifact(cell)
    workflow = Workflow(cell, **settings)
    workflow.reason.forced = True
    assert begin(workflow, cell, workflow.job) is None
    assert workflow.prepared


@pytest.mark.parametrize("name", ["params_changed", "code_changed", "input_changed"])
def test_a_cell_whose_rule_has_changed_is_trained(name: str) -> None:
    cell = task()
    write_artifact(cell)
    workflow = Workflow(cell)
    setattr(workflow.reason, name, True)
    assert begin(workflow, cell, workflow.job) is None
    assert workflow.prepared


def test_files_that_another_snakemake_may_be_writing_stay() -> None:
    cell = task()
    folder = write_artifact(cell)
    (folder / "manifest.json").unlink()
    workflow = Workflow(cell)
    workflow.reason.missing_output.add("manifest.json")
    assert begin(workflow, cell, workflow.job) is None
    assert not workflow.prepared


def test_checkpoints_of_finished_cells_go_and_others_stay() -> None:
    done, begun = task(), task(gamma="1")
    write_artifact(done)
    folder = Path("results/.scratch/checkpoints")
    folder.mkdir(parents=True)
    for name in ("{}-n1", ".{}-n1.0123abcd-17"):
        for cell in (done, begun):
            (folder / name.format(cell.parsed.identity)).touch()
    sweep()
    left = {path.name for path in folder.iterdir()}
    identity = begun.parsed.identity
    assert left == {f"{identity}-n1", f".{identity}-n1.0123abcd-17"}
