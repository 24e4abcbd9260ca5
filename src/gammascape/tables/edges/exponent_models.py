"""Compare the exponents 2/L, 3/L and 2/(L+1) with a free one by AICc and BIC."""

from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns
from gammascape.tables.edges.exponents import fitted_windows, shared_of
from gammascape.tables.statistics.slopes import Fit
from gammascape.theory.edges import law_slopes

EXPONENT_MODEL_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int edge:str window:str law:str slope parameters:int gammas:int rms "
    "log_likelihood aicc bic aicc_weight bic_weight best_by_aicc:bool best_by_bic:bool"
)

COMPARED = ("eta_no_spike", "eta_max_trained", "eta_max_finite")
"""Upper edges: the exponents are claims about the largest eta, never about the best one."""


def exponent_model_table(thresholds: pl.DataFrame, analysis: Analysis) -> pl.DataFrame:
    """Compare exponents of each upper edge of one slice in the ultra-rich window.

    Each law is a line of fixed slope, `free` one of any slope. Slices without L and windows with fewer than three
    gammas have no rows.

    Args:
        thresholds: the table of `tables.edges.find.threshold_table` for one slice.
        analysis: the study's windows, `trained_below` and confidence level.
    """
    rows: list[dict[str, Any]] = []
    for part in fitted_windows(thresholds, analysis):
        shared = shared_of(part.rows)
        depth = shared["depth_exponent"]
        if part.window != "rich" or part.edge not in COMPARED or depth is None:
            continue
        if part.fit.posterior is not None:
            place = {"edge": part.edge, "window": part.window, "gammas": part.fit.gammas}
            found = compare(part.fit, law_slopes(depth))
            rows += [
                shared | place | row | {"rms": _rms(part.bounded_rows, row["slope"])}
                for row in found
            ]
    return pl.DataFrame(rows, schema=EXPONENT_MODEL_SCHEMA)


def compare(fit: Fit, laws: dict[str, float]) -> list[dict[str, Any]]:
    """Likelihood and criteria of lines of the given slopes and of a free one.

    The likelihood of a slope is from `tables.statistics.slopes.fit_slope`, integrated over all that a law says
    nothing of, relative to the likeliest slope's. The sample size is the number of gammas,
    because seeds of one gamma share a deviation.

    AICc is null where there are too few gammas for its correction.

    Args:
        fit: a fit with an interval.
        laws: slopes by name.
    """
    assert fit.posterior is not None
    n = fit.gammas
    reach = np.linspace(*fit.posterior.interval(0.99), 201)
    likeliest = float(reach[fit.posterior.density(reach).argmax()])
    top = float(fit.posterior.density(likeliest))
    slopes = laws | {"free": likeliest}
    rows: list[dict[str, Any]] = []
    for law, slope in slopes.items():
        ratio = float(fit.posterior.density(slope)) / top
        likelihood = np.log(max(ratio, 1e-300))
        k = 3 if law == "free" else 2
        spare = n - k - 1
        rows.append(
            {
                "law": law,
                "slope": slope,
                "parameters": k,
                "log_likelihood": float(likelihood),
                "aicc": float(2 * k - 2 * likelihood + 2 * k * (k + 1) / spare)
                if spare > 0
                else None,
                "bic": float(k * np.log(n) - 2 * likelihood),
            }
        )
    for criterion in ("aicc", "bic"):
        values = [row[criterion] for row in rows]
        # Where one law has no value, none has a weight.
        if None not in values:
            weights = np.exp((min(values) - np.array(values)) / 2)
            for row, value, weight in zip(rows, values, weights / weights.sum(), strict=True):
                row[f"{criterion}_weight"] = float(weight)
                row[f"best_by_{criterion}"] = value == min(values)
    return rows


def _rms(edges: pl.DataFrame, slope: float) -> float:
    """Root mean square of the residuals of means over seeds."""
    rest = pl.col("estimate_log10") - pl.col("shape") - slope * pl.col("gamma_log10")
    means = edges.group_by("gamma_log10", maintain_order=True).agg(
        rest.mean().alias("rest"), pl.len()
    )
    residuals, seeds = means["rest"].to_numpy(), means["len"].to_numpy()
    return float(
        np.sqrt(np.average((residuals - np.average(residuals, weights=seeds)) ** 2, weights=seeds))
    )
