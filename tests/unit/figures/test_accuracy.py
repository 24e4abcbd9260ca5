"""What the figure of accuracy against gamma claims."""

from dataclasses import replace

import polars as pl
import pytest

from gammascape.figures import accuracy

from .specs import axis_titles, data_of, nodes, rows, spec_of, subtitle, words
from .synthetic import ALL, MLP3, cells_table


def domains(chart) -> list[list[str]]:
    """The different domains of the scales that name series."""
    found = [n["domain"] for n in nodes(spec_of(chart)) if isinstance(n.get("domain"), list)]
    named = [domain for domain in found if isinstance(domain[0], str)]
    return [list(domain) for domain in dict.fromkeys(map(tuple, named))]


def test_symbols_are_the_best_eta_of_each_seed_and_lines_their_mean(mlp3):
    cells, *_ = mlp3
    chart = accuracy(cells)
    (points,), (line,) = data_of(chart, "point"), data_of(chart, "line")
    at_one = [row["value"] for row in points if row["gamma_log10"] == 0]
    best = (
        cells.filter(pl.col("gamma_log10") == 0).group_by("seed").agg(pl.col("test_accuracy").max())
    )
    assert sorted(at_one) == pytest.approx(sorted(100 * best["test_accuracy"]))
    (mean,) = [row["value"] for row in line if row["gamma_log10"] == 0]
    assert mean == pytest.approx(sum(at_one) / 2)


def test_every_model_is_a_line(everything):
    (line,) = data_of(accuracy(everything[0]), "line")
    assert {row["series"] for row in line} == {recipe.model for recipe in ALL}


def test_slices_of_one_model_are_told_apart_by_what_differs():
    cells = cells_table(MLP3, replace(MLP3, loss="xent"))
    chart = accuracy(cells)
    (line,) = data_of(chart, "line")
    assert {row["series"] for row in line} == {"mlp3 mse", "mlp3 xent"}
    assert "model, loss" in [n.get("title") for n in nodes(spec_of(chart))]
    assert words(chart)["title"].startswith("Every slice ")


def test_batch_sizes_and_sizes_of_data_are_listed_by_their_values():
    sizes = cells_table(*(replace(MLP3, batch_size=size) for size in (128, 8, 32)))
    assert domains(accuracy(sizes)) == [["mlp3 B8", "mlp3 B32", "mlp3 B128"]]
    data = cells_table(*(replace(MLP3, dataset=name) for name in ("m4000", "m", "m500")))
    assert domains(accuracy(data)) == [["mlp3 m", "mlp3 m500", "mlp3 m4000"]]
    assert "data m, m500, m4000 · " in subtitle(accuracy(data))


def test_lines_whose_colours_come_again_are_dashed():
    cells = cells_table(*(replace(MLP3, model=f"m{k}", gammas=(0.0,)) for k in range(8)))
    scales = [n["scale"] for n in nodes(spec_of(accuracy(cells))) if "scale" in n]
    (dashes,) = [s["range"] for s in scales if [6, 3] in s.get("range", [])]
    assert dashes == [[1, 0]] * 7 + [[6, 3]]


def test_the_subtitle_names_the_data_that_are_repeated():
    cells = cells_table(*(replace(MLP3, dataset=name) for name in ("m4000", "m", "m500")))
    passes = pl.when(pl.col("dataset") == "m").then(1.0).otherwise(4.8)
    text = subtitle(accuracy(cells.with_columns(passes=passes)))
    assert text.endswith("each sample is used up to 4.8 times in m500, m4000")


def test_lines_of_the_subtitle_break_between_its_parts():
    cells = cells_table(*(replace(MLP3, dataset=f"{'long' * 9}{k}") for k in range(2)))
    lines = spec_of(accuracy(cells))["title"]["subtitle"]
    assert "loss mse · batch size B = 32 · T = 600 steps" in lines


def test_regression_slices_are_left_out_of_the_accuracy():
    regression = replace(MLP3, model="mlpr", dataset="teacher", classes=False)
    cells = cells_table(MLP3, regression)
    chart = accuracy(cells)
    assert not any("mlpr" in row["series"] for row in rows(chart))
    assert f"{cells_table(MLP3).height} cells" in subtitle(chart)


def test_a_study_without_accuracy_shows_the_loss():
    chart = accuracy(cells_table(replace(MLP3, dataset="teacher", classes=False)))
    assert "lowest relative final loss (dimensionless)" in axis_titles(chart)
    assert "lowest loss" in words(chart)["title"]
    assert "loss" in words(chart)["caption"]


def test_the_title_names_the_best_gamma_and_the_gain(everything):
    cells = everything[0].filter(pl.col("model") == "cnn")
    best = cells.group_by("gamma_log10").agg(pl.col("test_accuracy").max()).sort("gamma_log10")
    gain = 100 * (best["test_accuracy"].max() - best["test_accuracy"][0])
    assert words(accuracy(cells))["title"].startswith("cnn is most accurate at γ = ")
    assert f"by {gain:.1f} points" in words(accuracy(cells))["title"]


def test_nothing_finite_is_drawn_as_an_empty_figure(mlp3):
    cells = mlp3[0].with_columns(
        test_accuracy=pl.lit(None, pl.Float64), relative_loss=pl.lit(None, pl.Float64)
    )
    assert words(accuracy(cells))["title"].startswith("No cell")


def test_a_single_gamma_has_no_gain_to_report():
    title = words(accuracy(cells_table(replace(MLP3, gammas=(1.0,)))))["title"]
    assert title == "mlp3 is most accurate at γ = 10"


def test_symbols_give_way_to_lines_when_there_are_too_many():
    cells = cells_table(replace(MLP3, seeds=(0,)))
    cells = pl.concat([cells.with_columns(seed=pl.lit(k, pl.Int64)) for k in range(600)])
    assert len(rows(accuracy(cells))) < 5000
