"""Benchmarks that have to run through on the day when there is a machine for them."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_a_benchmark_finds_what_it_imports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    importlib.import_module(name)


def test_the_qualification_of_a_gpu_runs_through_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    gpu = importlib.import_module("gpu")
    assert gpu.main(["--device", "cpu", "--toy"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("### ") == len(gpu.PARTS)
    assert "failed" not in printed
    assert "NO" not in printed


def test_what_is_computed_wrong_is_said_and_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    gpu = importlib.import_module("gpu")
    monkeypatch.setattr(gpu, "TOLERANCES", dict.fromkeys(gpu.TOLERANCES, -1.0))
    assert gpu.main(["--device", "cpu", "--toy", "--parts", "right"]) == 1
    assert "**NO**" in capsys.readouterr().out
