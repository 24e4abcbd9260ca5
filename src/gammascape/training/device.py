"""Settings of the numerical backend: float32 precision, threads, determinism."""

import ctypes
import fcntl
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from gammascape.training.backend import has_compiler

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_WAIT = 0.2
"""Seconds between two checks whether a GPU is free."""
_TAKEN: list[TextIO] = []
_LOCKS = Path("/tmp")
"""Folder of the locks: on this machine's own disk, and the same for all processes, whatever their TMPDIR."""
_SLOW_SIZE, _SLOW_TRIALS = 2048, 4
_PROBE_SIZE = 256
_PROBE_TOLERANCE = 1e-6
"""Threshold between a float32 product of size 256, accurate to some 1e-7, and bfloat16, accurate to some 1e-3."""


@dataclass(frozen=True)
class Backend:
    """Device and settings of a run, recorded with every cell."""

    device: str
    device_model: str
    matmul_precision: str
    threads: int
    compiler: bool
    """True if long runs of some models are compiled, which changes rounding."""
    torch: str
    numpy: str
    python: str
    cuda: str | None = None
    """Version of CUDA that torch was built for, if the device is a GPU."""

    def as_record(self) -> dict[str, str | int | bool | None]:
        """Plain builtins for a cell's summary."""
        return asdict(self)


def set_up_backend(device: str = "auto") -> tuple[torch.device, Backend]:
    """Choose the device ("auto", "cpu", "cuda") and set up the process for reproducible float32.

    Each process has one thread: two one-thread processes do more than one process with two threads, and MKL's
    results depend on the number of threads. Denormals are flushed: a network whose activations decay would
    otherwise train more than ten times slower.

    Raises:
        ValueError: if "cuda" is asked for and torch finds no CUDA device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch finds no CUDA device")
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.set_flush_denormal(True)
    if device == "cuda":
        # The CPU kernels used here are deterministic already.
        be_deterministic()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    precision = _matmul_precision() if device == "cpu" else "highest"
    torch.set_float32_matmul_precision(precision)
    return torch.device(device), Backend(
        device=device,
        device_model=_device_model(device),
        matmul_precision=precision,
        threads=1,
        compiler=has_compiler(),
        torch=torch.__version__,
        numpy=np.__version__,
        python=platform.python_version(),
        cuda=torch.version.cuda if device == "cuda" else None,
    )


def keep_freed_memory() -> None:
    """Ask glibc not to return freed memory to the system; do nothing with other C libraries.

    By default each large tensor is newly mapped and its pages are zeroed at first touch, which on a virtual
    machine can cost more than the convolution that fills them.
    """
    # musl has neither mallopt nor this behaviour.
    if sys.platform.startswith("linux") and (
        mallopt := getattr(ctypes.CDLL(None), "mallopt", None)
    ):
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def be_deterministic() -> None:
    """Ask for deterministic kernels; call it before the first product on a GPU, or cuBLAS ignores the setting."""
    # cuBLAS is deterministic only with a workspace of fixed size, which it reads once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # torch.use_deterministic_algorithms would import the compiler, which takes as long as torch itself.
    torch.set_deterministic_debug_mode("warn")
    # Otherwise torch first fills each new tensor with NaN, an extra pass over the memory of every activation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def alone_on(device: torch.device, go_on: Callable[[], bool] = lambda: True) -> Iterator[bool]:
    """Wait until no other process of this user computes on a GPU, then reserve it; a CPU may be shared.

    Yields whether the device may be used: False if `go_on` returned False while it was waited for. Memory of
    tensors that are gone is returned to the GPU at the end.
    """
    if device.type != "cuda":
        yield True
        return
    with ExitStack() as stack:
        alone = True
        try:
            lock = stack.enter_context(_lock(_uuid(device)))
            alone = _claim_in_turn(lock, _uuid(device), go_on)
        except OSError as error:
            _warn_of_sharing(error)
        try:
            yield alone
        finally:
            empty_cache()


def empty_cache() -> None:
    """Return memory of tensors that are gone to the GPU; torch before 2.13 refuses after a capture that failed."""
    with suppress(RuntimeError):
        torch.cuda.empty_cache()


def take_gpu(preferred: int) -> torch.device:
    """Reserve a GPU until this process ends: a free one, or else the preferred one as soon as it is free."""
    count = torch.cuda.device_count()
    order = [torch.device("cuda", (preferred + k) % count) for k in range(count)]
    try:
        locks = [_lock(_uuid(device)) for device in order]
    except OSError as error:
        _warn_of_sharing(error)
        return order[0]
    chosen = next((k for k in range(count) if _claim(locks[k])), None)
    if chosen is None:
        chosen = 0
        _claim_in_turn(locks[chosen], _uuid(order[chosen]), lambda: True)
    _TAKEN.append(locks.pop(chosen))
    for lock in locks:
        lock.close()
    return order[chosen]


def _warn_of_sharing(error: OSError) -> None:
    words = f"nothing keeps other processes from using the same GPU: {error}"
    warnings.warn(words, RuntimeWarning, stacklevel=4)


def _uuid(device: torch.device) -> str:
    return str(torch.cuda.get_device_properties(device).uuid)


def _lock(name: str) -> TextIO:
    return (_LOCKS / f"gammascape-{os.getuid()}-{name}.lock").open("a")


def _claim_in_turn(lock: TextIO, name: str, go_on: Callable[[], bool]) -> bool:
    """Claim a lock after those who wait already: its holder may want it again at once. False if told to stop."""
    with _lock(f"{name}-next") as turn:
        for wanted in (turn, lock):
            while not _claim(wanted):
                if not go_on():
                    return False
                time.sleep(_WAIT)
    return True


def _claim(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def float64_slowdown(device: torch.device) -> float:
    """Ratio of the times of a float64 and a float32 product on this device: 2 to 64 on GPUs."""
    times = {}
    for dtype in (torch.float32, torch.float64):
        a = torch.ones(_SLOW_SIZE, _SLOW_SIZE, dtype=dtype, device=device)
        best = math.inf
        for _ in range(_SLOW_TRIALS):
            _wait(device)
            begun = time.perf_counter()
            torch.mm(a, a)
            _wait(device)
            best = min(best, time.perf_counter() - begun)
        times[dtype] = best
    return times[torch.float64] / times[torch.float32]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _matmul_precision() -> str:
    # "medium" sends float32 products to oneDNN. On many CPUs it is faster than MKL and as accurate, but on CPUs
    # with bfloat16 matrix units it computes in bfloat16. Only a measurement can tell which.
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
