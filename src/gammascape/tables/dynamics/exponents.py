"""Exponents of the dynamics: log-log slopes of the columns of the table dynamics, with intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import polars as pl

from gammascape.study import Analysis, Regime
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.dynamics.paths import EtaPath
from gammascape.tables.edges.exponents import against_law, seeds_of
from gammascape.tables.statistics.slopes import fit_slope
from gammascape.theory.laws import DYNAMICS

NO_SCATTER = "two gammas leave no scatter to tell an interval from"

DYNAMICS_SCALING_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int quantity:str path:str window:str unit:str from_log10 to_log10 slope "
    "slope_low slope_high prefactor_log10 predicted_slope gammas:int points:int seeds:int "
    "confidence censored:int margin p_differs power reason:str"
)

Unit = Literal["log10", "steps"]
Exponent = Callable[[pl.DataFrame], float | None]


@dataclass(frozen=True)
class Quantity:
    """A column of the table dynamics that follows a law in gamma."""

    name: str
    path: EtaPath
    window: Regime
    predicted: Exponent
    column: str = ""
    """Column of the table; the name if empty."""
    unit: Unit = "log10"
    """Scale that is linear in log10 gamma: log10 of the column, or the column itself."""
    is_time: bool = False
    """A time in steps is carried from the sampled eta to the path's: eta times steps stays the same."""
    is_passage_time: bool = False
    """A time at which the loss passes a level: where it is not known, it is later than all steps."""
    has_bounds: bool = False
    """True if the value is known to lie between the columns with _low and _high in their names."""

    @property
    def read(self) -> str:
        """Name of the column."""
        return self.column or self.name


def _of_depth(law: Callable[[int], Fraction]) -> Exponent:
    def exponent(rows: pl.DataFrame) -> float | None:
        depth = rows["depth_exponent"][0]
        return None if depth is None else float(law(depth))

    return exponent


def _fixed(value: float) -> Exponent:
    return lambda _: value


def _peak(rows: pl.DataFrame) -> float | None:
    # The bounded gradient of cross-entropy makes no such peak.
    return -2.0 if rows["loss"][0] == "mse" else None


def _peak_time(rows: pl.DataFrame) -> float | None:
    """Steps a decade: f is multiplied by 1 - N eta lambda in a step, until it has grown to 1/gamma."""
    growth = rows["eta_times_sharpness_init"].median()
    if rows["loss"][0] != "mse" or not isinstance(growth, float) or growth <= 2:
        return None
    return float(-1 / np.log10(growth - 1))


_ESCAPE = _of_depth(lambda depth: 1 - Fraction(2, depth))
_END = _of_depth(lambda depth: -Fraction(2, depth))
_MOVED = _of_depth(lambda depth: Fraction(1, depth))

QUANTITIES: tuple[Quantity, ...] = (
    Quantity("catapult_peak", "catapult", "lazy", _peak, column="peak_ratio"),
    Quantity(
        "catapult_peak_step", "catapult", "lazy", _peak_time, column="peak_step", unit="steps"
    ),
    Quantity("sharpness_init", "scaled", "lazy", _fixed(-2)),
    Quantity("sharpness_init", "scaled", "rich", _fixed(-1)),
    Quantity("sharpness_end", "scaled", "lazy", _fixed(-2)),
    Quantity("sharpness_end", "scaled", "rich", _END),
    Quantity("sharpening_factor", "scaled", "lazy", _fixed(0)),
    Quantity("sharpening_factor", "scaled", "rich", _ESCAPE),
    Quantity("relative_change", "scaled", "lazy", _fixed(1)),
    Quantity("relative_change", "scaled", "rich", _MOVED),
    Quantity("escape_step", "scaled", "rich", _ESCAPE, is_time=True),
    Quantity("half_step", "scaled", "rich", _ESCAPE, is_time=True, is_passage_time=True),
    Quantity("trained_step", "scaled", "rich", _ESCAPE, is_time=True, is_passage_time=True),
    Quantity("alignment_step", "scaled", "rich", _ESCAPE, is_time=True, has_bounds=True),
)
"""Fitted quantities. The exponents follow from a network homogeneous of degree L (docs/explanation/theory.md)."""


def dynamics_scaling_table(dynamics: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Slopes against log10 gamma of QUANTITIES, for each slice; `reason` says why a row has none.

    Lines and intervals are as in the table scaling (`tables.statistics.slopes.fit_slope`): each seed has a
    prefactor of its own. A seed with the quantity at one gamma alone says nothing of a slope, and takes no part
    where others have more. Runs that do not pass a level count as passing it after their last step.

    Args:
        dynamics: the table of `tables.dynamics.events.dynamics_table`.
        analysis: `trained_below` and confidence level.
    """
    rows: list[dict[str, Any]] = []
    shared = [*SLICE_COLUMNS, "depth_exponent"]
    for head, part in grouped(dynamics.sort("slice", maintain_order=True), shared):
        head["confidence"] = analysis.confidence
        for quantity in QUANTITIES:
            place = {"path": quantity.path, "window": quantity.window}
            labels = place | {"quantity": quantity.name, "unit": quantity.unit}
            rows.append(head | labels | _fit(part.filter(**place), quantity, analysis))
    return pl.DataFrame(rows, schema=DYNAMICS_SCALING_SCHEMA)


def values_of(rows: pl.DataFrame, quantity: Quantity) -> pl.DataFrame:
    """Rows that have the quantity, with its value `at` and its ends `low` and `high`, as fitted."""
    at, ends = quantity.read, ("_low", "_high") if quantity.has_bounds else ("", "")
    wanted = {"at": at, "low": f"{at}{ends[0]}", "high": f"{at}{ends[1]}"}
    # Steps at the sampled eta, times sampled over exact eta, are steps at the exact one.
    shift = pl.col("offset_log10").fill_null(0) if quantity.is_time else pl.lit(0.0)
    read = {
        name: pl.col(column).cast(pl.Float64)
        if quantity.unit == "steps"
        else pl.col(column).cast(pl.Float64).log(10) + shift
        for name, column in wanted.items()
    }
    known = rows.filter(pl.col(at) > 0) if quantity.unit == "log10" else rows
    known = known.with_columns(**read).filter(pl.col("at").is_finite())
    several = pl.col("gamma_log10").n_unique().over("seed", "data_seed") > 1
    return known.filter(several) if known.select(several.any()).item() else known


def _fit(rows: pl.DataFrame, quantity: Quantity, analysis: Analysis) -> dict[str, Any]:
    if rows.is_empty():
        return {"reason": f"no cell on the path {quantity.path}"}
    known = values_of(rows, quantity)
    gammas = known["gamma_log10"].n_unique()
    found: dict[str, Any] = {
        "predicted_slope": quantity.predicted(known if known.height else rows),
        "gammas": gammas,
        "points": known.height,
        "seeds": known.select("seed", "data_seed").n_unique() if known.height else 0,
    }
    if gammas < 2:
        what = f"{quantity.read} is known at {gammas} of {rows['gamma_log10'].n_unique()} gammas"
        return found | {"reason": what}
    fitted = known
    if quantity.is_passage_time:
        later = pl.col("steps").log(10) + pl.col("offset_log10").fill_null(0)
        fitted = known.vstack(
            rows.filter(pl.col(quantity.read).is_null())
            .select(*rows.columns, at=None, low=later, high=np.inf)
            .match_to_schema(known.schema)
        )
    fit = fit_slope(
        *(fitted["gamma_log10"], seeds_of(fitted), fitted["low"], fitted["high"]),
        analysis.confidence,
    )
    assert fit is not None  # at least two gammas have both ends
    law = DYNAMICS.get((quantity.name, quantity.window))
    return found | {
        "from_log10": known["gamma_log10"].min(),
        "to_log10": known["gamma_log10"].max(),
        **with_ends("slope", fit.value, (fit.low, fit.high)),
        "prefactor_log10": fit.intercept,
        **against_law(fit, known, found["predicted_slope"], law, analysis),
        # Two gammas leave no residual: the interval would follow from the ends alone.
        "reason": None if fit.posterior is not None else NO_SCATTER,
    }
