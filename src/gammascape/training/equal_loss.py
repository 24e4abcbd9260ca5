"""Networks at equal loss: snapshots of a lane when its loss on the probe set first falls to a fixed level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gammascape.data.dataset import Dataset
from gammascape.measure.kernels import gram
from gammascape.measure.representations import pack_triangle
from gammascape.models import Hidden
from gammascape.runs.history import Floats
from gammascape.training.exact import each_lane
from gammascape.training.lanes import Lanes
from gammascape.training.losses import lane_losses, zero_losses

NAME = "equal_loss"
LEVELS = (0.8, 0.5, 0.3, 0.15, 0.08)
"""Levels as shares of the loss of f = 0, largest first.

The best constant answer to ten equally frequent classes has the share 0.9 under MSE and 1 under cross-entropy; all
levels are lower."""

_PER_DECADE = 24
"""Checks of the loss per decade of steps: a crossing is detected at most a tenth of its steps late."""


@dataclass(frozen=True)
class LossSnapshot:
    """Lane at the first check at which its probe loss was at most `level` times the loss of f = 0."""

    level: float
    step: int
    """Number of updates before the check."""
    relative_loss: float
    """Probe loss over the loss of f = 0; below the level by up to the decrease since the previous check."""
    probe_outputs: Floats
    """(P, O) outputs f on the probe set, float32."""
    grams: Mapping[str, Floats]
    """Hidden layer -> packed upper triangle of its centred Gram matrix on the probe set, float32."""


def watch_steps(steps: int) -> list[int]:
    """Numbers of updates after which the loss is checked: 24 for each decade, and the last.

    All but the last are the same for runs of any length.
    """
    decades = np.log10(max(1, steps))
    grid = 10 ** (np.arange(int(_PER_DECADE * decades) + 1) / _PER_DECADE)
    return sorted({*(int(s) for s in np.round(grid) if s <= steps), steps} - {0})


class Watch:
    """Checks of the probe loss of the lanes of one pack. A snapshot is a function of its lane alone."""

    def __init__(self, lanes: Lanes, dataset: Dataset, loss: str) -> None:
        self._loss = loss
        self._x = dataset.probe_inputs.to(lanes.dtype, copy=True)
        self._y = dataset.probe_targets.to(lanes.dtype, copy=True)
        self._zero = float(zero_losses(loss, self._y[None])[0])
        self._reference = lanes.reference(self._x)

    def look(
        self, lanes: Lanes, step: int, before: Sequence[Sequence[LossSnapshot]]
    ) -> list[list[LossSnapshot]]:
        """Snapshots at levels that each living lane first reached after `step` updates; `before`: earlier ones."""
        if all(len(reached) == len(LEVELS) for reached in before):
            return [[] for _ in before]
        f = lanes.outputs(self._x, None, self._reference)
        losses = lane_losses(self._loss, f, self._y).tolist()
        found = [
            [
                level
                for level in LEVELS[len(reached) :]
                # False if the loss is NaN.
                if losses[lane] <= level * self._zero
            ]
            for lane, reached in enumerate(before)
        ]
        if not any(found):
            return [[] for _ in before]
        hidden: Hidden = {}
        lanes.outputs(self._x, hidden, self._reference)
        return [
            self._keep(levels, step, losses[lane], f[lane], hidden, lane)
            for lane, levels in enumerate(found)
        ]

    def _keep(
        self, levels: Sequence[float], step: int, loss: float, f: Tensor, hidden: Hidden, lane: int
    ) -> list[LossSnapshot]:
        if not levels:
            return []
        grams = {
            name: pack_triangle(each_lane(gram, features[lane][None]).float()[0]).cpu().numpy()
            for name, features in hidden.items()
        }
        outputs = f.float().cpu().numpy()
        return [LossSnapshot(level, step, loss / self._zero, outputs, grams) for level in levels]


def summary_of(reached: Sequence[LossSnapshot]) -> list[dict[str, Any]]:
    """Level, step and loss of each snapshot, largest level first."""
    return [
        {"level": item.level, "step": item.step, "relative_loss": item.relative_loss}
        for item in reached
    ]


def arrays_of(reached: Sequence[LossSnapshot]) -> dict[str, Floats]:
    """Arrays of the snapshots: `equal.<level>.probe_outputs` and `equal.<level>.gram.<layer>`."""
    arrays: dict[str, Floats] = {}
    for item in reached:
        arrays[f"equal.{item.level}.probe_outputs"] = item.probe_outputs
        arrays |= {f"equal.{item.level}.gram.{layer}": gram for layer, gram in item.grams.items()}
    return arrays


def snapshots_of(
    summary: Sequence[Mapping[str, Any]], arrays: Mapping[str, Floats]
) -> tuple[LossSnapshot, ...]:
    """Undo `summary_of` and `arrays_of`.

    Raises:
        KeyError: if the arrays of a level are missing.
    """
    found = []
    for item in summary:
        prefix = f"equal.{item['level']}.gram."
        grams = {
            name.removeprefix(prefix): value
            for name, value in arrays.items()
            if name.startswith(prefix)
        }
        outputs = arrays[f"equal.{item['level']}.probe_outputs"]
        found.append(
            LossSnapshot(item["level"], item["step"], item["relative_loss"], outputs, grams)
        )
    return tuple(found)
