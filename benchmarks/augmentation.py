"""Augmentation: what a batch of images costs, beside a step of training on it.

    python benchmarks/augmentation.py [--batch 256] [--seconds 4] [--json augmentation.json]

weak, strong  gammascape.data.augment on uint8 images, in batches of one step and of eight
step          one step of SGD of one CNN (width 16, padding 1) on the same batch, eager, cross entropy

Milliseconds for each batch, median of rounds that are taken in turns; on the CPU one thread. On CUDA eight batches
at once tell what the kernels cost from what launching them costs.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from projects import machine

from gammascape.data.augment import augment
from gammascape.models import build_model, initial_parameters
from gammascape.models.centred import subtraction
from gammascape.training.backend import make_step
from gammascape.training.device import set_up_backend
from gammascape.training.exact import exact
from gammascape.training.sgd import StepInputs

SHAPES = ((3, 32, 32), (3, 64, 64))
MODEL: dict[str, Any] = {"kind": "cnn", "width": 16, "padding": 1}
OUTPUTS, TOGETHER = 10, 8


def augmentation(
    shape: tuple[int, ...], size: int, strength: str, device: torch.device
) -> Callable[[], object]:
    """A call that augments `size` images."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (size, *shape), generator=generator, dtype=torch.uint8).to(device)
    index = torch.arange(size, device=device)
    return lambda: augment(x, index, 0, strength)


def training(shape: tuple[int, ...], size: int, device: torch.device) -> Callable[[], object]:
    """A call that takes one step of one network, after evaluating the initial one on the batch."""
    model = build_model(MODEL, shape, OUTPUTS)
    form = subtraction(model)
    initial = initial_parameters(model, [0], torch.float32, device)
    trained = {name: value.clone() for name, value in initial.items()}
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, *shape, generator=generator).to(device)
    y = torch.eye(OUTPUTS)[torch.randint(OUTPUTS, (size,), generator=generator)].to(device)
    rates = torch.full((1,), 1e-3 * model.base_width, device=device)
    gammas = torch.ones(1, 1, 1, device=device)
    update = make_step(form, "xent", "eager")
    reference = exact(form).reference
    return lambda: update(trained, StepInputs({}, rates, gammas, reference(initial, x), x, y))


def measure(
    calls: dict[str, Callable[[], object]], seconds: float, device: torch.device
) -> dict[str, float]:
    """Milliseconds of each call."""
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or len(next(iter(rounds.values()))) < 4:
        for name, call in calls.items():
            count, start = 0, time.perf_counter()
            while count == 0 or time.perf_counter() - start < seconds / 50:
                call()
                count += 1
            if device.type == "cuda":
                torch.cuda.synchronize()
            rounds[name].append((time.perf_counter() - start) / count * 1e3)
    # The first round warms up.
    return {name: statistics.median(values[1:]) for name, values in rounds.items()}


def main() -> None:
    """Print a table for each device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4, help="time of each shape")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    print(machine())
    results: dict[str, Any] = {"machine": machine(), "batch": chosen.batch}
    for name in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        device, _ = set_up_backend(name)
        print(f"\n{name}: ms for each batch of {chosen.batch} images (share of a step)")
        print(f"{'images':<10}{'augmentation':<14}{'one batch':>18}{f'of {TOGETHER} batches':>18}")
        for shape in SHAPES:
            calls = {"step": training(shape, chosen.batch, device)}
            for strength in ("weak", "strong"):
                for together in (1, TOGETHER):
                    size = chosen.batch * together
                    calls[f"{strength} {together}"] = augmentation(shape, size, strength, device)
            ms = measure(calls, chosen.seconds, device)
            for call in ms:
                if call.endswith(f" {TOGETHER}"):
                    ms[call] /= TOGETHER
            images = "x".join(map(str, shape))
            results[f"{name} {images}"] = ms
            for strength in ("weak", "strong"):
                costs = (ms[f"{strength} {together}"] for together in (1, TOGETHER))
                columns = "".join(f"{cost:10.2f} ({cost / ms['step']:5.1%})" for cost in costs)
                print(f"{images:<10}{strength:<14}{columns}")
            print(f"{images:<10}{'step':<14}{ms['step']:10.2f}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
