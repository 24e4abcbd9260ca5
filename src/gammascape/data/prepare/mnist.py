"""MNIST (LeCun, Cortes, Burges) from its four idx files, each plain or packed with gzip."""

import math
import struct
from pathlib import Path

import numpy as np

from gammascape.data.prepare.sources import (
    check_published,
    existing_folder,
    find,
    naming,
    unpacked_bytes,
)
from gammascape.data.prepared import Bytes, DataError, Split
from gammascape.data.writer import Writer

_IDX_UINT8 = 0x08

# md5 of the unpacked files.
PUBLISHED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SPLITS: dict[Split, str] = {"train": "train", "test": "t10k"}
PLACES = ("", "MNIST/raw", "raw", "MNIST")
"""Places searched for the files, below the user's folder; torchvision puts them into MNIST/raw."""
_PUBLISHED_BYTES, _MOST = 47_040_016, 2**30
"""Bytes of the largest published file, unpacked, and limit on the size of any idx file."""


def prepare(source: Path | None, folder: Path, *, verify: bool = True) -> None:
    """Write MNIST; `verify` requires the published files, byte for byte.

    Raises:
        DataError: if a file is missing, damaged, altered, or has a label out of range.
    """
    source = existing_folder(source, "mnist", "the four MNIST idx files")
    with Writer(folder, "mnist", (1, 28, 28), 10) as writer:
        for split, prefix in SPLITS.items():
            images_path, images = read_idx(source, f"{prefix}-images-idx3-ubyte", 3, verify)
            labels_path, labels = read_idx(source, f"{prefix}-labels-idx1-ubyte", 1, verify)
            if images.shape[1:] != (28, 28):
                raise DataError(
                    f"{images_path}: images of {images.shape[1:]} pixels, expected (28, 28)"
                )
            if len(images) != len(labels):
                raise DataError(
                    f"{labels_path}: {len(labels)} labels for {len(images)} images in "
                    f"{images_path.name}"
                )
            for path in (images_path, labels_path):
                writer.source(path)
            with naming(labels_path):
                writer.add(split, images[:, None], labels)


def read_idx(source: Path, stem: str, dimensions: int, verify: bool = False) -> tuple[Path, Bytes]:
    """Path and content of the idx file of that name in a folder, plain or packed; `verify` as for `prepare`.

    Raises:
        DataError: if it is missing, truncated, damaged, altered, or holds another type or number of dimensions.
    """
    path = find(source, names_of(stem), PLACES)
    raw = unpacked_bytes(path, _PUBLISHED_BYTES if verify else _MOST)
    if verify:
        check_published(path, raw, PUBLISHED[stem])
    head = 4 + 4 * dimensions
    if len(raw) < head or raw[:2] != b"\0\0" or raw[3] != dimensions:
        raise DataError(f"{path}: not an idx file of {dimensions} dimensions")
    if raw[2] != _IDX_UINT8:
        raise DataError(f"{path}: idx type code {raw[2]:#04x}, expected 0x08 (uint8)")
    shape = struct.unpack(f">{dimensions}I", raw[4:head])
    size = math.prod(shape)
    if len(raw) != head + size:
        raise DataError(
            f"{path}: {len(raw) - head} bytes of data, expected {size} for shape {shape}; the file is "
            "truncated or altered"
        )
    return path, np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def names_of(stem: str) -> tuple[str, ...]:
    """Names under which a file is found; some unpackers put it in a folder of the same name."""
    dotted = stem.replace("-idx", ".idx")
    return (f"{stem}.gz", stem, dotted, f"{stem}/{stem}", f"{stem}/{dotted}")
