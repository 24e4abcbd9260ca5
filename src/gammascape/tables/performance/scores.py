"""Scores of cells, and which eta the other seeds choose: test accuracy and loss, steps until a training loss."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gammascape.runs.history import LEAST_BUDGET, final_windows, measurement_steps
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, read_summary
from gammascape.tables.dynamics.curves import History
from gammascape.tables.performance.choice import mark_chosen

SCORE_SCHEMA = SLICE_COLUMNS | columns(
    "gamma_log10 seed:int data_seed:int measure:str budget:int target value validation eta_log10 cell:str "
    "chosen:bool chosen_by:int reached:int cells:int test_samples:int"
)

TARGETS = (0.85, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
"""Training losses, relative to the loss of f = 0, until which steps are counted."""
HIGHER_IS_BETTER = {"accuracy": True, "test_loss": False, "steps": False}
_GROUP = [*SLICE_COLUMNS, "gamma_log10", "seed", "data_seed", "measure", "budget", "target"]
JUDGED = pl.coalesce("validation", "value")
"""Score that chooses among etas and gammas; `value` is reported for the choice."""
_MOST_SAMPLES = 100_000
_FLOAT32 = 6e-8


def score_table(cells: pl.DataFrame, cells_folder: Path) -> pl.DataFrame:
    """Scores of all cells, and which of each gamma and seed the other seeds choose.

    accuracy    test accuracy after `budget` steps, a share
    test_loss   test loss after `budget` steps
    steps       steps until the training loss, relative to the loss of f = 0, is at most `target`

    `chosen` are those at the eta that the other seeds find best (`tables.performance.choice`): the best of several
    looks better than it is on what it was chosen by. With one seed (`chosen_by` 0) it is the best over eta, and
    too good. With a validation split etas are chosen by the score on it, `validation`, also by one seed, whose
    score on the test set is then not too good. A run that has diverged is seen to have, and is not chosen: it has
    no row, unless all runs of its gamma and seed have diverged, which then have rows without a value. Each budget
    has its own learning rate.
    Budgets are the steps after which the test set was evaluated; the rate is constant, so a shorter run is the
    beginning of a longer one. Training losses are smoothed as the final loss of a run is
    (`runs.history.final_window`): steps are counted from the start, the plateau included, until a run of that
    length would have ended at the target. Cells that do not reach it have rows without a value.

    Args:
        cells: the table of `tables.cells.cell_table`, of any number of slices.
        cells_folder: folder of all artifacts.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells.iter_rows(named=True):
        folder = cells_folder / cell["cell"]
        shared = {name: cell[name] for name in (*_GROUP[:-3], "eta_log10", "cell")}
        rows += [shared | score for score in _scores(folder, cell["steps_done"])]
    given = (*_GROUP, "value", "validation", "eta_log10", "cell")
    value = pl.col("value")
    scores = pl.DataFrame(rows, schema={name: SCORE_SCHEMA[name] for name in given}).filter(
        (pl.col("measure") == "steps") | value.is_not_null() | (value.count().over(_GROUP) == 0)
    )
    samples = {
        shared["slice"]: test_set_size(group["value"].drop_nulls().to_numpy())
        for shared, group in grouped(scores.filter(measure="accuracy"), ["slice"])
    }
    accuracy, judged = pl.col("measure") == "accuracy", JUDGED
    counted = scores.with_columns(
        reached=value.count().over(_GROUP),
        cells=pl.len().over(_GROUP),
        measured=value,
        value=pl.when(accuracy).then(judged).otherwise(-judged.log10()),
    )
    key = [name for name in _GROUP if name not in ("seed", "data_seed")]
    return (
        mark_chosen(counted, key, ["eta_log10"])
        .with_columns(
            value="measured",
            test_samples=pl.when(accuracy).then(
                pl.col("slice").replace_strict(samples, default=None, return_dtype=pl.Int64)
            ),
        )
        .select(pl.col(name).cast(kind) for name, kind in SCORE_SCHEMA.items())
        .sort(*_GROUP, "eta_log10")
    )


def _scores(folder: Path, steps_done: int) -> Iterable[dict[str, Any]]:
    summary = read_summary(folder)
    steps = summary["cell"]["steps"]
    for measure, name in (("accuracy", "accuracy"), ("test_loss", "loss")):
        values = {found["step"]: found for found in summary["evaluations"]}
        if all(found.get(name) is None for found in values.values()):
            continue
        split = f"validation_{name}"
        names = {"value": name} | (
            {"validation": split} if split in next(iter(values.values())) else {}
        )
        for budget in measurement_steps(steps):
            taken = {column: values.get(budget, {}).get(key) for column, key in names.items()}
            # A loss of exactly zero has no logarithm; a network has none.
            if any(
                value is None or not np.isfinite(value) or (measure == "test_loss" and value <= 0)
                for value in taken.values()
            ):
                taken = {"value": None}
            if budget >= min(LEAST_BUDGET, steps):
                yield {"measure": measure, "budget": budget, **taken}
    history = History.read(folder)._asdict()
    for target, steps in zip(TARGETS, steps_until(history, steps_done, TARGETS), strict=True):
        yield {"measure": "steps", "target": target, "value": steps}


def steps_until(
    history: Mapping[str, NDArray[Any]], steps_done: int, targets: Iterable[float]
) -> list[int | None]:
    """Fewest steps T such that the mean loss of the final window of a run of T steps is at most each target.

    Args:
        history: step (first of each bin), loss and zero_loss (loss of f = 0) of bins, (n,) each.
        steps_done: number of steps in the history.
        targets: relative losses.

    Returns:
        T, or None where the run does not get there. Beyond 10,000 steps T is the end of a bin, and a bin counts
        by its overlap with the window.
    """
    starts = history["step"]
    stops = np.append(starts[1:], steps_done)
    widths = stops - starts
    windows = final_windows(stops)
    # A window with a loss of its length times the loss of f = 0 has a mean above it. Higher ones are cut
    # off there: in the sums, a spike of 10^20 would take the digits of all losses after it.
    highest = windows.max() * float(np.nanmax(history["zero_loss"]))
    losses = np.where(np.isfinite(history["loss"]), np.minimum(history["loss"], highest), np.nan)
    # Sums stay NaN from the first loss on that is not finite.
    sums = [
        np.concatenate(([0.0], np.cumsum(values.astype(float) * widths)))
        for values in (losses, history["zero_loss"])
    ]
    at = np.append(starts[:1], stops)
    with np.errstate(invalid="ignore"):
        loss, zero = (total[1:] - np.interp(stops - windows, at, total) for total in sums)
        relative = loss / zero
    found: list[int | None] = []
    for target in targets:
        below = relative <= target
        found.append(int(stops[below.argmax()]) if below.any() else None)
    return found


def test_set_size(accuracies: NDArray[np.float64]) -> int | None:
    """The number of test samples: the smallest of which all accuracies are whole shares, in float32.

    A small number of cells can have a divisor of it in common, which makes the error that follows from it too
    large, never too small. None if there is none up to 100,000.
    """
    shares = np.unique(accuracies)
    if not len(shares):
        return None
    sizes = np.arange(1, _MOST_SAMPLES + 1, dtype=float)
    for share in shares:
        counts = sizes * share
        # Rounding of the share to float32, and of the arithmetic behind it.
        sizes = sizes[np.abs(counts - np.round(counts)) <= 2 * _FLOAT32 * sizes + 1e-9]
        if not len(sizes):
            return None
    return int(sizes[0])
