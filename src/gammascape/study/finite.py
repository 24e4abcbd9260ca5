"""Slices of a study that train on the same samples again and again, by number of samples and width."""

import json
from collections import defaultdict
from typing import Any

from gammascape.study.study import Study

_FEWEST = 3
"""Fewest slices of a group: two tell nothing of how the best gamma follows from two numbers."""


def finite_slices(study: Study) -> list[dict[str, Any]]:
    """Slice, group, samples and width of each slice that uses samples more than once.

    The slices of a group are equal in all options but the width of the model and the number of training samples.
    Groups of fewer than three are left out.
    """
    groups = defaultdict(list)
    for part in study.slices:
        model = part.model_spec.model_dump(mode="json")
        dataset = part.dataset_spec.model_dump(mode="json")
        if part.is_toy or part.passes is None or part.passes <= 1:
            continue
        own = {"samples": part.dataset_spec.pass_samples, "width": model.pop("width")}
        dataset.pop("training_samples")
        dataset.pop("repeat", None)
        rest = [model, dataset, part.loss, part.batch_size, part.steps]
        kinds = f"{part.model_spec.kind} on {part.dataset_spec.kind}"
        name = f"{kinds} {part.loss} B = {part.batch_size} T = {part.steps}"
        groups[json.dumps(rest, sort_keys=True), name].append({"slice": part.key, **own})
    return [
        {"group": name, **member}
        for (_, name), members in groups.items()
        if len(members) >= _FEWEST
        for member in members
    ]
