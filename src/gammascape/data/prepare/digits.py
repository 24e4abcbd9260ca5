"""8x8 digits shipped with scikit-learn."""

from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from gammascape.data.writer import Writer

_FILE = "sklearn/datasets/data/digits.csv.gz"
"""File behind `load_digits`; importing scikit-learn for it would take most of the time."""


def prepare(source: Path | None, folder: Path) -> None:
    """Write all 1,797 images, values 0..16, as one split; the reader chooses the held-out images."""
    path = distribution("scikit-learn").locate_file(_FILE)
    *pixels, labels = np.loadtxt(str(path), delimiter=",").T
    images = np.stack(pixels, 1).reshape(-1, 1, 8, 8).astype(np.uint8)
    notes = (
        "UCI Optical recognition of handwritten digits, test part, as in scikit-learn; values 0..16"
    )
    with Writer(folder, "digits", (1, 8, 8), 10, notes=notes) as writer:
        writer.add("train", images, labels.astype(int))
