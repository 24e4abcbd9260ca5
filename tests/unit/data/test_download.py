"""Files are fetched in one piece or several, and only the published ones are kept."""

import base64
import errno
import hashlib
import os
import socket
import threading
import urllib.error
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gammascape.data.prepare.download import ATTEMPTS, DOWNLOADS, File, download
from gammascape.data.prepared import DataError

CONTENT = bytes(range(256)) * 4000


class _Server(ThreadingHTTPServer):
    breaks: int = 0
    """Transfers that will break off half-way."""
    resumes = True
    missing = False
    states: str | None = None
    """The md5 in its headers, as Google's storage writes it."""
    ranges: list[str | None]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.server.missing:
            self.send_error(404)
            return
        begin = 0
        if wanted and self.server.resumes:
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if begin else 200)
        rest = CONTENT[begin:]
        self.send_header("Content-Length", str(len(rest)))
        if self.server.states:
            self.send_header("x-goog-hash", "crc32c=n03x6A==")
            self.send_header("x-goog-hash", f"md5={self.server.states}")
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.ranges = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def a_file(server: _Server, **changes: Any) -> File:
    url = f"http://127.0.0.1:{server.server_port}/part0.npz"
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    return File("part0.npz", (url,), **{"size": len(CONTENT), "md5": md5, **changes})


def fetch(file: File, folder: Path) -> list[float]:
    waits: list[float] = []
    download("cifar5m", folder, files=[file], wait=waits.append)
    return waits


@pytest.mark.parametrize("resumes", [True, False])
def test_a_transfer_that_breaks_off_goes_on(resumes: bool, server: _Server, tmp_path: Path) -> None:
    server.breaks, server.resumes = 2, resumes
    waits = fetch(a_file(server), tmp_path / "new")
    assert (tmp_path / "new/part0.npz").read_bytes() == CONTENT
    assert waits == sorted(waits)
    assert len(waits) == 2
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert server.ranges[:2] == [None, f"bytes={half}-"]
    if resumes:
        assert server.ranges[2] == f"bytes={half + quarter}-"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["part0.npz"]


def test_a_killed_download_is_resumed_by_the_next_call(server: _Server, tmp_path: Path) -> None:
    (tmp_path / ".part0.npz.part").write_bytes(CONTENT[:1000])
    fetch(a_file(server), tmp_path)
    assert server.ranges == ["bytes=1000-"]
    assert (tmp_path / "part0.npz").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["part0.npz", "cifar5m_part0.npz"])
def test_a_file_that_is_there_is_not_fetched(name: str, server: _Server, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"mine")
    fetch(a_file(server, alternatives=("cifar5m_part0.npz",)), tmp_path)
    assert server.ranges == []
    assert (tmp_path / name).read_bytes() == b"mine"


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "empty": Path.touch,
}


@pytest.mark.parametrize("what", NO_FILES)
def test_what_is_no_file_does_not_count_as_one(what: str, server: _Server, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    NO_FILES[what](other / "mine.npz")
    fetch(a_file(server, alternatives=("mine.npz",)), other)
    assert (other / "part0.npz").read_bytes() == CONTENT
    place = tmp_path / "part0.npz"
    NO_FILES[what](place)
    if what == "empty":
        fetch(a_file(server), tmp_path)
        assert place.read_bytes() == CONTENT
    else:
        with pytest.raises(DataError, match=f"part0.npz: is {what}.*move it away"):
            fetch(a_file(server), tmp_path)
        assert len(server.ranges) == 1


def test_a_full_disk_is_not_tried_again(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(url: str, partial: Path) -> None:
        tried.append(url)
        raise OSError(errno.ENOSPC, "No space left on device")

    tried: list[str] = []
    monkeypatch.setattr("gammascape.data.prepare.download._transfer", full)
    with pytest.raises(OSError, match=r"No space left.*\.part"):
        fetch(a_file(server), tmp_path)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"size": 7, "md5": None}, "bytes, expected 7"), ({"md5": "0" * 32}, "md5 .*, expected 0000")],
)
def test_another_file_is_refused(
    changes: dict[str, Any], words: str, server: _Server, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        fetch(a_file(server, **changes), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_md5_that_a_server_states_is_compared_where_none_is_published(
    server: _Server, tmp_path: Path
) -> None:
    unpublished = a_file(server, size=None, md5=None)
    digest = hashlib.md5(CONTENT, usedforsecurity=False).digest()
    server.states = base64.b64encode(digest).decode()
    fetch(unpublished, tmp_path / "right")
    assert (tmp_path / "right/part0.npz").is_file()
    server.states = base64.b64encode(digest[::-1]).decode()
    with pytest.raises(DataError, match=f"md5 {digest.hex()}, expected {digest[::-1].hex()}"):
        fetch(unpublished, tmp_path / "wrong")
    assert list((tmp_path / "wrong").iterdir()) == []


def test_a_file_that_is_nowhere_is_named_with_what_to_do(server: _Server, tmp_path: Path) -> None:
    server.missing = True
    with pytest.raises(DataError, match=r"(?s)part0\.npz could not be fetched; put it into .*404"):
        fetch(a_file(server), tmp_path)


@pytest.mark.parametrize(
    "reason", [socket.gaierror(-3, "no name"), OSError(errno.ENETUNREACH, "no network")]
)
def test_without_a_network_all_files_are_named_at_once(
    reason: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str, partial: Path) -> None:
        raise urllib.error.URLError(reason)

    monkeypatch.setattr("gammascape.data.prepare.download._transfer", fail)
    waits: list[float] = []
    first, *others = (file.name for file in DOWNLOADS["mnist"])
    with pytest.raises(DataError) as caught:
        download("mnist", tmp_path, wait=waits.append)
    text = f"{first} could not be fetched; put it, and {', '.join(others)}, missing too, into {tmp_path}"
    assert str(caught.value).startswith(text)
    # Each of the two servers was asked once.
    assert len(waits) == 1
    # A network that was there a moment ago may come back.
    (tmp_path / f".{first}.part").write_bytes(b"1")
    with pytest.raises(DataError):
        download("mnist", tmp_path, wait=waits.append)
    assert len(waits) == 1 + ATTEMPTS - 1


def test_every_published_file_has_an_address_and_where_known_a_checksum() -> None:
    for name, files in DOWNLOADS.items():
        assert all(url.endswith(file.name) for file in files for url in file.urls)
        assert name == "cifar5m" or all(file.size and len(file.md5 or "") == 32 for file in files)
