"""Turn files that the user has, or a library carries, into prepared data: `python -m gammascape.data.prepare`."""

import argparse
import gzip
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gammascape.data.store import Array, DataError, write_arrays

_IDX_UINT8 = 0x08


def read_idx(path: Path, shape: tuple[int, ...]) -> Array:
    """Read one idx file of uint8 (plain or gzip) and check it against the expected shape.

    Raises:
        DataError: if the file is truncated, damaged, or holds another type or shape.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path}: damaged or truncated gzip file ({error}); fetch it again"
        ) from error
    head = 4 + 4 * len(shape)
    if len(raw) < head or raw[:2] != b"\0\0" or raw[3] != len(shape):
        raise DataError(f"{path}: not an idx file of {len(shape)} dimensions")
    if raw[2] != _IDX_UINT8:
        raise DataError(f"{path}: idx type code {raw[2]:#04x}, expected 0x08 (uint8)")
    found = struct.unpack(f">{len(shape)}I", raw[4:head])
    if found != shape:
        raise DataError(f"{path}: holds shape {found}, expected {shape}")
    size = int(np.prod(shape))
    if len(raw) != head + size:
        raise DataError(
            f"{path}: {len(raw) - head} bytes of data, expected {size}; the file is truncated or altered"
        )
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def prepare_digits(source: Path | None) -> dict[str, Array]:
    """The 8x8 digits that scikit-learn carries: images (1797, 8, 8) with values 0..16, and labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return {"images": bunch.images.astype(np.uint8), "labels": bunch.target.astype(np.uint8)}


def prepare_mnist(source: Path | None) -> dict[str, Array]:
    """MNIST from a folder with the four idx files, each plain or with .gz.

    Raises:
        DataError: if a file is missing, damaged, or has a label out of range.
    """
    if source is None or not source.is_dir():
        raise DataError(
            f"{source}: no such folder; put the four MNIST idx files into a folder and write its path to "
            "config/config.yaml under data: mnist:"
        )
    arrays = {}
    for split, prefix, count in (("train", "train", 60000), ("test", "t10k", 10000)):
        for part, stem, shape in (
            ("images", f"{prefix}-images-idx3-ubyte", (count, 28, 28)),
            ("labels", f"{prefix}-labels-idx1-ubyte", (count,)),
        ):
            candidates = [source / f"{stem}.gz", source / stem]
            path = next((p for p in candidates if p.is_file()), None)
            if path is None:
                raise DataError(f"{source}: neither {stem}.gz nor {stem} is in this folder")
            arrays[f"{split}_{part}"] = read_idx(path, shape)
            if part == "labels" and arrays[f"{split}_{part}"].max() > 9:
                raise DataError(f"{path}: has labels above 9, so it is not MNIST")
    return arrays


PREPARERS: dict[str, Callable[[Path | None], dict[str, Array]]] = {
    "digits": prepare_digits,
    "mnist": prepare_mnist,
}


def main(arguments: list[str] | None = None) -> int:
    """Prepare one dataset; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gammascape.data.prepare", description=__doc__)
    parser.add_argument("dataset", choices=sorted(PREPARERS))
    parser.add_argument("--source", type=Path, help="folder with the files that the user has")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    try:
        write_arrays(chosen.output, PREPARERS[chosen.dataset](chosen.source))
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
