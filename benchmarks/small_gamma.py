"""Small gamma: what each way to compute f costs, and how many digits of it are left.

    python benchmarks/small_gamma.py [--models mlp-64 cnn] [--steps 300] [--json small_gamma.json]

float32     (f~(w) - f~(w_0)) / gamma, both in float32
float64     the same in float64
difference  d = w - w_0 is trained and f~(w_0 + d) - f~(w_0) is computed without cancellation, in float32

Error: |f - f_64| / |f_64| on the probe set after training at eta ~ gamma^2 on the digits, on the same batches. The
reference f_64 is the difference form in float64, which float64 by subtraction approaches to 1e-16 / gamma.
Cost: time of one step of one network on one thread, in units of float32, median of rounds that are taken in turns.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from projects import machine
from throughput import BATCH, CASES, OUTPUTS
from torch import Tensor

from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.data.prepare import PREPARERS
from gammascape.models import build_model, initial_parameters
from gammascape.models.centred import difference_form, subtraction
from gammascape.models.model import Reference
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.training.backend import make_step
from gammascape.training.capacity import cpu_lanes
from gammascape.training.device import set_up_backend
from gammascape.training.exact import exact
from gammascape.training.losses import lane_losses
from gammascape.training.sgd import StepInputs

WAYS = ("float32", "float64", "difference")
EXACT = "difference in float64"
SHAPE, TRAIN_BATCH = (1, 8, 8), 32
# The digits are 8x8 images: the same kinds as in CASES, in sizes that can read them.
ON_DIGITS: dict[str, dict[str, Any]] = {
    "mlp-64": {"kind": "mlp", "depth": 3, "width": 64},
    "mlp-784-256": {"kind": "mlp", "depth": 3, "width": 256},
    "cnn": {"kind": "cnn", "width": 8, "padding": 1},
    "vit": {"kind": "vit", "width": 32, "blocks": 2, "heads": 4, "patch": 2, "mlp_ratio": 2},
    "resnet": {"kind": "resnet", "width": 4, "blocks": [1, 1], "norm": "layer"},
}


class Networks:
    """Networks of one seed, one for each gamma, that are trained with mean squared error by the engine's steps."""

    def __init__(
        self, way: str, options: dict[str, Any], shape: tuple[int, ...], gammas: Tensor, rate: float
    ) -> None:
        self.dtype = torch.float64 if way in ("float64", EXACT) else torch.float32
        model = build_model(options, shape, OUTPUTS)
        by_difference = "difference" in way
        self.form = difference_form(model) if by_difference else subtraction(model)
        self.gammas = gammas.to(self.dtype)[:, None, None]
        self.rates = rate * model.base_width * gammas.square().clamp(max=1).to(self.dtype)
        seeds = [0] * exact(self.form).least
        self.initial = initial_parameters(model, seeds, self.dtype, torch.device("cpu"))
        lanes = {name: v[:1].repeat_interleave(len(gammas), 0) for name, v in self.initial.items()}
        self.starts = lanes if by_difference else {}
        begin = torch.zeros_like if by_difference else torch.clone
        self.trained = {name: begin(v) for name, v in lanes.items()}
        self.update = make_step(self.form, "mse", "eager")

    def reference(self, x: Tensor) -> Reference:
        """What depends on the seed and the batch alone, for every lane."""
        kept = exact(self.form).reference(self.initial, x)
        return tuple(v[:1].expand(len(self.rates), *v.shape[1:]) for v in kept)

    def outputs(self, x: Tensor) -> Tensor:
        """f, (K, B, O)."""
        x = x.to(self.dtype, copy=True)
        with torch.no_grad():
            kept = self.reference(x)
            f = exact(self.form).numerator(self.trained, self.starts, kept, x, None)
        return f / self.gammas

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step of SGD of every network."""
        kept = self.reference(x)
        self.update(self.trained, StepInputs(self.starts, self.rates, self.gammas, kept, x, y))


def errors(name: str, digits: Dataset, gammas: Tensor, steps: int, rate: float) -> dict[str, Any]:
    """Relative errors of f for each way and gamma, and the losses before and after."""
    ways = {way: Networks(way, ON_DIGITS[name], SHAPE, gammas, rate) for way in (*WAYS, EXACT)}
    for begin in range(0, steps, 50):
        xs, ys = digits.batches(0, begin, min(50, steps - begin), TRAIN_BATCH)
        for networks in ways.values():
            for x, y in zip(xs.to(networks.dtype), ys.to(networks.dtype), strict=True):
                networks.step(x, y)
    f = {way: networks.outputs(digits.probe_inputs).double() for way, networks in ways.items()}
    size = f[EXACT].norm(dim=(1, 2))
    targets = digits.batches(0, steps, 1, 512)
    last = ways[EXACT].outputs(targets[0][0]).double()
    return {
        "loss": lane_losses("mse", last, targets[1][0].double()).tolist(),
        **{way: ((f[way] - f[EXACT]).norm(dim=(1, 2)) / size).tolist() for way in WAYS},
    }


def costs(name: str, seconds: float) -> dict[str, float]:
    """Milliseconds of a step of one network, for each way."""
    options, shape = CASES[name]
    model = build_model(options, shape, OUTPUTS)
    gammas = torch.logspace(-3, -2, cpu_lanes(model, BATCH))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, *shape, generator=generator)
    y = torch.eye(OUTPUTS)[torch.randint(OUTPUTS, (BATCH,), generator=generator)]
    rounds: dict[str, list[float]] = {way: [] for way in WAYS}
    networks = {way: Networks(way, options, shape, gammas, 1e-3) for way in WAYS}
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or len(rounds[WAYS[0]]) < 4:
        for way, trained in networks.items():
            batch = x.to(trained.dtype), y.to(trained.dtype)
            count, start = 0, time.process_time()
            while count == 0 or time.process_time() - start < seconds / 30:
                trained.step(*batch)
                count += 1
            rounds[way].append((time.process_time() - start) / count / len(gammas) * 1e3)
    # The first round warms up.
    return {way: statistics.median(values[1:]) for way, values in rounds.items()}


def main() -> None:
    """Print a table of costs and one of errors for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(ON_DIGITS), default=list(ON_DIGITS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.1, help="eta / gamma^2 of the error runs")
    parser.add_argument("--seconds", type=float, default=12, help="time of each model's costs")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    set_up_backend("cpu")
    gammas = torch.logspace(0, -6, 7, dtype=torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "digits" / "manifest.json"
        PREPARERS["digits"](None, source.parent)
        options = DigitsSpec(kind="digits").model_dump(mode="json")
        digits = load_dataset(options, source, torch.device("cpu"))
    print(machine())
    results: dict[str, Any] = {"machine": machine()}
    for name in chosen.models:
        cost = costs(name, chosen.seconds)
        error = errors(name, digits, gammas, chosen.steps, chosen.rate)
        results[name] = {"ms": cost, "gamma": gammas.tolist(), "error": error}
        print(f"\n{name}: cost of a step, batch {BATCH}")
        for way in WAYS:
            print(f"  {way:<11}{cost[way]:9.3f} ms {cost[way] / cost['float32']:6.2f}")
        print(f"{name} on the digits: relative error of f after {chosen.steps} steps")
        print("  gamma      loss  " + "".join(f"{way:>12}" for way in WAYS))
        for k, gamma in enumerate(gammas.tolist()):
            numbers = "".join(f"{error[way][k]:12.1e}" for way in WAYS)
            print(f"  {gamma:.0e} {error['loss'][k]:9.5f}  {numbers}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
