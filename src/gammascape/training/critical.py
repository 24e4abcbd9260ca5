"""Critical eta of networks before training, from which a map begins."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gammascape.data.dataset import Dataset
from gammascape.models import build_model
from gammascape.models.centred import difference_form, subtraction
from gammascape.training.capacity import check_memory, suitable_lanes
from gammascape.training.exact import exact
from gammascape.training.lanes import Lanes
from gammascape.training.observe import Observer
from gammascape.training.pack import make_pack


def critical_etas(
    records: Sequence[Mapping[str, Any]], dataset: Dataset, device: torch.device
) -> list[float]:
    """log10 of 2 / (N sharpness) before training, of cells that share all but gamma, eta, seeds and dtype.

    It is the observable `sharpness` at step 0; NaN where that is not positive.

    Raises:
        CapacityError: if a network does not fit into memory.
        UserCodeError: if a user's own network cannot be built.
    """
    shape, outputs, examples = dataset.input_shape, dataset.outputs, dataset.probe_inputs
    model = build_model(records[0]["model"], shape, outputs, examples)
    check_memory(records[0], dataset, model, device)
    found: dict[int, float] = {}
    for dtype in sorted({record["dtype"] for record in records}):
        places = [k for k, record in enumerate(records) if record["dtype"] == dtype]
        alike = [{**records[k], "data_seed": 0, "observables": ["sharpness"]} for k in places]
        size = suitable_lanes(alike, dataset, model, device)
        form = difference_form(model) if dtype == "float32-difference" else subtraction(model)
        for first in range(0, len(alike), size):
            pack = make_pack(alike[first : first + size])
            lanes = Lanes(pack, exact(form), device, None)
            taken = Observer(("sharpness",), lanes, dataset, pack.shared["loss"]).observe(lanes)
            for k, values in zip(places[first : first + size], taken, strict=True):
                sharpness = values["sharpness"] or math.nan
                eta = 2 / (model.base_width * sharpness)
                found[k] = math.log10(eta) if eta > 0 else math.nan
    return [found[k] for k in range(len(records))]
