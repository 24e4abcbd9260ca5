"""The project that most tests begin with."""

from pathlib import Path

import pytest

from ..unit.project import made_once
from .projects import STUDY, empty_project, snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the tiny study has run once; tests work on copies."""

    def make(folder: Path) -> None:
        project = empty_project(folder, STUDY.format(gammas="[0, 1]", etas="[0, 1]"))
        done = snakemake(project, "--cores", "2")
        assert done.returncode == 0, done.stderr
        (folder / "said").write_text(done.stderr)

    return made_once(tmp_path_factory, "finished", make)
