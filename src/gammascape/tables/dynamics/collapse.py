"""Collapse of the loss curves of different gamma in rescaled time, tau = eta t / gamma."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis, predicted_slope
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.dynamics.curves import History
from gammascape.tables.dynamics.exponents import NO_SCATTER
from gammascape.tables.dynamics.plateaus import TOLERANCE, first_passage
from gammascape.tables.edges.exponents import against_law, seeds_of
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.slopes import fit_slope
from gammascape.theory.laws import COLLAPSE

COLLAPSE_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int path:str constant_log10 level from_log10 to_log10 gammas:int points:int "
    "spread_step_log10 spread_tau_log10 tau_slope tau_slope_low tau_slope_high tau_drift "
    "tau_drift_low tau_drift_high expected:str distance_step_log10 distance_tau_log10 "
    "distance_ratio distance_ratio_error deepest_level confidence censored:int margin p_differs "
    "power reason:str"
)

_LEVELS = 20
_BELOW_START, _DEEPEST = 0.95, 0.1
_HALF = 0.5


def collapse_table(dynamics: pl.DataFrame, analysis: Analysis, cells_folder: Path) -> pl.DataFrame:
    """The collapse in the ultra-rich window, for each slice, path (scaled and best eta) and level of loss.

    Args:
        dynamics: the table of `tables.dynamics.events.dynamics_table`.
        analysis: the study's thresholds and confidence level.
        cells_folder: folder of all artifacts.
    """
    rich = dynamics.filter(pl.col("path") != "catapult", window="rich")
    cells = rich["cell"].unique().sort()
    runs = {cell: History.read(cells_folder / cell).smooth() for cell in cells}
    return collapse_of(rich, runs, analysis)


def collapse_of(
    rich: pl.DataFrame, runs: Mapping[str, tuple[Floats, Floats]], analysis: Analysis
) -> pl.DataFrame:
    """The table of runs that were smoothed before.

    Args:
        rich: rows of the table dynamics in the ultra-rich window.
        runs: step and relative loss, both (n,), of each cell.
        analysis: the study's thresholds and confidence level.
    """
    rows: list[dict[str, Any]] = []
    shared = [*SLICE_COLUMNS, "depth_exponent", "path"]
    levels = {"half": _HALF}
    if analysis.trained_below != _HALF:
        levels["trained"] = analysis.trained_below
    for head, part in grouped(rich.sort("slice", "path", maintain_order=True), shared):
        head |= {"constant_log10": part["constant_log10"][0], "confidence": analysis.confidence}
        head |= _distances(part, runs)
        for column, level in levels.items():
            rows.append(head | {"level": level} | _passage(part, column, analysis))
    return pl.DataFrame(rows, schema=COLLAPSE_SCHEMA)


def _passage(part: pl.DataFrame, column: str, analysis: Analysis) -> dict[str, Any]:
    """Spread and drift of the time at which the loss passes a level.

    Slopes and intervals are as in the table scaling (`tables.statistics.slopes.fit_slope`). `tau_slope` counts
    runs that did not reach the level in their steps as later than that (`censored`), `tau_drift` has none of them.
    """
    known = part.drop_nulls(f"{column}_tau")
    gammas = known["gamma_log10"].n_unique()
    depth = part["depth_exponent"][0]
    found: dict[str, Any] = {
        "gammas": gammas,
        "points": known.height,
        # docs/explanation/theory.md: for L = 2 the escape takes tau = log(gamma) / 4.
        "expected": None if depth is None else "drift > 0" if depth == 2 else "drift = 0",
    }
    if gammas < 2:
        total = part["gamma_log10"].n_unique()
        return found | {"reason": f"the loss reaches the level at {gammas} of {total} gammas"}
    gamma = known["gamma_log10"].to_numpy()
    found |= {"from_log10": float(gamma.min()), "to_log10": float(gamma.max())}
    for unit in ("step", "tau"):
        means = known.group_by("gamma_log10").agg(pl.col(f"{column}_{unit}").log(10).mean())
        found[f"spread_{unit}_log10"] = float(np.ptp(means[f"{column}_{unit}"].to_numpy()))
    tau = known[f"{column}_tau"].to_numpy()
    last = (pl.col("eta_log10") - pl.col("gamma_log10")).add(pl.col("steps").log(10))
    reached = pl.col(f"{column}_tau").log(10)
    lower, upper = (
        part.select(reached.fill_null(end)).to_series().to_numpy() for end in (last, np.inf)
    )
    gammas_of_all = part["gamma_log10"].to_numpy()
    slope = fit_slope(gammas_of_all, seeds_of(part), lower, upper, analysis.confidence)
    drift = fit_slope(gamma, seeds_of(known), tau, tau, analysis.confidence)
    assert slope is not None
    assert drift is not None
    for name, fit in (("tau_slope", slope), ("tau_drift", drift)):
        found |= with_ends(name, fit.value, (fit.low, fit.high))
    loss = part["loss"][0]
    follows = predicted_slope("eta_max_trained", loss, "rich", depth) is not None and depth != 2
    claimed = column == "half" and part["path"][0] == "scaled" and follows
    found |= against_law(slope, known, 0.0, COLLAPSE if claimed else None, analysis)
    if gammas == 2:
        found["reason"] = NO_SCATTER
    return found


def _distances(part: pl.DataFrame, runs: Mapping[str, tuple[Floats, Floats]]) -> dict[str, Any]:
    """Distances of curves in decades of time, at equal loss, in steps and in tau."""
    chosen = [
        (row["gamma_log10"], row["eta_log10"] - row["gamma_log10"], *runs[row["cell"]])
        for row in part.iter_rows(named=True)
    ]
    prior = part["class_prior_level"].drop_nulls()
    start = _BELOW_START * (1.0 if prior.is_empty() else float(str(prior.min())))
    # The collapse is one of the fall; how a loss settles depends on eta and the curvature at the solution.
    lowest = max([_DEEPEST, *(float(relative.min()) for *_, relative in chosen)])
    if len({gamma for gamma, *_ in chosen}) < 2 or lowest > start * 10**-TOLERANCE:
        return {}
    levels = np.geomspace(start, lowest * (1 + 1e-9), _LEVELS)
    passed = np.array(
        [
            [np.log10(first_passage(step, relative, level) or np.nan) for level in levels]
            for _, _, step, relative in chosen
        ]
    )
    gammas = [gamma for gamma, *_ in chosen]
    shifts = np.array([[shift] for _, shift, *_ in chosen])
    before, after = _mean_distance(passed, gammas), _mean_distance(passed + shifts, gammas)
    if not before:  # curves that lie on each other already
        return {}
    ratio = after / before
    left_out = [
        _mean_distance((passed + shifts)[keep], rest) / apart
        for gamma in sorted(set(gammas))
        for keep in [np.array([other != gamma for other in gammas])]
        for rest in [[other for other in gammas if other != gamma]]
        if len(set(rest)) > 1 and (apart := _mean_distance(passed[keep], rest))
    ]
    error = None
    if left_out:
        n = len(left_out)
        error = float(np.sqrt((n - 1) / n * np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))
    return {
        "distance_step_log10": before,
        "distance_tau_log10": after,
        "distance_ratio": ratio,
        "distance_ratio_error": error,
        "deepest_level": lowest,
    }


def _mean_distance(log_time: Floats, gammas: Sequence[float]) -> float:
    """Mean over pairs of runs of different gamma, and over levels, of the distance in log time (runs, levels)."""
    distances = [
        np.abs(log_time[a] - log_time[b]).mean()
        for a, b in combinations(range(len(gammas)), 2)
        if gammas[a] != gammas[b]
    ]
    return float(np.mean(distances))
