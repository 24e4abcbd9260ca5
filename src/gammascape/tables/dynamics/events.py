"""Events of each run: plateaus and drops, catapults, alignment before the fall of the loss, sharpening."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gammascape.study import Analysis
from gammascape.tables.cells import columns, read_summary, with_ends
from gammascape.tables.dynamics.curves import History
from gammascape.tables.dynamics.paths import PATH_SCHEMA, path_table
from gammascape.tables.dynamics.plateaus import (
    TOLERANCE,
    Drop,
    Plateau,
    escape_of,
    find_stairs,
    first_passage,
)
from gammascape.tables.statistics.fits import Floats

DYNAMICS_SCHEMA = PATH_SCHEMA | columns(
    "class_prior_level final_level plateaus:int plateau_start plateau_end plateau_height "
    "escape_step drops:int largest_drop largest_drop_step class_prior_step half_step half_tau "
    "trained_step trained_tau leave_step fall_step peak_ratio peak_step:int sharpness_init "
    "sharpness_end sharpening_factor eta_times_sharpness_init eta_times_sharpness_largest "
    "eta_times_sharpness_end alignment_init alignment_end alignment_step alignment_step_low "
    "alignment_step_high alignment_ratio alignment_share silent:bool ntk_alignment_step "
    "ntk_alignment_step_low ntk_alignment_step_high ntk_alignment_ratio ntk_alignment_share "
    "ntk_silent:bool fit_step fit_step_low fit_step_high fit_test_accuracy generalize_step "
    "generalize_step_low generalize_step_high delay_log10 relative_change plateau_starts:floats "
    "plateau_ends:floats "
    "plateau_heights:floats plateau_class_prior:bools drop_steps:floats drop_sizes:floats "
    "drop_class_prior:bools"
)

LEAST_RISE = 0.05
"""Rise of kernel alignment below which no time of alignment is stated."""
FITTED = 0.99
"""Training accuracy from which on a network has fitted the data."""
_HALF, _LEAVES, _GENERALIZED = 0.5, 0.1, 0.95


def dynamics_table(
    cells: pl.DataFrame,
    thresholds: pl.DataFrame,
    class_priors: Mapping[str, float | None],
    analysis: Analysis,
    cells_folder: Path,
) -> pl.DataFrame:
    """Events in the runs on the paths of `path_table`; columns in docs/reference/tables.md.

    Args:
        cells: the table of `tables.cells.cell_table`, of all slices that were trained.
        thresholds: their table of `tables.edges.find.threshold_table`.
        class_priors: slice -> `class_prior` of `study.Slice`.
        analysis: the study's windows of gamma and thresholds.
        cells_folder: folder of all artifacts.
    """
    paths = path_table(cells, thresholds, analysis)
    facts = cells.unique("cell").select("slice", "cell", "initial_loss", "peak_loss", "peak_step")
    seen: dict[str, dict[str, Any]] = {}
    for row in facts.join(paths, on="cell", how="semi").iter_rows(named=True):
        folder = cells_folder / row["cell"]
        summary = read_summary(folder)
        prior = class_priors[row["slice"]]
        seen[row["cell"]] = events(
            row, History.read(folder), summary, analysis.trained_below, prior
        )
    rows = []
    for row in paths.iter_rows(named=True):
        tau = 10.0 ** (row["eta_log10"] - row["gamma_log10"])
        found = seen[row["cell"]]
        times = {
            f"{name}_tau": None if found[f"{name}_step"] is None else found[f"{name}_step"] * tau
            for name in ("half", "trained")
        }
        rows.append(row | found | times)
    return pl.DataFrame(rows, schema=DYNAMICS_SCHEMA)


def events(
    facts: Mapping[str, Any],
    history: History,
    summary: Mapping[str, Any],
    trained_below: float,
    prior: float | None = None,
) -> dict[str, Any]:
    """The columns of one finite run; steps are counted from 1.

    Args:
        facts: columns of its row of the table of cells.
        history: its losses.
        summary: `summary.json` of the cell.
        trained_below: relative loss at which the study calls a cell trained.
        prior: relative loss of the best constant output, None if the loss of f = 0 is no higher.
    """
    step, relative = history.smooth()
    stairs = find_stairs(step, relative, prior)
    final = float(np.median(relative[-3:]))
    features = [drop for drop in stairs.drops if not drop.class_prior]
    largest = max(features, key=lambda drop: drop.size, default=None)
    first = stairs.plateaus[0] if stairs.plateaus else None
    start = 1.0 if prior is None else prior
    fallen = final <= 10**-TOLERANCE * start
    leave, fall = (
        first_passage(step, relative, start - share * (start - final)) if fallen else None
        for share in (_LEAVES, _HALF)
    )
    return {
        "class_prior_level": prior,
        "final_level": final,
        "plateaus": len(stairs.plateaus),
        **{f"plateau_{name}": getattr(first, name, None) for name in ("start", "end", "height")},
        # A run that never left has no step of leaving.
        "escape_step": escape_of(stairs, prior) if fallen else None,
        "drops": len(features),
        "largest_drop": getattr(largest, "size", None),
        "largest_drop_step": getattr(largest, "step", None),
        "class_prior_step": next((d.step for d in stairs.drops if d.class_prior), None),
        "half_step": first_passage(step, relative, _HALF),
        "trained_step": first_passage(step, relative, trained_below),
        "leave_step": leave,
        "fall_step": fall,
        "peak_ratio": facts["peak_loss"] / facts["initial_loss"],
        "peak_step": None if facts["peak_step"] is None else facts["peak_step"] + 1,
        **_curvature(summary),
        "alignment_init": _element(observed(summary, "kernel_alignment")[1], 0),
        "alignment_end": _element(observed(summary, "kernel_alignment")[1], -1),
        **_alignment(summary, "kernel_alignment", "", leave, fall),
        **_alignment(summary, "ntk_alignment", "ntk_", leave, fall),
        **_fitting(summary),
        "relative_change": next(iter(summary["relative_change"].values()), None),
        **_lists("plateau", stairs.plateaus, ("start", "end", "height")),
        **_lists("drop", stairs.drops, ("step", "size")),
    }


def _lists(
    kind: str, items: Sequence[Plateau | Drop], names: Sequence[str]
) -> dict[str, list[float] | list[bool]]:
    found = {f"{kind}_{name}s": [getattr(item, name) for item in items] for name in names}
    return found | {f"{kind}_class_prior": [item.class_prior for item in items]}


def observed(summary: Mapping[str, Any], name: str) -> tuple[Floats, Floats]:
    """Steps (the first loss has step 1) and finite values of one observable of the whole network."""
    found = [
        (taken["step"] + 1.0, taken[name])
        for taken in summary.get("observables") or ()
        if taken.get(name) is not None
    ]
    steps, values = np.array(found, float).reshape(-1, 2).T
    return steps, values


def alignment_time(step: Floats, value: Floats) -> tuple[float | None, float | None, float | None]:
    """Step at which an alignment has made half of its rise from the first to the last value.

    Returns:
        the step, linear in log step between two measurements, and the steps of these two; None if
        the rise is below LEAST_RISE.
    """
    if len(value) < 2 or value[-1] - value[0] < LEAST_RISE:
        return None, None, None
    return rise_time(step, value, (value[0] + value[-1]) / 2)


def rise_time(
    step: Floats, value: Floats, level: float
) -> tuple[float | None, float | None, float | None]:
    """Step at which a measured value is first at least `level`, and the measurements between which this is.

    Returns:
        the step, linear in log step between two measurements, and the steps of these two; None if it never is,
        or is from the first on.
    """
    above = np.flatnonzero(value >= level)
    if not len(above) or not (k := int(above[0])):
        return None, None, None
    share = (level - value[k - 1]) / (value[k] - value[k - 1])
    at = 10 ** ((1 - share) * np.log10(step[k - 1]) + share * np.log10(step[k]))
    return float(at), float(step[k - 1]), float(step[k])


def _fitting(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Step at which the data are fitted, and the delay of the test accuracy's rise after the training accuracy's.

    Both are compared at the same share of their own rise, so that a network that fits all of the training data and
    few of the test data is not called late. Grokking (Kumar et al., arXiv 2310.06110) is a large delay.
    """
    taken = [(one["step"] + 1.0, one["accuracy"]) for one in summary.get("evaluations", ())]
    known = np.array([pair for pair in taken if pair[1] is not None], float)
    (step, trained), (at, tested) = observed(summary, "training_accuracy"), known.reshape(-1, 2).T
    if len(trained) < 2 or len(tested) < 2:
        return {}
    fit, learn = rise_time(step, trained, FITTED), _most_of_rise(step, trained)
    generalize = _most_of_rise(at, tested)
    late = generalize[0] and learn[0] and float(np.log10(generalize[0] / learn[0]))
    return {
        **with_ends("fit_step", fit[0], fit[1:]),
        "fit_test_accuracy": None if fit[2] is None else float(tested[at == fit[2]][0]),
        **with_ends("generalize_step", generalize[0], generalize[1:]),
        "delay_log10": late,
    }


def _most_of_rise(step: Floats, value: Floats) -> tuple[float | None, float | None, float | None]:
    """Step at which 95 % of the rise to the largest value are made; None if the rise is below LEAST_RISE."""
    rise = value.max() - value[0]
    level = value[0] + _GENERALIZED * rise
    return rise_time(step, value, level) if rise >= LEAST_RISE else (None, None, None)


def _alignment(
    summary: Mapping[str, Any], name: str, prefix: str, leave: float | None, fall: float | None
) -> dict[str, Any]:
    step, value = observed(summary, name)
    at, low, high = alignment_time(step, value)
    silent = None
    if fall is not None and len(value) > 1:
        # Without a rise nothing is ahead. Between two measurements it cannot be told which came first.
        late = low is None or low >= fall
        silent = False if late else True if high is not None and high <= fall else None
    share = None
    if leave is not None and at is not None:
        then = np.interp(np.log10(leave), np.log10(step), value)
        share = float((then - value[0]) / (value[-1] - value[0]))
    return {
        **with_ends(f"{prefix}alignment_step", at, (low, high)),
        f"{prefix}alignment_ratio": None if at is None or fall is None else at / fall,
        f"{prefix}alignment_share": share,
        f"{prefix}silent": silent,
    }


def _curvature(summary: Mapping[str, Any]) -> dict[str, Any]:
    _, sharp = observed(summary, "sharpness")
    _, scaled = observed(summary, "eta_times_sharpness")
    start, end = _element(sharp, 0), _element(sharp, -1)
    known = start is not None and end is not None and start > 0 and len(sharp) > 1
    return {
        "sharpness_init": start,
        "sharpness_end": end if len(sharp) > 1 else None,
        "sharpening_factor": end / start if known and end is not None and start else None,
        "eta_times_sharpness_init": _element(scaled, 0),
        "eta_times_sharpness_largest": float(scaled.max()) if len(scaled) else None,
        "eta_times_sharpness_end": _element(scaled, -1),
    }


def _element(values: Sequence[float] | Floats, position: int) -> float | None:
    return float(values[position]) if len(values) else None
