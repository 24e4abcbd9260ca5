"""CIFAR-5M (Nakkiran, Neyshabur, Sedghi, arXiv 2010.08127) from its six npz parts, converted piece by piece."""

from pathlib import Path

import numpy as np

from gammascape.data.prepare.arrays import open_arrays_file
from gammascape.data.prepare.cifar10 import CLASSES, SHAPE
from gammascape.data.prepare.sources import existing_folder, find, naming
from gammascape.data.writer import Writer

PARTS = 6
TEST_SAMPLES = 10_000
"""Images of the last part used for testing; parts 0 to 4 are for training, as in the authors' split."""
_MOST = 1_000_448
"""Images in a published part; a part that declares more is refused before it is unpacked."""
_ROWS = 20_000
"""Images in memory at once: 61 MB."""


def prepare(source: Path | None, folder: Path) -> None:
    """Write parts 0 to 4 for training and the first 10,000 images of part 5 for testing, channels first.

    A part is read from start to end, so memory stays bounded whatever its size.

    Raises:
        DataError: if a part is missing or damaged, or holds something else.
    """
    what = "the six files part0.npz .. part5.npz of CIFAR-5M"
    source = existing_folder(source, "cifar5m", what)
    paths = [find(source, [f"part{k}.npz", f"cifar5m_part{k}.npz"]) for k in range(PARTS)]
    notes = "parts 0-4 for training, the first 10,000 images of part 5 for testing"
    with Writer(folder, "cifar5m", SHAPE, 10, class_names=CLASSES, notes=notes) as writer:
        for number, path in enumerate(paths):
            print(f"{path.name}", flush=True)
            with naming(path), open_arrays_file(path, "X", "Y") as (pixels, classes):
                if pixels.dtype != np.uint8 or pixels.shape[1:] != (32, 32, 3):
                    raise ValueError(
                        f"X is {pixels.dtype} {pixels.shape}, expected uint8 (n, 32, 32, 3)"
                    )
                if classes.dtype.kind not in "iu" or classes.shape != pixels.shape[:1]:
                    raise ValueError(
                        f"Y is {classes.dtype} {classes.shape}, expected integers ({pixels.shape[0]},)"
                    )
                if pixels.shape[0] > _MOST:
                    raise ValueError(f"promises {pixels.shape[0]} images; a part has {_MOST}")
                test = number == PARTS - 1
                left = TEST_SAMPLES if test else pixels.shape[0]
                pieces = zip(pixels.rows(_ROWS), classes.rows(_ROWS), strict=True)
                # The last part is read in full too, since its checksum is compared at its end.
                for images, labels in pieces:
                    channels_first = images[:left].transpose(0, 3, 1, 2)
                    writer.add("test" if test else "train", channels_first, labels[:left])
                    left -= len(channels_first)
            writer.source(path)
