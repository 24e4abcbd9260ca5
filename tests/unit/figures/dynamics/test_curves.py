"""What the loss curves and their collapse claim."""

from dataclasses import replace

import polars as pl
import pytest

from gammascape.figures.dynamics.curves import collapse, halving, loss_curves

from ..specs import axis_titles, rows, spec_of, subtitle, words
from ..synthetic import MLP3, curves_table

CURVES = curves_table(MLP3)


def test_both_axes_of_the_loss_curves_are_logarithmic():
    encoding = spec_of(loss_curves(CURVES))["layer"][0]["encoding"]
    assert encoding["x"]["scale"]["type"] == encoding["y"]["scale"]["type"] == "log"


def test_one_gamma_has_one_colour():
    for draw in (loss_curves, collapse):
        assert "(bright)" in words(draw(CURVES))["caption"]
        caption = words(draw(curves_table(replace(MLP3, gammas=(1.0,)))))["caption"]
        assert "bright" not in caption
        assert "dark" not in caption


@pytest.mark.parametrize("figure", [loss_curves, collapse])
def test_a_loss_that_climbs_out_of_the_frame_has_an_arrowhead_which_is_said(figure):
    at = pl.col("gamma_log10") == CURVES["gamma_log10"].min(), pl.col("step") == 3
    high = pl.when(*at).then(1e5).otherwise("relative_loss").alias("relative_loss")
    chart = figure(CURVES.with_columns(high))
    heads = [layer for layer in spec_of(chart)["layer"] if layer["mark"]["type"] == "point"]
    (data,) = [spec_of(chart)["datasets"][head["data"]["name"]] for head in heads]
    top = spec_of(chart)["layer"][0]["encoding"]["y"]["scale"]["domain"][1]
    assert {row["relative_loss"] for row in data} == {top}
    assert [row["seed"] for row in data] == [0, 1]
    assert "arrowheads" in subtitle(chart)
    assert "arrowheads" not in subtitle(figure(CURVES))
    clipped = [spec_of(each)["layer"][0]["mark"]["clip"] for each in (chart, figure(CURVES))]
    assert clipped == [True, False]


def test_step_zero_has_no_place_on_a_log_axis():
    assert min(row["step"] for row in rows(loss_curves(CURVES))) == 1
    assert CURVES["step"].min() == 0


def test_every_gamma_and_seed_is_a_line_with_its_own_last_step():
    drawn = pl.DataFrame(rows(loss_curves(CURVES)))
    last = drawn.group_by("gamma_log10", "seed").agg(pl.col("step").max())
    assert last.height == 9 * 2
    assert set(last["step"]) == {600}


def test_the_collapse_is_drawn_against_tau():
    chart = collapse(CURVES)
    assert spec_of(chart)["layer"][0]["encoding"]["x"]["field"] == "tau_log10"
    assert "rescaled time τ = ηt/γ (dimensionless)" in axis_titles(chart)


def test_curves_that_collapse_lie_on_each_other_in_tau():
    drawn = pl.DataFrame(rows(collapse(CURVES)))
    halved = drawn.filter(pl.col("relative_loss") <= 0.5, pl.col("gamma_log10") >= 1)
    taus = halved.group_by("gamma_log10").agg(pl.col("tau_log10").min())["tau_log10"]
    assert taus.len() == 4
    assert taus.max() - taus.min() < 0.15


def test_halving_is_the_median_over_seeds_of_the_first_step_at_half():
    table = pl.DataFrame(
        {
            "gamma_log10": [0.0] * 9,
            "seed": [0, 0, 0, 1, 1, 1, 2, 2, 2],
            "data_seed": [0] * 9,
            "step": [1, 2, 3] * 3,
            "tau": [0.1, 0.2, 0.3] * 3,
            "relative_loss": [1.0, 0.4, 0.6, 1.0, 0.9, 0.5, 1.0, 0.5, 0.1],
        }
    )
    assert halving(table).row(0, named=True) == {"gamma_log10": 0.0, "step": 2.0, "tau": 0.2}


def test_the_titles_say_when_the_loss_halves():
    first, last = (halving(CURVES).row(k, named=True) for k in (0, -1))
    title = words(loss_curves(CURVES))["title"]
    assert f"step {first['step']:.0f} at γ = 10⁻⁴" in title
    assert f"step {last['step']:.0f} at γ = 10⁴" in title
    rich = halving(CURVES).filter(pl.col("gamma_log10") >= 1)["tau"]
    assert f"τ = {rich.min():.2g} to {rich.max():.2g}" in words(collapse(CURVES))["title"]


def test_a_loss_that_never_halves_is_said_to():
    flat = CURVES.with_columns(relative_loss=pl.lit(0.9))
    assert "does not fall to half" in words(loss_curves(flat))["title"]
    assert "halves" not in words(collapse(flat))["title"]


@pytest.mark.parametrize("figure", [loss_curves, collapse])
def test_the_subtitle_counts_cells_seeds_and_budget(figure):
    for part in ("18 cells", "2 seeds", "B = 32", "T = 600", "loss mse"):
        assert part in subtitle(figure(CURVES))


@pytest.mark.parametrize("figure", [loss_curves, collapse])
def test_the_subtitle_says_when_training_is_not_online(figure):
    def with_passes(passes):
        return subtitle(figure(CURVES.with_columns(passes=pl.lit(passes, pl.Float64))))

    assert "not online: each sample is used up to 3.2 times" in with_passes(3.2)
    assert "online" not in with_passes(0.9)
    assert "online" not in with_passes(None)


@pytest.mark.parametrize("figure", [loss_curves, collapse])
@pytest.mark.parametrize(
    "recipe",
    [
        replace(MLP3, gammas=tuple(k / 2 for k in range(-10, 11)), seeds=(0, 1, 2)),
        replace(MLP3, gammas=tuple(k / 20 for k in range(-80, 81)), seeds=(0, 1)),
    ],
    ids=["more points than fit", "more lines than fit"],
)
def test_long_tables_are_thinned_and_keep_the_end_of_each_line(figure, recipe):
    curves = curves_table(recipe)
    assert curves.height > 5000
    drawn = pl.DataFrame(rows(figure(curves)))
    assert drawn.height < 5000
    counts = drawn.group_by("gamma_log10", "seed").len()["len"]
    assert counts.min() >= 20


@pytest.mark.parametrize("figure", [loss_curves, collapse])
def test_one_gamma_and_no_gamma_at_all_are_drawn(figure):
    assert rows(figure(CURVES.filter(pl.col("gamma_log10") == 0)))
    assert "No cell" in words(figure(CURVES.clear()))["title"]
