"""Prepared data on disk: a folder of memory-mapped arrays and their manifest."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gammascape.command import UserError
from gammascape.manifests import ManifestError, read_manifest, sha256_of
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.paths import inside

FORMAT = 1
DTYPES = "uint8", "uint8"
"""Types of images and labels, unless they are a user's own."""
_HASHED_WHEN_READ = 256 * 2**20
"""Bytes up to which data are hashed at each read; for larger data only the sizes of the files are compared."""

Split = Literal["train", "test"]
Bytes = NDArray[np.uint8]


class DataError(UserError):
    """A data file is missing, damaged or wrong; the message names the file and the remedy."""


@dataclass(frozen=True)
class Shard:
    """Two files: images uint8 (n, C, H, W) and labels uint8 (n,)."""

    folder: Path
    samples: int
    images_file: str
    labels_file: str
    dtypes: tuple[str, str] = DTYPES

    @cached_property
    def images(self) -> Bytes:
        """(n, C, H, W), mapped from the disk."""
        return _mapped(self.folder / self.images_file, self.dtypes[0])

    @cached_property
    def labels(self) -> Bytes:
        """(n,), in memory."""
        return np.array(_mapped(self.folder / self.labels_file, self.dtypes[1]))


@dataclass(frozen=True)
class Prepared:
    """Content of a prepared folder."""

    dataset: str
    image_shape: tuple[int, ...]
    classes: int
    digest: str
    """sha256 over the hashes of all files in order, which identifies the content."""
    train: tuple[Shard, ...]
    test: tuple[Shard, ...]
    generator: dict[str, Any] | None = None
    """Generator of the samples, with all options; None if they come from the user's files."""
    own: dict[str, Any] | None = None
    """Digest of the content of a user's own files, types, number of targets, means and deviations."""

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return int(np.prod(self.image_shape)) * np.dtype(self.train[0].dtypes[0]).itemsize


def read_prepared(manifest: Path | None, name: str) -> Prepared:
    """Read the manifest of prepared data `name` and check the files that it names.

    Raises:
        DataError: if a file is missing, altered, truncated, or of another kind.
    """
    # A generated set has its own folder name.
    folder_name = manifest.parent.name if manifest and manifest.parent.name else name
    make = f"snakemake results/data/{folder_name}/{FILE_NAME}"
    if manifest is None or not manifest.is_file():
        raise DataError(f"{manifest or name}: no prepared {name} data; make it with `{make}`")
    folder = manifest.parent
    again = f"delete {folder} and make it again with `{make}`"
    try:
        content = read_manifest(manifest).record
        own = content.get("own")
        types = DTYPES if own is None else (str(own["dtypes"][0]), str(own["dtypes"][1]))
        targets = () if own is None or not own["targets"] else (int(own["targets"]),)
        splits = {
            split: tuple(
                Shard(folder, one["samples"], one["images"]["file"], one["labels"]["file"], types)
                for one in content[split]
            )
            for split in ("train", "test")
        }
        files = [
            (str(entry["file"]), int(entry["bytes"]), str(entry["sha256"]))
            for split in ("train", "test")
            for shard in content[split]
            for entry in (shard["images"], shard["labels"])
        ]
        if strange := [file for file, _, _ in files if "/" in file]:
            raise ValueError(f"{strange[0]} is outside of its folder")
        found = str(content["dataset"])
        shape = tuple(int(size) for size in content["image_shape"])
        classes, digest, form = int(content["classes"]), str(content["digest"]), content["format"]
        generator = content.get("generator")
    except ManifestError as error:
        raise DataError(f"{error}; {again}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: not a manifest of prepared data ({error}); {again}") from None
    if form != FORMAT:
        raise DataError(f"{manifest}: format {form}, this version reads format {FORMAT}; {again}")
    if found != name:
        raise DataError(f"{manifest}: holds {found}, expected {name}; {again}")
    hashed = sum(size for _, size, _ in files) <= _HASHED_WHEN_READ
    for file, size, sha256 in files:
        _check(folder, file, size, sha256 if hashed else None, again)
    prepared = Prepared(name, shape, classes, digest, **splits, generator=generator, own=own)
    for shard in (*prepared.train, *prepared.test):
        _check_arrays(shard, prepared, targets, again)
    return prepared


def _check(folder: Path, file: str, size: int, sha256: str | None, again: str) -> None:
    try:
        path = inside(folder, file)
    except FileNotFoundError:
        raise DataError(f"{folder / file}: missing; {again}") from None
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}; {again}") from None
    if (length := path.stat().st_size) != size:
        raise DataError(f"{path}: {length} bytes, expected {size}; {again}")
    if sha256 is not None and sha256_of(path) != sha256:
        raise DataError(f"{path}: altered since it was prepared (another sha256); {again}")


def _check_arrays(shard: Shard, prepared: Prepared, targets: tuple[int, ...], again: str) -> None:
    images, labels = shard.folder / shard.images_file, shard.folder / shard.labels_file
    try:
        shapes = {images: shard.images.shape, labels: shard.labels.shape}
    except Exception as error:  # numpy raises many kinds of errors for a damaged header
        raise DataError(f"{shard.folder}: not readable ({error}); {again}") from None
    expected = {images: (shard.samples, *prepared.image_shape), labels: (shard.samples, *targets)}
    for path, shape in shapes.items():
        if shape != expected[path]:
            raise DataError(f"{path}: holds shape {shape}, expected {expected[path]}; {again}")
    if prepared.classes and len(shard.labels) and shard.labels.max() >= prepared.classes:
        raise DataError(
            f"{labels}: label {shard.labels.max()} is outside 0..{prepared.classes - 1}; {again}"
        )


def _mapped(path: Path, dtype: str) -> Bytes:
    array: Bytes = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != dtype:
        raise ValueError(f"{path.name} is {array.dtype}, expected {dtype}")
    return array
