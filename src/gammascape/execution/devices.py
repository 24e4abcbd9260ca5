"""Which devices this machine has, found without importing torch."""

import os
import shutil
import subprocess

from gammascape.execution.pool import Device


def find_devices(kind: str, cores: int) -> list[Device]:
    """One device for each GPU, or one for each core where there is no GPU.

    Args:
        kind: "auto", "cpu" or "cuda".
        cores: how many worker processes may share the CPU.

    Raises:
        ValueError: if "cuda" is asked for and no GPU is seen.
    """
    gpus = _gpus() if kind in ("auto", "cuda") else []
    if gpus:
        # The number of a device is the same in every order of the driver only with this setting.
        return [
            Device(
                name=f"cuda{number}",
                kind="cuda",
                environment={"CUDA_VISIBLE_DEVICES": gpu, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            )
            for number, gpu in enumerate(gpus)
        ]
    if kind == "cuda":
        raise ValueError("device cuda was asked for, but nvidia-smi shows no GPU")
    # One thread for each process: two such processes do more than one with two threads.
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return [Device(f"cpu{n}", "cpu", single) for n in range(max(1, cores))]


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.split() if listed.returncode == 0 else []
