"""Decide the status of a run from its facts. Thresholds are choices of the study and change no run."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

Status = Literal["diverged", "dead", "runaway", "trained", "untrained"]


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of a study, for losses relative to the loss before training (f = 0)."""

    trained_below: float = 0.5
    runaway_above: float = 1.05
    catapult_above: float = 3.0

    @classmethod
    def from_analysis(cls, analysis: Mapping[str, Any]) -> "Thresholds":
        """Thresholds among the keys of a study's `analysis`."""
        return cls(**{field.name: analysis[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Facts:
    """Facts about a run that decide its status.

    `final_loss` is a mean over the last training batches and `baseline_loss` the loss of f = 0 on the same
    batches, so that their ratio has no batch noise at the start of training.
    """

    finite: bool
    seen_nan: bool
    initial_loss: float
    final_loss: float | None
    baseline_loss: float
    peak_loss: float | None
    active_fraction: float | None


@dataclass(frozen=True)
class Outcome:
    """Status and flags of one cell.

    `kept_by_nan_rule` is the rule of the paper's released code, which tests only for NaN: a finite explosion
    and a dead network both pass it.
    """

    status: Status
    catapulted: bool
    kept_by_nan_rule: bool
    relative_loss: float | None


def judge(facts: Facts, thresholds: Thresholds) -> Outcome:
    """Decide the status.

    diverged    a training loss was not finite
    dead        some hidden layer has the same output for every probe
    runaway     finite, but the final loss is above `runaway_above` times the loss of f = 0
    trained     the final loss is at or below `trained_below` times the loss of f = 0
    untrained   none of these: not trained within the budget
    """
    last = facts.final_loss if facts.finite else None
    relative = None if last is None else last / facts.baseline_loss
    status: Status = "untrained"
    if relative is None:
        status = "diverged"
    elif facts.active_fraction == 0:
        status = "dead"
    elif relative > thresholds.runaway_above:
        status = "runaway"
    elif relative <= thresholds.trained_below:
        status = "trained"
    bound = thresholds.catapult_above * facts.initial_loss
    peaked = facts.peak_loss is None or facts.peak_loss > bound
    return Outcome(
        status=status,
        catapulted=status != "diverged" and peaked,
        kept_by_nan_rule=not facts.seen_nan,
        relative_loss=relative,
    )
