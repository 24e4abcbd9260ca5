"""The project that most tests begin with is made once, whichever of their processes comes first."""

import fcntl
import os
from pathlib import Path

import pytest

from .projects import STUDY, empty_project, snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the tiny study has run once; tests work on copies."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        said = folder / "said"
        if not said.is_file():
            project = empty_project(folder, STUDY.format(gammas="[0, 1]", etas="[0, 1]"))
            done = snakemake(project, "--cores", "2")
            assert done.returncode == 0, done.stderr
            said.write_text(done.stderr)
    return folder
