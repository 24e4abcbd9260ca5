"""Compare the exponents 2/L, 3/L and 2/(L+1) with a free one by AICc and BIC."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns
from gammascape.tables.edges.exponents import shared_of, windows
from gammascape.tables.statistics.fits import Floats, Points, fit_lines

EXPONENT_MODEL_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int edge:str window:str law:str slope parameters:int gammas:int rms "
    "log_likelihood aicc bic aicc_weight bic_weight best_by_aicc:bool best_by_bic:bool"
)

COMPARED = ("eta_no_spike", "eta_max_trained", "eta_max_finite")
"""Upper edges: the exponents are claims about the largest eta, never about the best one."""
LAWS = ("2/L", "3/L", "2/(L+1)", "free")


def law_slopes(depth_exponent: int) -> dict[str, float]:
    """The exponents under comparison."""
    length = float(depth_exponent)
    return {"2/L": 2 / length, "3/L": 3 / length, "2/(L+1)": 2 / (length + 1)}


def exponent_model_table(thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Compare exponents of each upper edge of one slice in the ultra-rich window.

    Each law is a line of fixed slope through the means over seeds, `free` one of any slope. Slices without L and
    windows with fewer than three gammas have no rows.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table` for one slice.
        analysis: the study's windows.
    """
    rows: list[dict[str, Any]] = []
    for part in windows(thresholds, analysis):
        shared, points = shared_of(part.rows), part.points("estimate")
        depth = shared["depth_exponent"]
        if part.window != "rich" or part.edge not in COMPARED or depth is None:
            continue
        if len(points.gamma) >= 3:
            found = compare(points, law_slopes(depth))
            place = {"edge": part.edge, "window": part.window, "gammas": len(points.gamma)}
            rows += [shared | place | row for row in found]
    return pl.DataFrame(rows, schema=EXPONENT_MODEL_SCHEMA)


def compare(points: Points, laws: dict[str, float]) -> list[dict[str, Any]]:
    """Likelihood and criteria of lines of the given slopes and of a free one.

    The likelihood is Gaussian. Its variance is the largest-likelihood one, but not below what the widths of
    the intervals and the scatter of the seeds make sure of: edges on a grid can lie on a line by
    coincidence, and seeds of one gamma share their place on the grid, so that gammas are what is counted.

    AICc is null where there are too few gammas for its correction.
    """
    n = len(points.gamma)
    floor = noise_floor(points)
    slopes = laws | {"free": float(fit_lines(points, points.middle[None])[0][0])}
    rows: list[dict[str, Any]] = []
    for law, slope in slopes.items():
        squares = _mean_square(points, slope)
        variance = max(squares, floor)
        likelihood = -0.5 * n * (np.log(2 * np.pi * variance) + squares / variance)
        k = 3 if law == "free" else 2
        spare = n - k - 1
        rows.append(
            {
                "law": law,
                "slope": slope,
                "parameters": k,
                "rms": float(np.sqrt(squares)),
                "log_likelihood": float(likelihood),
                "aicc": float(2 * k - 2 * likelihood + 2 * k * (k + 1) / spare)
                if spare > 0
                else None,
                "bic": float(k * np.log(n) - 2 * likelihood),
            }
        )
    for criterion in ("aicc", "bic"):
        _weigh(rows, criterion)
    return rows


def noise_floor(points: Points) -> float:
    """Variance of the mean over seeds of an edge at one gamma that is there whatever the law."""
    grid = float(np.mean(points.width**2)) / 12
    spread = float(np.mean(points.deviations**2)) if len(points.deviations) else 0.0
    return max(grid + spread * float(np.mean(1 / points.seeds)), 1e-12)


def _mean_square(points: Points, slope: float) -> float:
    weights: Floats = points.seeds / points.seeds.sum()
    rest = points.middle - slope * points.gamma
    rest = rest - weights @ rest
    return float(weights @ rest**2)


def _weigh(rows: list[dict[str, Any]], criterion: str) -> None:
    """Add the weight exp(-difference / 2) of each law, and which is best; nothing where a law has no value."""
    known = [row[criterion] for row in rows if row[criterion] is not None]
    complete = len(known) == len(rows)
    least = min(known) if complete else 0.0
    total = sum(np.exp((least - value) / 2) for value in known) if complete else 1.0
    for row in rows:
        value = row[criterion]
        row[f"{criterion}_weight"] = (
            float(np.exp((least - value) / 2) / total) if complete else None
        )
        row[f"best_by_{criterion}"] = bool(value == least) if complete else None
