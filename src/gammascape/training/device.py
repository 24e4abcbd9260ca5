"""Settings of the numerical backend: what float32 means, threads, determinism."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from gammascape.training.memory import keep_freed_memory
from gammascape.training.step import has_compiler

_PROBE_SIZE = 256
_PROBE_TOLERANCE = 1e-6
"""A float32 product of size 256 is accurate to some 1e-7; one computed in bfloat16 to some 1e-3."""


@dataclass(frozen=True)
class Backend:
    """The device and the settings that a run was computed with, recorded with every cell."""

    device: str
    device_model: str
    matmul_precision: str
    threads: int
    compiler: bool
    """Whether long runs of some models are compiled, which rounds in another way."""
    torch: str
    numpy: str
    python: str
    cuda: str | None = None
    """Version of CUDA that torch was built for, where the device is a GPU."""

    def as_record(self) -> dict[str, str | int | bool | None]:
        """Plain builtins for a cell's summary."""
        return asdict(self)


def set_up_backend(device: str = "auto", threads: int = 1) -> tuple[torch.device, Backend]:
    """Choose the device ("auto", "cpu", "cuda") and set the process up for reproducible float32.

    One thread for each process: two one-thread processes do more than one with two threads, and MKL's results
    depend on the number of threads. Denormals are flushed: a network whose activations decay would
    otherwise train more than ten times slower.

    Raises:
        ValueError: if "cuda" is asked for and there is no CUDA device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch finds no CUDA device")
    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.set_flush_denormal(True)
    if device == "cuda":
        # Not on the CPU, whose kernels in use here are deterministic: the call imports the compiler, which takes
        # as long as torch itself and would double the start of every cell.
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    precision = _matmul_precision() if device == "cpu" else "highest"
    torch.set_float32_matmul_precision(precision)
    return torch.device(device), Backend(
        device=device,
        device_model=_device_model(device),
        matmul_precision=precision,
        threads=threads,
        compiler=has_compiler(),
        torch=torch.__version__,
        numpy=np.__version__,
        python=platform.python_version(),
        cuda=torch.version.cuda if device == "cuda" else None,
    )


def _matmul_precision() -> str:
    # "medium" sends float32 products to oneDNN, which on many CPUs is faster and as accurate as MKL, and
    # on CPUs with bfloat16 matrix units computes in bfloat16. Only a measurement tells them apart.
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, _PROBE_SIZE, _PROBE_SIZE, generator=generator)
    exact = a.double() @ b.double()
    torch.set_float32_matmul_precision("medium")
    error = float(((a @ b).double() - exact).norm() / exact.norm())
    return "medium" if error < _PROBE_TOLERANCE else "highest"


def _device_model(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        with Path("/proc/cpuinfo").open() as info:
            names = [
                line.partition(":")[2].strip() for line in info if line.startswith("model name")
            ]
    except OSError:
        names = []
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"
