"""Which devices workers get."""

from pathlib import Path

import pytest

from gammascape.execution.devices import find_devices


def fake_nvidia_smi(folder: Path, answer: str) -> str:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    program.chmod(0o755)
    return str(folder)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))


def test_without_a_gpu_each_core_gets_a_worker_with_one_thread() -> None:
    devices = find_devices("auto", 3)
    assert [device.kind for device in devices] == ["cpu"] * 3
    assert all(device.environment["OMP_NUM_THREADS"] == "1" for device in devices)


def test_every_gpu_gets_a_worker_that_sees_it_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, "0\\n1\\n") + ":/usr/bin:/bin")
    devices = find_devices("auto", 8)
    assert [d.environment["CUDA_VISIBLE_DEVICES"] for d in devices] == ["0", "1"]
    assert [d.name for d in devices] == ["cuda0", "cuda1"]


def test_gpus_hidden_by_the_user_or_by_slurm_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    [device] = find_devices("auto", 8)
    assert device.environment["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_devices("auto", 1)[0].kind == "cpu"


def test_the_cpu_can_be_asked_for_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert find_devices("cpu", 1)[0].kind == "cpu"


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="no GPU"):
        find_devices("cuda", 1)
