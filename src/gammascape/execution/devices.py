"""Find the devices of this machine without importing torch."""

import itertools
import os
import re
import shutil
import subprocess

from gammascape.execution.pool import Device

VISIBLE = "CUDA_VISIBLE_DEVICES"
_DEVICE_NAME = re.compile(r"\d+|GPU-[0-9a-fA-F-]+|MIG-[\w/-]+")


def find_devices(kind: str, cores: int) -> list[Device]:
    """One device for each GPU, or one for each core without a GPU; `kind` is "auto", "cpu" or "cuda".

    Raises:
        ValueError: if "cuda" is asked for and no GPU is visible.
    """
    gpus = _gpus() if kind in ("auto", "cuda") else []
    if gpus:
        # nvidia-smi counts in this order. If the user has named devices, keep the user's order.
        order = {} if VISIBLE in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        return [
            Device(f"cuda{number}", "cuda", {VISIBLE: gpu, **order})
            for number, gpu in enumerate(gpus)
        ]
    if kind == "cuda":
        raise ValueError("device cuda was asked for, but nvidia-smi shows no GPU")
    # One thread for each process: two such processes do more than one process with two threads.
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return [Device(f"cpu{n}", "cpu", single) for n in range(max(1, cores))]


def _gpus() -> list[str]:
    if VISIBLE in os.environ:
        return visible_gpus(os.environ[VISIBLE])
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed_gpus(listed.stdout) if listed.returncode == 0 else []


def visible_gpus(value: str) -> list[str]:
    """Devices named by a value of CUDA_VISIBLE_DEVICES, as CUDA reads it, each once.

    A name is a number, or "GPU-" or "MIG-" with a UUID or its beginning. CUDA ignores everything from the first
    invalid name on, such as -1, or NoDevFiles, which SLURM writes for a job without a GPU.
    """
    names = [name.strip() for name in value.split(",")]
    return list(dict.fromkeys(itertools.takewhile(_DEVICE_NAME.fullmatch, names)))


def listed_gpus(listing: str) -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES from the output of `nvidia-smi -L`: numbers of GPUs, UUIDs of MIG devices.

    A partitioned GPU is listed by its parts, since by its number CUDA would find only the first of them.
    """
    gpus: dict[str, list[str]] = {}
    for line in listing.splitlines():
        if found := re.match(r"GPU (\d+):", line):
            gpus[found[1]] = []
        elif (found := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)) and gpus:
            gpus[list(gpus)[-1]].append(found[1])
    return [name for number, parts in gpus.items() for name in parts or [number]]
