"""Records of small cells, and the prepared digits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gammascape.data import Dataset, load_dataset
from gammascape.data.prepare import prepare
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import MlpSpec


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "digits"
    prepare("digits", None, folder)
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
