"""Arrays of .npy and .npz files, read row by row from start to end."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gammascape.data.prepare.sources import Bounded, damage, open_member, open_zip
from gammascape.data.prepared import DataError

_HEADER_BYTES = 2**14


@dataclass
class RowReader:
    """Rows of an .npy file that cannot be mapped, such as a member of a zip, in pieces of bounded size.

    Raises:
        ValueError: if its header is invalid, or declares a different number of bytes from the file's.
        DataError: if it is damaged.
    """

    path: Path
    file: IO[bytes]
    size: int
    """Bytes of the file, including its header."""
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        head = Bounded(self.file, _HEADER_BYTES, self.path)
        with damage(self.path, "header of an array"):
            version = npy.read_magic(head)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            self.shape, fortran, self.dtype = read(head)
        if fortran:
            raise ValueError("is stored column by column; save it with numpy.ascontiguousarray")
        if self.dtype.hasobject:
            raise ValueError("holds Python objects")
        if not self.shape or min(self.shape) < 0:
            raise ValueError(f"has shape {self.shape}, expected rows")
        have = self.size - (_HEADER_BYTES - head.left)
        promised = math.prod(self.shape) * self.dtype.itemsize
        if have < promised:
            missing = -(-(promised - have) * self.shape[0] // promised)
            raise ValueError(f"ends {missing} rows before its end")
        if have > promised:
            raise ValueError(f"goes on after its last row of {self.shape[0]}")

    def rows(self, count: int) -> Iterator[NDArray[Any]]:
        """Yield all rows, `count` at a time; raises DataError if the file is damaged."""
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        left = self.shape[0]
        while left:
            number = min(count, left)
            with damage(self.path, "file"):
                raw = self.file.read(number * row_bytes)
                rows = np.frombuffer(raw, self.dtype).reshape(number, *self.shape[1:])
            yield rows
            left -= number
        # A member of a zip compares its checksum only at its end.
        with damage(self.path, "file"):
            self.file.read(1)


@contextmanager
def open_arrays_file(path: Path, *names: str) -> Iterator[tuple[RowReader, ...]]:
    """Arrays of an npz file as streams of rows, or the single array of an npy file.

    Raises:
        DataError: if the file is damaged, truncated or encrypted, or has no such array.
        ValueError: as for RowReader.
    """
    with ExitStack() as stack:
        if path.suffix == ".npy":
            file = stack.enter_context(path.open("rb"))
            yield (RowReader(path, file, path.stat().st_size),)
            return
        archive = stack.enter_context(open_zip(path))
        members = {member.filename: member for member in archive.infolist()}
        missing = [name for name in names if f"{name}.npy" not in members]
        if missing:
            found = ", ".join(Path(name).stem for name in members) or "nothing"
            raise DataError(f"{path}: has no array {missing[0]}, only {found}")
        chosen = [members[f"{name}.npy"] for name in names]
        files = [stack.enter_context(open_member(path, archive, member)) for member in chosen]
        yield tuple(
            RowReader(path, file, member.file_size)
            for file, member in zip(files, chosen, strict=True)
        )
