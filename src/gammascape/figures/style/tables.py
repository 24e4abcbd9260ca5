"""Facts about a table for the words of a figure: its slice, names of its series, counts; and thinning."""

import math
import re
from collections.abc import Sequence
from typing import cast

import polars as pl

from gammascape.durations import count_of as count_of
from gammascape.figures.style.theme import STATUS_ORDER, power_of_ten

# Altair refuses a data set of 5,000 rows; a figure leaves room for its lines and labels.
ROW_LIMIT = 4500
SLICE_PARTS = ("model", "dataset", "loss", "batch_size", "steps")
_PREFIXES = {"batch_size": "B", "steps": "T"}
_WORDS = {"batch_size": "batch size B", "steps": "steps T"}


def only_slice(table: pl.DataFrame) -> str:
    """The key of the one slice that a table is about; ValueError when it is not exactly one."""
    keys = table["slice"].unique().sort().to_list()
    if len(keys) != 1:
        raise ValueError(f"this figure shows one slice, and the table has {len(keys)}: {keys}")
    return str(keys[0])


def subject(table: pl.DataFrame) -> str:
    """'mlp3 on digits', for titles."""
    return f"{table['model'][0]} on {table['dataset'][0]}"


def budget_line(table: pl.DataFrame) -> str:
    """Settings held fixed: loss, batch size and steps, a list of values where there are several."""

    def values(column: str) -> str:
        return ", ".join(str(value) for value in table[column].unique().sort())

    batch_size, steps = values("batch_size"), values("steps")
    text = f"loss {values('loss')} · batch size B = {batch_size} · T = {steps} steps"
    repeated = table.filter(pl.col("passes") > 1)
    if repeated.is_empty():
        return text
    most = extent(repeated["passes"])[1]
    text += f" · not online: each sample is used up to {most:.3g} times"
    datasets = sorted(repeated["dataset"].unique(), key=_natural)
    return text if table["dataset"].n_unique() == 1 else f"{text} in {', '.join(datasets)}"


def study_line(table: pl.DataFrame) -> str:
    """`budget_line` of a whole study, with the data before it."""
    return (
        f"data {', '.join(sorted(table['dataset'].unique(), key=_natural))} · {budget_line(table)}"
    )


def seed_count(table: pl.DataFrame) -> int:
    """Number of distinct (seed, data_seed) pairs."""
    return table.select("seed", "data_seed").unique().height


def of_first_seed(table: pl.DataFrame) -> pl.DataFrame:
    """Rows of the first pair of seed and data seed."""
    seed, data_seed = table.select("seed", "data_seed").unique().sort("seed", "data_seed").row(0)
    return table.filter(seed=seed, data_seed=data_seed)


def reach_words(fits: pl.DataFrame) -> str:
    """'γ = 10 to 10³': over which gammas lines were fitted."""
    low, high = extent(fits["from_log10"])[0], extent(fits["to_log10"])[1]
    return f"γ = {power_of_ten(low)} to {power_of_ten(high)}"


def counts_of(**numbers: int) -> str:
    """'2 cells, 1 seed'."""
    return ", ".join(count_of(number, noun) for noun, number in numbers.items())


def status_counts(cells: pl.DataFrame) -> dict[str, int]:
    """Cells of each status that occurs, in the order from trained to diverged."""
    counts = dict(cells["status"].value_counts().iter_rows())
    return {status: int(counts[status]) for status in STATUS_ORDER if status in counts}


def status_line(cells: pl.DataFrame) -> str:
    """'120 cells, 2 seeds: 80 trained, 30 untrained, 10 diverged'."""
    counts = ", ".join(f"{n:,} {status}" for status, n in status_counts(cells).items())
    return f"{count_of(cells.height, 'cell')}, {count_of(seed_count(cells), 'seed')}: {counts}"


def with_series(table: pl.DataFrame) -> pl.DataFrame:
    """Add `series`: the model's name, and whatever else tells the slices of the table apart."""
    parts = [
        pl.lit(_PREFIXES.get(part, "")) + pl.col(part).cast(pl.String)
        for part in _series_parts(table)
    ]
    return table.with_columns(pl.concat_str(parts, separator=" ").alias("series"))


def series_title(table: pl.DataFrame) -> str:
    """Parts of the names from `with_series`: 'model' or 'model, batch size B'."""
    return ", ".join(_WORDS.get(part, part) for part in _series_parts(table))


def _series_parts(table: pl.DataFrame) -> list[str]:
    return ["model"] + [part for part in SLICE_PARTS[1:] if table[part].n_unique() > 1]


def series_names(table: pl.DataFrame) -> list[str]:
    """The series of a table from `with_series` in a fixed order, B8 before B32."""
    return sorted(map(str, table["series"].unique()), key=_natural)


def _natural(text: str) -> list[tuple[str, int]]:
    """A key that sorts the numbers inside of names by their values."""
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D*)(\d*)", text)]


def extent(values: pl.Series) -> tuple[float, float]:
    """Smallest and largest of `values`, which must not be empty."""
    return float(cast(float, values.min())), float(cast(float, values.max()))


def with_margin(values: pl.Series, margin: float) -> list[float]:
    """The `extent` of `values`, wider by a margin on both sides."""
    low, high = extent(values)
    return [low - margin, high + margin]


def every_kth(values: Sequence[float], most: int) -> list[float]:
    """Evenly thinned `values`, at most `most` of them, the first always kept."""
    return list(values)[:: max(1, math.ceil(len(values) / max(1, most)))]


def every_nth_from_last(every: int | pl.Expr, line: str | Sequence[str]) -> pl.Expr:
    """Select evenly thinned rows of each line, in the order of the table; the last one stays."""
    from_last = pl.len() - 1 - pl.int_range(pl.len())
    return (from_last % every == 0).over(line)
