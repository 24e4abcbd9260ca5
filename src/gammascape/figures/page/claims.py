"""The table of claims in words: as HTML for the page, as Markdown for documents."""

from collections.abc import Iterator

import polars as pl

from gammascape.figures.templates import render

VERDICTS = {"agrees": "agrees", "differs": "differs", "undecided": "not decided"}
_COUNTED = {"agrees": "agree", "differs": "differ", "undecided": "not decided"}


def claims_html(claims: pl.DataFrame) -> str:
    """A table with one row for each claim and slice; empty if there is no row."""
    if claims.is_empty():
        return ""
    counts = ", ".join(
        f"{number} {words}"
        for verdict, words in _COUNTED.items()
        if (number := claims.filter(verdict=verdict).height)
    )
    return render("claims", counts=counts, head=HEAD, rows=claim_rows(claims))


def claims_markdown(claims: pl.DataFrame) -> str:
    """The same as a table in Markdown, without slices: the rows of one slice."""
    lines = ["| " + " | ".join(HEAD[1:]) + " |", "|" + "---|" * len(HEAD[1:])]
    lines += ["| " + " | ".join(cells[1:]) + " |" for cells in claim_rows(claims)]
    return "\n".join(lines) + "\n"


HEAD = ("slice", "claim", "measured", "predicted", "verdict")


def claim_rows(claims: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    """Texts of slice, claim, what was measured with its interval, prediction, verdict."""
    for row in claims.iter_rows(named=True):
        measured = f"{row['quantity']} {_number(row['estimate'])}"
        if row["low"] is not None:
            measured += f" [{_number(row['low'])}, {_number(row['high'])}]"
        predicted = "" if row["predicted"] is None else _number(row["predicted"])
        yield row["slice"], row["statement"], measured, predicted, VERDICTS[row["verdict"]]


def _number(value: float) -> str:
    # Rounding must not leave a negative zero.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
