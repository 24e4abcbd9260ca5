"""What a user's code sees of the process and may not change for others: random numbers and settings."""

import gc
import hashlib
import io
import json
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from decimal import localcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGUSR1")
    if hasattr(signal, name)
)


class Setting(NamedTuple):
    """Something that the whole process shares: its name in messages, how it is read and put back."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def seed_of(*parts: Any) -> int:
    """A seed that is a function of JSON values alone: the same in every process and on every machine."""
    text = json.dumps(parts, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def generators() -> dict[str, Any]:
    """State of each global generator of random numbers, by name; equal states compare equal."""
    key, *rest = np.random.get_state(legacy=True)[1:]  # noqa: NPY002
    states: dict[str, Any] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (key.tobytes(), *rest),
        "random": random.getstate(),
    }
    if torch.cuda.is_initialized():
        states["torch on the GPU"] = torch.cuda.get_rng_state().numpy().tobytes()
    return states


@contextmanager
def isolated(seed: int | None) -> Iterator[list[str]]:
    """Afterwards all SETTINGS and global generators are as before.

    With a seed, torch, numpy and `random` are seeded, torch computes with gradients, in float32 and on the CPU
    unless told otherwise, what is printed goes to standard error, and there is no standard input. Yields a list
    that names, at the end, what was changed and matters to numbers: the first of SETTINGS, and "random numbers of
    ..." where a generator was used.
    """
    before, states = [setting.read() for setting in SETTINGS], generators()
    started, seeded, streams = before, states, (sys.stdin, sys.stdout, sys.argv)
    changed: list[str] = []
    # The guard of inference mode puts back what nothing else can; inside it, gradients are on.
    inference = nullcontext() if seed is None else torch.inference_mode(False)
    with inference, warnings.catch_warnings(), localcontext():
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
            after = [setting.read() for setting in SETTINGS]
            sys.stdin, sys.stdout, sys.argv = streams
            for setting, old, new in zip(SETTINGS[:_OF_NUMBERS], started, after, strict=False):
                if old != new:
                    changed.append(setting.name)
            _put(before, after)
            ended = generators()
            changed += [f"random numbers of {k}" for k, v in seeded.items() if v != ended[k]]
            if ended != states:
                _restore(states)


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


def _default_device() -> torch.device | None:
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def _set_default_device(device: torch.device | None) -> None:
    if _default_device() != device:
        torch.set_default_device(device)


def _set_deterministic(mode: int) -> None:
    torch.set_deterministic_debug_mode(mode)
    if "torch._inductor.config" in sys.modules:
        # Only this tells the compiler too, which it imports; that takes as long as torch itself.
        torch.use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def _folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _set_folder(folder: Path | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _environment() -> dict[Any, Any]:
    # Not `dict(os.environ)`, which decodes all of it and takes a tenth of a millisecond.
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


def _mask() -> int:
    os.umask(mask := os.umask(0o077))
    return mask


def _logging() -> tuple[int, tuple[logging.Handler, ...], int]:
    return logging.root.level, tuple(logging.root.handlers), logging.root.manager.disable


def _set_logging(before: tuple[int, tuple[logging.Handler, ...], int]) -> None:
    level, handlers, disabled = before
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers
    logging.disable(disabled)


def _items(values: list[Any], name: str) -> Setting:
    return Setting(
        name, lambda: list(values), lambda before: values.__setitem__(slice(None), before)
    )


def _flag(owner: Any, name: str, label: str) -> Setting:
    return Setting(f"{label}.{name}", partial(getattr, owner, name), partial(setattr, owner, name))


SETTINGS: tuple[Setting, ...] = (
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's default device", _default_device, _set_default_device),
    Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "torch's deterministic mode",
        torch.get_deterministic_debug_mode,
        _set_deterministic,
    ),
    Setting(
        "torch's anomaly mode",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda mode: torch.autograd.set_detect_anomaly(*mode),
    ),
    Setting(
        "the treatment of denormal numbers",
        lambda: sys.float_info.min * 0.5 == 0.0,
        torch.set_flush_denormal,
    ),
    *(
        Setting(
            f"torch's autocast on {device}",
            partial(torch.is_autocast_enabled, device),
            partial(torch.set_autocast_enabled, device),
        )
        for device in ("cpu", "cuda")
    ),
    _flag(torch.backends, "fp32_precision", "torch.backends"),
    Setting(
        "torch's matmul precision",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    *(
        _flag(torch.backends.cuda.matmul, name, "torch.backends.cuda.matmul")
        for name in (
            "allow_tf32",
            "allow_fp16_reduced_precision_reduction",
            "allow_bf16_reduced_precision_reduction",
        )
    ),
    *(
        _flag(torch.backends.cudnn, name, "torch.backends.cudnn")
        for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
    ),
    *(
        _flag(torch.backends.mkldnn, name, "torch.backends.mkldnn")
        for name in ("enabled", "deterministic")
    ),
    *(
        Setting(
            f"torch's {kind} attention",
            getattr(torch.backends.cuda, f"{kind}_sdp_enabled"),
            getattr(torch.backends.cuda, f"enable_{kind}_sdp"),
        )
        for kind in ("flash", "mem_efficient", "math", "cudnn")
    ),
    Setting("numpy's error handling", np.geterr, lambda kinds: np.seterr(**kinds)),
    Setting("numpy's generator", np.random.get_bit_generator, np.random.set_bit_generator),
    Setting("the working directory", _folder, _set_folder),
    Setting("the environment", _environment, _set_environment),
    Setting("the mask of new files", _mask, os.umask),
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting(
        "the locale",
        partial(locale.setlocale, locale.LC_ALL),
        partial(locale.setlocale, locale.LC_ALL),
    ),
    Setting("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    Setting("logging", _logging, _set_logging),
    Setting(
        "handlers of signals", lambda: {n: signal.getsignal(n) for n in _SIGNALS}, _set_signals
    ),
    _items(sys.path, "sys.path"),
    _items(sys.meta_path, "sys.meta_path"),
    _flag(sys, "excepthook", "sys"),
    _flag(sys, "stderr", "sys"),
)

_OF_NUMBERS = [setting.name for setting in SETTINGS].index("the working directory")
"""How many of SETTINGS matter to numbers. Others change when torch imports a part of itself at first use."""

_START: tuple[Any, ...] = (torch.float32, None, True)
"""What code with a seed finds in place of the first of SETTINGS."""
