"""A factor on an axis: its values, its words, symbols beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import polars as pl

from gammascape.figures.style import theme

MEASURES = {"accuracy": "test accuracy", "test_loss": "test loss"}
_DODGE = 0.06
"""Share of the distance between two values by which symbols stand beside each other."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Title and scale of a factor's axis."""

    title: str
    log: bool
    expr: str
    """Vega expression of the label at `datum.value`."""


_COUNT = "format(round(pow(10, datum.value)), ',')"
FACTORS = {
    "depth": Factor("depth L (weight matrices)", False, "datum.label"),
    "width": Factor("width N", True, _COUNT),
    "batch_size": Factor("batch size B (samples)", True, _COUNT),
    "steps": Factor("steps T", True, _COUNT),
    "label_noise": Factor("wrong training labels (%)", False, "format(100 * datum.value, '.3~g')"),
    "training_samples": Factor("different training samples", True, _COUNT),
}


def place(factor: str) -> pl.Expr:
    """The factor on its axis."""
    value = pl.col("factor_value")
    return value.log(10) if FACTORS[factor].log else value


def axis_of(rows: pl.DataFrame, factor: str, title: bool = True, margin: float = 0.2) -> alt.X:
    """Axis of a factor, with a label at each of its values in `rows`."""
    how = FACTORS[factor]
    at = sorted(rows.select(place(factor)).to_series().unique())
    beside = margin * (at[-1] - at[0]) or 0.5
    axis = alt.Axis(
        title=how.title if title else None, values=at, labelExpr=how.expr, labelOverlap="parity"
    )
    scale = alt.Scale(domain=[at[0] - beside, at[-1] + beside], nice=False, zero=False)
    return alt.X("at:Q", scale=scale, axis=axis)


def dodged(rows: pl.DataFrame, factor: str, by: str, names: Sequence[str]) -> pl.DataFrame:
    """Rows with `at`: the factor on its axis, moved a little so that no symbol hides another."""
    places = sorted(rows.select(place(factor)).to_series().unique())
    step = min(np.diff(places), default=1.0) * _DODGE
    shift = theme.side_by_side(names, step)
    return rows.with_columns(
        at=place(factor) + pl.col(by).replace_strict(shift, return_dtype=pl.Float64)
    )


def name_of(factor: str, value: float) -> str:
    """Value of a factor in a label or sentence."""
    return f"{100 * value:g} %" if factor == "label_noise" else f"{value:,.0f}"
