"""Prepared data on disk: named arrays in one file with the sha256 of their contents."""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]


class DataError(Exception):
    """A data file is missing, damaged or not what it should be; the message says which and what to do."""


def content_digest(arrays: Mapping[str, Array]) -> str:
    """sha256 over names, shapes and bytes of the arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays and their digest; the file appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, sha256=np.array(content_digest(arrays)), **arrays)
    partial.replace(path)


def read_arrays(
    path: Path | None, name: str, shapes: Mapping[str, tuple[int | None, ...]]
) -> tuple[dict[str, Array], str]:
    """Read prepared arrays and their digest, checking names, dtype and shapes (None: any size).

    Raises:
        DataError: if the file is missing, cannot be read, or holds something else.
    """
    if path is None or not path.is_file():
        raise DataError(
            f"{path or name}: no prepared {name} data; make it with `snakemake results/data/{name}.npz`"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Array] = {key: file[key] for key in shapes}
            digest = str(file["sha256"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: not readable as prepared {name} data ({error}); delete it"
        ) from error
    for key, shape in shapes.items():
        array = arrays[key]
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype != np.uint8 or not fits:
            raise DataError(
                f"{path}: {key} is {array.dtype} {array.shape}, expected uint8 {shape}; delete the file"
            )
    return arrays, digest
