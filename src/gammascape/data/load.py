"""All datasets by kind. To add one, write a module and a line in DATASETS."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gammascape.data import digits, factory, images, teacher
from gammascape.data.augment import mixup
from gammascape.data.dataset import Batches, Dataset

DATASETS: dict[str, Callable[[dict[str, Any], Path | None, torch.device], Dataset]] = {
    "digits": digits.load,
    "teacher": teacher.load,
    "factory": factory.load,
    **dict.fromkeys((*images.LAWS, "folder", "arrays", "table"), images.load),
}


def load_dataset(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Load the dataset of a cell's record; `options` holds its kind and all options, `source` is the manifest
    of its prepared data.

    Raises:
        DataError: if prepared data are missing or damaged, or a user's own data do not match the study.
        UserCodeError: if a user's own code for data fails.
    """
    dataset = DATASETS[options["kind"]](options, source, device)
    alpha = float(options.get("mixup", 0.0))
    return dataset if alpha == 0 else _mixed(dataset, alpha)


def _mixed(dataset: Dataset, alpha: float) -> Dataset:
    def batches(data_seed: int, first_step: int, count: int, batch_size: int) -> Batches:
        x, y = dataset.batches(data_seed, first_step, count, batch_size)
        steps = torch.arange(first_step, first_step + count, device=x.device)
        return mixup(x, y, steps, data_seed, alpha)

    return replace(dataset, batches=batches)
