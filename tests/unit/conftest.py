"""Records of small cells, the prepared digits, and results folders made once, of which tests change copies."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import pytest
import torch
from altair.utils import schemapi
from hypothesis import settings

from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.data.prepare import PREPARERS
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import MlpSpec

from .project import made_once, make_project, plan_of, write_results
from .tree import make_results

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A chart is validated as a whole; its parts would be when they are made, too.
schemapi.disable_debug_mode()
# Most of Altair's own work on a chart is hashing the schemas of all classes for each encoding, and copying each of
# the dozens of options that an object was not given. Here there is neither; charts are the same.
_CONVERTER = schemapi._FromDict(alt.VegaLiteSchema._default_wrapper_classes())
schemapi._FromDict = lambda classes: _CONVERTER
_copied = schemapi._deep_copy


def _copy_given(value: Any, by_ref: set[str]) -> Any:
    if not isinstance(value, alt.SchemaBase) or hasattr(value, "__deepcopy__"):
        return _copied(value, by_ref)
    given = {
        key: of if key in by_ref else _copy_given(of, by_ref)
        for key, of in value._kwds.items()
        if of is not alt.Undefined
    }
    return type(value)(*(_copy_given(of, by_ref) for of in value._args), **given)


schemapi._deep_copy = _copy_given


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
    return make_results(tmp_path_factory.mktemp("made"))


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
