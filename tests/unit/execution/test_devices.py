"""Which devices workers get."""

from pathlib import Path

import pytest
import torch

from gammascape.execution import devices as devices_module
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
    assert [d.environment["CUDA_VISIBLE_DEVICES"] for d in devices] == ["GPU-0", "GPU-1"]
    assert [d.name for d in devices] == ["cuda0", "cuda1"]


def test_gpus_hidden_by_the_user_or_by_slurm_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus = "".join(f"GPU {n}: A (UUID: GPU-{n})\\n" for n in range(4))
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, gpus) + ":/usr/bin:/bin")
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


MIG = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
READ = {
    "0,1": ["0", "1"],
    " 2 , 0": ["2", "0"],
    "+1": ["1"],
    "-0,1": ["0", "1"],
    "01": ["1"],
    # As strtoul reads numbers.
    "1x,2": ["1", "2"],
    "1gpu2,2ampere": ["1", "2"],
    "GPU-5d5ba0d6": ["GPU-5d5ba0d6"],
    "GPU-5d5ba0d6,GPU-8b6ae1a4": ["GPU-5d5ba0d6", "GPU-8b6ae1a4"],
    MIG: [MIG],
    "MIG-GPU-5d5ba0d6/1/0": ["MIG-GPU-5d5ba0d6/1/0"],
    # Names of one kind, each with its prefix at once after the comma.
    "GPU-5d5ba0d6,1": ["GPU-5d5ba0d6"],
    "MIG-x,GPU-a": ["MIG-x"],
    "GPU-a,MIG-x,GPU-b": ["GPU-a"],
    "GPU-a, GPU-b": ["GPU-a"],
    "1,GPU-a": ["1"],
    " GPU-a": [],
    # CUDA sees what stands before the first name that is none.
    "0,-1,1": ["0"],
    "0,,1": ["0"],
    "-1": [],
    "-1,-1": [],
    "": [],
    "NoDevFiles": [],
    # What is named twice hides everything.
    "1,1": [],
    "0,00": [],
    "2,1,1x": [],
    "0,-0": [],
    "GPU-a,GPU-a": [],
    "MIG-x,MIG-x": [],
}
"""Value of CUDA_VISIBLE_DEVICES -> devices that CUDA sees."""


@pytest.mark.parametrize("value", READ)
def test_names_of_visible_devices_are_read_as_torch_reads_them(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visible_gpus(value) == READ[value]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert list(map(str, torch.cuda._parse_visible_devices())) == READ[value]


@pytest.mark.parametrize("value", ["\u0663", "0,\u0663", "\u00b2", "+", "-", "+-1"])
def test_what_only_looks_like_a_number_ends_the_list(value: str) -> None:
    # CUDA compares bytes. Some of these make torch's own reading fail.
    assert visible_gpus(value) == (["0"] if value.startswith("0") else [])


def test_a_divided_gpu_counts_as_its_parts() -> None:
    assert listed_gpus(DIVIDED) == [
        "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
        "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb",
        "GPU-8b6ae1a4-7e34-4e1a-a4c2-1f1b8e0a9a11",
    ]


def test_a_gpu_without_a_uuid_has_its_number() -> None:
    assert listed_gpus("GPU 0: Orin (nvgpu)\n") == ["0"]


@pytest.mark.parametrize("answer", [None, ""])
def test_a_name_alone_does_not_make_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(devices_module, "_DRIVER", tmp_path / "driver")
    if answer is not None:
        monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, answer) + ":/usr/bin:/bin")
    assert [device.kind for device in find_devices("auto", 1)] == ["cpu"]
    # A worker then says that there is none.
    assert [device.kind for device in find_devices("cuda", 1)] == ["cuda"]


def test_a_container_without_nvidia_smi_has_the_gpus_that_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    monkeypatch.setattr(devices_module, "_DRIVER", tmp_path)
    found = find_devices("auto", 1)
    assert [device.environment["CUDA_VISIBLE_DEVICES"] for device in found] == ["0", "2"]
