"""Safe handling of file names and JSON written by somebody else."""

import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gammascape.terminal import visible

CELLS = Path("results/cells")
RESULTS = CELLS.parent
"""Folder below which Snakemake writes."""
GENERATED = RESULTS / "generated"
"""Folder of generated digits: chunks and models without manifests, and pictures of their quality with one."""
LINKED = tuple(map(str, (CELLS, RESULTS / "data", GENERATED, RESULTS)))
"""Folders of a project that may be links to another disk."""

MOST_BYTES = 2**27
"""Largest size in bytes of a JSON file that is read."""
_MOST_NESTED = 50
_SHOWN = 80


class OutsideError(OSError):
    """A name does not lead to a regular file below its folder; the message gives the reason."""


def inside(folder: Path, name: str) -> Path:
    """Path of a regular file below a folder, by a name written by somebody else.

    The folder itself may be behind links. No link below it may lead out of it.

    Raises:
        OutsideError: if the name is not relative, contains `..`, or leads out of the folder or to a FIFO, a device
            or a folder.
        OSError: if the file does not exist or cannot be reached.
    """
    if not is_plain(name):
        raise OutsideError(f"{short(name)} is not a plain path below its folder")
    place, mode = os.fspath(folder), 0
    for part in name.split("/"):
        place = f"{place}/{part}"
        mode = os.lstat(place).st_mode
        if stat.S_ISLNK(mode):
            real = Path(os.path.realpath(folder / name, strict=True))
            if not real.is_relative_to(os.path.realpath(folder)):
                raise OutsideError(f"{short(name)} is a link that leads out of its folder")
            mode = real.stat().st_mode
            break
    if not stat.S_ISREG(mode):
        raise OutsideError(f"{short(name)} is not a regular file")
    return folder / name


def cell_of(path: str) -> str | None:
    """Folder below `CELLS` of one of a cell's files; None for a file that belongs to no cell."""
    name = path.removeprefix(f"{CELLS}/")
    return None if name == path else name.rpartition("/")[0]


def inside_project(root: Path, name: str, also: Sequence[str] = ()) -> Path:
    """Path as from `inside`, for a name relative to `root`, the folder where Snakemake runs.

    Args:
        also: folders named in the project's own configuration; they may be anywhere.

    Raises:
        OSError: as for `inside`.
    """
    for base in (*also, *LINKED):
        if name.startswith(f"{base}/"):
            return inside(root / base, name.removeprefix(f"{base}/"))
    return inside(root, name)


def is_plain(name: str) -> bool:
    """Return whether a name is a normal relative path: no `..`, nothing redundant, no control characters."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or str(path) != name) and (
        visible(name) == name
    )


def read_object(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read one JSON object that may be written by somebody else.

    Raises:
        OSError: if it cannot be read, or leads out of its folder.
        ValueError: if it is too large, not UTF-8 or not JSON, repeats a key, is nested too deeply, or contains a
            number or a text that JSON cannot represent.
    """
    size = inside(path.parent, path.name).stat().st_size
    if size > most_bytes:
        raise ValueError(f"{size:,} bytes, at most {most_bytes:,} are read")
    raw = path.read_bytes()
    try:
        content = json.loads(
            raw.decode(),
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_constant,
            parse_int=_number(int),
            parse_float=_number(float),
        )
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if raw.count(b"{") + raw.count(b"[") > _MOST_NESTED:
        _check_depth(content)
    if b"\\u" in raw:
        # An escape can be half of a UTF-16 pair, which has no UTF-8 form.
        json.dumps(content, ensure_ascii=False).encode()
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {short(twice)} stands twice")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _number(kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not abs(value) < (2**63 if kind is int else math.inf):
            raise ValueError("it holds a number that is too large")
        return value

    return read


def _check_depth(content: object) -> None:
    level = [content]
    for _ in range(_MOST_NESTED + 1):
        inner = (
            v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)
        )
        level = [item for items in inner for item in items]
    if level:
        raise ValueError("it is nested too deeply")


def short(name: object) -> str:
    """Shorten and escape somebody else's text for a message."""
    text = visible(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
