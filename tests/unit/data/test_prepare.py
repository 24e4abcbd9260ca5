"""Published formats become prepared data; a wrong file is named, with what was expected."""

import gzip
import hashlib
import io
import lzma
import os
import pickle
import re
import signal
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.load import load_dataset
from gammascape.data.prepare import (
    PREPARERS,
    cifar5m,
    cifar10,
    mnist,
    mnist1m,
    tinyimagenet,
)
from gammascape.data.prepare.download import DOWNLOADS, download
from gammascape.data.prepared import DataError, Prepared, read_prepared
from gammascape.data.writer import Writer
from gammascape.manifests import read_manifest

from ..formats import (
    RNG,
    batch,
    classes,
    idx,
    jpeg,
    make_cifar5m,
    make_cifar10,
    make_mnist,
    make_mnist1m,
    make_tinyimagenet,
    pixels,
    prepare_mnist,
    tinyimagenet_files,
)


def arrays(prepared: Prepared, split: str = "train") -> tuple[np.ndarray[Any, Any], list[int]]:
    shards = getattr(prepared, split)
    images = np.concatenate([shard.images for shard in shards])
    return images, np.concatenate([shard.labels for shard in shards]).tolist()


def no_leftovers(folder: Path) -> bool:
    return not [path for path in folder.glob(".*") if path.is_dir()]


def test_mnist_is_read_plain_and_packed(tmp_path: Path) -> None:
    source = make_mnist(tmp_path / "source")
    for path in list(source.iterdir())[:2]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    mnist.prepare(source, tmp_path / "out", verify=False)
    prepared = read_prepared(tmp_path / "out/manifest.json", "mnist")
    images, labels = arrays(prepared)
    _, raw = mnist.read_idx(source, "train-images-idx3-ubyte", 3)
    assert np.array_equal(images[:, 0], raw)
    assert labels == classes(60).tolist()
    assert len(arrays(prepared, "test")[1]) == 20


@pytest.mark.parametrize("binary", [False, True])
def test_cifar10_is_read_in_both_versions_loose_packed_and_archived(
    binary: bool, tmp_path: Path
) -> None:
    source = make_cifar10(tmp_path / "source", binary=binary)
    inside = source / cifar10.FOLDERS[binary]
    cifar10.prepare(source, tmp_path / "loose", verify=False)
    archive = tmp_path / "archive" / cifar10.ARCHIVES[binary]
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(inside, inside.name)
    cifar10.prepare(archive.parent, tmp_path / "archived", verify=False)
    loose, archived = (
        read_prepared(tmp_path / name / "manifest.json", "cifar10")
        for name in ("loose", "archived")
    )
    assert loose.digest == archived.digest
    images, labels = arrays(loose)
    assert images.shape == (100, 3, 32, 32)
    assert labels == classes(20).tolist() * 5
    if not binary:
        first = pickle.loads((inside / "data_batch_1").read_bytes())
        assert np.array_equal(images[:20].reshape(20, -1), first["data"])
        for path in list(inside.iterdir()):
            path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
            path.unlink()
        cifar10.prepare(source, tmp_path / "xz", verify=False)
        assert read_prepared(tmp_path / "xz/manifest.json", "cifar10").digest == loose.digest


@pytest.mark.parametrize("name", ["part{}.npz", "cifar5m_part{}.npz"])
def test_cifar5m_is_converted_part_by_part(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar5m, "_ROWS", 7)
    monkeypatch.setattr(cifar5m, "TEST_SAMPLES", 10)
    source = make_cifar5m(tmp_path / "source", name=name)
    cifar5m.prepare(source, tmp_path / "out")
    prepared = read_prepared(tmp_path / "out/manifest.json", "cifar5m")
    images, labels = arrays(prepared)
    assert images.shape == (150, 3, 32, 32)
    assert labels == classes(30).tolist() * 5
    with np.load(source / name.format(1)) as part:
        assert np.array_equal(images[30:60], part["X"].transpose(0, 3, 1, 2))
    assert len(arrays(prepared, "test")[1]) == 10


@pytest.mark.parametrize("packed", [True, False])
def test_tinyimagenet_is_read_in_the_order_of_wnids(packed: bool, tmp_path: Path) -> None:
    files = tinyimagenet_files(per_class=2)
    source = tmp_path / "source"
    if packed:
        make_tinyimagenet(source, files)
    else:
        for name, content in files.items():
            path = source / "tiny-imagenet-200" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    tinyimagenet.prepare(source, tmp_path / "out")
    prepared = read_prepared(tmp_path / "out/manifest.json", "tinyimagenet")
    images, labels = arrays(prepared)
    assert labels == np.repeat(np.arange(200), 2).tolist()
    grey = images[6]
    assert np.array_equal(grey[0], grey[1])
    assert np.array_equal(grey[0], grey[2])
    assert not np.array_equal(images[0, 0], images[0, 1])
    assert arrays(prepared, "test")[1] == [5 * k for k in range(12)]


def by_class(files: dict[str, bytes], place: str) -> dict[str, bytes]:
    """Validation images sorted into folders; `place` says where, with `{id}` and `{file}`."""
    moved = dict(files)
    for line in files["val/val_annotations.txt"].decode().splitlines():
        file, name = line.split("\t")[:2]
        moved[place.format(id=name, file=file)] = moved.pop(f"val/images/{file}")
    return moved


def renamed(files: dict[str, bytes], old: str, new: str) -> dict[str, bytes]:
    return {re.sub(old, new, name): content for name, content in files.items()}


def without(files: dict[str, bytes], *endings: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not name.endswith(endings)}


TINY = tinyimagenet_files(per_class=2, count=13)
LAYOUTS: dict[str, tuple[dict[str, bytes], str]] = {
    "published": (TINY, "tiny-imagenet-200/"),
    "no top folder": (TINY, ""),
    "nested": (TINY, "tiny-imagenet-200/tiny-imagenet-200/"),
    "another top folder": (TINY, "data/imagenet/tiny/"),
    "no boxes, no words": (without(TINY, "_boxes.txt", "words.txt"), ""),
    "flat classes": (without(renamed(TINY, "/images/n", "/n"), "_boxes.txt"), ""),
    "flat train": (without(renamed(TINY, "^train/n.*/images/", "train/"), "_boxes.txt"), ""),
    "flat classes with boxes": (renamed(TINY, "/images/n", "/n"), ""),
    "endings": (renamed(TINY, ".JPEG$", ".jpg"), ""),
    "val by class": (by_class(TINY, "val/{id}/images/{file}"), ""),
    "val by class, flat": (by_class(TINY, "val/{id}/{file}"), ""),
    "val by class, below images": (by_class(TINY, "val/images/{id}/{file}"), ""),
    "val by class, not listed": (
        without(by_class(TINY, "val/{id}/{file}"), "val_annotations.txt"),
        "",
    ),
    "with what Finder adds": (
        {
            **without(TINY, "_boxes.txt"),
            "__MACOSX/train/n00000000/images/._n00000000_0.JPEG": b"x",
            "train/n00000000/images/._n00000000_0.JPEG": b"x",
            "val/.DS_Store": b"x",
            "../../train/n00000000/images/n00000000_9.JPEG": b"x",
        },
        "",
    ),
}


UNPACKED = ("published", "no top folder", "nested", "another top folder", "val by class, flat")


@pytest.mark.parametrize(
    ("layout", "packed"),
    [*((name, True) for name in LAYOUTS), *((name, False) for name in UNPACKED)],
)
def test_every_layout_of_tinyimagenet_gives_the_same_data(
    layout: str, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tinyimagenet, "CLASSES", 13)
    published = make_tinyimagenet(tmp_path / "published", *LAYOUTS["published"])
    source = make_tinyimagenet(tmp_path / "source", *LAYOUTS[layout])
    if not packed:
        with zipfile.ZipFile(source / tinyimagenet.ZIPS[0]) as archive:
            archive.extractall(source / "data" if layout == "no top folder" else source)
        (source / tinyimagenet.ZIPS[0]).unlink()
        source = source / "data" if layout == "another top folder" else source
    digests = []
    for folder in (published, source):
        tinyimagenet.prepare(folder, tmp_path / "out")
        digests.append(read_prepared(tmp_path / "out/manifest.json", "tinyimagenet").digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "place", ["MNIST/raw/{}", "MNIST/raw/{}.gz", "raw/{}", "{0}/{0}", "{0}/{1}", "{1}"]
)
def test_mnist_is_found_where_others_put_it_and_nothing_is_fetched(
    place: str, tmp_path: Path
) -> None:
    source = make_mnist(tmp_path / "source")
    mnist.prepare(source, tmp_path / "flat", verify=False)
    for path in list(source.iterdir()):
        content = path.read_bytes()
        path.unlink()
        target = source / place.format(path.name, path.name.replace("-idx", ".idx"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(content) if place.endswith(".gz") else content)
    download("mnist", source, files=[replace(file, urls=()) for file in DOWNLOADS["mnist"]])
    mnist.prepare(source, tmp_path / "out", verify=False)
    flat, found = (read_prepared(tmp_path / n / "manifest.json", "mnist") for n in ("flat", "out"))
    assert flat.digest == found.digest


@pytest.mark.parametrize("make", [make_cifar10, make_tinyimagenet])
@pytest.mark.parametrize("below", ["", "unpacked"])
def test_files_below_the_folder_are_not_fetched_again(
    make: Callable[[Path], Path], below: str, tmp_path: Path
) -> None:
    name = make.__name__.removeprefix("make_")
    make(tmp_path / below)
    if below and name == "tinyimagenet":
        (tmp_path / below / tinyimagenet.ZIPS[0]).rename(tmp_path / "Other.ZIP")
    download(name, tmp_path, files=[replace(file, urls=()) for file in DOWNLOADS[name]])
    PREPARERS[name](tmp_path, tmp_path / "out", **({"verify": False} if name == "cifar10" else {}))


@pytest.mark.parametrize("labels", [".npy", ".npz", ".npz.npy"])
def test_mnist1m_is_read_under_every_name_of_its_labels(labels: str, tmp_path: Path) -> None:
    source = make_mnist1m(tmp_path / "source", labels=labels)
    test = prepare_mnist(tmp_path)
    mnist1m.prepare(source, tmp_path / "out", mnist=test, chunks=2)
    prepared = read_prepared(tmp_path / "out/manifest.json", "mnist1m")
    images, found = arrays(prepared)
    with np.load(source / "MNIST_images_1.npz") as chunk:
        expected = np.round(np.clip(chunk["arr_0"], 0, 1) * 255)
    assert np.array_equal(images[20:], expected)
    assert found == classes(20).tolist() * 2
    assert len(arrays(prepared, "test")[1]) == 20
    manifest = read_manifest(tmp_path / "out/manifest.json")
    assert manifest.rule == "prepare_mnist1m"
    assert manifest.inputs[0].seal == read_manifest(test).seal


def test_generated_chunks_are_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    made = pixels(20, 1, 28, 28)
    np.savez(source / "chunk_0.npz", images=made, labels=classes(20).astype(np.int64))
    mnist1m.prepare(source, tmp_path / "out", mnist=prepare_mnist(tmp_path), chunks=1)
    images, _ = arrays(read_prepared(tmp_path / "out/manifest.json", "mnist1m"))
    assert np.array_equal(images, made)


DIGITS = np.where(RNG.random((120, 1, 28, 28)) < 0.7, 0, pixels(120, 1, 28, 28)).astype(np.uint8)
SHARES = DIGITS.astype(np.float32) / 255


def make_digits(folder: Path, *chunks: np.ndarray[Any, Any]) -> Path:
    folder.mkdir()
    for number, images in enumerate(chunks):
        np.savez(folder / f"MNIST_images_{number}.npz", images)
        np.save(folder / f"MNIST_labels_{number}.npy", classes(len(images)))
    return folder


def prepared_digits(folder: Path, *chunks: np.ndarray[Any, Any], **options: Any) -> Any:
    source, test = make_digits(folder / "digits", *chunks), prepare_mnist(folder)
    mnist1m.prepare(source, folder / "out", mnist=test, chunks=len(chunks), **options)
    return arrays(read_prepared(folder / "out/manifest.json", "mnist1m"))[0]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (DIGITS, "0..255"),
        (SHARES, "0..1"),
        (SHARES * np.float32(1.0000001), "0..1"),
        (2 * SHARES - 1, "-1..1"),
        ((SHARES - 0.1307) / 0.3081, "-0.4242..2.821"),
        (DIGITS.astype(np.float64), "0..255"),
    ],
)
def test_the_range_of_chunks_is_recognized_and_said(
    images: np.ndarray[Any, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert np.array_equal(prepared_digits(tmp_path, images, images), np.concatenate([DIGITS] * 2))
    assert f"MNIST_images_1.npz: pixels {words}, 0.00% outside" in capsys.readouterr().out
    assert (
        f"pixels {words} brought" in read_manifest(tmp_path / "out/manifest.json").record["notes"]
    )


def test_pixels_that_overshoot_a_range_are_clipped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = RNG.normal(0, 0.1, SHARES.shape).astype(np.float32)
    found = prepared_digits(tmp_path, 2 * (SHARES + noise) - 1)
    # Bytes of the float32 numbers before and after they were brought to -1..1 and back differ by rounding.
    expected = np.round(np.clip(SHARES + noise, 0, 1) * 255)
    assert np.abs(found - expected).max() <= 1
    said = re.search(r"pixels -1..1, (\d+\.\d+)% outside", capsys.readouterr().out)
    assert said is not None
    assert float(said[1]) == pytest.approx(35, abs=5)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (DIGITS // 128, "uint8 pixels 0..1"),
        (DIGITS // 2, "uint8 pixels 0..127"),
        (2 * SHARES, "float32 pixels 0..2"),
        (SHARES / 255, "float32 pixels 0..0.003922"),
        ((SHARES - 0.2) / 0.4, "float32 pixels -0.5..2"),
        (np.where(SHARES == 1, np.inf, SHARES), "not finite"),
    ],
)
def test_a_range_that_is_not_known_is_asked_for(
    images: np.ndarray[Any, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"MNIST_images_0.npz: .*{re.escape(words)}") as caught:
        prepared_digits(tmp_path, images)
    assert "finite" in words or "data: mnist1m_pixels:" in str(caught.value)


def test_the_range_that_is_given_is_used_and_held_against_the_pixels(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    found = prepared_digits(tmp_path / "a", DIGITS // 128, pixels=(0, 1))
    assert np.array_equal(found, DIGITS // 128 * 255)
    with pytest.raises(DataError, match=r"no pixel above 1, but 0\.\.255"):
        prepared_digits(tmp_path / "b", SHARES, pixels=(0, 255))
    with pytest.raises(DataError, match=r"pixels 0\.\.255, far outside 0\.\.1"):
        prepared_digits(tmp_path / "c", DIGITS, pixels=(0, 1))


def test_chunks_in_two_ranges_are_refused(tmp_path: Path) -> None:
    words = r"MNIST_images_1.npz: has pixels -1\.\.1, but MNIST_images_0.npz has 0\.\.1"
    with pytest.raises(DataError, match=words):
        prepared_digits(tmp_path, SHARES, 2 * SHARES - 1)


Mistake = tuple[str, Callable[[Path], object], str]


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda source: (source / name).write_bytes(content) and None


def remove(name: str) -> Callable[[Path], None]:
    return lambda source: (source / name).unlink()


def cut(name: str, count: int = 10) -> Callable[[Path], None]:
    def change(source: Path) -> None:
        content = (source / name).read_bytes()
        (source / name).write_bytes(content[:-count])

    return change


def alter(name: str, place: int) -> Callable[[Path], None]:
    def change(source: Path) -> None:
        content = bytearray((source / name).read_bytes())
        content[place] ^= 255
        (source / name).write_bytes(content)

    return change


def lengthened(path: Path) -> None:
    """Give the labels of a part of CIFAR-5M more bytes than their header says."""
    with np.load(path) as part:
        x, y = part["X"], part["Y"]
    header = io.BytesIO()
    np.save(header, y)
    with zipfile.ZipFile(path, "w") as archive:
        image = io.BytesIO()
        np.save(image, x)
        archive.writestr("X.npy", image.getvalue())
        archive.writestr("Y.npy", header.getvalue() + b"x")


def npz(name: str, **content: Any) -> Callable[[Path], None]:
    return lambda source: np.savez(source / name, **content)


def zipped(**changes: bytes | None) -> Callable[[Path], None]:
    """Change files of the zip; slashes and dots are written as in its names."""

    def change(source: Path) -> None:
        files: dict[str, bytes | None] = {**tinyimagenet_files(), **changes}
        make_tinyimagenet(source, {k: v for k, v in files.items() if v is not None})

    return change


def pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def promising(name: str, *shape: int) -> Callable[[Path], None]:
    """An array whose header promises more than there is."""

    def change(source: Path) -> None:
        with (source / name).open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

    return change


def in_zip(name: str, place: int, value: int) -> Callable[[Path], None]:
    """Change a byte of every entry in the list of a zip: its flags or its method."""

    def change(source: Path) -> None:
        content = bytearray((source / name).read_bytes())
        for entry in re.finditer(b"PK\x01\x02", bytes(content)):
            content[entry.start() + place] = value
        (source / name).write_bytes(content)

    return change


def in_place(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something that is no file into the place of a file."""

    def change(source: Path) -> None:
        (source / name).unlink()
        make(source / name)

    return change


def huge_png() -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\r"
        + head
        + struct.pack(">I", zlib.crc32(head))
        + b"\0\0\0\x01IDAT"
    )


def tar_of_links(source: Path) -> None:
    with tarfile.open(source / cifar10.ARCHIVES[0], "w:gz") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
            link.type, link.linkname = kind, "/etc/hostname"
            tar.addfile(link)


class _Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BATCH = "cifar-10-batches-py/data_batch_2"
FIRST = "train/n00000000/images/n00000000_0.JPEG"
FILES = tinyimagenet_files()
BAD_Y = np.full(30, 11)

MISTAKES: dict[str, Mistake] = {
    "mnist: file missing": ("mnist", remove(IMAGES), f"{IMAGES}.gz or {IMAGES}"),
    "mnist: cut": ("mnist", cut(IMAGES), "truncated or altered"),
    "mnist: too long": ("mnist", write(LABELS, idx(classes(60)) + b"x"), "expected 60 for shape"),
    "mnist: no idx": ("mnist", write(IMAGES, b"no idx file"), "not an idx file"),
    "mnist: empty": ("mnist", write(IMAGES, b""), f"{IMAGES} is empty"),
    "mnist: type": ("mnist", write(IMAGES, b"\0\0\x0d\x03" + bytes(40)), "type code 0x0d"),
    "mnist: pixels": ("mnist", write(IMAGES, idx(pixels(60, 20, 20))), "expected (28, 28)"),
    "mnist: fewer labels": ("mnist", write(LABELS, idx(classes(59))), "59 labels for 60 images"),
    "mnist: label": ("mnist", write(LABELS, idx(classes(60) + 1)), "label 10 is outside 0..9"),
    "mnist: gzip": ("mnist", write(f"{IMAGES}.gz", b"\x1f\x8bno gzip"), "gz file"),
    "mnist: gzip cut": (
        "mnist",
        write(f"{IMAGES}.gz", gzip.compress(idx(pixels(60, 28, 28)))[:-9]),
        "damaged or truncated gz",
    ),
    "cifar10: batch missing": ("cifar10", remove(BATCH), "data_batch_2"),
    "cifar10: cut": ("cifar10", cut(BATCH, 100), "data_batch_2"),
    "cifar10: no pickle": ("cifar10", write(BATCH, b"nonsense"), "not a batch of CIFAR-10"),
    "cifar10: code in it": ("cifar10", write(BATCH, pickled(_Evil())), "which no batch needs"),
    "cifar10: no labels": ("cifar10", write(BATCH, pickled({"data": 1})), "no data and labels"),
    "cifar10: type": (
        "cifar10",
        write(BATCH, pickled({**batch(20), "data": np.zeros((20, 3072))})),
        "float64 (20, 3072), expected uint8",
    ),
    "cifar10: shape": (
        "cifar10",
        write(BATCH, pickled({**batch(20), "data": pixels(20, 1024)})),
        "expected uint8 (n, 3072)",
    ),
    "cifar10: label": (
        "cifar10",
        write(BATCH, pickled({**batch(20), "labels": [10] * 20})),
        "label 10 is outside",
    ),
    "cifar10: fewer labels": (
        "cifar10",
        write(BATCH, pickled({**batch(20), "labels": [1] * 19})),
        "expected integers (20,)",
    ),
    "mnist: folder": ("mnist", in_place(IMAGES, Path.mkdir), f"{IMAGES} is a folder"),
    "mnist: pipe": ("mnist", in_place(IMAGES, os.mkfifo), f"{IMAGES} is a pipe"),
    "mnist: dangling": (
        "mnist",
        in_place(IMAGES, lambda path: path.symlink_to("nowhere")),
        f"{IMAGES} is a link to nothing",
    ),
    "mnist: promises": (
        "mnist",
        write(IMAGES, b"\0\0\x08\x03" + b"\xff" * 12),
        "0 bytes of data, expected 79228162",
    ),
    "cifar10: unhashable": (
        "cifar10",
        write(BATCH, b"\x80\x02}(]U\x01au."),
        "not a batch of CIFAR-10 (unhashable",
    ),
    "cifar10: links": ("cifar10", tar_of_links, "no data_batch_1 could be read"),
    "cifar10: archive": ("cifar10", write("cifar-10-python.tar.gz", b"x"), "archive"),
    "cifar5m: part missing": ("cifar5m", remove("part3.npz"), "part3.npz or cifar5m_part3.npz"),
    "cifar5m: cut": ("cifar5m", cut("part2.npz", 3000), "part2.npz: damaged or truncated"),
    "cifar5m: no Y": ("cifar5m", npz("part1.npz", X=pixels(30, 32, 32, 3)), "no array Y"),
    "cifar5m: channels first": (
        "cifar5m",
        npz("part1.npz", X=pixels(30, 3, 32, 32), Y=classes(30)),
        "expected uint8 (n, 32, 32, 3)",
    ),
    "cifar5m: float": (
        "cifar5m",
        npz("part1.npz", X=np.zeros((30, 32, 32, 3)), Y=classes(30)),
        "X is float64",
    ),
    "cifar5m: fewer labels": (
        "cifar5m",
        npz("part1.npz", X=pixels(30, 32, 32, 3), Y=classes(29)),
        "expected integers (30,)",
    ),
    "cifar5m: float labels": (
        "cifar5m",
        npz("part1.npz", X=pixels(30, 32, 32, 3), Y=np.zeros(30)),
        "Y is float64",
    ),
    "cifar5m: label": (
        "cifar5m",
        npz("part4.npz", X=pixels(30, 32, 32, 3), Y=BAD_Y),
        "label 11 is outside",
    ),
    "cifar5m: encrypted": ("cifar5m", in_zip("part1.npz", 8, 1), "X.npy in it is encrypted"),
    "cifar5m: method": ("cifar5m", in_zip("part1.npz", 10, 12), "is packed by method 12"),
    "mnist1m: promises": (
        "mnist1m",
        promising("MNIST_labels_0.npy", 2**40),
        f"MNIST_labels_0.npy: ends {2**40} rows",
    ),
    "mnist1m: rows that are too long": (
        "mnist1m",
        promising("MNIST_labels_0.npy", 20, 2**40),
        "MNIST_labels_0.npy: ends 20 rows",
    ),
    "mnist1m: number": ("mnist1m", promising("MNIST_labels_0.npy"), "has shape (), expected rows"),
    "mnist1m: header": (
        "mnist1m",
        write("MNIST_labels_0.npy", b"\x93NUMPY\x02\0\xff\xff\xff\x7f" + bytes(20_000)),
        "MNIST_labels_0.npy: holds more than it can be",
    ),
    "tinyimagenet: encrypted": (
        "tinyimagenet",
        in_zip("tiny-imagenet-200.zip", 8, 1),
        "wnids.txt in it is encrypted",
    ),
    "tinyimagenet: another zip": (
        "tinyimagenet",
        lambda source: make_tinyimagenet(source, {"photo.JPEG": jpeg()}),
        "no wnids.txt in it",
    ),
    "tinyimagenet: folder as zip": (
        "tinyimagenet",
        in_place("tiny-imagenet-200.zip", Path.mkdir),
        "tiny-imagenet-200.zip is a folder",
    ),
    "tinyimagenet: bomb": ("tinyimagenet", zipped(**{FIRST: huge_png()}), "12000x12000 pixels"),
    "tinyimagenet: no training image": (
        "tinyimagenet",
        lambda source: make_tinyimagenet(source, without(FILES, "_boxes.txt", FIRST)),
        "no tiny-imagenet-200/train/n00000000/images/*.JPEG",
    ),
    "tinyimagenet: no annotations": (
        "tinyimagenet",
        zipped(**{"val/val_annotations.txt": None}),
        "no tiny-imagenet-200/val/val_annotations.txt",
    ),
    "tinyimagenet: val listed otherwise": (
        "tinyimagenet",
        lambda source: make_tinyimagenet(source, by_class(FILES, "val/n00000000/{file}")),
        "lies in the folder of n00000000, but val/val_annotations.txt gives it the class n000",
    ),
    "tinyimagenet: val not listed": (
        "tinyimagenet",
        zipped(**{"val/n00000000/val_99.JPEG": jpeg()}),
        "val/val_annotations.txt does not list it",
    ),
    "tinyimagenet: val missing": (
        "tinyimagenet",
        zipped(**{"val/images/val_3.JPEG": None}),
        "no tiny-imagenet-200/val/images/val_3.JPEG",
    ),
    "tinyimagenet: listed outside": (
        "tinyimagenet",
        zipped(**{"val/val_annotations.txt": b"../../../../etc/passwd\tn00000000\n"}),
        "no tiny-imagenet-200/val/images/passwd",
    ),
    "tinyimagenet: no zip": (
        "tinyimagenet",
        write("tiny-imagenet-200.zip", b"x"),
        "damaged or truncated zip",
    ),
    "tinyimagenet: zip cut": ("tinyimagenet", cut("tiny-imagenet-200.zip"), "zip file"),
    "tinyimagenet: classes": (
        "tinyimagenet",
        zipped(**{"wnids.txt": b"n1\nn2\n"}),
        "2 different classes, expected 200",
    ),
    "tinyimagenet: image missing": (
        "tinyimagenet",
        zipped(**{FIRST: None}),
        f"no tiny-imagenet-200/{FIRST}",
    ),
    "tinyimagenet: no image": ("tinyimagenet", zipped(**{FIRST: b"x"}), "not a readable image"),
    "tinyimagenet: image cut": (
        "tinyimagenet",
        zipped(**{FIRST: jpeg()[:300]}),
        "not a readable image",
    ),
    "tinyimagenet: size": (
        "tinyimagenet",
        zipped(**{FIRST: jpeg((32, 64))}),
        "32x64 pixels, expected 64x64",
    ),
    "tinyimagenet: unknown class": (
        "tinyimagenet",
        zipped(**{"val/val_annotations.txt": b"val_0.JPEG\tn99999999\t0\t0\t1\t1\n"}),
        "the class n99999999",
    ),
    "tinyimagenet: fields": (
        "tinyimagenet",
        zipped(**{"val/val_annotations.txt": b"val_0.JPEG n1\n"}),
        "line 1: 1 fields, expected 2",
    ),
    "cifar5m: altered": ("cifar5m", alter("part2.npz", 40_000), "part2.npz: damaged or truncated"),
    "cifar5m: altered beyond the test images": (
        "cifar5m",
        alter("part5.npz", 80_000),
        "part5.npz: damaged or truncated",
    ),
    "cifar5m: no zip": ("cifar5m", write("part1.npz", b"x"), "part1.npz: damaged or truncated"),
    "cifar5m: too long": (
        "cifar5m",
        lambda source: lengthened(source / "part3.npz"),
        "part3.npz: goes on after its last row of 30",
    ),
    "tinyimagenet: zip altered": (
        "tinyimagenet",
        alter("tiny-imagenet-200.zip", 60_000),
        "damaged or truncated file (Bad CRC-32",
    ),
    "tinyimagenet: nothing": ("tinyimagenet", remove("tiny-imagenet-200.zip"), "neither"),
    "mnist1m: altered": ("mnist1m", alter("MNIST_images_1.npz", 9000), "damaged or truncated"),
    "mnist1m: label": (
        "mnist1m",
        lambda source: np.save(source / "MNIST_labels_1.npy", classes(20, 11).astype(np.int64)),
        "MNIST_labels_1.npy: label 10 is outside 0..9",
    ),
    "mnist1m: float labels": (
        "mnist1m",
        lambda source: np.save(source / "MNIST_labels_1.npy", np.zeros(20)),
        "MNIST_labels_1.npy: labels are float64 (20,), expected integers (n,)",
    ),
    "mnist1m: one-hot labels": (
        "mnist1m",
        lambda source: np.save(source / "MNIST_labels_1.npy", np.eye(10, dtype=np.int64)),
        "labels are int64 (10, 10), expected integers (n,)",
    ),
    "mnist1m: labels cut": ("mnist1m", cut("MNIST_labels_0.npy"), "MNIST_labels_0.npy: ends"),
    "mnist1m: labels empty": ("mnist1m", write("MNIST_labels_0.npy", b""), "MNIST_labels_0.npy"),
    "mnist1m: type": (
        "mnist1m",
        npz("MNIST_images_0.npz", arr_0=np.zeros((20, 1, 28, 28), np.int32)),
        "images are int32",
    ),
    "cifar10: binary cut": (
        "cifar10",
        lambda source: (source / BATCH).rename(source / f"{BATCH}.bin").write_bytes(bytes(3072)),
        "data_batch_2.bin: 3072 bytes are not a whole number of images",
    ),
    "mnist1m: chunk missing": ("mnist1m", remove("MNIST_images_1.npz"), "MNIST_images_1.npz"),
    "mnist1m: labels missing": ("mnist1m", remove("MNIST_labels_1.npy"), "MNIST_labels_1.npz.npy"),
    "mnist1m: cut": ("mnist1m", cut("MNIST_images_0.npz", 3000), "damaged or truncated"),
    "mnist1m: shape": (
        "mnist1m",
        npz("MNIST_images_0.npz", arr_0=np.zeros((20, 28, 28), np.float32)),
        "expected float32 or uint8 (n, 1, 28, 28)",
    ),
    "mnist1m: scale": (
        "mnist1m",
        npz("MNIST_images_0.npz", arr_0=np.full((20, 1, 28, 28), 255, np.float32)),
        "float32 pixels 255..255",
    ),
    "mnist1m: not finite": (
        "mnist1m",
        npz("MNIST_images_0.npz", arr_0=np.full((20, 1, 28, 28), np.nan, np.float32)),
        "not finite",
    ),
    "mnist1m: more labels": (
        "mnist1m",
        lambda source: np.save(source / "MNIST_labels_0.npy", classes(21)),
        "21 labels for 20 images",
    ),
}


def prepare_small(name: str, source: Path, folder: Path, workplace: Path) -> None:
    if name == "mnist":
        mnist.prepare(source, folder, verify=False)
    elif name == "cifar10":
        cifar10.prepare(source, folder, verify=False)
    elif name == "mnist1m":
        mnist1m.prepare(source, folder, mnist=prepare_mnist(workplace / "test"), chunks=2)
    else:
        PREPARERS[name](source, folder)


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_file_is_named_and_leaves_nothing_behind(mistake: Mistake, tmp_path: Path) -> None:
    name, change, words = mistake
    make: dict[str, Callable[[Path], Path]] = {
        "mnist": make_mnist,
        "cifar10": make_cifar10,
        "cifar5m": make_cifar5m,
        "tinyimagenet": make_tinyimagenet,
        "mnist1m": make_mnist1m,
    }
    source = make[name](tmp_path / "source")
    change(source)
    folder = tmp_path / "prepared" / name
    with pytest.raises(DataError) as caught:
        prepare_small(name, source, folder, tmp_path)
    assert words in str(caught.value)
    assert str(source) in str(caught.value)
    assert not folder.exists()
    assert no_leftovers(folder.parent)


@pytest.mark.parametrize("archived", [False, True])
def test_no_pickle_is_loaded_before_its_checksum(
    archived: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "_Unpickler", None)
    source = make_cifar10(tmp_path / "source")
    if archived:
        with tarfile.open(source / cifar10.ARCHIVES[0], "w:gz") as tar:
            tar.add(source / cifar10.FOLDERS[0], cifar10.FOLDERS[0])
    with pytest.raises(DataError, match=r"data_batch_1: .* md5 .* but the published file has"):
        cifar10.prepare(source, tmp_path / "out")


def test_what_unpacks_without_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "_MOST", 10_000)
    monkeypatch.setattr(cifar10, "_ARCHIVE_BYTES", 10_000)
    monkeypatch.setattr(tinyimagenet, "_MOST", 1000)
    monkeypatch.setattr(cifar5m, "_MOST", 20)
    monkeypatch.setattr(mnist1m, "_MOST", 10)
    archive = tmp_path / "cifar10" / cifar10.ARCHIVES[0]
    archive.parent.mkdir()
    archive.write_bytes(gzip.compress(b"x" + bytes(100_000)))
    for make, words in (
        (make_mnist, "train-images-idx3-ubyte: holds more"),
        (make_cifar10, "tar.gz: (holds more|damaged)"),
        (make_cifar5m, "part0.npz: promises 30 images"),
        (make_tinyimagenet, "wnids.txt: would have 1999 bytes"),
        (make_mnist1m, "MNIST_images_0.npz: promises 20 images"),
    ):
        name = make.__name__.removeprefix("make_")
        source = make(tmp_path / name)
        if name == "mnist1m":
            monkeypatch.setattr(mnist, "_MOST", 10**6)
        with pytest.raises(DataError, match=words):
            prepare_small(name, source, tmp_path / "out", tmp_path)


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    source = make_mnist(tmp_path / "source")
    with pytest.raises(DataError, match="is no prepared data; write to another folder"):
        mnist.prepare(source, source, verify=False)
    assert len(list(source.iterdir())) == 4


def test_shards_outside_of_their_folder_are_not_read(tmp_path: Path) -> None:
    manifest = prepare_mnist(tmp_path)
    name = "train-0000.images.npy"
    (tmp_path / name).write_bytes((manifest.parent / name).read_bytes())
    manifest.write_text(manifest.read_text().replace(f'"{name}"', f'"../{name}"'))
    with pytest.raises(DataError, match=r"outside of its folder|another digest|altered"):
        read_prepared(manifest, "mnist")


def test_altered_published_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"md5 .* but the published file has"):
        mnist.prepare(make_mnist(tmp_path / "mnist"), tmp_path / "out")
    with pytest.raises(DataError, match=r"data_batch_1: .* md5 .* but the published file has"):
        cifar10.prepare(make_cifar10(tmp_path / "cifar10"), tmp_path / "out")


def test_altered_binary_batches_are_refused_and_their_order_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "_IMAGES", 20)
    source = make_cifar10(tmp_path / "source", binary=True)
    inside = source / cifar10.FOLDERS[True]
    for name in ("data_batch_3.bin", "data_batch_5.bin"):
        (inside / name).write_bytes((inside / "data_batch_1.bin").read_bytes())
    published = {}
    for split, names in cifar10.BATCHES.items():
        rows = [
            row
            for name in names
            for row in cifar10._row_digests((inside / f"{name}.bin").read_bytes())
        ]
        published[split] = hashlib.sha256(b"".join(sorted(rows))).hexdigest()
    monkeypatch.setattr(cifar10, "PUBLISHED_CONTENT", published)
    one, other = inside / "data_batch_1.bin", inside / "data_batch_2.bin"
    moved = one.read_bytes(), other.read_bytes()
    one.write_bytes(moved[1])
    other.write_bytes(moved[0])
    cifar10.prepare(source, tmp_path / "out")
    alter("data_batch_4.bin", 5000)(inside)
    with pytest.raises(DataError, match=r"data_batch_4\.bin.* was altered") as caught:
        cifar10.prepare(source, tmp_path / "again")
    assert str(inside) in str(caught.value)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar5m", "tinyimagenet"])
def test_a_missing_folder_is_named_with_its_key(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"config/config\.yaml under data: {name}:"):
        PREPARERS[name](tmp_path / "nowhere", tmp_path / "out")


def test_an_interrupted_preparation_leaves_the_older_one(tmp_path: Path) -> None:
    def write_some(n: int, interrupt: bool) -> None:
        with Writer(tmp_path / "x", "x", (1, 2, 2), 3, shard_bytes=16) as writer:
            writer.add("train", pixels(n, 1, 2, 2), classes(n, 3))
            if interrupt:
                raise KeyboardInterrupt

    write_some(9, False)
    with pytest.raises(KeyboardInterrupt):
        write_some(5, True)
    kept = read_prepared(tmp_path / "x/manifest.json", "x")
    assert [shard.samples for shard in kept.train] == [4, 4, 1]
    write_some(5, False)
    assert no_leftovers(tmp_path)
    assert (
        sum(shard.samples for shard in read_prepared(tmp_path / "x/manifest.json", "x").train) == 5
    )


def test_a_killed_preparation_leaves_nothing_half_made(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with Writer(tmp_path / "x", "x", (1, 2, 2), 3, shard_bytes=16) as writer:
            writer.add("train", pixels(9, 1, 2, 2), classes(9, 3))
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not (tmp_path / "x").exists()
    with Writer(tmp_path / "x", "x", (1, 2, 2), 3) as writer:
        writer.add("train", pixels(5, 1, 2, 2), classes(5, 3))
    assert no_leftovers(tmp_path)
    assert read_prepared(tmp_path / "x/manifest.json", "x").train[0].samples == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no prepared mnist data"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "not a manifest"),
        (lambda folder: (folder / "manifest.json").write_text('{"train": 1}'), "not a manifest"),
        (lambda folder: (folder / "train-0000.images.npy").unlink(), "missing"),
        (lambda folder: (folder / "train-0000.images.npy").write_bytes(b"x"), "1 bytes, expected"),
        (
            lambda folder: (folder / "train-0000.labels.npy").write_bytes(
                b"\1" * (folder / "train-0000.labels.npy").stat().st_size
            ),
            "altered",
        ),
    ],
)
def test_damaged_prepared_data_are_named_with_the_way_out(
    change: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    manifest = prepare_mnist(tmp_path)
    change(manifest.parent)
    with pytest.raises(DataError, match=words) as caught:
        read_prepared(manifest, "mnist")
    assert str(manifest.parent) in str(caught.value)
    assert "snakemake results/data/mnist/manifest.json" in str(caught.value)


def test_digits_that_another_generator_made_are_refused(tmp_path: Path) -> None:
    source, test = make_mnist1m(tmp_path / "source"), prepare_mnist(tmp_path)
    deform = {"kind": "deform", "seed": 0}
    for name, generator in (("files", None), ("deform", deform)):
        mnist1m.prepare(source, tmp_path / name, mnist=test, chunks=2, generator=generator)

    def load(name: str, generator: dict[str, Any] | None) -> None:
        options = {"kind": "mnist1m", "generator": generator}
        load_dataset(options, tmp_path / name / "manifest.json", torch.device("cpu"))

    load("files", None)
    load("deform", deform)
    # An option that came later, with the default that means what was done before.
    load("deform", {**deform, "blur": 0.0})
    for name, generator in (
        ("files", deform),
        ("deform", None),
        ("deform", {**deform, "seed": 1}),
        ("deform", {**deform, "kind": "diffusion"}),
    ):
        with pytest.raises(DataError, match="make it again") as caught:
            load(name, generator)
        assert str(tmp_path / name) in str(caught.value)


def test_prepared_data_of_another_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds mnist, expected cifar10"):
        read_prepared(prepare_mnist(tmp_path), "cifar10")


REAL = Path(os.environ.get("GAMMASCAPE_DATA", "no-such-folder"))
real = pytest.mark.skipif(
    not REAL.is_dir(), reason="GAMMASCAPE_DATA names no folder with real data"
)


@real
def test_real_mnist_cifar10_and_tinyimagenet_are_read(tmp_path: Path) -> None:
    for name in ("mnist", "cifar10", "tinyimagenet"):
        PREPARERS[name](REAL / name, tmp_path / name)
    _, labels = arrays(read_prepared(tmp_path / "mnist/manifest.json", "mnist"))
    assert np.bincount(labels).tolist()[:3] == [5923, 6742, 5958]
    images, labels = arrays(read_prepared(tmp_path / "cifar10/manifest.json", "cifar10"))
    assert np.bincount(labels).tolist() == [5000] * 10
    # The mean of the red channel as it is known, to its four published digits.
    assert images[:, 0].mean() / 255 == pytest.approx(0.4914, abs=5e-5)
    images, labels = arrays(read_prepared(tmp_path / "tinyimagenet/manifest.json", "tinyimagenet"))
    assert images.shape[1:] == (3, 64, 64)
    assert len(np.unique(labels)) == 200


def test_an_image_of_any_mode_is_read_as_rgb(tmp_path: Path) -> None:
    content = io.BytesIO(jpeg(mode="L")).getvalue()
    source = make_tinyimagenet(tmp_path / "source", {**tinyimagenet_files(), FIRST: content})
    tinyimagenet.prepare(source, tmp_path / "out")
    images, _ = arrays(read_prepared(tmp_path / "out/manifest.json", "tinyimagenet"))
    assert np.array_equal(images[0, 0], images[0, 2])
