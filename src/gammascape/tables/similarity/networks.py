"""Trained networks on the probe set, at equal steps and at equal loss, as vectors that can be compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gammascape.tables.cells import open_arrays, read_summary
from gammascape.tables.similarity.cka import pair_vector, unpack_triangle
from gammascape.tables.statistics.fits import Floats


class Condition(NamedTuple):
    """Condition under which networks are compared."""

    at: Literal["steps", "loss"]
    level: float | None = None
    """Share of the loss of f = 0 at equal loss."""


AT_STEPS = Condition("steps")


@dataclass(frozen=True)
class Network:
    """One network under one condition."""

    model: str
    kind: str
    """Architecture; each factory of a user is a kind of its own."""
    gamma: float
    """log10."""
    seed: tuple[int, int]
    """seed and data_seed."""
    relative_loss: float | None
    """Probe loss over the loss of f = 0; not measured at the end of a run."""
    layers: tuple[str, ...]
    """Hidden layers, the first to the last."""
    grams: Mapping[str, Floats]
    """Layer -> `cka.pair_vector` of its Gram matrix, without layers that do not vary."""
    outputs: Floats
    """(P, O) centred f."""
    data: str = ""
    """Digest of the data: networks of different data saw different probes."""

    @property
    def probes(self) -> int:
        """P."""
        return len(self.outputs)

    @property
    def line(self) -> tuple[str, int, int]:
        """Networks that differ in gamma alone: they have one initialization and one order of data."""
        return (self.model, *self.seed)


def common_classes(networks: Sequence[Network]) -> tuple[int, ...] | None:
    """The class of each probe that networks together answer, as artifacts hold no labels; None with one output."""
    sizes = [float(np.linalg.norm(network.outputs)) for network in networks]
    known = [n.outputs / size for n, size in zip(networks, sizes, strict=True) if size > 0]
    if not known or known[0].shape[1] < 2:
        return None
    return tuple(np.sum(known, axis=0).argmax(1).tolist())


def conditions(folders: Iterable[Path]) -> list[Condition]:
    """Equal steps, and equal loss at each level that one of the cells has reached, the largest first."""
    levels = {
        item["level"] for folder in folders for item in read_summary(folder).get("equal_loss", ())
    }
    return [AT_STEPS, *(Condition("loss", level) for level in sorted(levels, reverse=True))]


def read_network(folder: Path, row: Mapping[str, Any], condition: Condition) -> Network | None:
    """A cell under a condition; None where it has not reached the level or was not finite.

    Args:
        folder: the cell's artifact.
        row: of the thresholds table, for the study's name of the model, gamma and seeds.
        condition: when the network is taken.
    """
    summary = read_summary(folder)
    prefix, relative_loss = "", None
    if condition.at == "loss":
        reached = {item["level"]: item for item in summary.get("equal_loss", ())}
        if condition.level not in reached:
            return None
        prefix = f"equal.{condition.level}."
        relative_loss = reached[condition.level]["relative_loss"]
    with open_arrays(folder) as arrays:
        if f"{prefix}probe_outputs" not in arrays:
            return None
        outputs = _centred(arrays[f"{prefix}probe_outputs"], summary["cell"]["loss"])
        layers = tuple(summary["hidden_layers"])
        triangles = {name: arrays[f"{prefix}gram.{name}"] for name in layers}
    vectors = {
        layer: pair_vector(unpack_triangle(triangle))
        for layer, triangle in triangles.items()
        if np.isfinite(triangle).all()
    }
    kind = summary["cell"]["model"]["kind"]
    return Network(
        model=row["model"],
        kind=row["model"] if kind == "factory" else kind,
        gamma=row["gamma_log10"],
        seed=(row["seed"], row["data_seed"]),
        relative_loss=relative_loss,
        layers=layers,
        grams={layer: vector for layer, vector in vectors.items() if np.isfinite(vector).all()},
        outputs=outputs,
        data=summary["data"]["digest"],
    )


def _centred(outputs: NDArray[np.floating], loss: str) -> Floats:
    """Outputs without their mean over probes.

    Under cross-entropy a number that is added to all outputs of a probe changes nothing, and is taken out too.
    """
    values = outputs.astype(np.float64)
    if loss == "xent":
        values = values - values.mean(1, keepdims=True)
    centred: Floats = values - values.mean(0)
    return centred
