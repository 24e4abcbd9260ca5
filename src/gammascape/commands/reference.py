"""Compare results with the reference tables of docs/reference, or write the reference.

Another device, or other versions, round differently, and rounding can move an edge by one point of the grid. So
numbers are compared within tolerances derived from their own intervals (see TABLES).
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gammascape.command import UserError
from gammascape.figures.page.claims import claims_markdown
from gammascape.manifests.paths import RESULTS
from gammascape.provenance.locate import with_results
from gammascape.tables.cells import read_table
from gammascape.terminal import say

REFERENCE = Path("docs/reference")
PAGE = Path("docs/explanation/findings.md")
_DIGITS = 5
_NEEDED = "tables/claims"
_BLOCK = re.compile(r"(<!-- begin (claims|accuracy) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class ReferenceTable:
    """Stored part of a table, and the tolerance of its numbers."""

    name: str
    keys: Sequence[str]
    """Columns that identify a row, besides the slice."""
    value: str
    others: Sequence[str]
    """Columns kept for readers."""
    tolerance: pl.Expr
    """Allowed distance of `value` from the reference, as an expression over its columns."""
    selection: pl.Expr | None = None
    """Stored rows; None for all."""


def _half_width(low: str, high: str, least: float) -> pl.Expr:
    """Half of an interval, or `least` if the half is smaller or absent."""
    half = (pl.col(high) - pl.col(low)) / 2
    return pl.max_horizontal(half.fill_null(least), pl.lit(least))


# 0.1 of an exponent is a grid step of 0.2 decades at one end of two decades.
TABLES = (
    ReferenceTable(
        "scaling",
        ("edge", "window"),
        "slope",
        ["slope_low", "slope_high", "predicted_slope", "prefactor_log10", "gammas", "seeds"],
        _half_width("slope_low", "slope_high", 0.1),
    ),
    ReferenceTable(
        "claims",
        ("claim",),
        "estimate",
        [
            "statement",
            "quantity",
            "predicted",
            "low",
            "high",
            "verdict",
            "points",
            "power",
            "p_holm",
        ],
        _half_width("low", "high", 0.1),
    ),
    # Rounding changes the accuracy on 5,000 test images by some tenths of a point; chaos at the edge of stability
    # changes it by more.
    ReferenceTable(
        "performance",
        ("measure", "gamma_log10"),
        "value",
        ["low", "high", "eta_log10", "seeds"],
        _half_width("low", "high", 0.02),
        (pl.col("measure") == "accuracy") & (pl.col("budget") == pl.col("steps")),
    ),
)
"""Tables stored for each study."""


def stored_part(table: pl.DataFrame, spec: ReferenceTable) -> pl.DataFrame:
    """Stored part of a table, with numbers rounded to five digits."""
    wanted = ["slice", *spec.keys, spec.value, *spec.others]
    part = (table if spec.selection is None else table.filter(spec.selection)).select(wanted)
    floats = [name for name, dtype in part.schema.items() if dtype.is_float()]
    return part.with_columns(pl.col(floats).round_sig_figs(_DIGITS)).sort("slice", *spec.keys)


def compare(table: pl.DataFrame, reference: pl.DataFrame, spec: ReferenceTable) -> list[str]:
    """Differences between two small tables, one sentence for each row; empty if they agree."""
    keys = ["slice", *spec.keys]
    both = reference.with_columns(spec.tolerance.alias("tolerance")).join(
        table.select(*keys, pl.col(spec.value).alias("found"), pl.lit(True).alias("there")),
        on=keys,
        how="full",
        coalesce=True,
    )
    said = []
    for row in both.sort(keys).iter_rows(named=True):
        name = " ".join(str(row[key]) for key in keys)
        wanted, value = row[spec.value], row["found"]
        if row["tolerance"] is None:
            said.append(f"{spec.name}: {name} is not in the reference")
        elif not row["there"]:
            said.append(f"{spec.name}: {name} is in the reference alone")
        elif (wanted is None) != (value is None):
            said.append(f"{spec.name}: {name}: {spec.value} {value}, reference {wanted}")
        elif wanted is not None and abs(value - wanted) > row["tolerance"]:
            text = f"{spec.value} {value:.4g}, reference {wanted:.4g} ± {row['tolerance']:.2g}"
            said.append(f"{spec.name}: {name}: {text}")
    return said


def write_reference(study: str, results: Path = RESULTS, reference: Path = REFERENCE) -> None:
    """Store the small tables of a study.

    Raises:
        FileNotFoundError: if the study has no tables in `results`.
    """
    folder = reference / study
    folder.mkdir(parents=True, exist_ok=True)
    for spec in TABLES:
        table = read_table(results / study / "tables" / f"{spec.name}.parquet")
        stored_part(table, spec).write_csv(folder / f"{spec.name}.csv")


def check_study(study: str, results: Path = RESULTS, reference: Path = REFERENCE) -> list[str]:
    """Differences between the results of a study and its reference.

    Raises:
        FileNotFoundError: if the study has no tables in `results`, or no reference.
    """
    said = []
    for spec in TABLES:
        kept = read_reference(study, spec.name, reference)
        table = read_table(results / study / "tables" / f"{spec.name}.parquet")
        said += compare(stored_part(table, spec), kept, spec)
    return said


def read_reference(study: str, table: str, reference: Path = REFERENCE) -> pl.DataFrame:
    """Read one small table of the reference."""
    # Give columns their types, since polars cannot infer one from a column without numbers.
    numbers = {name: pl.Float64 for spec in TABLES for name in (spec.value, *spec.others)}
    words = {"statement": pl.String, "quantity": pl.String, "verdict": pl.String}
    path = reference / study / f"{table}.csv"
    names = path.read_text().splitlines()[0].split(",")
    types = numbers | words
    return pl.read_csv(path, schema_overrides={n: types[n] for n in names if n in types})


def studies_with_reference(reference: Path = REFERENCE) -> list[str]:
    """Names of the studies that have a reference."""
    return sorted(path.name for path in reference.iterdir() if path.is_dir())


def page_text(text: str, reference: Path = REFERENCE) -> str:
    """Fill each block `<!-- begin claims STUDY -->` or `accuracy` of a document from the reference."""

    def block(match: re.Match[str]) -> str:
        begin, kind, study, end = match.groups()
        if kind == "accuracy":
            return f"{begin}\n{_accuracy(study, reference)}\n{end}"
        claims = read_reference(study, "claims", reference).group_by("slice", maintain_order=True)
        made = "\n".join(f"`{name}`\n\n{claims_markdown(part)}" for (name,), part in claims)
        return f"{begin}\n{made}\n{end}"

    return _BLOCK.sub(block, text)


def _accuracy(study: str, reference: Path) -> str:
    """Test accuracy in percent: a row for each slice, a column for each gamma."""
    scores = read_reference(study, "performance", reference).filter(measure="accuracy")
    gammas = scores["gamma_log10"].unique().sort().to_list()
    lines = [
        "| log10 γ | " + " | ".join(f"{gamma:g}" for gamma in gammas) + " |",
        "|---|" + "---|" * len(gammas),
    ]
    for (name,), part in scores.group_by("slice", maintain_order=True):
        found = dict(part.select("gamma_log10", "value").iter_rows())
        cells = ["" if found.get(g) is None else f"{100 * found[g]:.1f}" for g in gammas]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parts = parser.add_subparsers(dest="part", required=True)
    check = parts.add_parser(
        "check", help="compare results with the reference; status 1 if they differ"
    )
    check.add_argument("study", nargs="*", help="by default all that have both")
    write = parts.add_parser("write", help="store the results as the reference")
    write.add_argument("study", nargs="+")
    page = parts.add_parser("page", help=f"write the tables of {PAGE}")
    page.add_argument("--check", action="store_true", help="only say whether they are current")


def run(chosen: argparse.Namespace) -> int:
    """Check or write the reference, or write the page; return the exit status."""
    if chosen.part == "write":
        for study in chosen.study:
            write_reference(with_results(study, _NEEDED))
        return 0
    if not REFERENCE.is_dir():
        raise UserError(f"{REFERENCE}: no such folder; call this in a clone of gammascape")
    if chosen.part == "page":
        text = PAGE.read_text()
        current = page_text(text)
        if chosen.check and text != current:
            print(f"{PAGE} is not current: run gammascape reference page")
            return 1
        if text != current:
            PAGE.write_text(current)
        return 0
    there = [
        name
        for name in studies_with_reference()
        if (RESULTS / name / f"{_NEEDED}.parquet").is_file()
    ]
    differs = 0
    for study in chosen.study or there:
        said = check_study(with_results(study, _NEEDED))
        say(
            f"{study}: {'differs' if said else 'agrees with the reference'}",
            *(f"  {s}" for s in said),
        )
        differs |= bool(said)
    return differs
