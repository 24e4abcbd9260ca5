"""The training engine: plain SGD on a pack of networks in lockstep. One cell is a pack of one lane."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gammascape.data import Dataset
from gammascape.measure.outcome import Facts
from gammascape.measure.representations import (
    active_fraction,
    centred_grams,
    pack_triangle,
    relative_change,
)
from gammascape.models import Hidden, Model, initial_parameters
from gammascape.training.history import Floats, final_window, measurement_steps
from gammascape.training.losses import accuracy, lane_losses, zero_losses
from gammascape.training.pack import Pack
from gammascape.training.step import sgd_step

BLOCK = 50
"""Steps between two looks at the losses: the device is not waited for, and NaN is not looked for, in between."""

_TEST_CHUNK = 1024


@dataclass(frozen=True)
class Evaluation:
    """Test loss and accuracy after `step` updates; accuracy is None for regression."""

    step: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Run:
    """What training one cell leaves behind."""

    steps_done: int
    seconds: float
    losses: Floats
    """(steps_done,) training loss of each step, before its update."""
    zero_losses: Floats
    """(steps_done,) loss of f = 0 on the same batches."""
    facts: Facts
    peak_step: int | None
    evaluations: tuple[Evaluation, ...]
    relative_change: dict[str, float]
    probe_outputs: Floats | None
    """(P, O) outputs f on the probe set at the end; None for a diverged run, as are the Gram matrices."""
    grams: dict[str, Floats] | None
    """Hidden layer -> packed upper triangle of its centred Gram matrix on the probe set."""


class _Lanes:
    """The living lanes of a pack on the device: weights, constants, and the initial networks of their seeds."""

    def __init__(self, pack: Pack, model: Model, device: torch.device) -> None:
        dtype = torch.float64 if pack.shared["dtype"] == "float64" else torch.float32
        seeds = sorted({lane.seed for lane in pack.lanes})
        self.dtype = dtype
        self.model = model
        # f~(w_0) depends on the seed alone, so each seed's initial network is evaluated once for all its lanes.
        self.initial = initial_parameters(model, seeds, dtype, device)
        self.alive = list(range(len(pack.lanes)))
        self.seed = torch.tensor([seeds.index(lane.seed) for lane in pack.lanes], device=device)
        gammas = torch.tensor([lane.gamma for lane in pack.lanes], dtype=dtype, device=device)
        etas = torch.tensor([lane.eta for lane in pack.lanes], dtype=dtype, device=device)
        self.gammas = gammas[:, None, None]
        self.learning_rates = etas * model.base_width
        self.parameters = {
            name: value[self.seed].clone().requires_grad_() for name, value in self.initial.items()
        }

    def f_initial(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.model.forward(self.initial, x, None)[self.seed]

    def outputs(self, x: Tensor, hidden: Hidden | None = None) -> Tensor:
        """f on the inputs, (K, n, O)."""
        with torch.no_grad():
            return (
                self.model.forward(self.parameters, x, hidden) - self.f_initial(x)
            ) / self.gammas

    def keep(self, positions: list[int]) -> None:
        """Drop all lanes but those at these positions."""
        chosen = torch.tensor(positions, device=self.gammas.device)
        self.alive = [self.alive[position] for position in positions]
        self.seed = self.seed[chosen]
        self.gammas = self.gammas[chosen]
        self.learning_rates = self.learning_rates[chosen]
        self.parameters = {
            name: value.detach()[chosen].requires_grad_() for name, value in self.parameters.items()
        }


def train(
    pack: Pack, dataset: Dataset, model: Model, device: torch.device
) -> Iterator[tuple[int, Run]]:
    """Train a pack; yields (position of the lane in the pack, its run) as lanes end.

    A lane whose loss has become NaN ends at the next look at the losses and leaves the pack.
    """
    shared = pack.shared
    loss, batch_size, steps = shared["loss"], shared["batch_size"], shared["steps"]
    lanes = _Lanes(pack, model, device)
    losses = np.full((steps, len(pack.lanes)), np.nan)
    zeros = np.full(steps, np.nan)
    seconds = np.zeros(len(pack.lanes))
    evaluations: list[list[Evaluation]] = [[] for _ in pack.lanes]
    test_x = dataset.test_inputs.to(lanes.dtype)
    test_y = dataset.test_targets.to(lanes.dtype)

    def finish(positions: list[int], steps_done: int) -> Iterator[tuple[int, Run]]:
        results = _final_measurements(lanes, dataset) if steps_done == steps else None
        for position in positions:
            lane = lanes.alive[position]
            yield (
                lane,
                _make_run(
                    losses[:steps_done, lane],
                    zeros[:steps_done],
                    float(seconds[lane]),
                    tuple(evaluations[lane]),
                    None if results is None else results[position],
                    steps,
                ),
            )

    boundaries = sorted({*measurement_steps(steps), *range(0, steps, BLOCK)})
    measured = set(measurement_steps(steps))
    for start, stop in zip([0, *boundaries], [*boundaries, steps], strict=True):
        begun = time.perf_counter()
        if stop > start:
            block = _train_block(lanes, dataset, loss, shared["data_seed"], batch_size, start, stop)
            losses[start:stop, lanes.alive], zeros[start:stop] = block
        if stop in measured and (not evaluations[lanes.alive[0]] or stop > start):
            for lane, evaluation in zip(
                lanes.alive, _evaluate(lanes, loss, dataset, test_x, test_y, stop), strict=True
            ):
                evaluations[lane].append(evaluation)
        seconds[lanes.alive] += (time.perf_counter() - begun) / len(lanes.alive)
        gone = np.isnan(losses[start:stop, lanes.alive]).any(0)
        if gone.any():
            yield from finish([int(p) for p in np.flatnonzero(gone)], stop)
            if gone.all():
                return
            lanes.keep([int(p) for p in np.flatnonzero(~gone)])
    yield from finish(list(range(len(lanes.alive))), steps)


def _train_block(
    lanes: _Lanes,
    dataset: Dataset,
    loss: str,
    data_seed: int,
    batch_size: int,
    start: int,
    stop: int,
) -> tuple[Floats, Floats]:
    xs, ys = dataset.batches(data_seed, start, stop - start, batch_size)
    xs, ys = xs.to(lanes.dtype), ys.to(lanes.dtype)
    block = []
    for x, y in zip(xs, ys, strict=True):
        block.append(
            sgd_step(
                lanes.model,
                loss,
                lanes.parameters,
                lanes.learning_rates,
                lanes.gammas,
                lanes.f_initial(x),
                x,
                y,
            )
        )
    return torch.stack(block).double().cpu().numpy(), zero_losses(loss, ys).double().cpu().numpy()


def _evaluate(
    lanes: _Lanes, loss: str, dataset: Dataset, test_x: Tensor, test_y: Tensor, step: int
) -> list[Evaluation]:
    f = torch.cat([lanes.outputs(chunk) for chunk in torch.split(test_x, _TEST_CHUNK)], dim=1)
    test_losses = lane_losses(loss, f, test_y).tolist()
    if not dataset.classification:
        return [Evaluation(step, value, None) for value in test_losses]
    shares = accuracy(f, test_y).tolist()
    return [
        Evaluation(step, value, share) for value, share in zip(test_losses, shares, strict=True)
    ]


@dataclass(frozen=True)
class _Final:
    relative_change: dict[str, float]
    active_fraction: float
    probe_outputs: Floats
    grams: dict[str, Floats]


def _final_measurements(lanes: _Lanes, dataset: Dataset) -> list[_Final]:
    hidden: Hidden = {}
    outputs = lanes.outputs(dataset.probe_inputs.to(lanes.dtype), hidden)
    starts = {name: value[lanes.seed] for name, value in lanes.initial.items()}
    with torch.no_grad():
        changes = relative_change(lanes.model, lanes.parameters, starts)
        active = active_fraction(hidden)
        grams = {name: centred_grams(features) for name, features in hidden.items()}
    return [
        _Final(
            relative_change={name: float(value[k]) for name, value in changes.items()},
            active_fraction=float(active[k]),
            probe_outputs=outputs[k].float().cpu().numpy(),
            grams={name: pack_triangle(value[k]).cpu().numpy() for name, value in grams.items()},
        )
        for k in range(len(lanes.alive))
    ]


def _make_run(
    losses: Floats,
    zeros: Floats,
    seconds: float,
    evaluations: tuple[Evaluation, ...],
    final: _Final | None,
    steps: int,
) -> Run:
    finite = bool(np.isfinite(losses).all())
    window = final_window(steps)
    facts = Facts(
        finite=finite,
        seen_nan=bool(np.isnan(losses).any()),
        initial_loss=float(losses[0]),
        final_loss=float(losses[-window:].mean()) if finite else None,
        baseline_loss=float(zeros[-window:].mean()),
        peak_loss=float(losses.max()) if finite else None,
        active_fraction=final.active_fraction if finite and final else None,
    )
    return Run(
        steps_done=len(losses),
        seconds=seconds,
        losses=losses.copy(),
        zero_losses=zeros.copy(),
        facts=facts,
        peak_step=int(losses.argmax()) if finite else None,
        evaluations=evaluations,
        relative_change=final.relative_change if finite and final else {},
        probe_outputs=final.probe_outputs if finite and final else None,
        grams=final.grams if finite and final else None,
    )
