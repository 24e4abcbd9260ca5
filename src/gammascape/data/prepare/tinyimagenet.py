"""Tiny ImageNet (200 classes, 64x64) from the published zip, read as it is, or from its unpacked folder.

The number of a class is its place in wnids.txt. Images for testing are those of val/, with the classes of
val_annotations.txt: those of test/ have no published labels.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gammascape.data.prepare.sources import existing_folder, naming
from gammascape.data.prepared import Bytes, DataError
from gammascape.data.writer import Writer

ZIP = "tiny-imagenet-200.zip"
ROOT = "tiny-imagenet-200"
CLASSES = 200
SHAPE = (3, 64, 64)
_BATCH = 2000


class _Files(Protocol):
    place: Path

    def read(self, name: str) -> bytes: ...

    def close(self) -> None: ...


class _Zip:
    def __init__(self, path: Path) -> None:
        self.place = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            text = f"{path}: damaged or truncated zip file ({error}); fetch it again"
            raise DataError(text) from error

    def read(self, name: str) -> bytes:
        try:
            return self._archive.read(f"{ROOT}/{name}")
        except KeyError:
            raise DataError(f"{self.place}: no {ROOT}/{name} in it") from None
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise DataError(f"{self.place}: {name} is damaged ({error}); fetch it again") from error

    def close(self) -> None:
        self._archive.close()


class _Folder:
    def __init__(self, path: Path) -> None:
        self.place = path

    def close(self) -> None:
        pass

    def read(self, name: str) -> bytes:
        try:
            return (self.place / name).read_bytes()
        except OSError:
            raise DataError(f"{self.place / name}: missing or not readable") from None


def prepare(source: Path | None, folder: Path) -> None:
    """Write Tiny ImageNet as RGB; greyscale images get three equal channels.

    Raises:
        DataError: if a file is missing, damaged, not an image of 64x64 pixels, or of an unknown class.
    """
    source = existing_folder(source, "tinyimagenet", ZIP)
    with closing(_open(source)) as files:
        _write(files, folder)


def _write(files: _Files, folder: Path) -> None:
    names = _ids(files)
    numbers = {name: number for number, name in enumerate(names)}
    words = dict(_fields(files, "words.txt", 2))
    labels_of = [words.get(name, name) for name in names]
    with Writer(folder, "tinyimagenet", SHAPE, CLASSES, class_names=labels_of) as writer:
        train = (
            (f"train/{name}/images/{file}", numbers[name])
            for name in names
            for file in _listed(files, f"train/{name}/{name}_boxes.txt")
        )
        for images, labels in _decoded(files, train):
            writer.add("train", images, labels)
        for images, labels in _decoded(files, _validation(files, numbers)):
            writer.add("test", images, labels)
        if files.place.is_file():
            writer.source(files.place)


def _open(source: Path) -> _Files:
    if (source / ZIP).is_file():
        return _Zip(source / ZIP)
    for folder in (source / ROOT, source):
        if (folder / "wnids.txt").is_file():
            return _Folder(folder)
    zips = sorted(source.glob("*.zip"))
    if len(zips) == 1:
        return _Zip(zips[0])
    raise DataError(f"{source}: neither {ZIP} nor a folder {ROOT} with wnids.txt is in this folder")


def _ids(files: _Files) -> list[str]:
    names = files.read("wnids.txt").decode().split()
    if len(names) != CLASSES or len(set(names)) != CLASSES:
        raise DataError(
            f"{files.place}: wnids.txt has {len(set(names))} different classes, expected {CLASSES}"
        )
    return names


def _fields(files: _Files, name: str, count: int) -> Iterator[list[str]]:
    text = files.read(name).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < count:
            raise DataError(
                f"{files.place}: {name}, line {number}: {len(fields)} fields, expected {count}"
            )
        yield fields[:count]


def _listed(files: _Files, name: str) -> list[str]:
    found = [file for (file,) in _fields(files, name, 1) if file]
    # By number: the order of the files in the list need not be.
    return sorted(found, key=lambda file: [int(part) for part in re.findall(r"\d+", file)])


def _validation(files: _Files, numbers: dict[str, int]) -> Iterator[tuple[str, int]]:
    for file, name in _fields(files, "val/val_annotations.txt", 2):
        if name not in numbers:
            raise DataError(
                f"{files.place}: val/val_annotations.txt gives {file} the class {name}, which "
                "wnids.txt does not have"
            )
        yield f"val/images/{file}", numbers[name]


def _decoded(
    files: _Files, labelled: Iterator[tuple[str, int]]
) -> Iterator[tuple[Bytes, NDArray[np.int64]]]:
    images: list[Bytes] = []
    labels: list[int] = []
    for name, label in labelled:
        with naming(files.place / name):
            images.append(_decode(files.read(name)))
        labels.append(label)
        if len(images) == _BATCH:
            yield np.stack(images), np.array(labels)
            images, labels = [], []
    if images:
        yield np.stack(images), np.array(labels)


def _decode(content: bytes) -> Bytes:
    # Imported here: the engine reads prepared data on machines that have torch and numpy only.
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"not a readable image ({error})") from error
    if pixels.shape != (64, 64, 3):
        raise ValueError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels, expected 64x64")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
