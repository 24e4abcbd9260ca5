"""Test the paper's claims on a study: estimate, interval and verdict of each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from gammascape.study import predicted_slope
from gammascape.tables.cells import SLICE_COLUMNS, TASK_COLUMNS, columns, with_ends
from gammascape.tables.statistics.intervals import Interval
from gammascape.tables.statistics.verdict import (
    Verdict,
    holm,
    judge_above,
    judge_value,
    p_share_above,
    share_interval,
)
from gammascape.theory.laws import DYNAMICS, EDGES, Slope

Row = Mapping[str, Any]

CLAIM_SCHEMA = SLICE_COLUMNS | columns(
    "claim:str statement:str quantity:str predicted alternatives:floats margin estimate low high "
    "confidence verdict:str power p_differs p_holm points:int source:str"
)


def claim_table(
    scaling: pl.DataFrame,
    dynamics: pl.DataFrame,
    dynamics_scaling: pl.DataFrame,
    collapse: pl.DataFrame,
    gain: pl.DataFrame,
    similarity_summary: pl.DataFrame,
    trends: pl.DataFrame | None,
    optimum: pl.DataFrame | None,
    confidence: float,
) -> pl.DataFrame:
    """The claims that the slices of a study can speak of, one row for each: of arXiv 2410.04642, and of 2602.00827
    on finite data.

    A predicted exponent agrees with an interval that holds it, within the law's margin, and none of
    `alternatives`, which lie further away than the margin: those for the other regime, or for a network one layer
    shallower or deeper. It differs if the interval lies further away than the margin and `p_holm`, its p-value
    among all claims of the study by Holm's procedure (`statistics.verdict.holm`), is at most 1 - confidence: one
    false "differs" is as rare in the whole study as an interval that misses.
    Otherwise the study does not decide; `power` is how often one like it would find agreement if the claim holds.
    Claims that need what was not measured, or have too few gammas or seeds for an interval, have no row.

    Args:
        scaling, dynamics, dynamics_scaling, collapse, gain, similarity_summary: the tables of these names, of all
            slices.
        trends: the table of this name, for a study in which slices differ in one factor.
        optimum: the table of this name, for a study that uses its samples again and again.
        confidence: level of the intervals of shares; the tables have their own.
    """
    rows = [
        *_edges(scaling),
        *_dynamics(dynamics_scaling),
        *_collapse(collapse),
        *_silent(dynamics, confidence),
        *_gain(gain),
    ]
    table = pl.DataFrame(rows, schema=CLAIM_SCHEMA).sort("slice", maintain_order=True)
    several = [*_depths(trends), *_similarity_claims(similarity_summary), *_finite(optimum)]
    table = pl.concat([table, pl.DataFrame(several, schema=CLAIM_SCHEMA)])
    adjusted = pl.Series("p_holm", holm(table["p_differs"].fill_null(1.0).to_numpy()), pl.Float64)
    # A claim differs only if its p-value remains significant among all claims of the study (Holm).
    chance = (pl.col("verdict") == "differs") & (pl.col("p_holm") > 1 - pl.col("confidence"))
    return table.with_columns(adjusted).with_columns(
        verdict=pl.when(chance).then(pl.lit("undecided")).otherwise("verdict")
    )


def _edges(scaling: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in scaling.iter_rows(named=True):
        slope = EDGES.get((row["edge"], row["window"]))
        # Under squared loss divergence is the last of many edges at gamma^2, and says nothing of its own.
        if row["edge"] == "eta_max_finite" and row["loss"] != "xent":
            continue
        if slope is not None and row["slope_low"] is not None:
            yield from _slope(row, slope, "scaling")


def _dynamics(dynamics_scaling: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in dynamics_scaling.iter_rows(named=True):
        slope = DYNAMICS.get((row["quantity"], row["window"]))
        if slope is not None and row["slope_low"] is not None:
            yield from _slope(row, slope, "dynamics_scaling")


def _slope(row: Row, slope: Slope, source: str) -> Iterator[dict[str, Any]]:
    predicted = row["predicted_slope"]
    if predicted is None:
        return
    # Two laws can be one: for L = 2 the exponents 2/L and 1 are.
    alternatives = [law for law in slope.alternatives(row["depth_exponent"]) if law != predicted]
    claim = (slope.claim, slope.statement, slope.quantity)
    yield _value(row, claim, "slope", source, row["points"], predicted, alternatives)


def _collapse(collapse: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The halving of the loss in rescaled time, where eta follows gamma^(2/L)."""
    rows = collapse.filter(pl.col("level") == 0.5, pl.col("path") == "scaled")
    for row in rows.filter(pl.col("tau_slope_low").is_not_null()).iter_rows(named=True):
        if row["expected"] == "drift > 0":
            yield _drift(row)
            continue
        claim = (
            "collapse in rescaled time",
            "Large γ halve their loss at the same rescaled time ηt/γ.",
            "exponent of tau at half of the loss",
        )
        steps = -_escape(row)
        yield _value(row, claim, "tau_slope", "collapse", row["points"], 0.0, [steps])


def _drift(row: Row) -> dict[str, Any]:
    low, high = row["tau_drift_low"], row["tau_drift_high"]
    # As of a line through the gammas.
    interval = Interval(low, high, max(1, row["gammas"] - 2))
    return _row(
        row,
        (
            "drift at depth 2",
            "At depth 2 the rescaled time ηt/γ at which the loss halves grows with γ.",
            "drift of tau in a decade of gamma",
        ),
        "tau_drift",
        judge_above(low, high),
        "collapse",
        row["points"],
        p_differs=1.0 if low is None else interval.p_above(row["tau_drift"], row["confidence"]),
    )


def _escape(row: Row) -> float:
    """1 - 2/L: how steps to half of the loss grow along eta = c gamma^(2/L) if tau stays the same."""
    upper = predicted_slope("eta_max_trained", row["loss"], "rich", row["depth_exponent"])
    assert upper is not None  # without a depth there is no such path
    return 1 - upper


def _silent(dynamics: pl.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    """Claims whether the kernel of the last hidden layer aligns with the targets before the loss falls.

    Of runs in which both come between the same two measurements all may be silent, or none.
    """
    unknown = pl.col("alignment_step").is_not_null() & pl.col("fall_step").is_not_null()
    runs = dynamics.filter(pl.col("silent").is_not_null() | unknown, path="best", window="rich")
    for _, part in runs.group_by("slice", maintain_order=True):
        silent = pl.col("silent")
        counts = part.group_by("seed", "data_seed", maintain_order=True).agg(
            least=silent.sum(), most=silent.fill_null(value=True).sum(), runs=pl.len()
        )
        least, most = (
            share_interval(counts[name], counts["runs"], confidence) for name in ("least", "most")
        )
        if least is None or most is None or not part["silent"].count():
            continue
        ends = least[0], most[1]
        yield _row(
            part.row(0, named=True) | {"confidence": confidence},
            (
                "silent alignment",
                "At large γ the last hidden kernel aligns with the targets before the loss falls.",
                "share of runs",
            ),
            (part["silent"].mean(), *ends),
            judge_above(*ends, 0.5),
            "dynamics",
            part.height,
            p_differs=p_share_above(counts["most"], counts["runs"], 0.5),
        )


def _gain(gain: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Accuracy at the full number of steps, where gamma = 1 was trained too."""
    rows = gain.filter(
        pl.col("measure") == "accuracy",
        pl.col("budget") == pl.col("steps"),
        pl.col("gain_above_one_low").is_not_null(),
    )
    for row in rows.iter_rows(named=True):
        yield _row(
            row,
            (
                "large gamma is as good",
                f"At equal steps some γ above 1 loses at most {row['margin']:g} points of test accuracy against "
                "γ = 1.",
                "gain of the best gamma above 1 over gamma = 1, points of accuracy",
            ),
            "gain_above_one",
            judge_above(row["gain_above_one_low"], row["gain_above_one_high"], -row["margin"]),
            "gain",
            row["gammas"],
            **{name: row[name] for name in _JUDGED},
        )


def _depths(trends: pl.DataFrame | None) -> Iterator[dict[str, Any]]:
    """Exponents of several depths against 2/L."""
    if trends is None:
        return
    rows = trends.filter(factor="depth", quantity="slope", edge="eta_max_trained", window="rich")
    for row in rows.filter(pl.col("values") > 2, pl.col("margin").is_not_null()).iter_rows(
        named=True
    ):
        claim = (
            "exponents follow the depth",
            "Against 2/L the exponents of the largest learning rate lie on a line of slope 1.",
            "slope of exponents of eta_max_trained against 2/L",
        )
        shared = row | {"slice": row["group"]}
        yield _value(shared, claim, "slope", "trends", row["values"], 1.0, row["alternatives"])


def _finite(optimum: pl.DataFrame | None) -> Iterator[dict[str, Any]]:
    """Claims of Yeom, Ha and Lee (arXiv 2602.00827), at fitted training data where these are measured."""
    if optimum is None:
        return
    order = {"fitted_accuracy": 0, "accuracy": 1, "test_loss": 2}
    known = optimum.drop_nulls("low").with_columns(
        rank=pl.col("measure").replace_strict(order, return_dtype=pl.Int64)
    )
    first = known.filter(pl.col("rank") == pl.col("rank").min().over("group", "slice", "quantity"))
    for row in first.iter_rows(named=True):
        shared = row | {"slice": row["slice"] or row["group"]}
        ends, unit = (row["estimate"], row["low"], row["high"]), _UNIT_OF[row["measure"]]
        if row["quantity"] == "intermediate":
            claim = (
                "an intermediate gamma is best",
                "On data used again and again some γ is better than the smallest and the largest.",
                f"gain of the best γ between over the better of the two, {unit}",
            )
            nothing = 1.0 if row["measure"] == "test_loss" else 0.0
            verdict = judge_above(row["low"], row["high"], nothing)
            more = {"p_differs": row["p_differs"]}
            yield _row(shared, claim, ends, verdict, "optimum", row["points"], **more)
        elif row["predicted"] is not None:
            of = row["quantity"].removeprefix("slope_")
            claim = (
                f"the best gamma follows the {_SIZE_WORDS[of]}",
                f"On data used again and again the best γ grows as the {_SIZE_WORDS[of]} to the power "
                f"{row['predicted']:g}.",
                f"exponent of the best gamma by {unit} in the {_SIZE_WORDS[of]}",
            )
            yield _value(
                shared | with_ends("slope", ends[0], ends[1:]),
                claim, "slope", "optimum", row["points"], row["predicted"], row["alternatives"],
            )  # fmt: skip


_SIZE_WORDS = {"samples": "number of samples", "width": "width"}
_UNIT_OF = {
    "accuracy": "points of accuracy",
    "fitted_accuracy": "points of accuracy at fitted data",
    "test_loss": "ratio of losses",
}
_ALIKE = {
    "architectures": "networks of different architectures",
    "models": "networks of one architecture in different sizes",
    "seeds": "networks of different seeds",
}
_UNITS = {"architectures": ("architectures",), "models": ("models",), "seeds": ("models", "seeds")}
"""Units left out for the interval: never seeds for a claim about architectures."""
_WHAT = {"cka": "Representations (last hidden layers)", "correlation": "Functions"}


def _similarity_claims(summary: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Claims whether networks of equal gamma become more similar as gamma grows."""
    known = summary.filter(pl.col("slope_low").is_not_null(), pl.col("gammas") > 2)
    # Functions have no layers.
    known = known.filter(pl.col("layers").is_null() | (pl.col("layers") == "last"))
    for _, part in known.group_by(
        [*TASK_COLUMNS, "measure", "compared", "at"], maintain_order=True
    ):
        part = part.filter(pl.col("resampled").is_in(_UNITS[part["compared"][0]]))
        if part.is_empty():
            continue
        # Of the levels of loss that the most gammas reach, the lowest; models before seeds.
        order = part.sort("gammas", "level", "resampled", descending=[True, False, False])
        row = order.row(0, named=True)
        at = "steps" if row["at"] == "steps" else f"loss ({row['level']:g} of the loss of f = 0)"
        place = f"{row['dataset']}-{row['loss']}-B{row['batch_size']}-T{row['steps']}"
        verdicts: dict[str, Verdict] = {"grows": "agrees", "falls": "differs"}
        yield _row(
            {name: row[name] for name in TASK_COLUMNS} | {"slice": f"all models on {place}"} | row,
            (
                f"{row['measure']} of {row['compared']} at equal {row['at']}",
                f"{_WHAT[row['measure']]} of {_ALIKE[row['compared']]} become more similar with γ, at equal {at}.",
                f"change of {row['measure']} per decade of gamma",
            ),
            "slope",
            verdicts.get(row["verdict"], "undecided"),
            "similarity_summary",
            row["networks"],
            p_differs=row["p_differs"],
        )


_JUDGED = ("margin", "p_differs", "power")


def _value(
    row: Row,
    claim: tuple[str, str, str],
    name: str,
    source: str,
    points: int,
    predicted: float,
    alternatives: Sequence[float],
) -> dict[str, Any]:
    """A row about a predicted value, from the columns `name`, its ends, and how it is judged."""
    ends = row[f"{name}_low"], row[f"{name}_high"]
    judged = {column: row[column] for column in _JUDGED}
    verdict = judge_value(predicted, alternatives, *ends, row["margin"])
    more = {"predicted": predicted, "alternatives": list(alternatives), **judged}
    return _row(row, claim, name, verdict, source, points, **more)


def _row(
    row: Row,
    claim: tuple[str, str, str],
    value: str | tuple[Any, Any, Any],
    verdict: Verdict,
    source: str,
    points: int,
    **more: Any,
) -> dict[str, Any]:
    """A row of the table; `value` is estimate and interval, or the name of their columns in `row`."""
    if isinstance(value, str):
        value = (row[value], row[f"{value}_low"], row[f"{value}_high"])
    return {name: row.get(name) for name in (*SLICE_COLUMNS, "confidence")} | {
        **dict(zip(("claim", "statement", "quantity"), claim, strict=True)),
        **dict(zip(("estimate", "low", "high"), value, strict=True)),
        **{"verdict": verdict, "points": points, "source": source, "alternatives": []},
        **more,
    }
