"""Training engine: plain SGD on a pack of networks in lockstep. One cell is a pack of one lane."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gammascape.data.dataset import Dataset
from gammascape.measure.kernels import gram
from gammascape.measure.representations import active_fraction, pack_triangle
from gammascape.models import Hidden, Model
from gammascape.models.centred import difference_form, subtraction
from gammascape.numerics import BLOCK
from gammascape.runs.history import Floats, final_window, measurement_steps
from gammascape.runs.outcome import Facts
from gammascape.training import equal_loss
from gammascape.training.backend import Graph, choose_backend, make_step
from gammascape.training.equal_loss import LossSnapshot, Watch, watch_steps
from gammascape.training.exact import exact
from gammascape.training.lanes import Array, Lanes
from gammascape.training.losses import accuracy, lane_losses, zero_losses
from gammascape.training.observe import Observer
from gammascape.training.pack import Pack

_TEST_CHUNK = 1024


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy after `step` updates on the test set, and on others that the dataset has.

    Accuracy is None for regression.
    """

    step: int
    loss: float
    accuracy: float | None
    shifted_loss: float | None = None
    shifted_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Run:
    """Results of training one cell."""

    steps_done: int
    seconds: float
    losses: Floats
    """(steps_done,) training loss of each step, before its update."""
    zero_losses: Floats
    """(steps_done,) loss of f = 0 on the same batches."""
    facts: Facts
    peak_step: int | None
    evaluations: tuple[Evaluation, ...]
    relative_change: Mapping[str, float] = field(default_factory=dict)
    probe_outputs: Floats | None = None
    """(P, O) final outputs f on the probe set; None for a diverged run, as are the Gram matrices."""
    grams: Mapping[str, Floats] | None = None
    """Hidden layer -> packed upper triangle of its centred Gram matrix on the probe set."""
    observations: tuple[Mapping[str, Any], ...] = ()
    """One mapping for each measurement: `step`, and the observables that the cell asks for."""
    singular_values: Mapping[str, Floats] = field(default_factory=dict)
    """Layer -> singular values of its final weights, if asked for; empty for a diverged run."""
    reached: tuple[LossSnapshot, ...] = ()
    """Snapshots of the network at levels of its loss, if asked for; empty for a diverged run."""


@dataclass(frozen=True)
class State:
    """State of one lane in the middle of its run, complete for resuming it."""

    step: int
    weights: Mapping[str, Array]
    """Trained tensors: w, or w - w_0 in the difference form."""
    losses: Floats
    """(step,)"""
    zero_losses: Floats
    """(step,)"""
    evaluations: tuple[Evaluation, ...]
    seconds: float
    observations: tuple[Mapping[str, Any], ...] = ()
    reached: tuple[LossSnapshot, ...] = ()


class Training:
    """A pack being trained. `advance` runs one block of steps; `states` returns what a checkpoint needs.

    Blocks end at fixed steps, so a run interrupted between two blocks resumes as if it had not been interrupted.
    """

    def __init__(
        self,
        pack: Pack,
        dataset: Dataset,
        model: Model,
        device: torch.device,
        states: Sequence[State] | None = None,
    ) -> None:
        """Begin at step 0, or resume from `states`, one for each lane and all at the same step.

        Raises:
            ValueError: if the states are not at one step.
        """
        self._pack, self._dataset = pack, dataset
        self._loss, self._steps = pack.shared["loss"], int(pack.shared["steps"])
        count = len(pack.lanes)
        if states and len({state.step for state in states}) > 1:
            raise ValueError("lanes that go on together must stand at the same step")
        self.step = states[0].step if states else 0
        record = pack.lanes[0].record
        by_difference = record["dtype"] == "float32-difference"
        form = difference_form(model) if by_difference else subtraction(model)
        before = [state.weights for state in states] if states else None
        self._lanes = Lanes(pack, exact(form), device, before)
        self._step = make_step(form, self._loss, choose_backend(record, model, device))
        self._losses = np.full((self._steps, count), np.nan)
        self._zeros = np.full(self._steps, np.nan)
        self._seconds = np.zeros(count)
        self._evaluations: list[list[Evaluation]] = [[] for _ in pack.lanes]
        self._observations: list[list[Mapping[str, Any]]] = [[] for _ in pack.lanes]
        self._reached: list[list[LossSnapshot]] = [[] for _ in pack.lanes]
        for lane, state in enumerate(states or ()):
            self._losses[: self.step, lane] = state.losses
            self._zeros[: self.step] = state.zero_losses
            self._seconds[lane] = state.seconds
            self._evaluations[lane] = list(state.evaluations)
            self._observations[lane] = list(state.observations)
            self._reached[lane] = list(state.reached)
        names = pack.shared["observables"] or ()
        self._observer = None
        if names:
            seed = pack.shared["data_seed"]
            self._observer = Observer(names, self._lanes, dataset, self._loss, seed)
        watched = equal_loss.NAME in names
        self._watch = Watch(self._lanes, dataset, self._loss) if watched else None
        self._watched = set(watch_steps(self._steps))
        dtype, tests = self._lanes.dtype, dataset.test_targets
        sets = {"": (dataset.test_inputs, tests)}
        if dataset.shifted_inputs is not None:
            sets["shifted_"] = dataset.shifted_inputs, tests
        if dataset.validation is not None:
            sets["validation_"] = dataset.validation
        self._sets = {name: (x.to(dtype, copy=True), y.to(dtype)) for name, (x, y) in sets.items()}
        self._measured = set(measurement_steps(self._steps))
        ends = sorted({*self._measured, *range(0, self._steps, BLOCK), self._steps})
        self._ends = [end for end in ends if end > self.step or not states]
        self._done = False

    @property
    def alive(self) -> list[int]:
        """Positions in the pack of the lanes still being trained."""
        return [] if self._done else list(self._lanes.owners)

    @property
    def size(self) -> int:
        """Initial number of lanes of the pack."""
        return len(self._pack.lanes)

    @property
    def fallback(self) -> str | None:
        """Replacement for compiled or captured steps, with the reason, if those have failed."""
        return getattr(self._step, "fallback", None)

    @property
    def captures(self) -> int:
        """Number of CUDA graphs captured for this pack; each capture takes as long as some ten steps."""
        return int(getattr(self._step, "captures", 0))

    def release(self) -> None:
        """Free the memory of captured steps; to advance captures them again."""
        if isinstance(self._step, Graph):
            self._step.release()

    def advance(self) -> list[tuple[int, Run]]:
        """Train to the end of the next block; return (position in the pack, run) of the lanes that ended in it.

        A lane whose loss has become NaN ends at the end of the block.

        Raises:
            UserCodeError: if a user's network broke a rule for forward passes in the block.
        """
        try:
            with self._lanes.form.model.watching():
                return self._advance()
        except BaseException:
            # An error may keep this object alive, and the next pack needs the memory.
            self.release()
            raise

    def _advance(self) -> list[tuple[int, Run]]:
        lanes, begun = self._lanes, time.perf_counter()
        start, stop = self.step, self._ends.pop(0)
        owners = list(lanes.owners)
        if stop > start:
            losses, zeros = self._train_block(start, stop)
            self._losses[start:stop, owners], self._zeros[start:stop] = losses, zeros
        self.step = stop
        if stop in self._measured:
            for lane, evaluation in zip(owners, self._evaluate(stop), strict=True):
                self._evaluations[lane].append(evaluation)
            if self._observer is not None:
                for lane, values in zip(owners, self._observer.observe(self._lanes), strict=True):
                    self._observations[lane].append({"step": stop, **values})
        self._seconds[owners] += (time.perf_counter() - begun) / len(owners)
        gone = np.isnan(self._losses[start:stop, owners]).any(0)
        if stop == self._steps or gone.all():
            self._done = True
            self.release()
            return self._finish(list(range(len(owners))))
        if not gone.any():
            return []
        ended = self._finish([int(p) for p in np.flatnonzero(gone)])
        lanes.keep([int(p) for p in np.flatnonzero(~gone)])
        return ended

    def states(self) -> list[tuple[int, State]]:
        """(position in the pack, state) of each lane still being trained."""
        return [
            (
                lane,
                State(
                    step=self.step,
                    weights=weights,
                    losses=self._losses[: self.step, lane].copy(),
                    zero_losses=self._zeros[: self.step].copy(),
                    evaluations=tuple(self._evaluations[lane]),
                    seconds=float(self._seconds[lane]),
                    observations=tuple(self._observations[lane]),
                    reached=tuple(self._reached[lane]),
                ),
            )
            for lane, weights in zip(self.alive, self._lanes.weights(), strict=True)
        ]

    def _evaluate(self, step: int) -> list[Evaluation]:
        found: list[dict[str, Any]] = [{} for _ in self._lanes.owners]
        for prefix, (x, y) in self._sets.items():
            for lane, (loss, share) in zip(found, self._score(x, y), strict=True):
                lane |= {f"{prefix}loss": loss, f"{prefix}accuracy": share}
        return [Evaluation(step, **values) for values in found]

    def _score(self, x: Tensor, y: Tensor) -> list[tuple[float, float | None]]:
        """Loss and accuracy of each lane on inputs x with targets y."""
        lanes = self._lanes
        f = torch.cat([lanes.outputs(chunk) for chunk in torch.split(x, _TEST_CHUNK)], dim=1)
        f = f[: len(lanes.owners)]
        losses = lane_losses(self._loss, f, y).tolist()
        if not self._dataset.classification:
            return [(value, None) for value in losses]
        return list(zip(losses, accuracy(f, y).tolist(), strict=True))

    def _finish(self, positions: list[int]) -> list[tuple[int, Run]]:
        owners, whole = self._lanes.owners, self.step == self._steps
        finals = self._final_measurements() if whole else [None] * len(owners)
        return [(owners[p], self._run(owners[p], finals[p])) for p in positions]

    def _run(self, lane: int, final: tuple[float, dict[str, Any]] | None) -> Run:
        """Run of a lane; `final` holds the share of active units and other fields, unless it ended early."""
        losses, zeros = self._losses[: self.step, lane].copy(), self._zeros[: self.step].copy()
        finite, window = bool(np.isfinite(losses).all()), final_window(self._steps)
        active, measured = final if finite and final else (None, {})
        return Run(
            steps_done=self.step,
            seconds=float(self._seconds[lane]),
            losses=losses,
            zero_losses=zeros,
            facts=Facts(
                finite=finite,
                seen_nan=bool(np.isnan(losses).any()),
                initial_loss=float(losses[0]),
                final_loss=float(losses[-window:].mean()) if finite else None,
                baseline_loss=float(zeros[-window:].mean()),
                peak_loss=float(losses.max()) if finite else None,
                active_fraction=active,
            ),
            peak_step=int(losses.argmax()) if finite else None,
            evaluations=tuple(self._evaluations[lane]),
            observations=tuple(self._observations[lane]),
            reached=tuple(self._reached[lane]) if finite else (),
            **measured,
        )

    def _final_measurements(self) -> list[tuple[float, dict[str, Any]]]:
        lanes, hidden = self._lanes, Hidden()
        outputs = lanes.outputs(self._dataset.probe_inputs.to(lanes.dtype, copy=True), hidden)
        with torch.no_grad():
            changes, active = lanes.relative_change(), active_fraction(hidden)
            grams = {name: gram(features).float() for name, features in hidden.items()}
            spectra = self._observer.final_arrays(lanes) if self._observer else [{}] * len(active)
        return [
            (
                float(active[k]),
                {
                    "relative_change": {name: float(value[k]) for name, value in changes.items()},
                    "probe_outputs": outputs[k].float().cpu().numpy(),
                    "grams": {n: pack_triangle(v[k]).cpu().numpy() for n, v in grams.items()},
                    "singular_values": {n: value.numpy() for n, value in spectra[k].items()},
                },
            )
            for k in range(len(lanes.owners))
        ]

    def _train_block(self, start: int, stop: int) -> tuple[Floats, Floats]:
        lanes, shared = self._lanes, self._pack.shared
        xs, ys = self._dataset.batches(
            shared["data_seed"], start, stop - start, shared["batch_size"]
        )
        xs, ys = xs.to(lanes.dtype), ys.to(lanes.dtype)
        block = []
        for step, inputs in enumerate(lanes.inputs(xs, ys), start + 1):
            block.append(self._step(lanes.trained, inputs))
            if self._watch is not None and step in self._watched:
                found = self._watch.look(lanes, step, [self._reached[k] for k in lanes.owners])
                for lane, reached in zip(lanes.owners, found, strict=True):
                    self._reached[lane] += reached
        # The only place where the host waits for the device.
        losses = torch.stack(block)[:, : len(lanes.owners)].double().cpu().numpy()
        return losses, zero_losses(self._loss, ys).double().cpu().numpy()
