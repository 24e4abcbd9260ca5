"""Exponents: log-log slopes of the edges against gamma in declared windows, with intervals."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from gammascape.study import EDGES, Analysis, Edge, Regime, predicted_slope
from gammascape.tables import cells
from gammascape.tables.cells import SLICE_COLUMNS, columns, with_ends
from gammascape.tables.edges.find import bracket
from gammascape.tables.statistics.fits import Points, draws, fit_lines, gather, interval, seeded

SCALING_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int edge:str window:str from_log10 to_log10 slope slope_low slope_high "
    "prefactor_log10 predicted_slope prefactor_at_predicted_log10 points:int seeds:int "
    "confidence gammas:int estimate_slope estimate_slope_low estimate_slope_high "
    "interpolated:int"
)

Place = Literal["grid", "estimate"]
"""Where an edge is taken to be: anywhere between two sampled etas, or in the interval of its estimate."""


@dataclass(frozen=True)
class Window:
    """The bounded edges of one kind in one window of gamma."""

    edge: Edge
    window: Regime
    rows: pl.DataFrame

    def points(self, place: Place = "grid") -> Points:
        """The edges, gamma by gamma."""
        return points_of(self.rows, place)


def scaling_table(thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Fit eta = 10^prefactor * gamma^slope to each edge of one slice in the lazy and the ultra-rich window.

    An edge is known to lie between two sampled etas. The line is fitted by least squares to the middles of these
    intervals, and the interval of its slope is a bootstrap over gammas, seeds and the position of the edge
    between the two etas (`statistics.fits.draws`). `estimate_slope` is fitted in the same way to the sub-grid
    estimates. A window with fewer than two distinct gammas has no row. `prefactor_at_predicted_log10` is that
    of the line with the predicted slope that is nearest to the same middles.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table` for one slice.
        analysis: the study's windows, number of resamples and confidence level.
    """
    rows: list[dict[str, Any]] = []
    for part in windows(thresholds, analysis):
        points = part.points()
        shared = shared_of(part.rows)
        slope, prefactor, ends = fit_slope(points, analysis, rng_of(part, "grid"))
        estimate, _, estimate_ends = fit_slope(
            part.points("estimate"), analysis, rng_of(part, "estimate")
        )
        predicted = predicted_slope(
            part.edge, shared["loss"], part.window, shared["depth_exponent"]
        )
        rows.append(
            shared
            | {
                "edge": part.edge,
                "window": part.window,
                "from_log10": float(points.gamma[0]),
                "to_log10": float(points.gamma[-1]),
                **with_ends("slope", slope, ends),
                "prefactor_log10": prefactor,
                "predicted_slope": predicted,
                "prefactor_at_predicted_log10": None
                if predicted is None
                else points.height(predicted),
                "points": part.rows.height,
                "seeds": part.rows.select("seed", "data_seed").n_unique(),
                "confidence": analysis.confidence,
                "gammas": len(points.gamma),
                **with_ends("estimate_slope", estimate, estimate_ends),
                "interpolated": int((part.rows["method"] == "interpolated").sum()),
            }
        )
    return pl.DataFrame(rows, schema=SCALING_SCHEMA)


def windows(thresholds: pl.DataFrame, analysis: Analysis) -> Iterator[Window]:
    """The edges of one slice that can be fitted: bounded, at two or more gammas of a window."""
    for edge in EDGES:
        bounded = thresholds.filter("bounded", edge=edge)
        for window, span in cells.windows(analysis):
            rows = bounded.filter(cells.within(span))
            if rows["gamma_log10"].n_unique() >= 2:
                yield Window(edge, window, rows)


def points_of(rows: pl.DataFrame, place: Place = "grid") -> Points:
    """Bounded edges of one kind, gamma by gamma."""
    if place == "estimate":
        lower, upper = rows["estimate_low_log10"].to_numpy(), rows["estimate_high_log10"].to_numpy()
    else:
        ends = [
            bracket(*row)
            for row in rows.select("edge", "eta_log10", "lower_log10", "upper_log10").iter_rows()
        ]
        lower, upper = np.array(ends).T
    return gather(rows["gamma_log10"].to_numpy(), lower, upper)


def shared_of(thresholds: pl.DataFrame) -> dict[str, Any]:
    """The columns that are the same in all rows of a slice."""
    row = thresholds.row(0, named=True)
    return {name: row[name] for name in (*SLICE_COLUMNS, "depth_exponent")}


def fit_slope(
    points: Points, analysis: Analysis, rng: np.random.Generator
) -> tuple[float, float, tuple[float, float]]:
    """Slope, intercept and interval of the slope."""
    slopes, intercepts = fit_lines(points, points.middle[None])
    fitted = slopes[0] * points.gamma + intercepts[0]
    drawn = draws(points, fitted, 2, analysis.bootstrap, rng)
    ends = interval(fit_lines(points, drawn)[0], analysis.confidence)
    return float(slopes[0]), float(intercepts[0]), ends


def rng_of(part: Window, purpose: str) -> np.random.Generator:
    """Random numbers of one fit to a window."""
    return seeded(f"{part.rows['slice'][0]} {part.edge} {part.window} {purpose}")
