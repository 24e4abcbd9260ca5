"""The networks of a pack on the device."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from gammascape.measure.representations import relative_change
from gammascape.models import Hidden, initial_parameters
from gammascape.models.centred import CentredForm
from gammascape.models.model import Reference
from gammascape.training.pack import Pack, graph_places, places_after
from gammascape.training.sgd import StepInputs

_INITIAL_CHUNK = 512
"""Samples in one forward pass of the initial networks: enough to hide its overhead, few enough for the cache."""

Array = NDArray[Any]
Weights = Sequence[Mapping[str, Array]]
"""Weights of each lane, by name."""


class Lanes:
    """The networks of a pack on the device: weights, constants, and the initial networks of their seeds.

    `owners` gives the lane of the pack at each place on the device. If fewer lanes are left than the backend
    computes at once, the remaining places are filled with copies of the first lane.
    """

    def __init__(
        self, pack: Pack, form: CentredForm, device: torch.device, weights: Weights | None
    ) -> None:
        dtype = torch.float64 if pack.shared["dtype"] == "float64" else torch.float32
        seeds = sorted({lane.seed for lane in pack.lanes})
        model = form.model
        self._on_gpu = device.type == "cuda"
        self._least = 1 if self._on_gpu else form.least
        seeds += seeds[:1] * (self._least - len(seeds))
        self.dtype = dtype
        self.form = form
        # f~(w_0) depends on the seed alone, so each seed's initial network is evaluated once for all its lanes.
        self.initial = initial_parameters(model, seeds, dtype, device)
        self.owners = list(range(len(pack.lanes)))
        lanes = len(pack.lanes)
        places = self._padded(self.owners, graph_places(lanes) if self._on_gpu else self._least)
        self.seed = torch.tensor([seeds.index(pack.lanes[k].seed) for k in places], device=device)
        gammas = torch.tensor([pack.lanes[k].gamma for k in places], dtype=dtype, device=device)
        etas = torch.tensor([pack.lanes[k].eta for k in places], dtype=dtype, device=device)
        self.gammas = gammas[:, None, None]
        self.learning_rates = etas * model.base_width
        self.starts = self._initial_of_places() if form.trains_difference else {}
        if weights is not None:
            self.trained = {
                name: torch.stack([torch.from_numpy(weights[k][name]) for k in places]).to(device)
                for name in self.initial
            }
        elif form.trains_difference:
            self.trained = {name: torch.zeros_like(value) for name, value in self.starts.items()}
        else:
            self.trained = self._initial_of_places()

    def inputs(self, xs: Tensor, ys: Tensor) -> Iterator[StepInputs]:
        """Inputs of the steps on batches xs (n, B, ...), ys (n, B, O), with f~(w_0) of many batches at once."""
        # A network that is not batched may mix the samples of its batch.
        size = max(1, _INITIAL_CHUNK // xs.shape[1]) if self.form.model.batched else 1
        for several_x, several_y in zip(torch.split(xs, size), torch.split(ys, size), strict=True):
            kept = tuple(
                torch.unflatten(value, 1, (len(several_x), -1))
                for value in self.reference(several_x.flatten(0, 1))
            )
            for batch, (x, y) in enumerate(zip(several_x, several_y, strict=True)):
                reference = tuple(value[:, batch] for value in kept)
                constants = self.learning_rates, self.gammas
                yield StepInputs(self.starts, *constants, reference, x, y, self.seed)

    def reference(self, x: Tensor) -> Reference:
        """Reference tensors of the initial network of each seed on the inputs."""
        return self.form.reference(self.initial, x)

    @torch.no_grad()
    def outputs(
        self, x: Tensor, hidden: Hidden | None = None, reference: Reference | None = None
    ) -> Tensor:
        """Outputs f on the inputs, (places, n, O); `reference` is computed if it is not given."""
        kept = self.reference(x) if reference is None else reference
        own = tuple(value[self.seed] for value in kept)
        return self.form.numerator(self.trained, self.starts, own, x, hidden) / self.gammas

    def relative_change(self) -> dict[str, Tensor]:
        """|w - w_0| / |w_0| of each weight tensor: name -> (places,)."""
        initial = self._initial_of_places()
        before = None if self.form.trains_difference else initial
        return relative_change(self.form.model, self.trained, before, initial)

    def weights(self) -> list[dict[str, Array]]:
        """Trained tensors of each living lane, in the order of `owners`."""
        whole = {name: value.cpu().numpy() for name, value in self.trained.items()}
        return [
            {name: value[k].copy() for name, value in whole.items()}
            for k in range(len(self.owners))
        ]

    @torch.no_grad()
    def keep(self, positions: list[int]) -> None:
        """Drop all lanes except at these positions."""
        before = self.seed
        fewer = places_after(len(positions), len(before)) if self._on_gpu else self._least
        places = self._padded(positions, fewer)
        chosen = torch.tensor(places, device=self.gammas.device)
        self.owners = [self.owners[position] for position in positions]
        self.seed = self.seed[chosen]
        self.gammas = self.gammas[chosen]
        self.learning_rates = self.learning_rates[chosen]
        if self._on_gpu and fewer == len(before):
            # The captured step knows the tensors by their places in memory.
            for value in (*self.trained.values(), *self.starts.values()):
                value.copy_(value[chosen])
            return
        self.trained = {name: value[chosen] for name, value in self.trained.items()}
        self.starts = {name: value[chosen] for name, value in self.starts.items()}

    def _initial_of_places(self) -> dict[str, Tensor]:
        return {name: value[self.seed] for name, value in self.initial.items()}

    @staticmethod
    def _padded(positions: list[int], places: int) -> list[int]:
        """Positions, filled up with copies of the first to a number of places."""
        return positions + positions[:1] * (places - len(positions))
