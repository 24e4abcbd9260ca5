"""Which devices workers get."""

from pathlib import Path

import pytest

from gammascape.execution.devices import find_devices, listed_gpus, visible_gpus

DIVIDED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1g.5gb      Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-8b6ae1a4-7e34-4e1a-a4c2-1f1b8e0a9a11)
"""


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
    monkeypatch.setenv(
        "PATH",
        fake_nvidia_smi(tmp_path, "GPU 0: A (UUID: GPU-0)\\nGPU 1: A (UUID: GPU-1)\\n")
        + ":/usr/bin:/bin",
    )
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


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 0", ["2", "0"]),
        ("GPU-5d5ba0d6,1", ["GPU-5d5ba0d6", "1"]),
        (
            "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
            ["MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"],
        ),
        ("MIG-GPU-5d5ba0d6/1/0", ["MIG-GPU-5d5ba0d6/1/0"]),
        # CUDA sees what stands before the first name that is none.
        ("0,-1,1", ["0"]),
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
        # Two workers would share it.
        ("1,1", ["1"]),
    ],
)
def test_names_of_visible_devices_are_read_as_cuda_reads_them(value: str, names: list[str]) -> None:
    assert visible_gpus(value) == names


def test_a_divided_gpu_counts_as_its_parts() -> None:
    assert listed_gpus(DIVIDED) == [
        "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
        "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb",
        "1",
    ]


def test_numbers_of_the_users_own_stay_in_the_users_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert "CUDA_DEVICE_ORDER" not in find_devices("auto", 1)[0].environment
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv(
        "PATH", fake_nvidia_smi(tmp_path, "GPU 0: A (UUID: GPU-0)") + ":/usr/bin:/bin"
    )
    assert find_devices("auto", 1)[0].environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
