"""Observables: what one measurement costs, in units of a step of training.

    python benchmarks/observables.py [--models mlp3 vit] [--lanes 8] [--steps 100] [--json observables.json]

The models and digits of the default study, batch size 32, float32, one pack. A step is the engine's, with
its data and the evaluation of f~(w_0). Both are CPU time of one thread for each lane, so other processes on the
machine matter little. The last column is the share that the measurements add to a run of 1000 steps: at 0, 1, 2,
5, 10, ... steps, 24 in each decade for `equal_loss`, one for `singular_values`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from projects import ROOT, machine

from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.data.prepare import PREPARERS
from gammascape.models import build_model
from gammascape.models.centred import subtraction
from gammascape.runs.history import measurement_steps
from gammascape.study import load_study
from gammascape.study.keys.observables import OBSERVABLES
from gammascape.training.device import set_up_backend
from gammascape.training.engine import Training
from gammascape.training.equal_loss import Watch, watch_steps
from gammascape.training.lanes import Lanes
from gammascape.training.observe import Observer
from gammascape.training.pack import make_pack

STUDY = ROOT / "config/studies/quickstart.yaml"
RUN = 1000
REPEATS = 3
TIMES = {"singular_values": 1, "equal_loss": len(watch_steps(RUN))}
"""How often it is taken in a run, where not at 0, 1, 2, 5, 10, ... steps."""


def cpu_seconds(call: Callable[[], object]) -> float:
    """Least CPU time of a few calls, after one that warms up."""
    call()
    found = []
    for _ in range(REPEATS):
        begun = time.process_time()
        call()
        found.append(time.process_time() - begun)
    return min(found)


def costs(
    record: dict[str, Any], dataset: Dataset, lanes: int, steps: int, device: torch.device
) -> dict[str, float]:
    """Milliseconds of a step, and of one measurement of each observable, for each lane."""
    record = {**record, "steps": steps, "observables": None}
    pack = make_pack([{**record, "seed": seed} for seed in range(lanes)])
    model = build_model(record["model"], dataset.input_shape, dataset.outputs)
    training = Training(pack, dataset, model, device)
    training.advance()  # The measurement before the first step.
    begun = time.process_time()
    while training.alive:
        training.advance()
    ms = {"step": (time.process_time() - begun) / steps / lanes * 1e3}
    networks = Lanes(pack, subtraction(model), device, None)
    for name in OBSERVABLES:
        if name == "equal_loss":
            look, none = Watch(networks, dataset, record["loss"]).look, [[] for _ in range(lanes)]
            measure = partial(look, step=1, before=none)
        else:
            observer = Observer([name], networks, dataset, record["loss"])
            measure = observer.final_arrays if name == "singular_values" else observer.observe
        ms[name] = cpu_seconds(lambda measure=measure: measure(networks)) / lanes * 1e3
    return ms


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mlp3", "cnn", "resnet", "vit"])
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    device, _ = set_up_backend("cpu")
    print(machine())
    slices = {part.model: part for part in load_study(STUDY).slices}
    results: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        PREPARERS["digits"](None, Path(folder) / "digits")
        for model in chosen.models:
            cell = next(c for c in slices[model].cells if c.gamma == "0")
            record = cell.record()
            dataset = load_dataset(record["dataset"], Path(folder) / "digits/manifest.json", device)
            found = costs(record, dataset, chosen.lanes, chosen.steps, device)
            results[model] = found
            print(f"\n{model}: {found['step']:.3f} ms for a step of one lane, {chosen.lanes} lanes")
            for name in OBSERVABLES:
                times = TIMES.get(name, len(measurement_steps(RUN)))
                steps = found[name] / found["step"]
                print(
                    f"{name:<24}{found[name]:10.2f} ms{steps:10.1f} steps{times * steps / RUN:10.1%}",
                    flush=True,
                )
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
