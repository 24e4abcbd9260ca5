"""8x8 digits shipped with scikit-learn."""

from pathlib import Path

import numpy as np

from gammascape.data.writer import Writer


def prepare(source: Path | None, folder: Path) -> None:
    """Write all 1,797 images, values 0..16, as one split; the reader chooses the held-out images."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    notes = (
        "UCI Optical recognition of handwritten digits, test part, as in scikit-learn; values 0..16"
    )
    with Writer(folder, "digits", (1, 8, 8), 10, notes=notes) as writer:
        writer.add("train", bunch.images.astype(np.uint8)[:, None], bunch.target)
