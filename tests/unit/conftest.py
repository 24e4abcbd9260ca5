"""Records of small cells, the prepared digits, and results folders made once, of which tests change copies."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.data.prepare import PREPARERS
from gammascape.figures.style.lean import build_lean
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import MlpSpec

from .project import made_once, make_project, plan_of, write_results
from .tree import make_results

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

build_lean()


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "digits"
    PREPARERS["digits"](None, folder)
    return folder / "manifest.json"


@pytest.fixture(scope="session")
def digits(digits_file: Path) -> Dataset:
    options = DigitsSpec(kind="digits").model_dump(mode="json")
    return load_dataset(options, digits_file, torch.device("cpu"))


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    def make(**changes: Any) -> dict[str, Any]:
        cell = Cell(
            model=MlpSpec(kind="mlp", depth=3, width=64),
            dataset=DigitsSpec(kind="digits"),
            loss="mse",
            gamma="0",
            eta="0",
            batch_size=32,
            steps=100,
        )
        return cell.record() | changes

    return make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "made", make_results)


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "project", copy_function=shutil.copy2)
    return tmp_path / "project"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with all its tables, figures and the page; its cells were not trained."""

    def make(folder: Path) -> None:
        with contextlib.chdir(make_project(folder)):
            write_results(plan_of())

    return made_once(tmp_path_factory, "written", make)


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished study, and the current folder."""
    copy = tmp_path / "project"
    shutil.copytree(finished, copy, copy_function=shutil.copy2)
    monkeypatch.chdir(copy)
    return copy
