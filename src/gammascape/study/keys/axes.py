"""Axes gamma and eta of a grid: log10 values given as a list, a range, a window or a map."""

import math
import re
from collections.abc import Collection
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import ConfigDict, Discriminator, Field, GetCoreSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from gammascape.study.keys.exact import (
    DECIMALS,
    decimal_text,
    grid_points,
    grid_range,
    has_too_many_decimals,
)
from gammascape.study.reading.errors import BOOLEANS
from gammascape.study.reading.fields import OneOrMore, Record, mistake
from gammascape.theory.edges import Loss, predicted_edges

LIMIT = 30
"""Largest absolute log10 value in a file; a larger one was hardly meant as a log10."""

NUMBER_TEXT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

_STEPS = 1
"""Decades below the critical eta in which training is expected to end within the budget of steps."""

WINDOW_SLACK = Fraction(2, 10**DECIMALS)
"""Slack of a window: gamma is rounded to six decimals, so predicted edges are off by up to twice that."""


class _Exponent:
    """Marker of a Decimal that a file gives as a number: a log10 value."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            to_exponent,
            serialization=core_schema.plain_serializer_function_ser_schema(
                _number, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> JsonSchemaValue:
        return {"type": "number", "minimum": -LIMIT, "maximum": LIMIT}


Exponent = Annotated[Decimal, _Exponent()]
"""Exact log10 value with at most six decimals, between -30 and 30."""


def to_exponent(value: object) -> Decimal:
    """Exact decimal of a YAML number, for example Decimal("-2.5")."""
    if isinstance(value, str) and NUMBER_TEXT.fullmatch(value):
        number = float(value)
        raise mistake(
            f"{value} is text to YAML; a log10 value is a plain number: write "
            f"{_log10_of(number)} for 10^{_log10_of(number)}"
            if 0 < number < math.inf
            else f"{value} is text to YAML; write a plain number without quotes"
        )
    if isinstance(value, bool):
        raise mistake(f"needs a number, the log10 of the value, got {value} ({BOOLEANS})")
    if not isinstance(value, int | float | Decimal):
        raise mistake(f"needs a number, the log10 of the value, got {repr(value)[:60]}")
    exact = Decimal(str(value))
    if not exact.is_finite():
        raise mistake(f"needs a finite number, got {value}")
    if abs(exact) > LIMIT:
        raise mistake(
            f"is a log10 value and lies between -{LIMIT} and {LIMIT}, got {value}"
            + (f"; write {_log10_of(value)} for the value {value}" if value > 0 else "")
        )
    if has_too_many_decimals(exact):
        raise mistake(
            f"{value} has more than {DECIMALS} decimals; write "
            f"{decimal_text(round(exact, DECIMALS))}"
        )
    return exact


def _number(value: Decimal) -> int | float:
    """Number that a file would give for an exact decimal."""
    return int(value) if value == value.to_integral_value() else float(value)


def _log10_of(value: float | Decimal) -> str:
    """log10 of a plain value as text, for an example."""
    return decimal_text(Decimal(str(round(math.log10(value), 3))))


def check_order(start: Decimal, stop: Decimal, what: str) -> None:
    """Refuse a `what` that ends before it starts."""
    if start > stop:
        ends = f"from: {decimal_text(stop)} and to: {decimal_text(start)}"
        raise mistake(f"the {what} runs the wrong way: write {ends}")


def _check_range(start: Decimal, stop: Decimal, name: str, density: int) -> None:
    check_order(start, stop, "range")
    # Count the points without making them: they may be many.
    if not grid_range(start, stop, density):
        raise mistake(
            f"no point of the grid with {name}: {density} lies between {decimal_text(start)} and "
            f"{decimal_text(stop)}; widen the range or raise {name}"
        )


class Range(Record):
    """Points k/per_decade of the absolute grid, with integer k, between two log10 values."""

    start: Exponent = Field(alias="from", examples=[-4])
    """Smallest log10 value."""
    stop: Exponent = Field(alias="to", examples=[4])
    """Largest log10 value, included."""
    per_decade: int = Field(ge=1, le=100, examples=[1])
    """Points per decade; 1, 2, 4, 8 keep the earlier points when it is raised."""

    @model_validator(mode="after")
    def _has_points(self) -> Self:
        _check_range(self.start, self.stop, "per_decade", self.per_decade)
        return self

    def points(self) -> tuple[Decimal, ...]:
        """Return the log10 values, ascending."""
        return grid_points(self.start, self.stop, self.per_decade)


Log10 = Annotated[
    Annotated[tuple[Exponent, ...], OneOrMore(), Tag("<points>")]
    | Annotated[Range, Tag("<range>")],
    Discriminator(lambda value: "<range>" if isinstance(value, dict | Range) else "<points>"),
]
"""log10 values: a number, a list of numbers, or a range."""


class Window(Record):
    """Points of the absolute grid around the predicted edges of training at each gamma."""

    per_decade: int = Field(ge=1, le=100, examples=[2])
    """Points of eta per decade; 1, 2, 4, 8 keep the earlier points when it is raised."""
    lower: Exponent = Field(examples=[-2])
    """Start of the window: log10 offset from the predicted lower edge (see follow)."""
    upper: Exponent = Field(examples=[2])
    """End of the window: log10 offset from the predicted upper edge."""
    follow: Literal["both", "upper"] = Field(default="both", examples=["both"])
    """both: from the lower to the upper edge; upper: a band around the upper edge only."""
    rich_exponent: float | None = Field(default=None, gt=0, le=2, examples=[0.5])
    """Exponent of the upper edge at gamma > 1 for models without a depth exponent; 1 if unset."""

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.lower > self.upper:
            raise mistake(
                f"lower is above upper: write lower: {decimal_text(self.upper)} and "
                f"upper: {decimal_text(self.lower)}"
            )
        return self

    def points(self, gamma: Decimal, loss: Loss, depth_exponent: int | None) -> tuple[Decimal, ...]:
        """Return the log10 values of eta at log10 `gamma`, ascending; possibly none.

        If the predicted edges have crossed, the window between them is closed at that gamma; the bounds are then
        swapped, so that its neighbourhood is sampled.
        """
        low, high = _predicted(gamma, loss, depth_exponent, self.rich_exponent)
        if self.follow == "upper":
            low = high
        bounds = sorted((low + Fraction(self.lower), high + Fraction(self.upper)))
        return grid_points(bounds[0], bounds[1], self.per_decade, WINDOW_SLACK)


def _predicted(
    gamma: Decimal, loss: Loss, depth_exponent: int | None, rich_exponent: float | None = None
) -> tuple[Fraction, Fraction]:
    """Predicted edges of a model that may have no depth exponent."""
    rich = Fraction(str(rich_exponent)) if rich_exponent else Fraction(1)
    if depth_exponent is not None:
        rich = Fraction(2, depth_exponent)
    return predicted_edges(Fraction(gamma), loss, rich)


Density = Annotated[int, Field(ge=1, le=64)]
"""Points per decade of a map."""


class _Nested(Record):
    """Grids of which each has the points of the one before."""

    finest: int
    coarsest: int

    @property
    def densities(self) -> tuple[int, ...]:
        """Points per decade of the nested grids, from `coarsest` to `finest`."""
        return self._up_to(self.finest)

    def _up_to(self, most: int) -> tuple[int, ...]:
        return tuple(n for k in range(7) if (n := self.coarsest << k) <= most)

    def _check_nests(self, name: str, number: int, most: int) -> None:
        nested = self._up_to(most)
        if number not in nested:
            fitting = " or ".join(map(str, nested)) or "more for finest"
            raise mistake(
                f"{number} per decade does not add points to the grid of coarsest: {self.coarsest}, or "
                f"is more than finest; write {fitting}",
                name,
            )


class GammaMap(_Nested):
    """Points of the absolute grid: coarse ones, and those that `gammascape map` adds where something changes."""

    start: Exponent = Field(
        default=Decimal(-4), alias="from", examples=[-4], json_schema_extra={"default": -4}
    )
    """Smallest log10 value."""
    stop: Exponent = Field(
        default=Decimal(4), alias="to", examples=[4], json_schema_extra={"default": 4}
    )
    """Largest log10 value, included."""
    finest: Density = Field(default=4, examples=[4])
    """Points of gamma per decade where edges bend, the window closes or accuracy is best; a power of two times
    `coarsest`."""
    coarsest: Density = Field(default=1, examples=[1])
    """Points per decade to begin with."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_range(self.start, self.stop, "coarsest", self.coarsest)
        self._check_nests("finest", self.finest, 64)
        if len(self.points(self.coarsest)) < 2:
            raise mistake(
                "begins with one gamma, beside which none can be added; move from and to further apart, or raise "
                "coarsest"
            )
        return self

    def points(self, density: int) -> tuple[Decimal, ...]:
        """Return the log10 values of one of the nested grids, ascending."""
        return grid_points(self.start, self.stop, density)


MapEdge = Literal["eta_min", "eta_max_trained", "eta_no_spike", "eta_max_finite", "eta_best"]


class Map(_Nested):
    """Points of the absolute grid that `gammascape map` chooses, round by round, where cells change."""

    finest: Density = Field(default=8, examples=[8])
    """Points of eta per decade at the edges; a power of two times `coarsest`."""
    coarsest: Density = Field(default=1, examples=[1])
    """Points per decade of the first round, and outside of the edges as far as `beyond`."""
    inside: Density = Field(
        default_factory=lambda values: max(values["coarsest"], min(2, values["finest"])),
        examples=[2],
        json_schema_extra={"default": 2},
    )
    """Points per decade between the edges; a power of two times `coarsest`, at most `finest`; 2 if that fits."""
    beyond: Annotated[int, Field(ge=0, le=LIMIT)] = Field(default=1, examples=[1])
    """Decades of eta to sample outside of the outermost edges."""
    edges: Annotated[tuple[MapEdge, ...], OneOrMore()] = Field(
        default=get_args(MapEdge), examples=[["eta_max_trained"]]
    )
    """Edges to sharpen; `eta_best` is sharpened to half of `finest`."""
    reach: Annotated[int, Field(ge=0, le=LIMIT)] = Field(default=6, examples=[6])
    """Decades beyond the first points within which an edge is searched for."""
    protocol: Literal["edges", "walk-down"] = Field(default="edges", examples=["edges"])
    """`walk-down`: at `finest` from above down to the first eta without NaN, and three decades more."""
    begin: Log10 | None = Field(default=None, examples=[[-0.5, 0, 0.5]])
    """log10 of the etas of the first round: a number, a list of numbers, or a range, on the grid of `finest`; left
    out: around the curvature of the networks before training, which is measured."""

    @model_validator(mode="after")
    def _nests(self) -> Self:
        for eta in () if self.begin is None else _points(self.begin):
            if not grid_points(eta, eta, self.finest):
                near = decimal_text(Decimal(str(round(round(eta * self.finest) / self.finest, 6))))
                text = f"{decimal_text(eta)} is no point of the grid with {self.finest} per decade (finest); "
                raise mistake(f"{text}write {near}", "begin")
        if self.protocol == "walk-down":
            return self
        self._check_nests("finest", self.finest, 64)
        self._check_nests("inside", self.inside, self.finest)
        return self

    def start(
        self,
        gamma: Decimal,
        loss: Loss,
        depth_exponent: int | None,
        critical: tuple[Fraction, Fraction] | None = None,
    ) -> tuple[Decimal, ...]:
        """Return the log10 values of eta of the first round at log10 `gamma`.

        `critical` is the smallest and largest log10 of 2 / (N sharpness) among the seeds, before training. It
        follows gamma as the predicted lower edge does, so the predicted upper edge is as far above it as theory
        puts it above the lower one. Without it all constants are taken to be 1. With `begin` all of this is
        left aside.
        """
        if self.begin is not None:
            return tuple(sorted(_points(self.begin)))
        lower, upper = _predicted(gamma, loss, depth_exponent)
        least, most = critical or (lower, lower)
        top = most + upper - lower
        bounds = [(min(least - _STEPS, top), max(most, top))]
        density = self.coarsest
        if self.protocol == "walk-down":
            bounds, density = [(bounds[0][1], bounds[0][1] + 1)], self.finest
        elif loss == "xent" and top > most:
            # Between training and the edge of finite loss, which can be decades above, cells tell little.
            bounds = [(least - _STEPS, most), (top, top)]
        points = set[Decimal]()
        for low, high in bounds:
            # Ends are rounded to coarse points; later rounds search for an edge beyond them.
            low, high = (min(max(end, Fraction(-LIMIT)), Fraction(LIMIT)) for end in (low, high))
            half = Fraction(1, 2 * density)
            points.update(grid_points(low - half, high + half, density))
        return tuple(sorted(points))

    def expected(self, begun: int) -> int:
        """Number of points to expect at one gamma, `begun` of them in the first round.

        An edge takes a point for each doubling of the density, the best eta one on each side; training is taken to
        span two decades of eta.
        """
        if self.protocol == "walk-down":
            return begun + 4 * self.finest
        edges = (len(self.densities) - 1) * len({*self.edges} - {"eta_best"})
        beside = sum(self.inside < density < self.finest for density in self.densities)
        best = 2 * beside if "eta_best" in self.edges else 0
        return (
            begun + edges + best + 2 * (self.inside - self.coarsest + self.beyond * self.coarsest)
        )


def _plain_number(value: object) -> float | None:
    if isinstance(value, str) and NUMBER_TEXT.fullmatch(value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None


def _one_of(*forms: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [form]} for form in forms]})


class _Axis(Record):
    example: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        """Answer common mistakes in writing an axis with what to write instead."""
        if isinstance(value, dict):
            forms = {"log10", "window", "map"}
            if not forms & set(value) and {"from", "to", "per_decade"} & set(value):
                raise mistake(
                    "the range stands under log10: write {log10: {from: -4, to: 4, per_decade: 1}}"
                )
            return value
        given = value if isinstance(value, list) else [value]
        numbers = [_plain_number(item) for item in given]
        if not numbers or None in numbers:
            return value
        why = f"{cls.__name__.removesuffix('Axis').lower()} is given as its log10"
        if isinstance(given[0], str):
            why = f"{given[0]} is text to YAML, and {why}"
        # A value that is not positive can only be meant as a log10.
        meant = all(number is not None and 0 < number < math.inf for number in numbers)
        texts = [_log10_of(number) if meant and number else str(number) for number in numbers]
        written = f"[{', '.join(texts)}]" if isinstance(value, list) else texts[0]
        raise mistake(f"{why}: write {{log10: {written}}}")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        forms = list(type(self).model_fields)
        given = [form for form in forms if getattr(self, form) is not None]
        if len(given) != 1:
            raise mistake(
                f"needs one of {', '.join(forms[:-1])} and {forms[-1]}, got {' and '.join(given) or 'none'}: "
                f"write for example {self.example}, or {{map: {{}}}}"
            )
        return self


class GammaAxis(_Axis):
    """Values of gamma of a grid: log10 or map."""

    model_config = _one_of("log10", "map")
    example: ClassVar[str] = "{log10: {from: -4, to: 4, per_decade: 1}}"

    log10: Log10 | None = Field(default=None, examples=[{"from": -4, "to": 4, "per_decade": 1}])
    """log10 of gamma: a number, a list of numbers, or a range."""
    map: GammaMap | None = Field(default=None, examples=[{}])
    """log10 of gamma as `gammascape map` finds it: coarse points, and more where edges bend."""

    def points(self, chosen: Collection[Decimal] = ()) -> tuple[Decimal, ...]:
        """Return the log10 values, a list `log10` in the order of the file.

        A map has the values where it begins, and the `chosen` ones that it can have.
        """
        if self.map is not None:
            own = self.map.points(self.map.finest)
            return tuple(sorted({*self.map.points(self.map.coarsest), *chosen} & {*own}))
        assert self.log10 is not None  # ensured by _is_one
        return _points(self.log10)


class EtaAxis(_Axis):
    """Values of eta of a grid: log10, window or map."""

    model_config = _one_of("log10", "window", "map")
    example: ClassVar[str] = "{window: {per_decade: 2, lower: -2, upper: 2}}"

    log10: Log10 | None = Field(default=None, examples=[{"from": -4, "to": 2, "per_decade": 1}])
    """log10 of eta, the same at each gamma: a number, a list of numbers, or a range."""
    window: Window | None = Field(
        default=None, examples=[{"per_decade": 2, "lower": -2, "upper": 2}]
    )
    """log10 of eta around the predicted edges at each gamma."""
    map: Map | None = Field(default=None, examples=[{}])
    """log10 of eta as `gammascape map` finds it, at edges of the cells themselves."""

    def points(self, gamma: Decimal, loss: Loss, depth_exponent: int | None) -> tuple[Decimal, ...]:
        """Return the log10 values of eta at log10 `gamma`; none if a window contains no grid point there.

        A map has the values where it would begin: its points are in a file of their own.
        """
        if self.map is not None:
            return self.map.start(gamma, loss, depth_exponent)
        if self.window is not None:
            return self.window.points(gamma, loss, depth_exponent)
        assert self.log10 is not None  # ensured by _is_one
        return _points(self.log10)


def _points(values: Range | tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    return values.points() if isinstance(values, Range) else values
