"""The table of advice: which gamma and eta to use, what each gamma does, and all that follows from it."""

from collections.abc import Iterator
from math import isfinite

import numpy as np
import polars as pl

from gammascape.durations import count_of
from gammascape.study import Analysis
from gammascape.tables.advice.carry import carry_rows, moves_with_width, rank_correlation
from gammascape.tables.advice.further import ENOUGH, next_rows
from gammascape.tables.advice.read import EDGE, Row, SliceTables, midway_bounds
from gammascape.tables.advice.words import interval, number, power
from gammascape.tables.cells import SLICE_COLUMNS, columns, difference, in_window, with_ends
from gammascape.tables.factors import TREND_SCHEMA
from gammascape.tables.performance.choice import TIED
from gammascape.tables.performance.gain import as_gain
from gammascape.tables.performance.scores import HIGHER_IS_BETTER
from gammascape.tables.statistics.intervals import student
from gammascape.tables.transfer import TRANSFER_SCHEMA

ADVICE_SCHEMA = SLICE_COLUMNS | columns(
    "kind:str name:str verdict:str text:str todo:str measure:str target gamma_log10 gamma_low_log10 "
    "gamma_high_log10 eta_log10 eta_low_log10 eta_high_log10 eta_min_log10 eta_max_log10 "
    "window_log10 margin_log10 divergence_log10 half_steps target_steps estimate low high held_out "
    "predicted largest_ratio richness richness_low richness_high seconds seeds:int cells:int confidence"
)

SURELY, PERHAPS, NOT_SEEN, UNKNOWN = "surely", "perhaps", "not seen", "unknown"
LATE = "out of steps"
"""Mark of a gamma at which half of the loss takes more than half of the steps."""
_NARROW = 0.5
"""Decades of eta below which a window is narrow: what grids of two points a decade do not see."""
_LAZY = 0.1
"""Richness below which a network is lazy: hidden kernels with a CKA of 0.9 with those at initialization, say, and
weights that have moved by a third."""
_ALIKE = 0.5
"""Rank correlation below which short runs do not say which learning rates are good."""
_ERROR = 1 / 3
"""Share of the half-width of a gain's interval, which holds for all gammas together: about one standard error."""

_GAIN = {"estimate": "", "low": "_low", "high": "_high", "held_out": "_held_out"}


def advice_table(
    cells: pl.DataFrame,
    edges: pl.DataFrame,
    scaling: pl.DataFrame,
    budget: pl.DataFrame,
    scores: pl.DataFrame,
    performance: pl.DataFrame,
    gain: pl.DataFrame,
    regimes: pl.DataFrame | None,
    trends: pl.DataFrame | None,
    transfer: pl.DataFrame | None,
    analysis: Analysis,
) -> pl.DataFrame:
    """Advice about each trained slice, one row for each statement; arguments are the tables of all slices.

    choice   gamma and eta to use, and the margin to the upper edge of training
    gain     what the best gamma gains over gamma = 1, in each measure
    gamma    what each gamma does, and a mark
    carry    how the upper edge of training moves with gamma, steps, batch size, depth and width
    warning  what is wrong with the choice, and what to do
    next     what to train next, as entries of the study's `grids`, and the next width

    Gamma is the best by test accuracy after all steps, by test loss where there is none, else by the steps until
    the lowest loss that half of the gammas reach; gamma = 1 where no gain over it is seen, or by one seed alone.
    Its interval holds the gammas that cannot be told from the best, and reaches half of the way to their
    neighbours, as eta's does.
    """
    rows: list[Row] = []
    for name in performance["slice"].unique(maintain_order=True):
        parts = (cells, edges, scaling, budget, scores, performance, gain)
        own = [pl.DataFrame(schema=TREND_SCHEMA), pl.DataFrame(schema=TRANSFER_SCHEMA)]
        if regimes is not None and trends is not None and transfer is not None:
            groups = regimes.filter(slice=name).select("factor", "group").unique()
            of_groups = (trends, transfer)
            own = [some.join(groups, on=["factor", "group"], how="semi") for some in of_groups]
        of = SliceTables(analysis, *own, *(part.filter(slice=name) for part in parts))
        shared = of.cells.select(*SLICE_COLUMNS).row(0, named=True)
        rows += [shared | row for row in _advice(of)]
    return pl.DataFrame(rows, schema=ADVICE_SCHEMA, infer_schema_length=None)


def _advice(tables: SliceTables) -> Iterator[Row]:
    trained = tables.cells.filter(status="trained")
    if trained.is_empty():
        text = f"No network trains within {tables.steps} steps at the learning rates of this study."
        least = tables.cells["relative_loss"].min()
        todo = "Map the learning rates (eta: {map: {}}), or take more steps."
        if isinstance(least, float) and least < 1:
            todo += f" The lowest loss is {number(least, 2)} of the loss of f = 0;"
            todo += " analysis: trained_below decides."
        yield {"kind": "choice", "verdict": UNKNOWN, "text": text, "todo": todo}
        return
    # That by which is chosen comes first; nothing is gained over a gamma that is not there.
    measures = sorted(HIGHER_IS_BETTER, key=lambda measure: measure != tables.measure)
    gains = [row for measure in measures for row in _gain(tables, measure)]
    main = next((row for row in gains if row["measure"] == tables.measure), None)
    gammas, alike = [_gamma(tables, gamma) for gamma in tables.gammas], list[float]()
    if main is None or main["gamma_log10"] is None:
        gamma = trained.sort("relative_loss")["gamma_log10"][0]
    else:
        # One seed may have found the best of equal gammas.
        known = main["verdict"] == UNKNOWN or main["seeds"] > 1
        gamma = main["gamma_log10"] if known and main["verdict"] != NOT_SEEN else 0.0
        alike = (
            tables.final_rows(tables.gain, tables.measure)["best_gammas_log10"].to_list()[0] or []
        )
    at = next(row for row in gammas if row["gamma_log10"] == gamma)
    low, high = midway_bounds([*alike, gamma] if alike else [], tables.gammas)
    choice = at | {"kind": "choice", "verdict": UNKNOWN if main is None else main["verdict"]}
    choice |= {"gamma_low_log10": low, "gamma_high_log10": high, "text": "", "seconds": None}
    yield choice | {"text": _choice_words(choice)}
    yield from gains[: 1 if choice["verdict"] == UNKNOWN else None]
    yield from gammas
    yield from carry_rows(tables, gamma)
    for name, text, todo in _warnings(tables, choice, main, at["verdict"] == LATE):
        yield {"kind": "warning", "name": name, "text": text, "todo": todo}
    unsure = main is not None and main["verdict"] == PERHAPS
    yield from next_rows(tables, choice, gammas, unsure)


def _choice_words(row: Row) -> str:
    words = [
        f"{name} = {power(row[f'{name}_log10'])}"
        + interval(*(power(row[f"{name}_{end}_log10"]) for end in ("low", "high")))
        for name in ("gamma", "eta")
        if row[f"{name}_log10"] is not None
    ]
    margin, edge = row["margin_log10"], power(row["eta_max_log10"])
    where = "where training ends above it is not known"
    if margin is not None:
        side = "below" if margin >= 0 else "beyond"
        where = f"{number(abs(margin), 2)} decades {side} the edge of training at {edge}"
    return f"Use {' and '.join(words)}, {where}."


def _gain(tables: SliceTables, measure: str) -> Iterator[Row]:
    for found in (
        tables.final_rows(tables.gain, measure).filter(pl.col("gammas") > 0).iter_rows(named=True)
    ):
        row = {name: found[f"gain{end}"] for name, end in _GAIN.items()}
        verdict = gain_verdict(measure, row)
        text = "gamma = 1 was not compared"
        if verdict != UNKNOWN:
            # What rounding leaves of equal accuracies is no gain.
            taken = [None if row[name] is None else round(row[name], 9) + 0.0 for name in _GAIN]
            value, low, high, held = map(number, taken)
            steps = f"steps to {found['target']} of the loss of f = 0"
            what = {"accuracy": "", "test_loss": "test loss divided by "}
            text = what.get(measure, f"{steps} divided by ") + value
            text += " points of test accuracy" * (measure == "accuracy") + interval(low, high)
            text += f"; {held} in seeds that did not choose it" if held != "-" else ""
        row |= {"kind": "gain", "name": measure, "measure": measure, "target": found["target"]}
        row |= {name: found[name] for name in ("seeds", "confidence")}
        row |= {"gamma_log10": found["best_gamma_log10"], "verdict": verdict}
        yield row | {"text": f"Gain over gamma = 1, {verdict}: {text}."}


def gain_verdict(measure: str, row: Row) -> str:
    """Verdict on a gain over gamma = 1: surely, perhaps, not seen, or unknown without gamma = 1.

    Surely: the interval, which allows for choosing gamma, excludes nothing, and seeds that did not choose gain
    too. Perhaps: these gain more than about one error. Without an interval, any gain is `perhaps`.
    """
    estimate, low, high, held_out = (row[name] for name in _GAIN)
    nothing = as_gain(measure, 0.0)
    if estimate is None:
        return UNKNOWN
    seen = estimate if held_out is None else held_out
    if low is None or high is None:
        return PERHAPS if min(estimate, seen) > nothing + TIED else NOT_SEEN
    if low > nothing and seen > nothing:
        return SURELY
    least = nothing + _ERROR * (high - estimate)
    return PERHAPS if held_out is not None and seen > least else NOT_SEEN


def _gamma(tables: SliceTables, gamma: float) -> Row:
    eta, alike = tables.best_eta(gamma)
    names = ("eta_min", EDGE, "eta_max_finite")
    least, edge, finite = (tables.edge(gamma, name)["estimate_log10"] for name in names)
    score = tables.best_score(gamma, tables.measure)
    half, target = (tables.best_score(gamma, "steps", level)["value"] for level in (0.5, None))
    own, window = tables.cells.filter(gamma_log10=gamma), difference(edge, least)
    trained = own.filter(status="trained")["eta_log10"].to_list()
    # Where the window is not bracketed it is at least this.
    wide = window if window is not None else max(trained, default=0) - min(trained, default=0)
    rich = _richness(
        (own.clear() if eta is None else own.filter(eta_log10=eta))["richness"],
        tables.analysis.confidence,
    )
    lazy = not own.filter(in_window(tables.analysis.lazy)).is_empty()
    if rich[0] is not None:
        lazy = (rich[2] or rich[0]) < _LAZY
    mark = "lazy" if lazy else "safe"
    if wide < _NARROW:
        mark = UNKNOWN if window is None else "narrow window"
    mark = LATE if half is None or half > tables.steps / 2 else mark
    row = {"kind": "gamma", "verdict": mark, "measure": tables.measure, "gamma_log10": gamma}
    row |= with_ends("eta", eta, midway_bounds(alike, tables.etas(gamma)), "_log10")
    row |= {"eta_min_log10": least, "eta_max_log10": edge, "window_log10": window}
    row |= {"margin_log10": difference(edge, eta), "divergence_log10": difference(finite, eta)}
    row |= with_ends("richness", rich[0], rich[1:])
    row |= {"target": tables.target if isfinite(tables.target) else None}
    row |= {"half_steps": half, "target_steps": target, "estimate": score["value"]}
    row |= {"low": score["low"], "high": score["high"], "confidence": tables.analysis.confidence}
    seeds = score["seeds"] or own.select("seed", "data_seed").n_unique()
    return row | {"seconds": own["seconds"].sum(), "cells": own.height, "seeds": seeds}


def _richness(
    values: pl.Series, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Mean over seeds, with Student's interval within 0 to 1; None where it was not measured."""
    known = values.drop_nulls().to_numpy()
    if not len(known):
        return None, None, None
    mean = float(known.mean())
    if len(known) < 2:
        return mean, None, None
    half = student(len(known) - 1, confidence) * float(known.std(ddof=1) / np.sqrt(len(known)))
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def _warnings(
    tables: SliceTables, choice: Row, main: Row | None, late: bool
) -> Iterator[tuple[str, str, str]]:
    """Name of a warning, what is wrong, and what to do."""
    gamma, eta, seeds = choice["gamma_log10"], choice["eta_log10"], choice["seeds"]
    for name, at, points in (("gamma", gamma, tables.gammas), ("eta", eta, tables.etas(gamma))):
        if at in (points[0], points[-1]):
            which = "only" if len(points) == 1 else "smallest" if at == points[0] else "largest"
            text = f"{name} = {power(at)} is the {which} one trained; a better one may lie beyond."
            yield f"border of {name}", text, f"Train {name} beyond it."
    edge, window, margin = tables.edge(gamma), choice["window_log10"], choice["margin_log10"]
    safe = difference(edge["estimate_log10"], edge["zone_log10"] or 0.0)
    todo = f"Stay below eta = {power(safe)}, or try yours on several seeds."
    if edge["zone_log10"] and edge["method"] not in ("grid", "interpolated"):
        where = (
            f"eta = {power(edge['estimate_log10'])}, over {number(edge['zone_log10'], 2)} decades"
        )
        yield "mixed edge", f"Around {where}, some runs train and others do not.", todo
    if margin is not None and margin < 0:
        yield "beyond the edge", "eta lies where half of the runs do not train.", todo
    if window is not None and window < _NARROW:
        text = f"Networks train in {number(window, 2)} decades of eta only."
        yield "narrow window", text, "Take a smaller gamma, or more steps."
    if late:
        text = "Half of the loss takes more than half of the steps: what is best here is best for short runs."
        yield LATE, text, "Take more steps before you rely on it."
    if seeds < ENOUGH:
        text = f"The error is hardly known with {count_of(seeds, 'seed')}."
        yield "few seeds", text, f"Train {ENOUGH} seeds or more."
    if main is not None and main["low"] is not None and main["verdict"] in (PERHAPS, NOT_SEEN):
        text = "The gain over gamma = 1 is not larger than its error."
        yield "gain below its error", text, "Train more seeds, or stay at gamma = 1."
    if (
        tables.measure != "steps"
        and not tables.final_rows(tables.scores, tables.measure)["validation"].count()
    ):
        measure = tables.measure.replace("_", " ")
        text = (
            f"gamma and eta were chosen by the {measure} on the test set, so this {measure} is biased "
            "towards better values."
        )
        yield (
            "chosen on the test set",
            text,
            "Hold out other samples to choose by: validation: 0.1 for the dataset.",
        )
    if moves := list(moves_with_width(tables)):
        text = f"In mu-P nothing moves with the width, and here {' and '.join(moves)}."
        model = tables.cells["model"][0]
        todo = f"See which layer is scaled wrongly: gammascape check-model, with this study and {model}."
        yield "width scaling", text, todo
    ranks = rank_correlation(tables, gamma)
    if ranks is not None and ranks[1] < _ALIKE:
        text = f"After {ranks[0]} steps etas rank otherwise than after all (correlation {number(ranks[1], 2)})."
        yield "short runs rank otherwise", text, "Do not choose eta by short runs."
