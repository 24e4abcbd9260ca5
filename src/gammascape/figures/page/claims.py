"""The table of claims in words: as HTML for the page, as Markdown for documents."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from gammascape.figures.style import theme
from gammascape.figures.templates import render

_NAMES = theme.EDGE_WORDS | {"tau": "τ", "gamma": "γ", "eta": "η"}
_WORDS = re.compile(rf"\b({'|'.join(_NAMES)})\b")
_COUNTED = {"agrees": "agree", "differs": "differ", "undecided": "undecided"}


def claims_html(claims: pl.DataFrame) -> str:
    """A table with one row for each claim and slice; empty if there is no row."""
    if claims.is_empty():
        return ""
    counts = ", ".join(
        f"{number} {words}"
        for verdict, words in _COUNTED.items()
        if (number := claims.filter(verdict=verdict).height)
    )
    note = family(claims.height, claims["confidence"][0])
    return render("claims.html.j2", counts=counts, note=note, head=HEAD, rows=claim_rows(claims))


def family(number: int, confidence: float) -> str:
    """Sentence about the allowance for several claims."""
    if number == 1:
        return "One claim was judged."
    return (
        f"{number} claims were judged. Were all of them true, at least one would be said to differ in at most "
        f"{100 * (1 - confidence):g} % of studies (Holm's correction)."
    )


def claims_markdown(claims: pl.DataFrame) -> str:
    """The same as a table in Markdown, without slices: the rows of one slice."""
    lines = ["| " + " | ".join(HEAD[1:]) + " |", "|" + "---|" * len(HEAD[1:])]
    lines += ["| " + " | ".join(cells[1:]) + " |" for cells in claim_rows(claims)]
    return "\n".join(lines) + "\n"


HEAD = ("slice", "claim", "measured", "predicted", "verdict")


def claim_rows(claims: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    """Texts of slice, claim, what was measured with its interval, prediction, verdict."""
    for row in claims.iter_rows(named=True):
        measured = f"{greek(row['quantity'])} {_number(row['estimate'])}"
        if row["low"] is not None:
            measured += f" [{_number(row['low'])}, {_number(row['high'])}]"
        predicted = "" if row["predicted"] is None else _number(row["predicted"])
        yield row["slice"], row["statement"], measured, predicted, _verdict(row)


def greek(text: str) -> str:
    """Text with gamma, eta and tau as symbols, and edges in words."""
    return _WORDS.sub(lambda name: _NAMES[name[0]], text)


def _verdict(row: Mapping[str, Any]) -> str:
    """The verdict, and where there is none what the design could have decided."""
    power = row.get("power")
    if row["verdict"] != "undecided" or power is None:
        return str(row["verdict"])
    cases = f"in {100 * power:.0f} % of cases"
    others = row.get("alternatives")
    if row["predicted"] is None or not others:
        return f"undecided; this study would have found it {cases}"
    told = " and ".join(_number(other) for other in others)
    return f"undecided; this study could have told {_number(row['predicted'])} from {told} {cases}"


def _number(value: float) -> str:
    # Rounding must not leave a negative zero.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
