"""The nightly run of all small studies."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from .study.conftest import FILES, ROOT


@pytest.fixture
def nightly() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nightly", ROOT / "tests/nightly.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_study_that_fails_stops_no_other_and_is_named(
    nightly: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    called = []

    def run(options: Sequence[str]) -> int:
        called.append(options[1])
        return 1 if "bad" in options[1] else 0

    assert nightly.run_all(["bad.yaml", "good.yaml"], "{}", run, lambda _: []) == ["bad.yaml"]
    assert called == ["study=bad.yaml", "study=good.yaml"]
    said = capsys.readouterr().out
    assert "1 of 2 studies done" in said
    assert "failed: bad.yaml" in said


def test_a_study_that_leaves_its_reference_is_named(
    nightly: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(study: str) -> list[str]:
        return ["slope 3, reference 2"] if study == "bad" else []

    chosen = ["config/bad.yaml", "config/good.yaml"]
    assert nightly.run_all(chosen, "{}", lambda _: 0, compare) == ["config/bad.yaml"]
    assert "config/bad.yaml leaves its reference: slope 3, reference 2" in capsys.readouterr().out
    assert nightly.differences("a-study-without-one") == []


def test_every_small_study_is_run(nightly: ModuleType) -> None:
    files = {path.name for path in FILES if "-small" in path.name}
    assert {Path(study).name for study in nightly.small_studies()} == files
    assert len(files) >= 10


def test_a_users_folder_is_read_and_nothing_fetched(nightly: ModuleType) -> None:
    assert nightly.data_config("d") == "{mnist: d/mnist, cifar10: d/cifar10, download: false}"
    assert "mnist: data/mnist" in nightly.data_config(None)
    assert "download: true" in nightly.data_config(None)
