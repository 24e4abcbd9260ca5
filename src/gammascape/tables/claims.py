"""Test the paper's claims on a study: estimate, interval and verdict of each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from gammascape.study import predicted_slope
from gammascape.tables.cells import SLICE_COLUMNS, TASK_COLUMNS, columns
from gammascape.tables.statistics.intervals import wilson
from gammascape.theory.laws import DYNAMICS, EDGES, Slope

Verdict = Literal["agrees", "differs", "undecided"]
Row = Mapping[str, Any]

CLAIM_SCHEMA = SLICE_COLUMNS | columns(
    "claim:str statement:str quantity:str predicted alternatives:floats estimate low high "
    "confidence verdict:str points:int source:str"
)


LEADING_ORDER = 0.03
"""By how much a fitted exponent may miss a law of leading order: a factor of 1.1 over 1.5 decades."""


def judge_value(
    predicted: float, alternatives: Sequence[float], low: float, high: float
) -> Verdict:
    """Whether an interval holds a predicted value and none of the values it could be instead.

    An interval that holds both says nothing, however well its middle agrees. Exponents hold to leading order in
    gamma: an interval that misses one by less than LEADING_ORDER is not held against it.
    """
    if not low - LEADING_ORDER <= predicted <= high + LEADING_ORDER:
        return "differs"
    return "undecided" if any(low <= other <= high for other in alternatives) else "agrees"


def judge_sign(low: float | None, high: float | None, zero: float = 0.0) -> Verdict:
    """Whether an interval of what is claimed to be above `zero` lies on that side of it."""
    if low is not None and low > zero:
        return "agrees"
    return "differs" if high is not None and high < zero else "undecided"


def claim_table(
    scaling: pl.DataFrame,
    dynamics: pl.DataFrame,
    dynamics_scaling: pl.DataFrame,
    collapse: pl.DataFrame,
    gain: pl.DataFrame,
    similarity_summary: pl.DataFrame,
    trends: pl.DataFrame | None,
    confidence: float,
) -> pl.DataFrame:
    """The claims of arXiv 2410.04642 that the slices of a study can speak of, one row for each.

    A predicted exponent agrees with an interval that holds it and none of `alternatives`: those of the other
    regime, or of a network one layer shallower or deeper. Where the interval holds an alternative too, the study
    does not decide. Claims that need what was not measured, or too few gammas for an interval, have no row.

    Args:
        scaling, dynamics, dynamics_scaling, collapse, gain, similarity_summary: the tables of these names, of all
            slices.
        trends: the table of this name, for a study in which slices differ in one factor.
        confidence: level of the intervals of shares; the others are those of the tables.
    """
    rows = [
        *_edges(scaling),
        *_dynamics(dynamics_scaling),
        *_collapse(collapse),
        *_silent(dynamics, confidence),
        *_gain(gain),
    ]
    table = pl.DataFrame(rows, schema=CLAIM_SCHEMA).sort("slice", maintain_order=True)
    several = [*_depths(trends), *_alike(similarity_summary)]
    return pl.concat([table, pl.DataFrame(several, schema=CLAIM_SCHEMA)])


def _edges(scaling: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in scaling.iter_rows(named=True):
        slope = EDGES.get((row["edge"], row["window"]))
        # Under squared loss divergence is the last of many edges at gamma^2, and says nothing of its own.
        if row["edge"] == "eta_max_finite" and row["loss"] != "xent":
            continue
        if slope is not None and row["gammas"] > 2:
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
    yield _row(
        row,
        (slope.claim, slope.statement, slope.quantity),
        "slope",
        judge_value(predicted, alternatives, row["slope_low"], row["slope_high"]),
        source,
        row["points"],
        predicted,
        alternatives,
    )


def _collapse(collapse: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The halving of the loss in rescaled time, where eta follows gamma^(2/L)."""
    rows = collapse.filter(pl.col("level") == 0.5, pl.col("path") == "scaled")
    for row in rows.filter(pl.col("tau_slope_low").is_not_null()).iter_rows(named=True):
        if row["expected"] == "drift > 0":
            yield _row(
                row,
                (
                    "drift at depth 2",
                    "At depth 2 the rescaled time ηt/γ at which the loss halves grows with γ.",
                    "drift of tau in a decade of gamma",
                ),
                "tau_drift",
                judge_sign(row["tau_drift_low"], row["tau_drift_high"]),
                "collapse",
                row["points"],
            )
            continue
        steps = -_escape(row)
        yield _row(
            row,
            (
                "collapse in rescaled time",
                "Large γ halve their loss at the same rescaled time ηt/γ.",
                "exponent of tau at half of the loss",
            ),
            "tau_slope",
            judge_value(0.0, [steps], row["tau_slope_low"], row["tau_slope_high"]),
            "collapse",
            row["points"],
            0.0,
            [steps],
        )


def _escape(row: Row) -> float:
    """1 - 2/L: how steps to half of the loss grow along eta = c gamma^(2/L) if tau stays the same."""
    upper = predicted_slope("eta_max_trained", row["loss"], "rich", row["depth_exponent"])
    assert upper is not None  # without a depth there is no such path
    return 1 - upper


def _silent(dynamics: pl.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    """Whether the kernel of the last hidden layer aligns with the targets before the loss falls."""
    known = dynamics.filter(
        pl.col("path") == "best", pl.col("window") == "rich", pl.col("silent").is_not_null()
    )
    for _, part in known.group_by("slice", maintain_order=True):
        silent, runs = int(part["silent"].sum()), part.height
        low, high = wilson(silent / runs, runs, confidence)
        yield _row(
            part.row(0, named=True) | {"confidence": confidence},
            (
                "silent alignment",
                "At large γ the last hidden kernel aligns with the targets before the loss falls.",
                "share of runs",
            ),
            (silent / runs, low, high),
            judge_sign(low, high, 0.5),
            "dynamics",
            runs,
        )


def _gain(gain: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Accuracy at the full number of steps, where gamma = 1 was trained too."""
    rows = gain.filter(
        pl.col("measure") == "accuracy",
        pl.col("budget") == pl.col("steps"),
        pl.col("gain").is_not_null(),
        pl.col("best_gammas_log10").is_not_null(),
    )
    for row in rows.iter_rows(named=True):
        alike = row["best_gammas_log10"]
        verdict: Verdict = "agrees" if any(gamma > 0 for gamma in alike) else "differs"
        yield _row(
            row,
            (
                "large gamma is as good",
                "At equal steps some γ above 1 reaches the best test accuracy.",
                "gain over gamma = 1, points of accuracy",
            ),
            "gain",
            verdict,
            "gain",
            row["gammas"],
        )


def _depths(trends: pl.DataFrame | None) -> Iterator[dict[str, Any]]:
    """Exponents of several depths against 2/L."""
    if trends is None:
        return
    rows = trends.filter(factor="depth", quantity="slope", edge="eta_max_trained", window="rich")
    for row in rows.filter(pl.col("values") > 2).iter_rows(named=True):
        yield _row(
            row | {"slice": row["group"]},
            (
                "exponents follow the depth",
                "Against 2/L the exponents of the largest learning rate lie on a line of slope 1.",
                "slope of exponents of eta_max_trained against 2/L",
            ),
            "slope",
            judge_value(1.0, [0.0], row["slope_low"], row["slope_high"]),
            "trends",
            row["values"],
            1.0,
            [0.0],
        )


_ALIKE = {
    "architectures": "networks of different architectures",
    "models": "networks of one architecture in different sizes",
    "seeds": "networks of different seeds",
}
_WHAT = {"cka": "Representations (last hidden layers)", "correlation": "Functions"}


def _alike(summary: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Whether networks of equal gamma become more alike as gamma grows."""
    known = summary.filter(pl.col("slope_low").is_not_null(), pl.col("gammas") > 2)
    # Functions have no layers.
    known = known.filter(pl.col("layers").is_null() | (pl.col("layers") == "last"))
    for _, part in known.group_by(
        [*TASK_COLUMNS, "measure", "compared", "at"], maintain_order=True
    ):
        # Of the levels of loss that the most gammas reach, the lowest.
        row = part.sort("gammas", "level", descending=[True, False]).row(0, named=True)
        at = "steps" if row["at"] == "steps" else f"loss ({row['level']:g} of that of f = 0)"
        place = f"{row['dataset']}-{row['loss']}-B{row['batch_size']}-T{row['steps']}"
        verdicts: dict[str, Verdict] = {"grows": "agrees", "falls": "differs"}
        yield _row(
            {name: row[name] for name in TASK_COLUMNS} | {"slice": f"all models on {place}"} | row,
            (
                f"{row['measure']} of {row['compared']} at equal {row['at']}",
                f"{_WHAT[row['measure']]} of {_ALIKE[row['compared']]} grow more alike with γ, at equal {at}.",
                f"change of {row['measure']} per decade of gamma",
            ),
            "slope",
            verdicts.get(row["verdict"], "undecided"),
            "similarity_summary",
            row["networks"],
        )


def _row(
    row: Row,
    claim: tuple[str, str, str],
    value: str | tuple[float, float | None, float | None],
    verdict: Verdict,
    source: str,
    points: int,
    predicted: float | None = None,
    alternatives: Sequence[float] = (),
) -> dict[str, Any]:
    """A row of the table; `value` is estimate and interval, or the name of their columns in `row`."""
    if isinstance(value, str):
        value = (row[value], row[f"{value}_low"], row[f"{value}_high"])
    return {name: row.get(name) for name in (*SLICE_COLUMNS, "confidence")} | {
        **dict(zip(("claim", "statement", "quantity"), claim, strict=True)),
        **dict(zip(("estimate", "low", "high"), value, strict=True)),
        **{"predicted": predicted, "alternatives": list(alternatives)},
        **{"verdict": verdict, "points": points, "source": source},
    }
