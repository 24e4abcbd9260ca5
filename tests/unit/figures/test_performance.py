"""What the figure of performance, cost and gain against gamma claims."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from altair.typing import ChartType

from gammascape.figures.performance import performance

from .specs import axis_titles, data_of, nodes, rows, spec_of, subtitle, words
from .synthetic import ALL, MLP3, cells_table, performance_tables, scores_table


def draw(cells: pl.DataFrame) -> ChartType:
    return performance(*performance_tables(cells))


def points(chart: ChartType) -> list[dict[str, Any]]:
    """The symbols of the seeds, which are drawn before all others but arrowheads."""
    return next(data for data in data_of(chart, "point") if "above" not in data[0])


def domains(chart: ChartType) -> list[list[str]]:
    """The different domains of the scales that name series."""
    found = [n["domain"] for n in nodes(spec_of(chart)) if isinstance(n.get("domain"), list)]
    named = [domain for domain in found if isinstance(domain[0], str)]
    return [list(domain) for domain in dict.fromkeys(map(tuple, named))]


def test_symbols_are_seeds_at_the_eta_that_the_other_chooses_and_lines_their_mean(mlp3):
    cells, *_ = mlp3
    chart = draw(cells)
    at_one = [row["value"] for row in points(chart) if row["gamma_log10"] == 0]
    known = cells.filter(pl.col("gamma_log10") == 0, pl.col("test_accuracy").is_not_null())
    one, other = (known.filter(seed=seed).sort("test_accuracy") for seed in (0, 1))
    chosen = [
        a.filter(pl.col("eta_log10") == b["eta_log10"][-1])["test_accuracy"].item()
        for a, b in ((one, other), (other, one))
    ]
    assert sorted(at_one) == pytest.approx(sorted(100 * value for value in chosen))
    means = {row["value"] for row in rows(chart) if row.get("gamma_log10") == 0 and "low" in row}
    assert any(mean == pytest.approx(sum(at_one) / 2) for mean in means)


def test_every_model_is_a_line(everything):
    assert {row["series"] for row in points(draw(everything[0]))} == {r.model for r in ALL}


def test_slices_of_one_model_are_told_apart_by_what_differs():
    chart = draw(cells_table(MLP3, replace(MLP3, loss="xent")))
    assert {row["series"] for row in points(chart)} == {"mlp3 mse", "mlp3 xent"}
    assert "model, loss" in [n.get("title") for n in nodes(spec_of(chart))]
    assert words(chart)["title"].startswith("Every slice ")


def test_a_slice_has_one_name_in_all_tables_though_some_lack_slices():
    cells = cells_table(MLP3, replace(MLP3, model="mlp4", loss="xent"))
    regression = pl.when(pl.col("model") == "mlp3").then("test_accuracy")
    scores, pooled, gain = performance_tables(cells.with_columns(test_accuracy=regression))
    chart = performance(scores, pooled, gain.filter(model="mlp3"))
    # Only one slice is shown: its loss tells it from nothing.
    assert {row["series"] for row in rows(chart) if "series" in row} == {"mlp3"}
    both = performance(*performance_tables(cells)[:2], gain.filter(model="mlp3"))
    assert {row["series"] for row in rows(both) if "gain" in row and "series" in row} == {
        "mlp3 mse"
    }


def test_batch_sizes_and_sizes_of_data_are_listed_by_their_values():
    sizes = draw(cells_table(*(replace(MLP3, batch_size=size) for size in (128, 8, 32))))
    assert domains(sizes) == [["mlp3 B8", "mlp3 B32", "mlp3 B128"]]
    data = draw(cells_table(*(replace(MLP3, dataset=name) for name in ("m4000", "m", "m500"))))
    assert domains(data) == [["mlp3 m", "mlp3 m500", "mlp3 m4000"]]
    assert "data m, m500, m4000 · " in subtitle(data)


def test_lines_whose_colours_come_again_are_dashed():
    cells = cells_table(*(replace(MLP3, model=f"m{k}", gammas=(0.0,)) for k in range(8)))
    scales = [n["scale"] for n in nodes(spec_of(draw(cells))) if "scale" in n]
    dashes = [s["range"] for s in scales if s and [6, 3] in s.get("range", [])]
    assert dashes[0] == [[1, 0]] * 7 + [[6, 3]]


def test_the_subtitle_names_the_data_that_are_repeated():
    cells = cells_table(*(replace(MLP3, dataset=name) for name in ("m4000", "m", "m500")))
    passes = pl.when(pl.col("dataset") == "m").then(1.0).otherwise(4.8)
    text = subtitle(draw(cells.with_columns(passes=passes)))
    assert "each sample is used up to 4.8 times in m500, m4000" in text


def test_regression_slices_are_left_out_of_the_accuracy():
    regression = replace(MLP3, model="mlpr", dataset="teacher", classes=False)
    cells = cells_table(MLP3, regression)
    chart = draw(cells)
    assert not any("mlpr" in str(row.get("series")) for row in rows(chart))
    finite = cells_table(MLP3).filter(pl.col("test_accuracy").is_not_null())
    assert f"{finite.height} cells" in subtitle(chart)


def test_a_study_without_accuracy_shows_the_loss():
    chart = draw(cells_table(replace(MLP3, dataset="teacher", classes=False)))
    assert "lowest test loss" in axis_titles(chart)
    assert "lowest test loss" in words(chart)["title"]
    assert "loss" in words(chart)["caption"]


def test_the_title_names_the_best_gamma_and_the_gain_over_gamma_1(everything):
    cells = everything[0].filter(pl.col("model") == "cnn")
    best = cells.group_by("gamma_log10").agg(pl.col("test_accuracy").max())
    at_one = best.filter(gamma_log10=0)["test_accuracy"][0]
    gain = 100 * (best["test_accuracy"].max() - at_one)
    assert words(draw(cells))["title"].startswith("cnn is most accurate at γ = ")
    assert f"by {gain:.1f} points over γ = 1" in words(draw(cells))["title"]


def test_the_title_says_whether_the_gain_is_more_than_errors(mlp3):
    scores, pooled, gain = performance_tables(mlp3[0])
    gain = gain.with_columns(gain=1.25)
    near = gain.with_columns(gain_low=pl.when(pl.col("measure") == "accuracy").then(0.0))
    far = gain.with_columns(gain_low=pl.when(pl.col("measure") == "accuracy").then(0.1))
    unknown = gain.with_columns(gain_low=pl.lit(None, pl.Float64))
    titles = [words(performance(scores, pooled, table))["title"] for table in (near, far, unknown)]
    start = titles[1]
    assert start.endswith(", by 1.2 points over γ = 1")
    # One seed has no interval.
    undecided = f"{start}: undecided whether by more than 0"
    assert titles == [undecided, start, undecided]


def test_the_title_counts_the_slices_that_surely_gain(everything):
    scores, pooled, gain = performance_tables(everything[0])
    gain = gain.with_columns(
        gain=1.25, gain_low=pl.when(pl.col("model") == "mlp3").then(0.1).otherwise(-0.1)
    )
    title = words(performance(scores, pooled, gain))["title"]
    of = gain.filter(pl.col("budget") == pl.col("steps"), measure="accuracy")["slice"].n_unique()
    assert title.endswith(f"by 1.2 points over γ = 1, surely in 1 of {of}")


def test_no_title_says_by_nothing(mlp3):
    scores, pooled, gain = performance_tables(mlp3[0])
    for nothing in (0.04, -1e-13):
        points = pl.when(pl.col("measure") == "accuracy").then(nothing).otherwise("gain")
        title = words(performance(scores, pooled, gain.with_columns(gain=points)))["title"]
        assert "by" not in title
    one = gain.with_columns(gain=0.04, slice=pl.lit("other"), model=pl.lit("other"))
    both = [pl.concat([a, b]) for a, b in ((gain.with_columns(gain=1.0), one),)]
    more = [pl.concat([table, table.with_columns(model=pl.lit("other"), slice=pl.lit("other"))])
            for table in (scores, pooled)]  # fmt: skip
    assert "by up to 1.0 points" in words(performance(*more, *both))["title"]


def test_a_gamma_at_which_nothing_was_measured_is_not_the_best(mlp3):
    scores, pooled, gain = performance_tables(mlp3[0])
    lost = pl.when(pl.col("gamma_log10") != 0).then(pl.col("value"))
    chart = performance(scores, pooled.with_columns(value=lost), gain)
    kept = pooled.filter(pl.col("gamma_log10") != 0)
    assert words(chart)["title"] == words(performance(scores, kept, gain))["title"]


def test_a_single_gamma_has_no_gain_to_report():
    for gamma, said in ((1.0, "10"), (0.0, "1")):
        chart = draw(cells_table(replace(MLP3, gammas=(gamma,), seeds=(0,))))
        assert words(chart)["title"] == f"Test accuracy of 1 slice at γ = {said}"
        assert "Below" not in words(chart)["caption"]
        assert not any("gain" in row for row in rows(chart))
        assert "bars" not in subtitle(chart)


def test_cost_is_shown_to_the_lowest_loss_that_half_of_the_points_reach(mlp3):
    cells, *_ = mlp3
    assert "fewest steps to 0.1 of the loss of f = 0" in axis_titles(draw(cells))
    small = cells.filter(pl.col("gamma_log10") < 1)
    assert "fewest steps to 0.5 of the loss of f = 0" in axis_titles(draw(small))


def test_gains_have_intervals_and_those_of_seeds_that_did_not_choose_gamma(mlp3):
    scores, pooled, gain = performance_tables(mlp3[0])
    chart = performance(scores, pooled, gain)
    drawn = [row for row in rows(chart) if "gain_held_out" in row]
    of_accuracy = gain.filter(measure="accuracy").row(0, named=True)
    assert drawn[0]["gain"] == pytest.approx(of_accuracy["gain"])
    assert drawn[0]["gain_held_out"] == pytest.approx(of_accuracy["gain_held_out"])
    assert drawn[0]["gain_low"] <= drawn[0]["gain"] <= drawn[0]["gain_high"]
    assert "steps at γ = 1 over the fewest (ratio)" in axis_titles(chart)


def test_without_gamma_1_no_gain_is_drawn():
    chart = draw(cells_table(replace(MLP3, gammas=(-1.0, 1.0))))
    assert not any("gain" in row for row in rows(chart))


def test_nothing_measured_is_drawn_as_an_empty_figure(mlp3):
    tables = (table.clear() for table in performance_tables(mlp3[0]))
    assert words(performance(*tables))["title"].startswith("No cell")


def test_words_about_other_seeds_need_several(mlp3):
    for seeds, said in (((0,), False), ((0, 1), True)):
        chart = draw(cells_table(replace(MLP3, seeds=seeds)))
        assert ("mean over seeds" in subtitle(chart)) == said
        assert ("that the other seeds find best" in words(chart)["caption"]) == said


def test_symbols_give_way_to_lines_when_there_are_too_many():
    cells = cells_table(replace(MLP3, seeds=(0,)))
    one = scores_table(cells)
    scores = pl.concat([one.with_columns(seed=pl.lit(k, pl.Int64)) for k in range(600)])
    _, pooled, gain = performance_tables(cells)
    assert len(rows(performance(scores, pooled, gain))) < 5000
