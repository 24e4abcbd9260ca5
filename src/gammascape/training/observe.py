"""Observables during a run: the measurement behind each name, and the number of lanes measured at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gammascape.data.dataset import Dataset
from gammascape.measure import kernels
from gammascape.measure.curvature import LANCZOS_STEPS, Curvature
from gammascape.measure.networks import Networks, flat_size
from gammascape.measure.spectra import effective_rank, singular_values, weight_matrices
from gammascape.models import Hidden
from gammascape.training.exact import each_lane, lanes_together
from gammascape.training.lanes import Lanes
from gammascape.training.losses import accuracy, lane_losses

TANGENT_PROBES = 32
"""Probes for the neural tangent kernel; the other observables use the whole probe set."""

TRAINING_SAMPLES = 1000
"""Samples for the training accuracy: the first ones of the stream, as they are trained on."""

_CURVATURE = {"sharpness", "gauss_newton_sharpness", "hessian_trace"}
_FEATURES = {"kernel_alignment", "initial_cka"}

_BYTES = 2**29
"""Bytes that the vectors of one measurement may take together."""


class Observer:
    """Measurement of the lanes of one pack; each value is a function of its lane alone."""

    def __init__(
        self, names: Sequence[str], lanes: Lanes, dataset: Dataset, loss: str, data_seed: int = 0
    ) -> None:
        self._names = set(names)
        self._losses = partial(lane_losses, loss)
        self._x = dataset.probe_inputs.to(lanes.dtype, copy=True)
        self._y = dataset.probe_targets.to(lanes.dtype, copy=True)
        self._reference = lanes.reference(self._x)
        if self._names & _FEATURES:
            self._targets = kernels.gram(self._y[None])
            hidden: Hidden = {}
            trained, starts = lanes.initial, {}
            if lanes.form.trains_difference:
                trained = {name: torch.zeros_like(value) for name, value in lanes.initial.items()}
                starts = lanes.initial
            with torch.no_grad():
                lanes.form.numerator(trained, starts, self._reference, self._x, hidden)
            self._initial = {
                name: each_lane(kernels.gram, features) for name, features in hidden.items()
            }
        if "training_accuracy" in self._names:
            count = min(TRAINING_SAMPLES, dataset.samples_per_pass or TRAINING_SAMPLES)
            first = dataset.batches(data_seed, 0, 1, count)
            self._trained_x, self._trained_y = (part[0].to(lanes.dtype) for part in first)
        if "ntk_alignment" in self._names:
            self._few_targets = each_lane(kernels.gram, self._y[None, :TANGENT_PROBES])

    def observe(self, lanes: Lanes) -> list[dict[str, Any]]:
        """Requested observables of each living lane, in the order of `lanes.owners`."""
        found: dict[str, Any] = {}
        if self._names & _CURVATURE:
            found |= self._curvature(lanes)
        if self._names & _FEATURES:
            found |= self._features(lanes)
        if "ntk_alignment" in self._names:
            found["ntk_alignment"] = self._over_probes(lanes, self._tangent_alignment)
        if "gradient_noise_scale" in self._names:
            measure = partial(kernels.gradient_noise_scale, most_bytes=_BYTES)
            found["gradient_noise_scale"] = self._over_probes(lanes, measure)
        if "relative_change" in self._names:
            found["relative_change"] = lanes.relative_change()
        if "effective_rank" in self._names:
            spectra = self._spectra(lanes)
            found["effective_rank"] = {name: effective_rank(spectra[name]) for name in spectra}
        if "training_accuracy" in self._names:
            found["training_accuracy"] = accuracy(lanes.outputs(self._trained_x), self._trained_y)
        return [_of_lane(found, k) for k in range(len(lanes.owners))]

    def final_arrays(self, lanes: Lanes) -> list[dict[str, Tensor]]:
        """Singular values of each layer's weights for each living lane, if requested."""
        count = len(lanes.owners)
        if "singular_values" not in self._names:
            return [{} for _ in range(count)]
        spectra = self._spectra(lanes)
        return [{name: values[k].cpu() for name, values in spectra.items()} for k in range(count)]

    def _curvature(self, lanes: Lanes) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {}
        form, size = lanes.form, sum(v[0].numel() for v in lanes.trained.values())
        bytes_of_lane = (LANCZOS_STEPS + 1) * flat_size(size) * self._x.element_size()
        together = int(min(max(form.least, _BYTES // bytes_of_lane), form.most(self._x)))
        for networks, rates, count in self._groups(lanes, together, form.least):
            with form.products(self._x):
                curvature = Curvature(networks)
                found = {}
                if "sharpness" in self._names:
                    found["sharpness"] = curvature.largest(curvature.hessian)
                    found["eta_times_sharpness"] = rates.double() * found["sharpness"]
                if "gauss_newton_sharpness" in self._names:
                    found["gauss_newton_sharpness"] = curvature.largest(curvature.gauss_newton)
                if "hessian_trace" in self._names:
                    found["hessian_trace"] = curvature.trace()
            for name, value in found.items():
                parts.setdefault(name, []).append(value[:count])
        return {name: torch.cat(several) for name, several in parts.items()}

    def _features(self, lanes: Lanes) -> dict[str, Any]:
        hidden: Hidden = {}
        lanes.outputs(self._x, hidden, self._reference)
        last = lanes.form.model.hidden[-1]
        similar: dict[str, Tensor] = {}
        aligned = torch.empty(0)
        for name, features in hidden.items():
            if name != last and "initial_cka" not in self._names:
                continue
            grams, initial = each_lane(kernels.gram, features), self._initial[name][lanes.seed]
            similar[name] = each_lane(kernels.debiased_similarity, grams, initial)
            if name == last:
                targets = self._targets.expand_as(grams)
                aligned = each_lane(kernels.debiased_similarity, grams, targets)
        found = {"initial_cka": similar, "kernel_alignment": aligned}
        return {name: value for name, value in found.items() if name in self._names}

    def _tangent_alignment(self, networks: Networks) -> Tensor:
        kernel = kernels.tangent_kernel(networks.first(TANGENT_PROBES), _BYTES)
        return kernels.debiased_similarity(kernel, self._few_targets.expand_as(kernel))

    def _spectra(self, lanes: Lanes) -> dict[str, Tensor]:
        weights = {name: value.double() for name, value in lanes.trained.items()}
        if lanes.form.trains_difference:
            weights = {name: value + lanes.starts[name].double() for name, value in weights.items()}
        living = {name: value[: len(lanes.owners)] for name, value in weights.items()}
        matrices = weight_matrices(lanes.form.model, living)
        return {name: singular_values(matrix) for name, matrix in matrices.items()}

    def _over_probes(self, lanes: Lanes, measure: Callable[[Networks], Tensor]) -> Tensor:
        """Run a measurement that maps over probes, on as many lanes together as memory allows."""
        size = sum(value[0].numel() for value in lanes.trained.values())
        bytes_of_lane = TANGENT_PROBES * size * self._x.element_size()
        together = int(min(max(1, _BYTES // bytes_of_lane), lanes_together(self._x)))
        groups = self._groups(lanes, together, 1)
        return torch.cat([measure(networks)[:count] for networks, _, count in groups])

    def _groups(
        self, lanes: Lanes, together: int, least: int
    ) -> Iterator[tuple[Networks, Tensor, int]]:
        """Living lanes in groups: copies of their networks, their learning rates, and the number that count.

        A group of fewer than `least` lanes is filled up with its first lane.
        """
        living = len(lanes.owners)
        for first in range(0, living, together):
            positions = list(range(first, min(living, first + together)))
            filled = positions + positions[:1] * (min(least, together) - len(positions))
            chosen = torch.tensor(filled, device=self._x.device)
            networks = Networks(
                form=lanes.form,
                trained={name: value[chosen] for name, value in lanes.trained.items()},
                starts={name: value[chosen] for name, value in lanes.starts.items()},
                gammas=lanes.gammas[chosen],
                reference=tuple(value[lanes.seed[chosen]] for value in self._reference),
                x=self._x,
                y=self._y,
                losses=self._losses,
            )
            yield networks, lanes.learning_rates[chosen], len(positions)


def _of_lane(observables: Mapping[str, Any], k: int) -> dict[str, Any]:
    return {
        name: {layer: float(part[k]) for layer, part in value.items()}
        if isinstance(value, Mapping)
        else float(value[k])
        for name, value in observables.items()
    }
