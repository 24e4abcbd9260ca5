"""Write files that are either complete or absent."""

import os
import shutil
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from glob import escape
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path next to `path` to write a file or folder to; on success it replaces `path` in one step.

    An error leaves nothing behind. Leftovers of a killed process are removed by the next process that writes
    the same file on the same machine.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = f"{zlib.crc32(socket.gethostname().encode()):08x}"
    for left in path.parent.glob(f".{escape(path.name)}.{machine}-*"):
        if not _is_running(left.name.rpartition("-")[2]):
            _remove(left)
    partial = path.with_name(f".{path.name}.{machine}-{os.getpid()}")
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        _remove(partial)
        # The system's error for a full disk names no file.
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_if_changed(path: Path, content: str | bytes) -> None:
    """Write a file only if its content changes, since a newer file time would make its readers run again."""
    content = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != content:
        with whole(path) as partial:
            partial.write_bytes(content)


def state_of(path: Path) -> tuple[int, ...]:
    """Inode, size and times of a file; any change to the file changes them.

    Raises:
        OSError: if there is none.
    """
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def remembered(function: Callable[[Path], T]) -> Callable[[Path], T]:
    """Cache a function of a file's path until the file changes."""
    known: dict[Path, tuple[tuple[int, ...], T]] = {}

    @wraps(function)
    def recall(path: Path) -> T:
        try:
            state = state_of(path)
        except OSError:
            return function(path)
        if path not in known or known[path][0] != state:
            known[path] = state, function(path)
        return known[path][1]

    return recall


def _is_running(process: str) -> bool:
    if not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except (OSError, OverflowError) as error:
        return not isinstance(error, ProcessLookupError)
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
