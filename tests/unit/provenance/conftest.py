"""Results folders made once; tests falsify or change copies of them."""

import contextlib
import shutil
from pathlib import Path

import pytest

from ..project import make_project, plan_of, write_results
from ..tree import make_results


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "project", copy_function=shutil.copy2)
    return tmp_path / "project"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with all its tables, figures and the page; its cells were not trained."""
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    with contextlib.chdir(project):
        write_results(plan_of())
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished study, and the current folder."""
    copy = tmp_path / "project"
    shutil.copytree(finished, copy, copy_function=shutil.copy2)
    monkeypatch.chdir(copy)
    return copy
