"""What figures say, over tables of every shape: it follows from the table, and is grammatical."""

import re
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest
from altair.typing import ChartType

from gammascape.figures.dynamics.against_gamma import dynamics
from gammascape.figures.dynamics.curves import collapse, loss_curves
from gammascape.figures.edges.against_gamma import edges
from gammascape.figures.edges.portrait import portrait
from gammascape.figures.performance import performance
from gammascape.figures.style import theme
from gammascape.study import Analysis
from gammascape.tables.dynamics.exponents import dynamics_scaling_table

from .specs import axis_titles, nodes, spec_of, subtitle, words
from .synthetic import (
    MLP3,
    Recipe,
    cells_table,
    curves_table,
    dynamics_table,
    performance_tables,
    scaling_table,
    thresholds_table,
)

OTHER = Recipe("mlp2", 2, 1.0, seeds=(0, 1))
SHAPES: dict[str, tuple[Recipe, ...]] = {
    "whole": (MLP3, OTHER),
    "one slice": (MLP3,),
    "one gamma": (replace(MLP3, gammas=(0.0,)), replace(OTHER, gammas=(0.0,))),
    "two gammas": (replace(MLP3, gammas=(1.0, 2.0)), replace(OTHER, gammas=(1.0, 2.0))),
    "large gammas": (replace(MLP3, gammas=(1.0, 2.0, 3.0)),),
    "one seed": (replace(MLP3, seeds=(0,)),),
    "no seeds in common": (replace(MLP3, seeds=(0, 1)), replace(OTHER, seeds=(2, 3))),
    "no gammas in common": (
        replace(MLP3, gammas=(-2.0, -1.0)),
        replace(OTHER, gammas=(1.0, 2.0)),
    ),
    "many depths": (MLP3, OTHER, Recipe("mlp4", 4, 0.5), Recipe("vit", None, 0.7)),
}
CHANGES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "as it is": lambda cells: cells,
    "nothing trains": lambda cells: cells.with_columns(
        status=pl.lit("diverged"),
        relative_loss=pl.lit(None, pl.Float64),
        test_accuracy=pl.lit(None, pl.Float64),
        test_loss=pl.lit(None, pl.Float64),
    ),
    "ties": lambda cells: cells.with_columns(
        test_accuracy=pl.when(pl.col("test_accuracy").is_not_null()).then(0.9)
    ),
}
_ODD = re.compile(r"\b(nan|None|inf)\b|by 0\.0 |[-−]0\.0+\b|  |\^|\.\.$")
_ONE = re.compile(r"\b1 (cells|seeds|slices|fits|edges|pairs|budgets|depths)\b")
_MANY = re.compile(r"(?<![\d.,])(?!1 )\d[\d,]* (cell|seed|slice|fit|edge|budget|depth)\b")


def said(chart: ChartType) -> str:
    """Title, subtitle and caption, after a look at their form."""
    found = words(chart)
    text = f"{found['title']}\n{subtitle(chart)}"
    for wrong in (_ODD, _ONE, _MANY):
        assert wrong.search(text) is None, text
    assert found["caption"].endswith(".")
    assert not found["title"].endswith(".")
    return text


# No edge depends on accuracies, which tie.
@pytest.mark.parametrize("change", [name for name in CHANGES if name != "ties"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_said_of_edges_follows_from_the_table(shape: str, change: str) -> None:
    recipes = SHAPES[shape]
    cells = CHANGES[change](cells_table(*recipes))
    thresholds = thresholds_table(cells, *recipes)
    scaling = scaling_table(thresholds)
    for recipe in recipes:
        own = cells.filter(model=recipe.model)
        text = said(portrait(own, thresholds, scaling))
        assert f"{own.height:,} cell" in text
        pairs = own.select("gamma_log10", "eta_log10").n_unique()
        trained = own.filter(status="trained").select("gamma_log10", "eta_log10").n_unique()
        if "pairs of γ and η" in text:
            assert f"{trained} of {pairs} pairs" in text
        assert ("nothing trains" in text) == (trained == 0)
        fitted = scaling.filter(model=recipe.model, edge="eta_max_trained")["window"]
        assert ("grows as" in text) == (fitted.n_unique() == 2)
    text = said(edges(thresholds, scaling))
    law = scaling.filter(edge="eta_max_trained", window="rich").drop_nulls("predicted_slope")
    inside = law.filter(pl.col("predicted_slope").is_between("slope_low", "slope_high")).height
    if law.height > 1:
        assert f"{inside} of {law.height} fitted intervals" in text


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_said_of_performance_follows_from_the_table(shape: str, change: str) -> None:
    cells = CHANGES[change](cells_table(*SHAPES[shape]))
    scores, pooled, gain = performance_tables(cells)
    text = said(chart := performance(scores, pooled, gain))
    caption = words(chart)["caption"]
    panels = {title for title in axis_titles(chart) if title}
    assert ("Below:" in caption) == any("over" in title for title in panels)
    assert ("Right:" in caption) == any("fewest steps" in title for title in panels)
    best = pooled.filter(measure="accuracy").filter(pl.col("budget") == pl.col("steps"))
    best = best.drop_nulls("value")
    if best.is_empty():
        assert "No cell has a test loss" in text
        return
    tops = best.filter(pl.col("value") == pl.col("value").max().over("slice"))["gamma_log10"]
    for end in {tops.min(), tops.max()}:
        assert theme.power_of_ten(end) in text
    assert ("most accurate" in text) == (len(tops) < best.height)
    if "points over" in text:
        assert gain.filter(measure="accuracy")["gain"].max() >= 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_said_of_curves_and_dynamics_follows_from_the_table(shape: str) -> None:
    recipes = SHAPES[shape]
    for recipe in recipes:
        curves = curves_table(recipe)
        for figure in (loss_curves, collapse):
            text = said(figure(curves))
            assert f"{len(recipe.gammas) * len(recipe.seeds)} cell" in text
    runs = dynamics_table(*(r for r in recipes if r.depth is not None))
    for change in RUNS.values():
        check_dynamics(change(runs))


# What a run lacks that did not train, had nothing measured, or did not catapult.
RUNS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "as they are": lambda runs: runs,
    "nothing trains": lambda runs: lacking(runs, "half_tau", "trained_tau", "fall_step"),
    "none reaches half": lambda runs: lacking(runs, "half_tau", "half_step"),
    "nothing measured": lambda runs: lacking(runs, "sharpening_factor", "alignment_step"),
    "no catapult": lambda runs: runs.filter(pl.col("path") != "catapult"),
}
PANELS = (
    ("half_step", "rich", "until half of the loss", "relative loss is 1/2", "reaches a level"),
    ("trained_step", "rich", "until trained", "a trained cell's", "reaches a level"),
    ("catapult_peak", "lazy", "atapult peaks go", "Catapults", "peak of the loss over"),
    ("sharpening_factor", "rich", "harpening as", "Sharpening", "sharpness after over"),
    ("", "", "", "Alignment against fall", "below the dashed diagonal"),
)


def lacking(runs: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The runs without these values."""
    return runs.with_columns(pl.lit(None, runs.schema[name]).alias(name) for name in names)


def check_dynamics(runs: pl.DataFrame) -> None:
    """Title and caption speak of the panels that are drawn, of exponents that are fitted, and of nothing else."""
    scaling = dynamics_scaling_table(runs, Analysis())
    chart = dynamics(runs, scaling)
    text, caption = said(chart), words(chart)["caption"]
    panels = "\n".join(str(node["title"]) for node in nodes(spec_of(chart)) if "title" in node)
    drawn = {panel[-1]: panel[-2] in panels for panel in PANELS if panel[-2] in panels}
    for quantity, window, phrase, title, described in PANELS:
        fitted = scaling.filter(quantity=quantity, window=window)["slope_low"].count() > 0
        assert (bool(phrase) and phrase in text) == (fitted and title in panels), text
        assert (described in caption) == drawn.get(described, False), caption
    assert ("Dashed lines" in caption) == ("dashed: γ" in panels)
