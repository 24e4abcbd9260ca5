"""Find the published files of a dataset, and read them without trusting the sizes that they declare."""

import errno
import gzip
import hashlib
import io
import lzma
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gammascape.data.prepared import DataError

PACKED = (".gz", ".xz", "")
_PACKERS: dict[bytes, tuple[str, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": ("gz", gzip.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
}


def existing_folder(source: Path | None, name: str, what: str) -> Path:
    """Folder with a dataset's files.

    Raises:
        DataError: if it does not exist; `what` names the files that belong there.
    """
    if source is None or not source.is_dir():
        raise DataError(
            f"{source}: no such folder; put {what} into a folder and write its path to "
            f"config/config.yaml under data: {name}:"
        )
    return source


def find(folder: Path, names: Sequence[str], places: Sequence[str] = ("",)) -> Path:
    """First of these files that exists in the folder, or in one of the `places` below it.

    Raises:
        DataError: naming all of them, if none exists; folders, empty files and broken links do not count.
    """
    if (path := find_source(folder, names, places)) is not None:
        return path
    paths = [folder / place / name for place in places for name in names]
    odd = "".join(f"; {path} is {what}" for path in paths if (what := occupant_of(path)))
    plain = " or ".join(name for name in names if "/" not in name)
    below = "".join(f" or its {place}" for place in places if place)
    raise DataError(f"{folder}: no file {plain} in this folder{below}{odd}")


def find_source(folder: Path, names: Sequence[str], places: Sequence[str] = ("",)) -> Path | None:
    """File that `find` would return, or None. Names may be patterns, which match no hidden file."""
    for place in places:
        for name in names:
            for path in sorted(folder.glob((Path(place) / name).as_posix())):
                if path.is_file() and path.stat().st_size and not path.name.startswith("."):
                    return path
    return None


def occupant_of(path: Path) -> str | None:
    """Description of an obstacle at the path of a file, such as a folder; None for no file or one with content."""
    if path.is_file():
        return None if path.stat().st_size else "empty"
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "a pipe, socket or device"
    return "a link to nothing" if path.is_symlink() else None


@contextmanager
def damage(path: Path, kind: str) -> Iterator[None]:
    """Turn a reader's errors about the content of a file into a DataError that names the file.

    Errors of the system, such as a full disk, are passed on.
    """
    try:
        yield
    except DataError:
        raise
    # Readers of archives and pickles raise almost any exception if one byte was changed.
    except Exception as error:
        # A seek to before the start of the file is the file's fault too.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        why = (str(error) or type(error).__name__).splitlines()[0][:100]
        raise DataError(f"{path}: damaged or truncated {kind} ({why}); fetch it again") from error


@dataclass
class Bounded:
    """Stream that may have at most `left` more bytes; a longer one is refused."""

    file: IO[bytes]
    left: int
    path: Path

    def read(self, size: int = 2**20, /) -> bytes:
        """Read at most `size` bytes; raises DataError if the stream is too long."""
        piece = self.file.read(min(size, self.left + 1))
        self.left -= len(piece)
        if self.left < 0:
            raise DataError(
                f"{self.path}: holds more than it can be; it is another file or altered"
            )
        return piece


@contextmanager
def open_packed(path: Path, most: int) -> Iterator[Bounded]:
    """Open a file for reading, and unpack it if it begins like gzip or xz, whatever its name.

    Raises:
        DataError: if it is damaged or truncated, or has more than `most` bytes.
    """
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        known = (packer for magic, packer in _PACKERS.items() if head.startswith(magic))
        kind, unpack = next(known, ("", None))
        with damage(path, f"{kind} file"):
            yield Bounded(unpack(file) if unpack else file, most, path)


def unpacked_bytes(path: Path, most: int) -> bytes:
    """Content of a file that may be packed with gzip or xz; errors as for `open_packed`."""
    content = io.BytesIO()
    with open_packed(path, most) as file:
        shutil.copyfileobj(file, content, 2**20)
    return content.getvalue()


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file and read its list of members; raises DataError if the list is damaged."""
    with damage(path, "zip file"):
        return zipfile.ZipFile(path)


def open_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member of the zip file at `path`, which yields at most `member.file_size` bytes.

    Raises:
        DataError: if it is encrypted, or packed by a method without such a bound.
    """
    if member.flag_bits & 1:
        raise DataError(
            f"{path}: {member.filename} in it is encrypted; unpack it, and pack it again without a password"
        )
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: {member.filename} in it is packed by method {member.compress_type}; unpack it, and "
            "pack it with deflate, as zip does"
        )
    with damage(path, "zip file"):
        return archive.open(member)


def check_published(path: Path, content: bytes, md5: str) -> None:
    """Raise DataError if the md5 of a file's unpacked content differs from the published one."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path}: {len(content)} bytes with md5 {found}, but the published file has {md5}: it was "
            "altered, is truncated or is another file; fetch it again"
        )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn a ValueError about the content of a file into a DataError that names the file."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
