"""Critical eta before training, against the observable of a run."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import build_model
from gammascape.training.critical import critical_etas
from gammascape.training.engine import Run, Training
from gammascape.training.pack import make_pack

CPU = torch.device("cpu")


def test_it_is_that_of_the_sharpness_at_step_0(
    record: Callable[..., dict[str, Any]], digits: Dataset
) -> None:
    records = [
        record(gamma=gamma, seed=seed, dtype=dtype, steps=10, observables=["sharpness"])
        for gamma, dtype in (("-3", "float32-difference"), ("0", "float32"), ("2", "float32"))
        for seed in (0, 1)
    ]
    found = critical_etas(records, digits, CPU)
    model = build_model(records[0]["model"], digits.input_shape, digits.outputs)
    for one, eta in zip(records, found, strict=True):
        training = Training(make_pack([one]), digits, model, CPU)
        ended: list[tuple[int, Run]] = []
        while not ended:
            ended = training.advance()
        ((_, run),) = ended
        sharpness = run.observations[0]["sharpness"]
        assert eta == pytest.approx(math.log10(2 / (model.base_width * sharpness)), abs=1e-4)
    # The curvature goes as gamma^-2 where gamma is small.
    assert found[2] - found[0] > 4
