"""Architectures in mu-P. A new one is a module with `build` and one line in MODELS."""

from collections.abc import Callable
from typing import Any

from gammascape.models import cnn, mlp, resnet, vit
from gammascape.models.model import Hidden, Model, Parameter, Parameters, initial_parameters

MODELS: dict[str, Callable[[dict[str, Any], tuple[int, ...], int], Model]] = {
    "mlp": mlp.build,
    "cnn": cnn.build,
    "resnet": resnet.build,
    "vit": vit.build,
}


def build_model(options: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Model:
    """Build the model of a cell's record: `options` with its kind and all options."""
    return MODELS[options["kind"]](options, input_shape, outputs)


__all__ = [
    "MODELS",
    "Hidden",
    "Model",
    "Parameter",
    "Parameters",
    "build_model",
    "initial_parameters",
]
