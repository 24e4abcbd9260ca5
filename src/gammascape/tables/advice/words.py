"""Words of advice: numbers, and its table of gammas."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from gammascape.durations import duration

KINDS = ("choice", "gain", "gamma", "carry", "warning", "next")
"""Kinds of rows, in the order in which they are shown."""
_HEAD = ("gamma", "best eta", "window of eta", "to edge", "to divergence", "steps to 0.5")


def number(value: float | None, digits: int = 3) -> str:
    """Rounded; a dash for what is not known."""
    return "-" if value is None else f"{float(f'{value:.{digits}g}'):g}"


def power(log10: float | None, digits: int = 3) -> str:
    """A value from its log10."""
    return number(None if log10 is None else 10.0**log10, digits)


def interval(low: str, high: str) -> str:
    """' [0.1, 0.3]'; nothing where an end is not known."""
    return "" if "-" in (low, high) else f" [{low}, {high}]"


def by_slice(advice: pl.DataFrame) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Rows by slice and kind."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in advice.iter_rows(named=True):
        found.setdefault(row["slice"], {kind: [] for kind in KINDS})[row["kind"]].append(row)
    return found


def where(row: Mapping[str, Any]) -> str:
    """Sentence before `todo` of a next step."""
    return "Run:" if row["name"] == "next width" else "Put under grids of the study:"


def what(row: Mapping[str, Any], study: str) -> str:
    """`todo` of what comes next in a study; tables do not know its name."""
    return str(row["todo"]).replace("gammascape scale STUDY", f"gammascape scale {study}")


def head(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Head of the table of gammas, from one of them."""
    return (
        *_HEAD,
        f"to {row['target'] or 'target'}",
        row["measure"].replace("_", " "),
        "richness",
        "device",
        "mark",
    )


def gamma_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Texts of one row of the table of gammas; accuracy in percent."""
    scale = 100.0 if row["measure"] == "accuracy" else 1.0
    score = [None if row[k] is None else scale * row[k] for k in ("estimate", "low", "high")]
    return (
        *(power(row[name]) for name in ("gamma_log10", "eta_log10")),
        " to ".join(power(row[name], 2) for name in ("eta_min_log10", "eta_max_log10")),
        *(number(row[name], 2) for name in ("margin_log10", "divergence_log10")),
        *(number(row[name]) for name in ("half_steps", "target_steps")),
        number(score[0]) + interval(*map(number, score[1:])),
        # Studies beside this one may have tables of before.
        number(row.get("richness"), 2)
        + interval(*(number(row.get(f"richness_{end}"), 2) for end in ("low", "high"))),
        duration(row["seconds"]),
        row["verdict"],
    )
