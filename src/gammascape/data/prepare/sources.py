"""Finding and reading the files that a dataset is published as."""

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gammascape.data.prepared import DataError

PACKED = (".gz", ".xz", "")


def existing_folder(source: Path | None, name: str, what: str) -> Path:
    """The folder with a dataset's files.

    Raises:
        DataError: if there is none; `what` says which files should be in it.
    """
    if source is None or not source.is_dir():
        raise DataError(
            f"{source}: no such folder; put {what} into a folder and write its path to "
            f"config/config.yaml under data: {name}:"
        )
    return source


def find(folder: Path, names: Sequence[str]) -> Path:
    """The first of these files that is in the folder.

    Raises:
        DataError: naming all of them, if none is.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: no file {' or '.join(names)} in this folder")


def unpacked(path: Path) -> bytes:
    """Content of a file that may be packed with gzip or xz.

    Raises:
        DataError: if it is damaged or truncated.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(raw)
        return lzma.decompress(raw) if path.suffix == ".xz" else raw
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        text = (
            f"{path}: damaged or truncated {path.suffix[1:] or ''} file ({error}); fetch it again"
        )
        raise DataError(text) from error


def check_md5(path: Path, content: bytes, published: str) -> None:
    """Compare the md5 of a file's unpacked content with the published one.

    Raises:
        DataError: if they differ.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != published:
        raise DataError(
            f"{path}: md5 {found}, but the published file has {published}: it was altered or is "
            "another file; fetch it again"
        )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn a ValueError about the content of a file into a DataError that names the file."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
