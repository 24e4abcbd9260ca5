"""Find the devices of this machine without importing torch."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from gammascape.execution.pool import Device

VISIBLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/dev/nvidiactl")
"""Device file of the driver, for containers without nvidia-smi."""


def find_devices(kind: str, cores: int) -> list[Device]:
    """One device for each GPU, or one for each core without a GPU; `kind` is "auto", "cpu" or "cuda".

    Raises:
        ValueError: if "cuda" is asked for and no GPU is visible.
    """
    gpus = _gpus(kind) if kind in ("auto", "cuda") else []
    if gpus:
        return [Device(f"cuda{n}", "cuda", {VISIBLE: gpu}) for n, gpu in enumerate(gpus)]
    if kind == "cuda":
        raise ValueError("device cuda was asked for, but nvidia-smi shows no GPU")
    # One thread for each process: two such processes do more than one process with two threads.
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return [Device(f"cpu{n}", "cpu", single) for n in range(max(1, cores))]


def _gpus(kind: str) -> list[str]:
    named = visible_gpus(os.environ[VISIBLE]) if VISIBLE in os.environ else None
    if named == [] or (named and kind == "cuda"):
        return named
    # A name alone does not make a GPU.
    if shutil.which("nvidia-smi") is None:
        return named if named and _DRIVER.exists() else []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    found = listed_gpus(listed.stdout) if listed.returncode == 0 else []
    return named if named and found else found


def visible_gpus(value: str) -> list[str]:
    """Devices named by a value of CUDA_VISIBLE_DEVICES, as CUDA and torch read it.

    The first name decides whether all are numbers, UUIDs with "GPU-" or UUIDs with "MIG-", or their beginnings.
    The list ends at the first name of another kind, such as -1 or NoDevFiles, which SLURM writes for a job that
    has no GPU. A number may be followed by letters. If a device is named twice, there is none.
    """
    names: list[str] = []
    prefix = value[:4] if value.startswith(("GPU-", "MIG-")) else None
    for name in value.split(","):
        if prefix is None:
            number = re.match(r"[+-]?[0-9]+", name.strip())
            name = str(int(number[0])) if number else "-1"
        if name in names:
            return []
        if not name.startswith(prefix) if prefix else name.startswith("-"):
            break
        names.append(name)
    return names


def listed_gpus(listing: str) -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES from the output of `nvidia-smi -L`: UUIDs of GPUs and of MIG devices.

    A partitioned GPU is listed by its parts, since by its own name CUDA would find only the first of them. A GPU
    without a UUID has its number.
    """
    gpus: list[tuple[str, list[str]]] = []
    for line in listing.splitlines():
        uuid = re.search(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)", line)
        if found := re.match(r"GPU (\d+):", line):
            gpus.append((uuid[1] if uuid else found[1], []))
        elif uuid and gpus and line.lstrip().startswith("MIG "):
            gpus[-1][1].append(uuid[1])
    return [name for gpu, parts in gpus for name in parts or [gpu]]
