"""Files that are whole or not there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gammascape.layout import remembered, whole

KILLED = """
import os, signal, sys
from pathlib import Path
from gammascape.layout import whole
with whole(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.json"
    with whole(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a.json"
    path.write_text("before")

    def fail() -> None:
        with whole(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    # What the system says of a full disk names no file.
    assert isinstance(error, KeyboardInterrupt) or str(caught.value).endswith(f": '{path}'")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_half_made_is_removed(tmp_path: Path) -> None:
    def fail() -> None:
        with whole(tmp_path / "data") as partial:
            partial.mkdir()
            (partial / "train.npy").write_bytes(b"0")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.json", "odd [1] *.json"])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert not path.exists()
    with whole(path) as partial:
        partial.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_that_another_process_is_writing_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with whole(path) as mine:
        mine.write_text("mine")
        # The parent of this process is certainly running.
        other = mine.with_name(mine.name.replace(str(os.getpid()), str(os.getppid())))
        other.write_text("being written")
        with whole(path.with_name("b.json")) as partial:
            partial.write_text("")
    with whole(path) as partial:
        partial.write_text("again")
    assert other.read_text() == "being written"


def test_what_is_remembered_of_a_file_ends_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    read: list[Path] = []

    @remembered
    def content(path: Path) -> str:
        read.append(path)
        return path.read_text()

    path.write_text("one")
    assert [content(path), content(path)] == ["one"] * 2
    assert len(read) == 1
    # Of the same size, as a forger would, with the time put back.
    before = path.stat()
    time.sleep(0.02)  # longer than a tick of the file system's clock
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content(path) == "two"
    with whole(path) as partial:
        partial.write_text("six")
        os.utime(partial, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content(path) == "six"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        content(path)
