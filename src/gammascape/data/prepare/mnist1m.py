"""MNIST-1M: ten chunks of 100,000 generated digits, as the code of Atanasov et al. (arXiv 2410.04642) names them.

That set is not public; `python -m gammascape.generate` makes chunks of the same kind. Images for testing are
those of MNIST. Pixels are clipped to 0..1 and rounded to 1/255.
"""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gammascape.data.prepare.cifar5m import npz_members
from gammascape.data.prepare.sources import existing_folder, find, naming
from gammascape.data.prepared import Bytes, DataError, RowReader, Writer, read_prepared

CHUNKS = 10
SHAPE = (1, 28, 28)
_ROWS = 20_000


def prepare(source: Path | None, folder: Path, *, mnist: Path, chunks: int = CHUNKS) -> None:
    """Write the chunks for training and the test images of prepared MNIST, whose manifest is `mnist`.

    Raises:
        DataError: if a chunk is missing, damaged, or holds something else.
    """
    source = existing_folder(
        source, "mnist1m", "MNIST_images_0.npz .. MNIST_images_9.npz with their labels"
    )
    paths = [_chunk(source, number) for number in range(chunks)]
    test = read_prepared(mnist, "mnist").test
    notes = "pixels clipped to 0..1 and rounded to 1/255; tested on MNIST"
    with Writer(folder, "mnist1m", SHAPE, 10, notes=notes) as writer:
        for images_path, labels_path in paths:
            with naming(labels_path):
                labels = _labels(labels_path)
            begun = 0
            with naming(images_path), closing(_images(images_path)) as pieces:
                for images in pieces:
                    writer.add("train", _bytes(images), labels[begun : begun + len(images)])
                    begun += len(images)
            if begun != len(labels):
                raise DataError(
                    f"{labels_path}: {len(labels)} labels for {begun} images in {images_path.name}"
                )
            for path in dict.fromkeys((images_path, labels_path)):
                writer.source(path)
        for shard in test:
            writer.add("test", shard.images, shard.labels)


def _chunk(source: Path, number: int) -> tuple[Path, Path]:
    """Images and labels of one chunk, which may be one file."""
    made = source / f"chunk_{number}.npz"
    if made.is_file():
        return made, made
    images = find(source, [f"MNIST_images_{number}.npz", f"MNIST_images_{number}.npy", made.name])
    # The published writer gives labels a name that ends in .npz, to which numpy adds .npy; its reader wants .npy.
    stem = f"MNIST_labels_{number}"
    return images, find(source, [f"{stem}.npy", f"{stem}.npz.npy", f"{stem}.npz"])


def _images(path: Path) -> Generator[NDArray[np.generic]]:
    if path.suffix == ".npy":
        with path.open("rb") as file:
            yield from _checked(RowReader(file))
        return
    key = "images" if path.name.startswith("chunk_") else "arr_0"
    with npz_members(path, (key,)) as (reader,):
        yield from _checked(reader)


def _checked(reader: RowReader) -> Generator[NDArray[np.generic]]:
    fits = reader.shape[1:] == SHAPE and reader.dtype in (np.uint8, np.float32, np.float64)
    if not fits:
        raise ValueError(
            f"images are {reader.dtype} {reader.shape}, expected float32 or uint8 (n, 1, 28, 28)"
        )
    yield from reader.rows(_ROWS)


def _labels(path: Path) -> NDArray[np.generic]:
    if path.suffix == ".npy":
        loaded: NDArray[np.generic] = np.load(path, allow_pickle=False)
        return loaded
    key = "labels" if path.name.startswith("chunk_") else "arr_0"
    with npz_members(path, (key,)) as (reader,):
        return np.concatenate(list(reader.rows(1_000_000)))


def _bytes(images: NDArray[np.generic]) -> Bytes:
    if images.dtype == np.uint8:
        return images.view(np.uint8)
    values = images.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("holds pixels that are not finite")
    if np.abs(values).max() > 16:
        raise ValueError(f"holds a pixel of {np.abs(values).max():.0f}; expected about 0..1")
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
