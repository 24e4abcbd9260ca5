"""Fetch published files: resume interrupted transfers, retry, and check size and checksum."""

import base64
import errno
import hashlib
import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from gammascape.data.prepare import cifar10, mnist, tinyimagenet
from gammascape.data.prepare.sources import find_source, occupant_of
from gammascape.data.prepared import DataError

ATTEMPTS = 6
_PIECE = 2**20
_TIMEOUT = 60.0
_NO_NETWORK = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


@dataclass(frozen=True)
class File:
    """A published file; `alternatives` are other names or patterns under which a user may have it."""

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    md5: str | None = None
    """Digest. Without one, size and md5 stated by the server are compared, and sha256 is recorded."""
    alternatives: tuple[str, ...] = ()


def _mnist(stem: str, size: int, md5: str) -> File:
    name = f"{stem}.gz"
    hosts = "ossci-datasets.s3.amazonaws.com/mnist", "storage.googleapis.com/cvdf-datasets/mnist"
    urls = tuple(f"https://{host}/{name}" for host in hosts)
    return File(name, urls, size, md5, _below(mnist.PLACES, mnist.names_of(stem)))


def _below(places: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple((Path(place) / name).as_posix() for place in places for name in names)


DOWNLOADS: dict[str, tuple[File, ...]] = {
    "mnist": (
        _mnist("train-images-idx3-ubyte", 9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        _mnist("train-labels-idx1-ubyte", 28881, "d53e105ee54ea40749a09fcbcd1e9432"),
        _mnist("t10k-images-idx3-ubyte", 1648877, "9fb629c4189551a2d022fa330f9573f3"),
        _mnist("t10k-labels-idx1-ubyte", 4542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "cifar10": (
        File(
            "cifar-10-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            170498071,
            "c58f30108f718f92721af3b95e74349a",
            (*cifar10.ARCHIVES, *_below(cifar10.PLACES, cifar10.names_of("data_batch_1"))),
        ),
    ),
    "cifar5m": tuple(
        File(
            f"part{number}.npz",
            (f"https://storage.googleapis.com/gresearch/cifar5m/part{number}.npz",),
            alternatives=(f"cifar5m_part{number}.npz",),
        )
        for number in range(6)
    ),
    "tinyimagenet": (
        File(
            "tiny-imagenet-200.zip",
            ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
            248100043,
            "90528d7ca1a48142e341f4ef8d21d0de",
            (*tinyimagenet.ZIPS, *tinyimagenet.FOLDERS),
        ),
    ),
}


def download(
    dataset: str,
    folder: Path,
    *,
    files: Sequence[File] | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch the files of a dataset that `folder` lacks under all of their names.

    Raises:
        DataError: if a file cannot be fetched, is not the published one, or its path is occupied.
    """
    wanted = missing(folder, DOWNLOADS[dataset] if files is None else files)
    for number, file in enumerate(wanted):
        path = folder / file.name
        if (what := occupant_of(path)) not in (None, "empty"):
            raise DataError(
                f"{path}: is {what}, where the file belongs; move it away and start again"
            )
        folder.mkdir(parents=True, exist_ok=True)
        fetch(file, path, wait, [other.name for other in wanted[number + 1 :]])


def missing(folder: Path, files: Sequence[File]) -> list[File]:
    """Files that a folder lacks under all of their names."""
    return [file for file in files if find_source(folder, (file.name, *file.alternatives)) is None]


def fetch(
    file: File,
    path: Path,
    wait: Callable[[float], None] = time.sleep,
    others: Sequence[str] = (),
) -> None:
    """Fetch one file to `path`, which appears when complete; a partial file is kept.

    Errors as for `download`; they name the `others` that are missing too.
    """
    partial = path.with_name(f".{path.name}.part")
    trouble: list[str] = []
    alone = 0
    for attempt in range(ATTEMPTS):
        url = file.urls[attempt % len(file.urls)]
        if attempt:
            wait(min(60.0, 2.0**attempt))
        try:
            print(f"fetching {url}", flush=True)
            stated = _transfer(url, partial)
        except (OSError, http.client.HTTPException) as error:
            # urllib's errors are OSErrors too; another attempt does not help against errors of the disk.
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                error.filename = error.filename or str(partial)
                raise
            trouble.append(f"{url}: {error}")
            alone += _has_no_network(error)
            # Without a network nothing is gained by waiting, unless it was there a moment ago.
            if alone == attempt + 1 >= len(file.urls) and not partial.exists():
                break
            continue
        wrong = _difference(file, partial, *stated)
        if wrong is None:
            partial.replace(path)
            return
        trouble.append(f"{url}: {wrong}")
        partial.unlink(missing_ok=True)
    more = f", and {', '.join(others)}, missing too," if others else ""
    raise DataError(
        f"{path.name} could not be fetched; put it{more} into {path.parent} yourself and start again\n  "
        + "\n  ".join(dict.fromkeys(trouble))
    )


def _has_no_network(error: Exception) -> bool:
    """Return whether no server could be asked."""
    reason = getattr(error, "reason", error)
    return isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) in _NO_NETWORK


def _transfer(url: str, partial: Path) -> tuple[int | None, str | None]:
    """Append the missing bytes; return size and md5 of the whole file as the server states them."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing, or the file is another one; the checks tell
            return None, _stated_md5(error.headers)
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        size = int(length) + (have if resumed else 0) if length else None
        with partial.open("ab" if resumed else "wb") as file:
            while piece := response.read(_PIECE):
                file.write(piece)
    found = partial.stat().st_size
    if size is not None and found < size:
        raise ConnectionError(f"broke off after {found} of {size} bytes")
    return size, _stated_md5(response.headers)


def _stated_md5(headers: Message) -> str | None:
    """md5 from Google storage's header `x-goog-hash: crc32c=..., md5=...`, in base64 there; None without one."""
    for header in headers.get_all("x-goog-hash") or ():
        for part in header.split(","):
            name, _, value = part.strip().partition("=")
            if name == "md5":
                return base64.b64decode(value).hex()
    return None


def _difference(file: File, path: Path, size: int | None, md5: str | None) -> str | None:
    expected = size if file.size is None else file.size
    found = path.stat().st_size
    if expected is not None and found != expected:
        return f"{found} bytes, expected {expected}"
    expected_md5 = file.md5 or md5
    if expected_md5 is None:
        return None
    with path.open("rb") as content:
        found_md5 = hashlib.file_digest(content, "md5").hexdigest()
    return None if found_md5 == expected_md5 else f"md5 {found_md5}, expected {expected_md5}"
