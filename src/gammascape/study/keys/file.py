"""Keys of a study file."""

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from itertools import product
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from gammascape.runs.outcome import Thresholds
from gammascape.study.keys.axes import NUMBER_TEXT, EtaAxis, Exponent, GammaAxis, check_order
from gammascape.study.keys.datasets import DatasetSpec
from gammascape.study.keys.models import ModelSpec
from gammascape.study.keys.observables import Observable
from gammascape.study.reading.fields import (
    Count,
    Listed,
    Name,
    OneOrMore,
    Record,
    Seed,
    each_once,
    mistake,
)
from gammascape.theory.edges import Loss

DataSeeds = Annotated[
    Annotated[tuple[Seed, ...], OneOrMore(), Tag("<seeds>")]
    | Annotated[Literal["seed"], Tag("<same>")],
    Discriminator(
        lambda value: (
            "<same>" if isinstance(value, str) and not NUMBER_TEXT.fullmatch(value) else "<seeds>"
        )
    ),
]
"""Seeds of data streams, or `seed`: each equal to the weights' seed."""
_NONE: Mapping[Decimal, Collection[Decimal]] = {}
Observables = Annotated[tuple[Observable, ...], Listed, AfterValidator(each_once)]


class Grid(Record):
    """All combinations of the values under its keys; a study is the union of its grids."""

    model: Annotated[tuple[str, ...], OneOrMore()] = Field(examples=["mlp3"])
    """Name, or list of names, of models defined under models."""
    dataset: Annotated[tuple[str, ...], OneOrMore()] = Field(examples=["digits"])
    """Name, or list of names, of datasets defined under datasets."""
    loss: Annotated[tuple[Loss, ...], OneOrMore()] = Field(examples=["mse"])
    """mse (mean over batch and outputs) or xent (softmax cross-entropy), or both in a list."""
    gamma: GammaAxis = Field(examples=[{"log10": {"from": -4, "to": 4, "per_decade": 1}}])
    """Feature learning strength: the network's output is divided by it."""
    eta: EtaAxis = Field(examples=[{"window": {"per_decade": 2, "lower": -2, "upper": 2}}])
    """Learning rate of plain SGD, constant in time."""
    batch_size: Annotated[tuple[Count, ...], OneOrMore()] = Field(examples=[32])
    """Batch size B, or a list of them."""
    steps: Annotated[tuple[Count, ...], OneOrMore()] = Field(examples=[600])
    """Number T of SGD steps, or a list of them."""
    seed: Annotated[tuple[Seed, ...], OneOrMore()] = Field(default=(0,), examples=[[0, 1]])
    """Seed of the initial weights, or a list of them."""
    data_seed: DataSeeds = Field(default=(0,), examples=[0])
    """Seed of the data stream, or a list of them, each with each `seed`. `data_seed: seed` gives each `seed` a
    stream of its own, of the same number: seeds then scatter as trainings on other data do."""
    observables: Observables = Field(default=(), examples=[["sharpness"]])
    """Observables of this grid's cells, in addition to the observables of the whole study."""

    @property
    def seeds(self) -> tuple[tuple[int, int], ...]:
        """Pairs of `seed` and `data_seed`."""
        if self.data_seed == "seed":
            return tuple((seed, seed) for seed in self.seed)
        return tuple(product(self.seed, self.data_seed))

    @model_validator(mode="after")
    def _maps_both(self) -> Self:
        if self.gamma.map is not None and self.eta.map is None:
            raise mistake(
                "gammas are added by edges that a map of eta finds; write eta: {map: {}}", "eta"
            )
        return self

    def points(
        self,
        loss: Loss,
        depth_exponent: int | None,
        chosen: Mapping[Decimal, Collection[Decimal]] = _NONE,
    ) -> Iterator[tuple[Decimal, Decimal]]:
        """Pairs (log10 gamma, log10 eta) of the grid for one loss and model.

        A map has the `chosen` etas at the gammas of these, and begins at others.
        """
        own = _NONE if self.eta.map is None else chosen
        for gamma in self.gamma.points(own):
            for eta in own.get(gamma) or self.eta.points(gamma, loss, depth_exponent):
                yield gamma, eta


class Span(Record):
    """Interval of log10 gamma that includes its bounds; a missing bound is open."""

    start: Exponent | None = Field(default=None, alias="from", examples=[1])
    """Smallest log10 gamma; open if left out."""
    stop: Exponent | None = Field(default=None, alias="to", examples=[-1.5])
    """Largest log10 gamma; open if left out."""

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.start is None and self.stop is None:
            raise mistake("needs from, to, or both: write for example {to: -1.5}")
        if self.start is not None and self.stop is not None:
            check_order(self.start, self.stop, "window")
        return self


class Carried(Record):
    """Prediction for one slice from another study, written by `gammascape scale`."""

    slice: str = Field(examples=["mlp3w256-mnist-mse-B64-T300"])
    """Slice of this study."""
    source: str = Field(examples=["mnist-small"])
    """Study that it was carried from."""
    gamma: Exponent = Field(examples=[0])
    """log10 of the predicted best gamma."""
    eta: Exponent = Field(examples=[-0.5])
    """log10 of the predicted best eta at that gamma."""
    eta_low: Exponent = Field(examples=[-0.75])
    """Lower end of its interval."""
    eta_high: Exponent = Field(examples=[-0.25])
    """Upper end of its interval."""


class Analysis(Record):
    """Criteria for judging cells and fitting edges; changing them retrains nothing."""

    trained_below: float = Field(default=Thresholds.trained_below, gt=0, lt=1, examples=[0.5])
    """Relative final loss (final loss over the loss of f = 0) at or below which a cell is trained."""
    runaway_above: float = Field(default=Thresholds.runaway_above, ge=1, examples=[1.05])
    """Relative final loss above which a cell with finite loss has run away."""
    catapult_above: float = Field(default=Thresholds.catapult_above, ge=1, examples=[3.0])
    """Peak loss over initial loss above which a cell is flagged as catapulted."""
    lazy: Span = Field(default=Span.model_validate({"to": -1.5}), examples=[{"to": -1.5}])
    """Window of log10 gamma in which the lazy exponents are fitted."""
    rich: Span = Field(default=Span.model_validate({"from": 1}), examples=[{"from": 1}])
    """Window of log10 gamma in which the ultra-rich exponents are fitted."""
    bootstrap: int = Field(default=2000, ge=100, le=1_000_000, examples=[2000])
    """Number of resamples behind intervals of crossovers; all others are computed without random numbers."""
    confidence: float = Field(default=0.95, gt=0, lt=1, examples=[0.95])
    """Nominal coverage of each interval."""
    carried: Annotated[tuple[Carried, ...], Listed] = ()
    """Predictions that `gammascape advise` compares with what is measured here."""


class SmallGamma(Record):
    """Computation of cells of small gamma: in float32, f loses digits as gamma shrinks."""

    below: Exponent = Field(default=Decimal(-2), examples=[-2], json_schema_extra={"default": -2})
    """Cells whose log10 gamma is strictly below this value are trained in `form`, others in float32."""
    form: Literal["fastest", "float64", "difference"] = "fastest"
    """Form of computation: `float64` computes in float64; `difference` trains w - w_0 in float32 and never
    subtracts two outputs; `fastest` is `difference` for MLPs and `float64` for others, as measured on CPUs. The
    form is part of a cell's identity, so it never depends on the machine: for a GPU write `difference`, as the
    large studies do; a run warns if float64 is slow. Models of a factory are always computed in float64."""


class StudyFile(Record):
    """Study file: the cells to train and the options of their analysis."""

    description: str = Field(default="", examples=["Depth changes the upper edge."])
    """One sentence shown on the result page."""
    models: dict[Name, ModelSpec] = Field(
        min_length=1,
        examples=[{"mlp3": {"kind": "mlp", "depth": 3, "width": 64}}],
        json_schema_extra={"additionalProperties": False},
    )
    """Models by name; a name is lower case letters and digits and begins with a letter."""
    datasets: dict[Name, DatasetSpec] = Field(
        min_length=1,
        examples=[{"digits": {"kind": "digits"}}],
        json_schema_extra={"additionalProperties": False},
    )
    """Datasets by name; a name is lower case letters and digits and begins with a letter."""
    grids: Annotated[tuple[Grid, ...], Listed] = Field(min_length=1)
    """List of grids; the study is their union, and a cell in two grids is trained once."""
    observables: Observables = Field(default=(), examples=[["kernel_alignment", "initial_cka"]])
    """Observables measured during every run, besides losses: names from the table of observables."""
    small_gamma: SmallGamma = Field(default=SmallGamma())
    """Computation of cells whose outputs hardly move before division by gamma."""
    analysis: Analysis = Field(default=Analysis())
    """Thresholds and fit windows; changing them retrains nothing."""
