"""Isolate a user's code: random numbers and settings that it sees and must not change for other code."""

import builtins
import gc
import hashlib
import io
import json
import locale
import logging
import math
import os
import platform
import random
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from decimal import localcontext
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from traceback import extract_stack
from typing import Any, NamedTuple

import numpy as np
import torch

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGUSR1")
    if hasattr(signal, name)
)
_RANDOM: Any = np.random
_HOOKS: list[dict[Any, Any]] = [
    hooks
    for name, hooks in vars(torch.nn.modules.module).items()
    if name.startswith("_global_") and isinstance(hooks, dict)
]
"""Hooks that torch calls for every module."""
_OWNERS: tuple[Any, ...] = (
    *(torch, torch.nn.functional, torch.Tensor, torch.nn.Module, torch.nn.Linear),
    *(np, math, random, builtins),
)
"""Owners of functions that other code looks up by name."""


class Setting(NamedTuple):
    """Setting shared by the whole process: its name in messages, and functions to read and restore it."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def seed_of(*parts: Any) -> int:
    """Seed that is a function of JSON values alone: the same in every process and on every machine."""
    text = json.dumps(parts, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def generators() -> dict[str, Any]:
    """State of each global random number generator, by name; equal states compare equal."""
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002
    key, *rest = state[1:]
    states: dict[str, Any] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (key.tobytes(), *rest),
        "random": random.getstate(),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["torch on the GPU"] = torch.cuda.get_rng_state().numpy().tobytes()
    return states


@contextmanager
def isolated(seed: int | None) -> Iterator[list[str]]:
    """Restore all SETTINGS and global generators afterwards.

    With a seed, torch, numpy and `random` are seeded, torch computes with gradients, in float32 and on the CPU
    by default, output goes to standard error, and standard input is empty. Yields a list that at the end names the
    changes that affect numbers: settings among the first of SETTINGS, and "random numbers of ..." for each
    generator that was used.
    """
    before, states = [setting.read() for setting in SETTINGS], generators()
    started, seeded, streams = before, states, (sys.stdin, sys.stdout, sys.argv)
    changed: list[str] = []
    drawn: list[int] = []
    entropy = os.urandom

    def urandom(size: int, /) -> bytes:
        importing = any(one.filename == "<frozen importlib._bootstrap>" for one in extract_stack())
        drawn.extend(() if importing else (size,))
        return entropy(size)

    # The guard restores inference mode, which nothing else can; inside it, gradients are on.
    inference = nullcontext() if seed is None else torch.inference_mode(False)
    with inference, warnings.catch_warnings(), localcontext():
        # torch's warnings about operations that vmap runs one by one do not belong in a user's log.
        warnings.filterwarnings("ignore", "There is a performance drop")
        # numpy, secrets and SystemRandom get their seeds through `random`.
        os.urandom = vars(random)["_urandom"] = urandom
        try:
            if seed is not None:
                started = [*_START, *before[len(_START) :]]
                _put(started, before)
                sys.stdin, sys.stdout, sys.argv = io.StringIO(), sys.stderr, ["gammascape"]
                torch.manual_seed(seed)
                np.random.seed(seed)  # noqa: NPY002
                random.seed(seed)
                seeded = generators()
            yield changed
        finally:
            os.urandom = vars(random)["_urandom"] = entropy
            after = [setting.read() for setting in SETTINGS]
            sys.stdin, sys.stdout, sys.argv = streams
            changed += ["random numbers of the operating system"] if drawn else []
            rows = zip(SETTINGS[:_OF_NUMBERS], started, after, strict=False)
            changed += [setting.name for setting, old, new in rows if old != new]
            _put(before, after)
            ended = generators()
            changed += [f"random numbers of {k}" for k, v in seeded.items() if v != ended[k]]
            if ended != states:
                _restore(states)


@contextmanager
def another_process() -> Iterator[None]:
    """Change the number of the process and the name of the machine inside the block."""
    asked = [(os, "getpid"), (socket, "gethostname"), (platform, "node")]
    answers = [getattr(module, name) for module, name in asked]
    for (module, name), answer in zip(asked, answers, strict=True):
        setattr(module, name, lambda answer=answer: (known := answer()) + type(known)(1))
    try:
        yield
    finally:
        for (module, name), answer in zip(asked, answers, strict=True):
            setattr(module, name, answer)


def _put(values: Sequence[Any], present: Sequence[Any]) -> None:
    for setting, value, there in zip(SETTINGS, values, present, strict=True):
        if value != there:
            setting.write(value)


def _restore(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(_bytes(states["torch"]))
    key, *rest = states["numpy"]
    np.random.set_state(("MT19937", np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["random"])
    if "torch on the GPU" in states:
        torch.cuda.set_rng_state(_bytes(states["torch on the GPU"]))


def _bytes(state: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)


def _set_deterministic(mode: int) -> None:
    torch.set_deterministic_debug_mode(mode)
    if "torch._inductor.config" in sys.modules:
        # Only this call also informs the compiler; importing that takes as long as torch itself.
        torch.use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def _folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _environment() -> dict[Any, Any]:
    # `dict(os.environ)` would decode everything, which takes a tenth of a millisecond.
    return dict(vars(os.environ)["_data"])


def _set_environment(before: Mapping[Any, Any]) -> None:
    for name in _environment().keys() - before.keys():
        del os.environb[name]
    os.environb.update(before)


def _set_signals(before: Mapping[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            # None stands for a handler that Python did not install.
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


def _set_names(before: Sequence[Mapping[str, Any]]) -> None:
    for owner, names in zip(_OWNERS, before, strict=True):
        for name, value in names.items():
            if (new := vars(owner).get(name)) is not value and not _of_library(new):
                setattr(owner, name, value)
        # A new name may hide an inherited one.
        for name in vars(owner).keys() - names.keys() if isinstance(owner, type) else ():
            if not _of_library(vars(owner)[name]):
                delattr(owner, name)


def _set_hooks(before: Sequence[Mapping[Any, Any]]) -> None:
    for hooks, kept in zip(_HOOKS, before, strict=True):
        hooks.clear()
        hooks.update(kept)


def _of_library(value: Any) -> bool:
    """Return whether a function comes from an installed package, which sets it once, when first imported."""
    if not isinstance(value, types.FunctionType | type):
        return False
    return isinstance(
        getattr(sys.modules.get(value.__module__), "__loader__", None), SourceFileLoader
    )


def _mask() -> int:
    os.umask(mask := os.umask(0o077))
    return mask


def _set_logging(before: tuple[int, tuple[logging.Handler, ...], int]) -> None:
    level, handlers, disabled = before
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers
    logging.disable(disabled)


_LOCALE: Any = partial(locale.setlocale, locale.LC_ALL)
_CUDA: Any = torch.backends.cuda
# fmt: off
_FLAGS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (torch.backends, ("fp32_precision",)),
    (_CUDA.matmul, ("allow_tf32",)),
    (_CUDA.matmul, tuple(f"allow_{dtype}_reduced_precision_reduction" for dtype in ("fp16", "bf16"))),
    (torch.backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
    (torch.backends.opt_einsum, ("enabled", "strategy")),
    (torch.backends.mkldnn, ("enabled", "deterministic")),
)
_TABLE: tuple[tuple[str, Callable[[], Any], Callable[[Any], object]], ...] = (
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's default device", lambda: getattr(
        getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None), "device", None), torch.set_default_device),
    ("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    ("torch's deterministic mode", torch.get_deterministic_debug_mode, _set_deterministic),
    ("torch's anomaly mode", lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
     lambda mode: torch.autograd.set_detect_anomaly(*mode)),
    ("the treatment of denormal numbers", lambda: sys.float_info.min * 0.5 == 0.0, torch.set_flush_denormal),
    *(("torch's autocast", partial(torch.is_autocast_enabled, d), partial(torch.set_autocast_enabled, d))
      for d in ("cpu", "cuda")),
    *((f"torch's flag {name}", partial(getattr, o, name), partial(setattr, o, name))
      for o, names in _FLAGS for name in names),
    ("torch's matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *(("torch's kinds of attention", getattr(_CUDA, f"{k}_sdp_enabled"), getattr(_CUDA, f"enable_{k}_sdp"))
      for k in ("flash", "mem_efficient", "math", "cudnn")),
    ("numpy's error handling", np.geterr, lambda kinds: np.seterr(**kinds)),
    ("numpy's generator", _RANDOM.get_bit_generator, _RANDOM.set_bit_generator),
    ("the working directory", _folder, lambda folder: os.chdir(folder or ".")),
    ("the environment", _environment, _set_environment),
    ("the mask of new files", _mask, os.umask),
    ("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("the locale", _LOCALE, _LOCALE),
    ("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    ("logging", lambda: (logging.root.level, tuple(logging.root.handlers), logging.root.manager.disable),
     _set_logging),
    ("handlers of signals", lambda: {n: signal.getsignal(n) for n in _SIGNALS}, _set_signals),
    ("sys.path", lambda: list(sys.path), partial(sys.path.__setitem__, slice(None))),
    ("sys.meta_path", lambda: list(sys.meta_path), partial(sys.meta_path.__setitem__, slice(None))),
    ("sys.excepthook", lambda: sys.excepthook, partial(setattr, sys, "excepthook")),
    ("torch's hooks of all modules", lambda: [dict(hooks) for hooks in _HOOKS], _set_hooks),
    ("functions of torch, numpy and Python", lambda: [dict(vars(owner)) for owner in _OWNERS], _set_names),
    ("sys.stderr", lambda: sys.stderr, partial(setattr, sys, "stderr")),
)
# fmt: on
SETTINGS = tuple(Setting(*row) for row in _TABLE)

_OF_NUMBERS = [setting.name for setting in SETTINGS].index("the working directory")
"""Number of SETTINGS that affect numbers. Others change when torch imports parts of itself at first use."""

_START: tuple[Any, ...] = (torch.float32, None, True)
"""Values of the first of SETTINGS for code that runs with a seed."""
