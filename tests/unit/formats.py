"""Small files in the formats that datasets are published in, the same in any order of tests."""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gammascape.data.prepare import cifar10, mnist

RNG = np.random.default_rng(0)
START = RNG.bit_generator.state


def pixels(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def classes(n: int, count: int = 10) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (np.arange(n) % count).astype(np.uint8)


def idx(array: np.ndarray[Any, Any]) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def make_mnist(folder: Path, train: int = 60, test: int = 20) -> Path:
    RNG.bit_generator.state = START
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, n in (("train", train), ("t10k", test)):
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(pixels(n, 28, 28)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(classes(n)))
    return folder


def prepare_mnist(folder: Path, train: int = 60, test: int = 20) -> Path:
    """The manifest of prepared images like MNIST's."""
    source = make_mnist(folder / "source", train, test)
    mnist.prepare(source, folder / "mnist", verify=False)
    return folder / "mnist" / "manifest.json"


def batch(n: int) -> dict[str, Any]:
    return {"data": pixels(n, 3072), "labels": classes(n).tolist(), "batch_label": "a batch"}


def make_cifar10(folder: Path, n: int = 20, *, binary: bool = False) -> Path:
    RNG.bit_generator.state = START
    inside = folder / cifar10.FOLDERS[binary]
    inside.mkdir(parents=True, exist_ok=True)
    for names in cifar10.BATCHES.values():
        for name in names:
            content = batch(n)
            if binary:
                rows = np.concatenate([classes(n)[:, None], content["data"]], axis=1)
                (inside / f"{name}.bin").write_bytes(rows.tobytes())
            else:
                (inside / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def make_cifar5m(folder: Path, n: int = 30, name: str = "part{}.npz") -> Path:
    RNG.bit_generator.state = START
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(6):
        y = classes(n).astype(np.int64)
        np.savez(folder / name.format(part), X=pixels(n, 32, 32, 3), Y=y)
    return folder


def make_mnist1m(folder: Path, chunks: int = 2, n: int = 20, labels: str = ".npy") -> Path:
    RNG.bit_generator.state = START
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(chunks):
        images = RNG.normal(0.2, 0.4, (n, 1, 28, 28)).astype(np.float32)
        np.savez(folder / f"MNIST_images_{number}.npz", images)
        path = folder / f"MNIST_labels_{number}{labels}"
        with path.open("wb") as file:
            if labels == ".npz":
                np.savez(file, classes(n).astype(np.int64))
            else:
                np.save(file, classes(n).astype(np.int64))
    return folder


def jpeg(shape: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    channels = () if mode == "L" else (3,)
    buffer = io.BytesIO()
    Image.fromarray(pixels(shape[1], shape[0], *channels), mode).save(buffer, "JPEG")
    return buffer.getvalue()


def tinyimagenet_files(per_class: int = 1, count: int = 200) -> dict[str, bytes]:
    """Content of the published zip by name below its root, with few images."""
    ids = [f"n{(7919 * k) % 100000:08d}" for k in range(count)]
    files = {
        "wnids.txt": "\n".join(ids).encode(),
        "words.txt": "".join(f"{name}\tthing {k}\n" for k, name in enumerate(ids)).encode(),
    }
    colours, grey = [jpeg() for _ in range(per_class)], jpeg(mode="L")
    for k, name in enumerate(ids):
        names = [f"{name}_{j}.JPEG" for j in range(per_class)]
        boxes = "".join(f"{file}\t0\t0\t63\t63\n" for file in names)
        files[f"train/{name}/{name}_boxes.txt"] = boxes.encode()
        for file, colour in zip(names, colours, strict=True):
            files[f"train/{name}/images/{file}"] = grey if k == 3 else colour
    rows = "".join(f"val_{k}.JPEG\t{ids[5 * k % count]}\t0\t0\t63\t63\n" for k in range(12))
    files["val/val_annotations.txt"] = rows.encode()
    for k in range(12):
        files[f"val/images/val_{k}.JPEG"] = colours[0]
    return files


def make_tinyimagenet(
    folder: Path, files: dict[str, bytes] | None = None, top: str = "tiny-imagenet-200/"
) -> Path:
    RNG.bit_generator.state = START
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
        for name, content in (files or tinyimagenet_files()).items():
            archive.writestr(top + name, content)
    return folder
