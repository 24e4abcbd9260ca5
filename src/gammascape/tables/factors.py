"""Edges, exponents and the best gamma against a factor in which slices differ alone: depth, width, ..."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtri

from gammascape.study import Analysis
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.statistics.slopes import Posterior
from gammascape.tables.statistics.verdict import p_differs, power

REGIME_SCHEMA = (
    columns("factor:str group:str factor_value")
    | SLICE_COLUMNS
    | columns(
        "quantity:str edge:str window:str measure:str estimate low high predicted confidence "
        "gammas:int seeds:int"
    )
)

TREND_SCHEMA = columns(
    "factor:str group:str quantity:str edge:str window:str against:str slope slope_low "
    "slope_high predicted alternatives:floats margin p_differs power values:int confidence"
)

SLOPE, PREFACTOR, PER_SAMPLE = "slope", "prefactor_log10", "prefactor_per_sample_log10"
BEST_GAMMA, GAIN = "best_gamma_log10", "gain"
LEFT_OUT = "left_out"
MARGIN = 0.1
"""Margin of the slope of exponents against 2/L around 1: corrections at finite gamma move single exponents by
some 0.05, and values of 2/L are at least half a unit apart from end to end."""


def regime_table(
    cells: pl.DataFrame,
    thresholds: pl.DataFrame,
    scaling: pl.DataFrame,
    gain: pl.DataFrame | None,
    members: Iterable[Mapping[str, Any]],
    analysis: Analysis,
) -> pl.DataFrame:
    """Quantities of slices that may depend on a factor, by factor, slice, quantity and edge or measure.

    slope                       fitted exponent of an edge in a window, as in the table scaling
    prefactor_log10             log10 of the edge's prefactor at the predicted exponent, likewise
    prefactor_per_sample_log10  the same of eta / B, where B is the factor
    best_gamma_log10            log10 of the best gamma; `low` and `high` are the least and the largest gamma that
                                cannot be told from it at this confidence, not ends of an interval
    gain                        of the best gamma over gamma = 1, as in `tables.performance.gain`
    left_out                    nothing else of this slice is here: its data are another version than most
                                slices of its group have

    Args:
        cells: cells of all slices, for the digests of their data.
        thresholds: thresholds of all slices.
        scaling: fits of all slices.
        gain: gains of all slices that are trained; None if there are none.
        members: factor, group, value and slice of each slice that is compared (`study.factors.members`).
        analysis: the study's windows and confidence level.
    """
    rows: list[dict[str, Any]] = []
    members = list(members)
    digests = dict(cells.select("slice", "data_digest").unique().iter_rows())
    left_out = _of_other_data(members, digests)
    for member in members:
        part = thresholds.filter(slice=member["slice"])
        if part.is_empty():
            continue
        shared = {name: part[name][0] for name in SLICE_COLUMNS} | {
            "factor": member["factor"],
            "group": member["group"],
            "factor_value": member["value"],
            "confidence": analysis.confidence,
        }
        if (member["factor"], member["group"], member["slice"]) in left_out:
            rows.append(shared | {"quantity": LEFT_OUT})
            continue
        found = [
            row
            for fit in scaling.filter(slice=member["slice"]).iter_rows(named=True)
            for row in _edge_rows(fit, member["factor"])
        ]
        if gain is not None:
            whole = gain.filter(pl.col("budget") == pl.col("steps"), slice=member["slice"])
            found += _gain_rows(whole)
        rows += [shared | row for row in found]
    return pl.DataFrame(rows, schema=REGIME_SCHEMA)


def _of_other_data(
    members: Iterable[Mapping[str, Any]], digests: Mapping[str, str]
) -> set[tuple[str, str, str]]:
    """Factor, group and slice of those trained on other data than most of the group; of equals the first stay."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for member in members:
        # The law of a teacher follows from options, and those are compared where groups are made.
        version = digests.get(member["slice"], "").partition(" ")[0]
        groups.setdefault((member["factor"], member["group"]), {})[member["slice"]] = version
    return {
        (*group, part)
        for group, versions in groups.items()
        for part, version in versions.items()
        if version != max(versions.values(), key=list(versions.values()).count)
    }


def _edge_rows(fit: Mapping[str, Any], factor: str) -> Iterable[dict[str, Any]]:
    shared = {name: fit[name] for name in ("edge", "window", "gammas", "seeds")}
    predicted = fit["predicted_slope"]
    slope = (fit[f"slope{end}"] for end in ("", "_low", "_high"))
    yield shared | _estimate(SLOPE, *slope) | {"predicted": predicted}
    if predicted is None:
        return
    ends = [fit[f"prefactor_at_predicted{end}_log10"] for end in ("", "_low", "_high")]
    yield shared | _estimate(PREFACTOR, *ends)
    if factor == "batch_size":
        size = float(np.log10(fit["batch_size"]))
        per_sample = (None if end is None else end - size for end in ends)
        yield shared | _estimate(PER_SAMPLE, *per_sample)


def _estimate(quantity: str, value: Any, low: Any, high: Any) -> dict[str, Any]:
    return {"quantity": quantity, "estimate": value, "low": low, "high": high}


def _gain_rows(gain: pl.DataFrame) -> Iterable[dict[str, Any]]:
    for row in gain.filter(pl.col("gammas") > 0).iter_rows(named=True):
        shared = {name: row[name] for name in ("measure", "gammas", "seeds")}
        equal = row["best_gammas_log10"] or [None]
        yield shared | _estimate(BEST_GAMMA, row["best_gamma_log10"], min(equal), max(equal))
        if row["gain"] is not None:
            yield shared | _estimate(GAIN, row["gain"], row["gain_low"], row["gain_high"])


def trend_table(regimes: pl.DataFrame) -> pl.DataFrame:
    """Lines through exponents and prefactors along the factor, for two values or more.

    `against` is what is varied: 2/L for the depth's exponents and log10 L for its prefactors; log10 N, B or T;
    the share of wrong labels; log10 of the number of samples. Values are weighted by their intervals (inverse
    variances, half of an interval taken for a normal's), as slices are trained independently: the interval
    of the slope holds the errors of the single values, and no scatter about the line. Exponents of upper edges at
    large gamma should have the slope 1 against 2/L, where `alternatives` are the slopes of 3/L, 2/(L+1) and a
    constant, and 0 along other factors; prefactors 0 against log10 B where curvature limits eta, 1 where the
    noise of batches does (eta / B).

    Args:
        regimes: the table of `regime_table`.
    """
    rows: list[dict[str, Any]] = []
    key = ["factor", "group", "quantity", "edge", "window"]
    fitted = regimes.filter(pl.col("quantity").is_in([SLOPE, PREFACTOR])).drop_nulls("low")
    for row, group in grouped(fitted, key):
        against, x = abscissa(row["factor"], row["quantity"], group["factor_value"])
        if len(np.unique(x)) < 2:
            continue
        confidence = group["confidence"][0]
        estimate, low, high = (group[name].to_numpy() for name in ("estimate", "low", "high"))
        error = np.maximum(high - estimate, estimate - low) / float(ndtri((1 + confidence) / 2))
        weight = np.maximum(error, 1e-9) ** -2
        away = x - np.average(x, weights=weight)
        lever = weight * away / (weight * away**2).sum()
        spread = float(np.sqrt(((lever * error) ** 2).sum()))
        slope = Posterior(np.ones(1), np.array([lever @ estimate]), np.array([max(spread, 1e-9)]))
        row |= {"against": against, "predicted": None, "values": len(x), "confidence": confidence}
        row |= with_ends("slope", slope.mean(), slope.interval(confidence))
        if row["quantity"] == SLOPE and group["predicted"].null_count() == 0:
            predicted = round(float(lever @ group["predicted"].to_numpy()), 9) + 0.0
            row["predicted"] = predicted
            if against == "2/L" and predicted == 1:
                others = [1.5, float(lever @ (2 / (2 / x + 1))), 0.0]
                row |= {"alternatives": others, "margin": MARGIN}
                row["p_differs"] = p_differs(slope, 1.0, MARGIN)
                row["power"] = power(slope, 1.0, others, MARGIN, confidence)
        rows.append(row)
    return pl.DataFrame(rows, schema=TREND_SCHEMA)


def abscissa(factor: str, quantity: str, values: pl.Series) -> tuple[str, Any]:
    """Name and values of what a quantity is fitted against along a factor."""
    x = values.to_numpy()
    if factor == "label_noise":
        return "label_noise", x
    if factor == "depth" and quantity == SLOPE:
        return "2/L", 2 / x
    names = {"depth": "L", "width": "N", "batch_size": "B", "steps": "T"}
    return f"log10 {names.get(factor, factor)}", np.log10(x)
