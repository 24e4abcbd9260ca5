"""Datasets and online streams. A new dataset is one module and one line in DATASETS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gammascape.data import digits, images, teacher
from gammascape.data.dataset import PROBE_SIZE, Dataset
from gammascape.data.prepared import DataError

DATASETS: dict[str, Callable[[dict[str, Any], Path | None, torch.device], Dataset]] = {
    "digits": digits.load,
    "teacher": teacher.load,
    **dict.fromkeys(images.LAWS, images.load),
}


def load_dataset(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Load the dataset of a cell's record: `options` with its kind and all options, `source` the manifest
    of its prepared data.

    Raises:
        DataError: if the prepared data are missing or damaged.
    """
    return DATASETS[options["kind"]](options, source, device)


__all__ = ["DATASETS", "PROBE_SIZE", "DataError", "Dataset", "load_dataset"]
