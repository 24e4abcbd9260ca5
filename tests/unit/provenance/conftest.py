"""A results folder made once; tests falsify copies of it."""

import shutil
from pathlib import Path

import pytest

from .tree import make_results


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "project", copy_function=shutil.copy2)
    return tmp_path / "project"
