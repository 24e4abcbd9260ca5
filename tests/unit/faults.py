"""Faults of the file system, inside this process: the N-th operation below a folder fails, or is the last one.

    for trial in trials(tmp_path, prepare, "ENOSPC"):
        with trial.fault():          # the N-th operation below trial.folder fails; N grows until none is left
            act(trial.folder)
        act(trial.folder)            # once more, without a fault
        check(trial.folder)

`fault` swallows the error that it provoked and SystemExit; `trial.error` is what left `act`, if anything did.
Faults are names of errno, or KILL: then no operation from the N-th on takes place, so nothing can be cleaned, and
files carry the number of a process that has ended. ENOSPC strikes what writes, and lasts until the trial is over.
A write that fails has written half of its content.
"""

import builtins
import errno
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl

KILL = "KILL"
FAULTS = ("ENOSPC", "EIO", "EACCES", KILL)
_LASTING = ("ENOSPC", KILL)
_DEAD = 2**22 + 1
"""Above the largest number that Linux gives to a process."""
_PATHS = {
    **dict.fromkeys(("open", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
    **dict.fromkeys(("os.listdir", "os.scandir", "os.utime", "os.chmod"), 1),
}
_RELATIVE = ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.utime", "os.chmod")
_PARTIAL = re.compile(r"\.[0-9a-f]{8}-\d+$")
_READING = ("os.listdir", "os.scandir")
_FREEING = ("os.remove", "os.rmdir", "os.truncate")


class Killed(BaseException):
    """Stands for the end of the process; nothing but `fault` catches it."""


@dataclass
class Trial:
    """One run in which the operation of this number fails; `done` lists the operations that were seen."""

    folder: Path
    number: int
    kind: str

    def __post_init__(self) -> None:
        self.done: list[str] = []
        self.error: BaseException | None = None

    @property
    def struck(self) -> bool:
        """Whether there was an operation of this number."""
        return len(self.done) >= self.number

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Let the operation fail."""
        global _TRIAL
        _install()
        _TRIAL = self
        process = _DEAD if self.kind == KILL else os.getpid()
        try:
            with (
                mock.patch.object(os, "getpid", return_value=process),
                mock.patch.object(io, "open", _open),
                mock.patch.object(builtins, "open", _open),
                mock.patch.object(pl.DataFrame, "write_parquet", _write_parquet),
                # A copy by the kernel would be no operation of this module.
                mock.patch.object(shutil, "_USE_CP_SENDFILE", False),
            ):
                yield
        except (Killed, OSError, SystemExit) as error:
            if not self.struck:
                raise
            self.error = error
        finally:
            _TRIAL = None

    def count(self, what: str, path: str, writes: bool) -> None:
        """Take an operation in; raises if it is the one that fails."""
        if self.kind == "ENOSPC" and not writes:
            return
        self.done.append(f"{what} {path}")
        if len(self.done) == self.number or (self.struck and self.kind in _LASTING):
            if self.kind == KILL:
                raise Killed(self.done[self.number - 1])
            code = getattr(errno, self.kind)
            raise OSError(code, os.strerror(code), path)

    def covers(self, path: str) -> bool:
        """Whether a path is below the folder."""
        return path.startswith(f"{self.folder}{os.sep}")


_TRIAL: Trial | None = None
_installed = False


def trials(
    base: Path, prepare: Callable[[Path], object], kind: str, step: int = 1
) -> Iterator[Trial]:
    """Trials in folders of their own below `base`, each made by `prepare`, until no operation is left to fail."""
    assert kind in FAULTS
    number = 1
    while True:
        trial = Trial(base / f"{kind}-{number}", number, kind)
        trial.folder.mkdir()
        prepare(trial.folder)
        yield trial
        shutil.rmtree(trial.folder)
        if not trial.struck:
            return
        number += step


def snapshot(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder, by path; empty folders stand with a slash."""
    return {
        str(path.relative_to(folder)) + ("/" if path.is_dir() else ""): (
            b"" if path.is_dir() else path.read_bytes()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() or (path.is_dir() and not any(path.iterdir()))
    }


def partial_files(folder: Path) -> list[str]:
    """What `layout.whole` has left below a folder: half-written files and folders."""
    return [
        str(path.relative_to(folder)) for path in folder.rglob(".*") if _PARTIAL.search(path.name)
    ]


def _install() -> None:
    # A hook cannot be removed again; without a trial it does nothing.
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _TRIAL is None or event not in _PATHS:
        return
    trial = _TRIAL
    # The folder that a path is relative to, if not the current one, comes last.
    place = arguments[-1] if event in _RELATIVE else -1
    for path in arguments[: _PATHS[event]]:
        name = _absolute(path, place)
        if name is not None and trial.covers(name):
            writes = event not in (*_READING, *_FREEING)
            if event == "open":
                writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            trial.count(event, name, writes)
            return


def _absolute(path: Any, place: Any) -> str | None:
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    file = Path(os.fsdecode(path))
    if isinstance(place, int) and place >= 0 and not file.is_absolute():
        # shutil.rmtree names files within a folder that it holds open.
        file = Path(f"/proc/self/fd/{place}").readlink() / file
    return str(file.absolute())


class _File(io.FileIO):
    """A file opened for writing, whose writes are operations."""

    def write(self, content: Any) -> int:
        if _TRIAL is not None:
            try:
                _TRIAL.count("write", str(_absolute(self.name, -1)), writes=True)
            except BaseException:
                if len(_TRIAL.done) == _TRIAL.number:
                    super().write(bytes(content)[: len(content) // 2])
                raise
        return super().write(content)


def _open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    writes = set(mode) & set("wxa+")
    inside = _TRIAL is not None and (name := _absolute(file, -1)) and _TRIAL.covers(name)
    if not writes or not inside:
        return _OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
    raw = _File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    if buffering == 0:
        return raw
    buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    if "b" in mode:
        return buffered
    return io.TextIOWrapper(
        buffered, encoding or "utf-8", errors, newline, line_buffering=buffering == 1
    )


def _write_parquet(table: pl.DataFrame, file: Any, **options: Any) -> None:
    # Polars opens its files itself, out of sight of Python.
    content = io.BytesIO()
    _WRITE_PARQUET(table, content, **options)
    with _open(file, "wb") as target:
        target.write(content.getvalue())


_OPEN = io.open
_WRITE_PARQUET = pl.DataFrame.write_parquet
