"""Tiny ImageNet (200 classes, 64x64) from the published zip, or from its unpacked folder.

The number of a class is its place in wnids.txt. The images in val/ are used for testing, with classes from
val_annotations.txt or from the folders that they were sorted into; images in test/ have no published labels.
"""

import io
import os
import re
import stat
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from gammascape.data.prepare import sources
from gammascape.data.prepared import Bytes, DataError, Split
from gammascape.data.writer import Writer

ZIPS = ("tiny-imagenet-200.zip", "*.[zZ][iI][pP]")
FOLDERS = ("wnids.txt", "*/wnids.txt", "*/*/wnids.txt")
CLASSES = 200
SHAPE = (3, 64, 64)
_IMAGES = (".jpeg", ".jpg", ".png")
_ANNOTATIONS = "val/val_annotations.txt"
_MOST = 2**25
"""Limit on the bytes of one file; words.txt has 3 MB, and every image less."""


@dataclass
class _Files:
    """Files by their names below the folder of wnids.txt, in a zip or on disk."""

    place: Path
    root: str
    members: Mapping[str, zipfile.ZipInfo | Path]
    archive: zipfile.ZipFile | None = None

    def read(self, name: str) -> bytes:
        member, path = self.members[name], self.place / name
        if isinstance(member, Path) and (what := sources.occupant_of(member)):
            raise DataError(f"{path}: is {what}, expected a file")
        size = member.stat().st_size if isinstance(member, Path) else member.file_size
        if size > _MOST:
            raise DataError(f"{path}: would have {size} bytes; it is another file or altered")
        if isinstance(member, Path) or self.archive is None:
            return path.read_bytes()
        opened = sources.open_member(self.place, self.archive, member)
        with sources.damage(path, "file"), opened as file:
            return file.read()


def prepare(source: Path | None, folder: Path) -> None:
    """Write Tiny ImageNet as RGB; greyscale images get three equal channels.

    Raises:
        DataError: if a file is missing, damaged, not an image of 64x64 pixels, or of an unknown class, or if
            val_annotations.txt contradicts the images' folders.
    """
    source = sources.existing_folder(source, "tinyimagenet", ZIPS[0])
    published = sources.find_source(source, ZIPS[:1])
    if not published and (wnids := sources.find_source(source, FOLDERS)):
        _write(_in_folder(wnids.parent), folder)
    elif path := published or sources.find_source(source, ZIPS):
        with sources.open_zip(path) as archive:
            _write(_in_zip(path, archive), folder)
    else:
        what = sources.occupant_of(source / ZIPS[0])
        why = f"; {ZIPS[0]} is {what}" if what else ""
        raise DataError(f"{source}: neither {ZIPS[0]} nor a folder with wnids.txt is in it{why}")


def _in_zip(path: Path, archive: zipfile.ZipFile) -> _Files:
    members = {
        member.filename.replace("\\", "/"): member
        for member in archive.infolist()
        if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16)
    }
    places = [name for name in members if f"/{name}".endswith("/wnids.txt")]
    if not places:
        raise DataError(f"{path}: no wnids.txt in it, so it is not Tiny ImageNet as published")
    root = min(places, key=len).removesuffix("wnids.txt")
    inside = {name.removeprefix(root): members[name] for name in members if name.startswith(root)}
    return _Files(path, root, inside, archive)


def _in_folder(path: Path) -> _Files:
    members: dict[str, zipfile.ZipInfo | Path] = {}
    # Follow links, which people use for large folders; loops end at the depth of the layout.
    for base, folders, files in os.walk(path, followlinks=True):
        inside = Path(base).relative_to(path)
        depth = len(inside.parts)
        folders[:] = [name for name in folders if depth in (1, 2) or name in ("train", "val")]
        members |= {(inside / name).as_posix(): Path(base, name) for name in files}
    return _Files(path, "", members)


def _write(files: _Files, folder: Path) -> None:
    names = _text(files, "wnids.txt").split()
    if len(names) != CLASSES or len(set(names)) != CLASSES:
        raise DataError(
            f"{files.place}: wnids.txt has {len(set(names))} different classes, expected {CLASSES}"
        )
    numbers = {name: number for number, name in enumerate(names)}
    words = dict(_fields(files, "words.txt", 2)) if "words.txt" in files.members else {}
    labels_of = [words.get(name, name) for name in names]
    with Writer(folder, "tinyimagenet", SHAPE, CLASSES, class_names=labels_of) as writer:
        splits: tuple[tuple[Split, Iterator[tuple[str, int]]], ...] = (
            ("train", _training(files, numbers)),
            ("test", _validation(files, numbers)),
        )
        for split, labelled in splits:
            for name, label in labelled:
                with sources.naming(files.place / name):
                    image = _decode(files.read(name))
                writer.add(split, image[None], np.array([label]))
        if files.place.is_file():
            writer.source(files.place)


def _text(files: _Files, name: str) -> str:
    return files.read(name).decode("utf-8-sig", errors="replace")


def _fields(files: _Files, name: str, count: int) -> Iterator[list[str]]:
    for number, line in enumerate(_text(files, name).splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < count:
            raise DataError(
                f"{files.place}: {name}, line {number}: {len(fields)} fields, expected {count}"
            )
        yield fields[:count]


def _sorted(names: Iterable[str]) -> list[str]:
    # By the numbers in the name of the file: n_10 comes after n_9.
    numbers = re.compile(r"\d{1,99}").findall
    return sorted(names, key=lambda name: [*map(int, numbers(name.rpartition("/")[2]))])


def _images(files: _Files, split: str, numbers: dict[str, int]) -> dict[str, dict[str, str]]:
    """Paths of images by class and by name without suffix; class "" if neither folder nor name gives it."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(files.members):
        path = PurePosixPath(name)
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if path.parts[0] == split and path.suffix.lower() in _IMAGES and not hidden:
            said = (*reversed(path.parts[1:-1]), path.stem.split("_")[0])
            of = next((part for part in said if part in numbers), "")
            found[of].setdefault(path.stem, name)
    return found


def _missing(files: _Files, name: str) -> DataError:
    return DataError(f"{files.place}: no {files.root}{name} in it")


def _training(files: _Files, numbers: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Names and labels, class by class; if a list of boxes exists, only the images that it lists."""
    found = _images(files, "train", numbers)
    for name, label in numbers.items():
        images, boxes = found[name], f"train/{name}/{name}_boxes.txt"
        listed = {stem: f"{stem}.JPEG" for stem in images}
        if boxes in files.members:
            listed = {PurePosixPath(f).stem: f for (f,) in _fields(files, boxes, 1) if f}
        for stem in _sorted(listed):
            if stem not in images:
                raise _missing(files, f"train/{name}/images/{listed[stem]}")
            yield images[stem], label
        if not listed:
            raise _missing(files, f"train/{name}/images/*.JPEG")


def _validation(files: _Files, numbers: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Names and labels in the order of the annotations, or of the images' numbers."""
    found = _images(files, "val", numbers)
    flat = found.pop("", {})
    images = [(stem, path, name) for name in found for stem, path in found[name].items()]
    if _ANNOTATIONS not in files.members:
        if flat or not images:
            raise _missing(files, f"{_ANNOTATIONS}, and no images of val/ by class,")
        places = {path: numbers[name] for _, path, name in images}
        yield from ((path, places[path]) for path in _sorted(places))
        return
    given: dict[str, str] = {}
    for file, name in _fields(files, _ANNOTATIONS, 2):
        if name not in numbers:
            raise DataError(
                f"{files.place}: {_ANNOTATIONS} gives {file} the class {name}, which wnids.txt does "
                "not have"
            )
        given[PurePosixPath(file).stem] = name
    for stem, path, name in images:
        if given.get(stem) != name:
            says = f"gives it the class {given[stem]}" if stem in given else "does not list it"
            raise DataError(
                f"{files.place}: {path} lies in the folder of {name}, but {_ANNOTATIONS} {says}; "
                "correct the wrong one, or move the list away if the folders are right"
            )
    if not given:
        raise DataError(f"{files.place}: {_ANNOTATIONS} is empty")
    where = flat | {stem: path for stem, path, _ in images}
    for stem, name in given.items():
        if stem not in where:
            raise _missing(files, f"val/images/{stem}.JPEG")
        yield where[stem], numbers[name]


def _decode(content: bytes) -> Bytes:
    # Imported here, since the engine reads prepared data on machines with only torch and numpy.
    from PIL import Image

    try:
        # A header may declare any size, so check it before decoding.
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image,
        ):
            size = image.size
            pixels = np.asarray(image.convert("RGB")) if size == SHAPE[1:] else None
    except Exception as error:  # a decoder can raise anything if a byte was changed
        raise ValueError(f"not a readable image ({error})") from error
    if pixels is None:
        raise ValueError(f"{size[0]}x{size[1]} pixels, expected 64x64")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
