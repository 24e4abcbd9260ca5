"""Movement of the upper edge of training with gamma, steps, batch size, depth and width, as far as it is known."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from gammascape.study import Regime, predicted_slope
from gammascape.study.keys.file import Carried
from gammascape.tables.advice.read import EDGE, Row, SliceTables
from gammascape.tables.advice.words import interval, number, power
from gammascape.tables.factors import PREFACTOR
from gammascape.tables.statistics.slopes import fit_mean
from gammascape.tables.transfer import LEAST_LOST, lost_at
from gammascape.theory.laws import LEAST_MARGIN

MEASURED, PREDICTED, CONTRADICTED, UNKNOWN = "measured", "predicted", "contradicted", "unknown"
TWO = "from two gammas"
"""A slope that has no interval, and no law to hold it against."""
_SHORT = 8
"""Factor between a long run and a short one."""
_FAR = 10**0.5
"""Ratio of a measured edge to a law above which a fit without an interval contradicts it."""
_MOVES = 0.25
"""Power of the width beyond which eta moves as in no network in mu-P: half of what the smallest wrong multiplier
does, as in the coordinate check."""
_LEAST = 4
"""Fewest etas whose order tells something."""
_UNKNOWN = {
    "steps": "Not measured: how the edge moves with the number of steps T",
    "batch_size": "Not measured: the edge stays as the batch size B changes where curvature limits eta, and "
    "goes as B where the noise of batches does",
    "width": "Not measured; where a network is in mu-P and wide, gamma and eta stay as its width changes; "
    "gammascape check-model tells whether it is in mu-P",
    "depth": "Not measured: map another depth anew",
}
_NO_DEPTH = "Not measured, and at large gamma the edge does not go as gamma^(2/L) here: map another depth anew"
_DEPTH = (
    "At large gamma the edge of depth L goes as gamma^(2/L), by theory; its height is not known"
)


def carry_rows(tables: SliceTables, gamma: float) -> Iterator[Row]:
    """A row for each direction; `verdict` is the law's, and where it is contradicted `estimate` holds."""
    rows = [_along_gamma(tables, "lazy"), _along_gamma(tables, "rich"), _along_steps(tables, gamma)]
    window = pl.col("window") != ("lazy" if gamma < 0 else "rich")
    for factor in ("batch_size", "depth", "width"):
        row: Row = {"name": factor, "verdict": UNKNOWN, "text": _UNKNOWN[factor]}
        if factor == "depth" and rows[1]["verdict"] in (MEASURED, PREDICTED):
            row |= {"verdict": PREDICTED, "text": _DEPTH}
        elif factor == "depth" and rows[1]["verdict"] == CONTRADICTED:
            row["text"] = _NO_DEPTH
        lines = tables.trends.filter(factor=factor, edge=EDGE, quantity=PREFACTOR).sort(window)
        for line in lines.head(1).iter_rows(named=True):
            row |= {n: line[f"slope{e}"] for n, e in _ENDS.items()} | {"verdict": MEASURED}
            base = line["against"].removeprefix("log10 ")
            row["text"] = f"At equal gamma the edge goes as {_law(base, row)}"
        rows.append(row)
    for row in rows:
        measured = tables.transfer.filter(factor=row["name"], measure=tables.measure)
        if not measured.is_empty():
            known = "" if row["verdict"] == UNKNOWN else f"{row['text']}. "
            found = _transfer(measured)
            row |= found | {"verdict": MEASURED, "text": known + found["text"]}
    rows += [
        _predicted(tables, said)
        for said in tables.analysis.carried
        if said.slice == tables.cells["slice"][0] and tables.measure in LEAST_LOST
    ]
    yield from ({"kind": "carry"} | row | {"text": f"{row['text']}."} for row in rows)


def _transfer(rows: pl.DataFrame) -> Row:
    """Change of the best eta and of the score from the smallest value of a factor to its largest."""
    first, *_, last = rows.sort("factor_value").iter_rows(named=True)
    low, high = number(first["factor_value"]), number(last["factor_value"])
    row = {name: last[f"slope{end}"] for name, end in _ENDS.items()}
    name = first["factor"].replace("_", " ")
    text = f"From {name} {low} to {high} the best eta goes as {_law(name, row)}; gamma and eta of {low}, used at "
    return row | {"text": f"{text}{high}: {last['verdict']}{_costs(last)}"}


def _costs(row: Row) -> str:
    unit = "points less accuracy" if row["measure"] == "accuracy" else "times the test loss"
    lost, *ends = (number(row[name]) for name in ("lost", "lost_low", "lost_high"))
    return "" if lost == "-" else f", at {lost}{interval(*ends)} {unit}"


def _predicted(tables: SliceTables, said: Carried) -> Row:
    """Prediction of another study against what this one measures."""
    gamma, *etas = (float(end) for end in (said.gamma, said.eta, said.eta_low, said.eta_high))
    shared = {"slice": said.slice, "steps": tables.steps, "measure": tables.measure}
    found = shared | lost_at(shared, tables.cells, tables.scores, gamma, etas[0], tables.analysis)
    best: float | None = next(
        iter(tables.final_rows(tables.gain, tables.measure)["best_gamma_log10"]), None
    )
    eta, there = (None if g is None else tables.best_eta(g)[0] for g in (best, gamma))
    off = "not known" if there is None else f"{there - etas[0]:+.2f} decades from it"
    value, *ends = map(power, etas)
    text = f"{said.source} predicts gamma = {power(gamma)} and eta = {value}{interval(*ends)}; the best here are "
    text += f"gamma = {power(best)} and eta = {power(eta)}; at the predicted gamma the best eta is {off}; "
    row = {"name": "transfer", "verdict": found["verdict"], "measure": tables.measure}
    row |= {"gamma_log10": best, "eta_log10": eta, "predicted": etas[0]}
    row |= {name: found[f"lost{end}"] for name, end in _ENDS.items()}
    return row | {"text": f"{text}as predicted: {found['verdict']}{_costs(found)}"}


def moves_with_width(tables: SliceTables) -> Iterator[str]:
    """Quantities that move with the width in spite of mu-P, in words: powers whose intervals exclude 0."""
    found = {
        "the best eta": tables.transfer.filter(factor="width", measure=tables.measure).head(1),
        "the edge of training": tables.trends.filter(factor="width", edge=EDGE, quantity=PREFACTOR),
    }
    for what, rows in found.items():
        for line in rows.drop_nulls("slope_low").iter_rows(named=True):
            row = {name: line[f"slope{end}"] for name, end in _ENDS.items()}
            if abs(row["estimate"]) > _MOVES and not row["low"] <= 0 <= row["high"]:
                at = {"lazy": " at small gamma", "rich": " at large gamma"}
                yield f"{what}{at.get(line.get('window') or '', '')} goes as {_law('width', row)}"


_ENDS = {"estimate": "", "low": "_low", "high": "_high"}


def _law(base: str, row: Row) -> str:
    ends = (None if row.get(name) is None else round(row[name], 2) + 0.0 for name in _ENDS)
    value, low, high = map(number, ends)
    return f"{base}^{value}{interval(low, high)}"


def _along_gamma(tables: SliceTables, window: Regime) -> Row:
    where = f"Towards {'smaller' if window == 'lazy' else 'larger'} gamma the edge goes as"
    depth = tables.budget["depth_exponent"].first()
    law = predicted_slope(EDGE, tables.cells["loss"][0], window, depth)  # type: ignore[arg-type]
    row: Row = {"name": f"gamma, {window}", "predicted": law}
    for fit in tables.scaling.filter(edge=EDGE, window=window).iter_rows(named=True):
        row |= {name: fit[f"slope{end}"] for name, end in _ENDS.items()}
        reach = " to ".join(power(fit[name]) for name in ("from_log10", "to_log10"))
        text = f"{where} {_law('gamma', row)} (gamma = {reach})"
        if law is None:
            return row | {"verdict": TWO if row["low"] is None else MEASURED, "text": text}
        ratio = row["largest_ratio"] = _largest_ratio(tables, fit)
        agrees, least = ratio <= _FAR, fit["margin"] or LEAST_MARGIN
        if row["low"] is not None:
            agrees = row["low"] - least <= law <= row["high"] + least
        known = MEASURED if row["low"] is not None else PREDICTED
        said = "; " if agrees and known is PREDICTED else ", as " if agrees else ", not as "
        text += f"{said}by theory gamma^{number(law)}; "
        text += f"largest ratio of measured to predicted {number(ratio)}"
        text += "" if agrees else ". Use the measured exponent, and map anew beyond"
        return row | {"verdict": known if agrees else CONTRADICTED, "text": text}
    if law is None:
        side = where.removesuffix(" the edge goes as").lower()
        text = f"How the edge moves {side} is not measured, and no law is known"
        return row | {"verdict": UNKNOWN, "text": text}
    return row | {
        "verdict": PREDICTED,
        "text": f"{where} gamma^{number(law)} by theory, not measured",
    }


def _largest_ratio(tables: SliceTables, fit: Row) -> float:
    """Largest distance of a single gamma from the law through all of its window, as a factor."""
    some = pl.col("gamma_log10").is_between(fit["from_log10"], fit["to_log10"])
    edges = tables.edges.filter(some, edge=EDGE).drop_nulls("estimate_log10")
    law = fit["prefactor_at_predicted_log10"] + fit["predicted_slope"] * edges["gamma_log10"]
    return float(10.0 ** np.abs((edges["estimate_log10"] - law).to_numpy()).max(initial=0.0))


def _along_steps(tables: SliceTables, gamma: float) -> Row:
    """The edge at T over that at the longest budget up to T/8, in the same runs."""
    ends = [f"eta_max_{end}_log10" for end in ("low", "high")]
    edges = tables.budget.filter(gamma_log10=gamma).drop_nulls(ends)
    short = max((b for b in edges["budget"] if _SHORT * b <= tables.steps), default=0)
    both = edges.filter(budget=tables.steps)
    both = edges.filter(budget=short).join(both, on=["seed", "data_seed"], suffix="_long")
    row: Row = {"name": "steps", "verdict": UNKNOWN, "text": _UNKNOWN["steps"]}
    if both.height:
        (low, high), decades = ends, np.log10(tables.steps / short)
        least, most = (
            (both[f"{a}_long"] - both[b]) / decades for a, b in ((low, high), (high, low))
        )
        fit = fit_mean(least.to_numpy(), most.to_numpy(), tables.analysis.confidence)
        assert fit is not None  # all have both ends
        row |= {"verdict": MEASURED, "estimate": fit.value, "low": fit.low, "high": fit.high}
        row["text"] = f"From {short} to {tables.steps} steps T the edge goes as {_law('T', row)}"
    return row


def rank_correlation(tables: SliceTables, gamma: float) -> tuple[int, float] | None:
    """A budget of at most T/8, and Spearman's correlation of the scores of all etas then and after T steps.

    Runs that have diverged by then are the worst. None for fewer than four etas, and without scores to compare.
    """
    budgets = tables.scores.filter(measure=tables.measure)["budget"].drop_nulls()
    short = max((budget for budget in budgets if _SHORT * budget <= tables.steps), default=0)
    before, after = tables.ranked(gamma, short), tables.ranked(gamma)
    if len(before) < _LEAST:
        return None
    found = spearmanr(list(before.values()), [after.get(eta, -np.inf) for eta in before])[0]
    return (short, float(found)) if np.isfinite(found) else None
