"""The operations that are counted from the sizes of a network are those that torch makes."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gammascape.models import build_model
from gammascape.study import ModelSpec
from gammascape.study.keys.models import CnnSpec, MlpSpec, ResnetSpec, VitSpec
from gammascape.study.operations import operations

BATCH = 3
NETWORKS: list[tuple[ModelSpec, tuple[int, ...]]] = [
    (MlpSpec(kind="mlp", depth=4, width=12), (1, 8, 8)),
    (MlpSpec(kind="mlp", depth=2, width=12), (16,)),
    (CnnSpec(kind="cnn", width=3), (3, 17, 14)),
    (CnnSpec(kind="cnn", width=3, padding=1), (1, 8, 8)),
    (ResnetSpec(kind="resnet", width=4, blocks=(2, 1, 1)), (3, 9, 10)),
    (VitSpec(kind="vit", width=12, blocks=2, heads=3, patch=4, mlp_ratio=3), (3, 8, 12)),
]


@pytest.mark.parametrize(
    ("spec", "shape"), NETWORKS, ids=lambda value: getattr(value, "kind", None)
)
def test_a_networks_operations_are_those_that_torch_counts(
    spec: ModelSpec, shape: tuple[int, ...]
) -> None:
    options: dict[str, Any] = spec.model_dump(mode="json")
    model = build_model(options, shape, 10)
    parameters = {p.name: torch.randn(1, *p.shape, requires_grad=True) for p in model.parameters}
    counted = operations(spec, shape, 10)
    assert counted is not None
    with FlopCounterMode(display=False) as forward:
        output = model.forward(parameters, torch.randn(BATCH, *shape), None)
    assert forward.get_total_flops() == 2 * BATCH * counted.forward
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    both = forward.get_total_flops() + backward.get_total_flops()
    assert both == BATCH * counted.training
