"""Architectures in mu-P. A new one is a module with `build` and one line in MODELS."""

import json
from collections.abc import Callable
from typing import Any

from torch import Tensor

from gammascape.models import cnn, mlp, resnet, vit
from gammascape.models.model import Hidden, Model, Parameters, initial_parameters
from gammascape.models.own import factory

MODELS: dict[str, Callable[[dict[str, Any], tuple[int, ...], int], Model]] = {
    "mlp": mlp.build,
    "cnn": cnn.build,
    "resnet": resnet.build,
    "vit": vit.build,
}


def build_model(
    options: dict[str, Any],
    input_shape: tuple[int, ...],
    outputs: int,
    example: Tensor | None = None,
) -> Model:
    """Build the model of a cell's record: `options` with its kind and all options.

    Equal arguments return the same object, so that each process compiles a model only once.
    `example` holds some inputs `(n, *input_shape)`, on which a user's own network is tried first.

    Raises:
        UserCodeError: if a user's own network cannot be built or trained.
    """
    key = json.dumps(options, sort_keys=True), tuple(input_shape), outputs
    if key not in _BUILT:
        if options["kind"] == "factory":
            _BUILT[key] = factory.build(options, tuple(input_shape), outputs, example)
        else:
            _BUILT[key] = MODELS[options["kind"]](options, tuple(input_shape), outputs)
    return _BUILT[key]


_BUILT: dict[tuple[str, tuple[int, ...], int], Model] = {}


__all__ = ["MODELS", "Hidden", "Model", "Parameters", "build_model", "initial_parameters"]
