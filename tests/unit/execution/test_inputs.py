"""How often Snakemake looks at the inputs of jobs."""

import asyncio
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake import io
from snakemake.io import _IOFile
from snakemake.scheduling.job_scheduler import JobScheduler

from gammascape.execution.inputs import leave_out_sizes, remember_checksums


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _IOFile:
    """An input of 3 bytes, after whose test Snakemake is as before."""
    monkeypatch.setattr(
        _IOFile, "checksum", getattr(_IOFile.checksum, "__wrapped__", _IOFile.checksum)
    )
    path = tmp_path / "a"
    path.write_text("one")
    cache = SimpleNamespace(active=False)
    file = _IOFile(str(path), None)
    file.rule = SimpleNamespace(workflow=SimpleNamespace(iocache=cache))
    return file


def test_an_input_is_read_once_until_it_changes(
    file: _IOFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    compute: Callable[..., object] = hashlib.file_digest

    def counted(*args: object) -> object:
        read.append("")
        return compute(*args)

    remember_checksums()
    remember_checksums()
    monkeypatch.setattr(hashlib, "file_digest", counted)
    for content in ("one", "two"):
        Path(file).write_text(content)
        expected = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
        assert [asyncio.run(file.checksum(1000)) for _ in range(3)] == [expected] * 3
    assert len(read) == 2
    Path(file).unlink()
    assert asyncio.run(file.checksum(1000)) is None


def test_sizes_of_inputs_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobScheduler, "update_input_sizes", JobScheduler.update_input_sizes)
    leave_out_sizes()
    # Any look at the scheduler or the jobs would fail.
    assert asyncio.run(JobScheduler.update_input_sizes(None, None)) is None


def test_a_snakemake_that_is_made_otherwise_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(io, "_IOFile")
    monkeypatch.setitem(sys.modules, "snakemake.scheduling.job_scheduler", None)
    remember_checksums()
    leave_out_sizes()
