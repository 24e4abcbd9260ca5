"""Slices of a study that differ in one factor only: depth, width, batch size, steps, label noise or samples."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gammascape.study.study import Slice, Study

Factor = Literal["depth", "width", "batch_size", "steps", "label_noise", "training_samples"]
FACTORS: tuple[Factor, ...] = get_args(Factor)
SCALES: tuple[Factor, ...] = ("depth", "width", "batch_size", "steps")
"""Factors along which gamma and eta are carried."""

_OPTIONS: Mapping[Factor, str] = {
    "depth": "model",
    "width": "model",
    "label_noise": "dataset",
    "training_samples": "dataset",
}


@dataclass(frozen=True)
class Member:
    """A slice in a group of slices that differ only in one factor."""

    factor: Factor
    group: str
    """Description of what the slices of the group share."""
    value: float
    slice: str


def members(study: Study) -> list[Member]:
    """Slices that can be compared, in order of factor, group and value.

    Slices are equal if all options of model and dataset, loss, batch size and steps are; names do not count.
    The number of training samples counts the different samples seen in training.
    """
    return [member for factor in FACTORS for member in _members(study, factor)]


def _members(study: Study, factor: Factor) -> Iterator[Member]:
    groups: dict[str, dict[float, Slice]] = {}
    for part in study.slices:
        rest, value = _without(part, factor)
        if value is not None:
            # More samples than training sees are as good as no limit: take the first of such slices.
            groups.setdefault(rest, {}).setdefault(value, part)
    seen: dict[str, int] = {}
    for group in groups.values():
        if len(group) < 2:
            continue
        words = _words(next(iter(group.values())), factor)
        seen[words] = seen.get(words, 0) + 1
        name = words if seen[words] == 1 else f"{words} ({seen[words]})"
        for value in sorted(group):
            yield Member(factor, name, value, group[value].key)


def _without(part: Slice, factor: Factor) -> tuple[str, float | None]:
    """Parameters of a slice without the factor, and the factor's value; None if it has no such factor."""
    rest: dict[str, Any] = {
        "model": part.model_spec.model_dump(mode="json"),
        "dataset": part.dataset_spec.model_dump(mode="json"),
        **{name: getattr(part, name) for name in ("loss", "batch_size", "steps")},
    }
    if factor in ("batch_size", "steps"):
        value = rest.pop(factor)
    else:
        options = rest[_OPTIONS[factor]]
        known = factor in options
        value = options.pop(factor, None)
        if factor == "training_samples" and known:
            drawn = part.steps * part.batch_size
            value = min(part.dataset_spec.pass_samples or drawn, drawn)
    return json.dumps(rest, sort_keys=True), None if value is None else float(value)


def _words(part: Slice, factor: Factor) -> str:
    model, dataset = part.model, part.dataset
    if factor in ("depth", "width"):
        model = part.model_spec.kind
    if factor in ("label_noise", "training_samples"):
        dataset = part.dataset_spec.kind
    words = [model, "on", dataset, part.loss]
    if factor != "batch_size":
        words.append(f"B = {part.batch_size}")
    if factor != "steps":
        words.append(f"T = {part.steps}")
    return " ".join(words)
