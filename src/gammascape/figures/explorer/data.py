"""Data of the explorer by column: cells of studies, their tiles, their curves, and the edges at every budget."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gammascape.figures.style.plane import theory_lines, with_sides
from gammascape.figures.style.tables import SLICE_PARTS
from gammascape.runs.outcome import Thresholds
from gammascape.tables.cells import read_summary
from gammascape.tables.edges.budget import Losses, budgets, judge_at_budgets, read_histories
from gammascape.tables.performance.scores import steps_until
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.toy import toy_histories
from gammascape.theory.toy import DATA

DIGITS = 4
"""Significant digits of a number: more than a pixel of a plot shows."""
_BINS = 30
_COLUMNS = [
    *("cell", "gamma_log10", "eta_log10", "seed", "data_seed", "initial_loss", "final_loss"),
    *("test_accuracy", "peak_loss", "peak_step", "seconds"),
]
_EXACT = ("gamma_log10", "eta_log10")
EDGES = {
    "eta_min": "eta_min_log10",
    "eta_best": "eta_best_log10",
    "eta_max_trained": "eta_max_log10",
}
"""Edge -> its column in the table of budgets."""
_TESTED = {"loss": "test_loss", "accuracy": "test_accuracy"}


def explorer_data(
    tables: Mapping[str, pl.DataFrame], cells_folder: Path, thresholds: Thresholds
) -> dict[str, Any]:
    """Content of the explorer, as plain builtins.

    Args:
        tables: cells, thresholds, scaling and budget of a study, and similarity if it has representations.
        cells_folder: folder of all artifacts.
        thresholds: of the study.

    Returns:
        slices      name and parts, budgets, tiles, edges at each budget, lines of the predicted exponents, whether
                    it is a toy's, and the index of the study
        cells       columns, a value for each row of the table of cells; `half` is the number of steps until half
                    the loss of f = 0, `best` whether it is the best eta of its gamma and seed
        judged      status (first two letters), relative loss and peak of each cell at each budget of its slice
        measures    name, layer, and for each cell the index of its steps in `grids` and its values, or null
        similarity  CKA of networks at equal steps: layers, slices and gammas of pairs

    Raises:
        TableError: if an artifact is damaged.
    """
    cells = tables["cells"]
    curves = _Curves(cells.height)
    slices, judged = [], []
    best = tables["thresholds"].filter(edge="eta_best")["cell"]
    half: list[int | None] = []
    groups = cells.with_row_index("row").group_by("slice", maintain_order=True)
    for (key,), group in groups:
        ends = budgets(group["steps"][0])
        mine = {name: tables[name].filter(slice=key) for name in ("scaling", "budget")}
        slices.append(
            {name: group[name][0] for name in ("slice", *SLICE_PARTS)}
            | {"budgets": ends, "tiles": _tiles(group), "edges": _edges(mine["budget"], ends)}
            | {"lines": _lines(mine["scaling"]), "toy": group["data_digest"][0] == DATA, "study": 0}
        )
        lives = _lives(group, mine["budget"], cells_folder)
        for row, (history, summary) in zip(group.iter_rows(named=True), lives, strict=True):
            found = judge_at_budgets(row, history, thresholds)
            last = np.searchsorted(history["step"], ends) - 1
            peaks = np.maximum.accumulate(history["loss_max"])[last]
            judged.append(
                {
                    "status": "".join(one["status"][:2] for one in found),
                    "relative": [rounded(one["relative_loss"]) for one in found],
                    "peak": list(map(rounded, peaks)),
                }
            )
            half.append(steps_until(history, row["steps_done"], (0.5,))[0])
            curves.add(row["row"], history, summary)
    columns = {
        name: cells[name].to_list()
        if cells[name].dtype != pl.Float64 or name in _EXACT
        else list(map(rounded, cells[name]))
        for name in _COLUMNS
    }
    of = {key: k for k, key in enumerate(cells["slice"].unique(maintain_order=True))}
    columns |= {"slice": [of[key] for key in cells["slice"]], "half": half}
    columns["best"] = cells["cell"].is_in(best.implode()).to_list()
    return {
        "slices": slices,
        "cells": columns,
        "judged": {name: [one[name] for one in judged] for name in ("status", "relative", "peak")},
        **curves.content,
        "similarity": _similar(tables.get("similarity"), slices),
    }


def join_studies(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Data of several studies as of one; names of slices begin with the study's.

    Args:
        parts: `explorer_data` of each study, with `studies`: a list of one entry, its name and numbers of cells.

    Returns:
        As `explorer_data`, with `studies`, and `beside`: the slice to show beside the first.
    """
    found: dict[str, Any] = {
        "slices": [],
        "studies": [],
        "cells": {},
        "judged": {},
        "similarity": {},
    }
    curves = _Curves(sum(len(part["cells"]["cell"]) for part in parts))
    first, row = 0, 0
    for study, part in enumerate(parts):
        for key in ("cells", "judged", "similarity"):
            for name, values in part[key].items():
                moved = [first + s for s in values] if name.startswith("slice") else values
                found[key].setdefault(name, []).extend(moved)
        about = part["studies"][0]
        for one in part["slices"]:
            rows = [[row + i for i in inside] for inside in one["tiles"]["cells"]]
            own = {"slice": f"{about['name']}: {one['slice']}", "study": study}
            found["slices"].append(one | own | {"tiles": one["tiles"] | {"cells": rows}})
        for measure in part["measures"]:
            for i, grid in enumerate(measure["grid"]):
                if grid is not None:
                    curve = part["grids"][grid], measure["values"][i]
                    curves.put(row + i, measure["name"], measure["layer"], *curve)
        found["studies"].append(about)
        first, row = len(found["slices"]), len(found["cells"]["cell"])
    mine, others = ([one["slice"] for one in part["slices"]] for part in parts[:2])
    # The one of the same name, if there is one.
    other = sorted(others, key=lambda name: name not in mine[:1])[:1]
    found["beside"] = "".join(f"{found['studies'][1]['name']}: {name}" for name in other)
    return found | curves.content


def rounded(value: Any) -> float | None:
    """A number that the plots show as the exact one; None if it is not finite."""
    return float(f"{value:.{DIGITS}g}") if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def thinned(step: NDArray[Any], loss: Floats) -> NDArray[np.int64]:
    """Indices of about 60 points of a curve: its ends, and the least and the largest loss in bins of a log grid.

    Args:
        step: (n,) steps counted from 0, increasing.
        loss: (n,) values; those that are not finite are left out.
    """
    at = np.flatnonzero(np.isfinite(loss))
    if not len(at):
        return at
    grid = np.floor(np.log(step[at] + 1.0) * (_BINS / np.log(max(step[-1] + 2.0, 2)))).astype(int)
    starts = np.flatnonzero(np.diff(grid, prepend=-1))
    kept = {int(at[0]), int(at[-1])}
    for part in np.split(at, starts[1:]):
        kept |= {int(part[loss[part].argmin()]), int(part[loss[part].argmax()])}
    return np.array(sorted(kept))


class _Curves:
    """Curves of cells by what was measured; steps that many cells share are kept once."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.measures: dict[tuple[str, str], dict[str, Any]] = {}
        self.grids: dict[str, int] = {}

    @property
    def content(self) -> dict[str, list[Any]]:
        """`measures` and `grids`."""
        grids = [json.loads(grid) for grid in self.grids]
        return {"measures": list(self.measures.values()), "grids": grids}

    def add(self, row: int, history: Losses, summary: Mapping[str, Any]) -> None:
        kept = thinned(history["step"], history["loss"])
        steps, losses = (history[name][kept].tolist() for name in ("step", "loss"))
        self.put(row, "training_loss", "", steps, losses)
        for prefix in ("", "shifted_"):
            for name, measure in _TESTED.items():
                points = [
                    (taken["step"], taken.get(f"{prefix}{name}"))
                    for taken in summary["evaluations"]
                ]
                self._points(row, f"{prefix}{measure}", "", points)
        found: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        for taken in summary.get("observables", ()):
            for name, value in taken.items():
                layers = value if isinstance(value, dict) else {"": value}
                for layer, number in layers.items() if name != "step" else ():
                    found.setdefault((name, layer), []).append((taken["step"], number))
        for (name, layer), points in found.items():
            self._points(row, name, layer, points)

    def _points(self, row: int, name: str, layer: str, points: Iterable[tuple[int, Any]]) -> None:
        known = [(step, value) for step, value in points if _is_number(value)]
        if known:
            self.put(row, name, layer, *map(list, zip(*known, strict=True)))

    def put(self, row: int, name: str, layer: str, steps: list[int], values: Iterable[Any]) -> None:
        """Add the curve of one cell."""
        if (name, layer) not in self.measures:
            empty = {"grid": [None] * self.cells, "values": [None] * self.cells}
            self.measures[name, layer] = {"name": name, "layer": layer} | empty
        made = self.measures[name, layer]
        made["grid"][row] = self.grids.setdefault(json.dumps(steps), len(self.grids))
        made["values"][row] = list(map(rounded, values))


def _lives(
    group: pl.DataFrame, budget: pl.DataFrame, cells_folder: Path
) -> Iterator[tuple[Losses, Mapping[str, Any]]]:
    """Loss history and summary of each cell; a toy, which is computed, has measured nothing else."""
    if group["data_digest"][0] == DATA:
        for history in toy_histories(group, budget["depth_exponent"][0]):
            yield history, {"evaluations": ()}
        return
    for cell, history in zip(group["cell"], read_histories(group, cells_folder), strict=True):
        yield history, read_summary(cells_folder / cell)


def _tiles(group: pl.DataFrame) -> dict[str, list[Any]]:
    """Sides of the tiles of a slice, and the rows of the cells on each."""
    at = ["gamma_log10", "eta_log10"]
    pairs = group.group_by(at, maintain_order=True).agg(pl.col("row")).sort(at)
    tiles = with_sides(pairs).rename({"gamma_log10": "gamma", "eta_log10": "eta", "row": "cells"})
    return tiles.to_dict(as_series=False)


def _edges(budget: pl.DataFrame, ends: Iterable[int]) -> list[dict[str, Any]]:
    """Mean over seeds at each budget: edge -> [log10 gamma, log10 eta]."""
    mean = budget.group_by("budget", "gamma_log10").agg(
        pl.col(column).mean().alias(edge) for edge, column in EDGES.items()
    )
    mean = mean.sort("gamma_log10")
    return [
        {
            edge: [
                [gamma, rounded(eta)]
                for gamma, eta in mean.filter(budget=end).select("gamma_log10", edge).iter_rows()
                if eta is not None
            ]
            for edge in EDGES
        }
        for end in ends
    ]


def _lines(scaling: pl.DataFrame) -> list[dict[str, Any]]:
    """Ends of the lines of predicted exponents, as portraits draw them."""
    lines = []
    for line in theory_lines(scaling).iter_rows(named=True):
        ends = [line["from_log10"], line["to_log10"]]
        slope, prefactor = line["predicted_slope"], line["prefactor_at_predicted_log10"]
        lines.append({"x": ends, "y": [rounded(prefactor + slope * end) for end in ends]})
    return lines


def _similar(
    similarity: pl.DataFrame | None, slices: Iterable[Mapping[str, Any]]
) -> dict[str, list[Any]]:
    names = ("slice_a", "gamma_a", "layer_a", "slice_b", "gamma_b", "layer_b", "cka")
    found: dict[str, list[Any]] = {name: [] for name in names}
    if similarity is None:
        return found
    of = {tuple(part[name] for name in SLICE_PARTS): k for k, part in enumerate(slices)}
    for row in similarity.filter(at="steps").iter_rows(named=True):
        shared = tuple(row[name] for name in SLICE_PARTS[1:])
        ends = [
            (of.get((row[f"model_{end}"], *shared)), row[f"gamma_{end}_log10"], row[f"layer_{end}"])
            for end in "ab"
        ]
        # Each pair stands in the table in both orders.
        if None not in (ends[0][0], ends[1][0]) and ends[0] <= ends[1]:
            values = (*ends[0], *ends[1], rounded(row["cka"]))
            for name, value in zip(names, values, strict=True):
                found[name].append(value)
    return found
