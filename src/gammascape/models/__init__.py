"""Architectures in mu-P. A new one is a module with `build` and one line in MODELS."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from gammascape.models import cnn, mlp, resnet, vit
from gammascape.models.model import (
    Descend,
    Hidden,
    Model,
    Parameter,
    Parameters,
    initial_parameters,
)

MODELS: dict[str, Callable[[dict[str, Any], tuple[int, ...], int], Model]] = {
    "mlp": mlp.build,
    "cnn": cnn.build,
    "resnet": resnet.build,
    "vit": vit.build,
}


def build_model(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """Build the model of a cell's record: `options` with its kind and all options.

    Equal arguments return the same object, so that what is compiled for a model is compiled once for each process.
    """
    return _build(json.dumps(options, sort_keys=True), tuple(input_shape), outputs)


@cache
def _build(options: str, input_shape: tuple[int, ...], outputs: int) -> Model:
    record = json.loads(options)
    return MODELS[record["kind"]](record, input_shape, outputs)


__all__ = [
    "MODELS",
    "Descend",
    "Hidden",
    "Model",
    "Parameter",
    "Parameters",
    "build_model",
    "initial_parameters",
]
