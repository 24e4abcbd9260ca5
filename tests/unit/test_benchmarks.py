"""Benchmarks that have to run through on the day when there is a machine for them."""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.study.keys.observables import OBSERVABLES
from gammascape.training import device

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_a_benchmark_finds_what_it_imports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    importlib.import_module(name)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    monkeypatch.setattr(device, "_SLOW_SIZE", 256)
    return importlib.import_module("gpu")


def test_all_observables_are_measured_on_a_gpu(gpu: Any) -> None:
    assert gpu.OBSERVABLES == OBSERVABLES


def toy(gpu: Any, *parts: str) -> int:
    return int(gpu.main(["--device", "cpu", "--toy", *(["--parts", *parts] if parts else [])]))


def test_the_qualification_of_a_gpu_runs_through_without_one(gpu: Any, capsys: Printed) -> None:
    assert toy(gpu) == 0
    printed = capsys.readouterr().out
    assert printed.count("### ") == len(gpu.PARTS)
    assert not any(word in printed for word in ("FAILED", "NO", "No time"))


def test_what_is_computed_wrong_is_said_and_ends_with_an_error(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(gpu, "FORMS", {"float32": "0"})
    monkeypatch.setattr(gpu, "TOLERANCES", dict.fromkeys(gpu.TOLERANCES, -1.0))
    assert toy(gpu, "right") == 1
    rows = [line for line in capsys.readouterr().out.splitlines() if "| float32 |" in line]
    # Two products, and two networks with two losses.
    assert ["**NO**" in row for row in rows] == [True] * 6


def test_products_of_fewer_digits_than_float32_are_wrong(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    product = torch.bmm

    def of_few_digits(*values: torch.Tensor) -> torch.Tensor:
        # TF32 has the digits of float16.
        short = (v.half().float() if v.dtype == torch.float32 else v for v in values)
        return product(*short)

    monkeypatch.setattr(gpu, "FORMS", {"float32": "0"})
    monkeypatch.setattr(gpu.torch, "bmm", of_few_digits)
    assert toy(gpu, "right") == 1
    [row] = [line for line in capsys.readouterr().out.splitlines() if "**NO**" in line]
    assert row.startswith("| matrix product | float32 |")


def test_no_part_begins_or_goes_on_when_time_is_over(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    def endless(session: Any) -> None:
        """What falls back after every error."""
        print("| a row |")
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue

    def never(session: Any) -> None:
        """What comes after it."""
        raise AssertionError

    monkeypatch.setattr(gpu, "PARTS", {"endless": endless, "never": never})
    assert gpu.main(["--device", "cpu", "--toy", "--minutes", "0.01"]) == 0
    printed = capsys.readouterr().out
    assert "| a row |" in printed
    assert "**No time was left for**: the rest of endless; never\n" in printed
    # A part that is slow leaves time to the others.
    monkeypatch.setattr(gpu, "PARTS", {"endless": endless, "never": lambda session: None})
    monkeypatch.setattr(gpu, "SHARES", {"endless": 1e-3})
    monkeypatch.setattr(gpu.PARTS["never"], "__doc__", "The other.")
    assert gpu.main(["--device", "cpu", "--toy"]) == 0
    printed = capsys.readouterr().out
    assert "### The other." in printed
    assert "**No time was left for**: the rest of endless\n" in printed


def test_a_case_that_fails_or_has_no_time_left_does_not_lose_the_others(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    class Broken(gpu.Bench):  # type: ignore[misc]
        def __init__(self, spec: dict[str, Any]) -> None:
            super().__init__(spec)
            if self.model.depth == 7:
                raise RuntimeError("no kernel image is available\nmore")

    first, second, *_ = gpu.RATES.items()
    broken = ({**first[1][0], "depth": 7}, *first[1][1:])
    monkeypatch.setattr(gpu, "RATES", {first[0]: broken, second[0]: second[1]})
    monkeypatch.setattr(gpu, "Bench", Broken)
    assert toy(gpu, "rates") == 1
    printed = capsys.readouterr().out
    assert f"| {first[0]} | FAILED: RuntimeError: no kernel image is available |" in printed
    [row] = [line for line in printed.splitlines() if line.startswith(f"| {second[0]}")]
    assert "FAILED" not in row
    assert gpu.main(["--device", "cpu", "--toy", "--parts", "rates", "--minutes", "0.1"]) == 0
    assert f"No time was left for**: rates of {first[0]}; rates of" in capsys.readouterr().out


def test_both_forms_of_each_convolution_are_shown(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    found = [
        ("2x3 by 4x3", {"grouped": 0.002, "unfolded": 0.0015}),
        ("8x3 by 4x3", {"grouped": float("nan")}),
        ("9x3 by 4x3", {"unfolded": 0.001}),
    ]
    monkeypatch.setattr(gpu, "comparisons", lambda: found)
    monkeypatch.setattr(gpu, "RATES", {})
    assert toy(gpu, "rates") == 0
    printed = capsys.readouterr().out
    assert "| 2x3 by 4x3 | 2.000 | 1.500 |\n" in printed
    assert "| 8x3 by 4x3 | not timed | too large |\n" in printed
    assert "| 9x3 by 4x3 | failed | 1.000 |\n" in printed


@pytest.mark.parametrize(
    ("version", "older"),
    [("2.11.0+cu130", True), ("2.13.0", False), ("2.13.1+cpu", False), ("3.0.0a0", False)],
)
def test_an_older_torch_than_asked_for_is_said(
    version: str, older: bool, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu.torch, "__version__", version)
    assert bool(gpu.older_than_asked()) == older


def test_each_size_of_a_pack_shows_its_own_difference(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    def losses(records: list[Any], *_: object) -> np.ndarray:
        return np.full((len(records), 3), 1.0 + {2: 5e-5, 5: 1e-5}.get(len(records), 0.0))

    monkeypatch.setattr(gpu, "losses", losses)
    assert toy(gpu, "packs") == 0
    assert "| mlp | 5.0e-05 | 1.0e-05 | same bits | yes |" in capsys.readouterr().out


def test_a_run_goes_on_from_checkpoints(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(gpu.Checkpoints, "load", lambda *_: None)
    assert toy(gpu, "packs") == 1
    assert "**packs FAILED**: RuntimeError: a checkpoint" in capsys.readouterr().out


def test_a_capture_is_refused_since_the_step_reads_the_device(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(run: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        def refuse(value: torch.Tensor) -> None:
            raise RuntimeError("operation not permitted when stream is capturing")

        run()
        monkeypatch.setattr(torch.Tensor, "item", refuse)
        return lambda: None, run()

    monkeypatch.setattr(gpu.Graph, "record", staticmethod(record))
    with gpu.refused_captures(), pytest.raises(RuntimeError, match="not permitted"):
        gpu.Graph.record(lambda: torch.zeros(2))
    assert gpu.Graph.record is record
