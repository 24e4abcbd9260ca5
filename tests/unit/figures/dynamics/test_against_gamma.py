"""What the figures of dynamics and of phenomena claim."""

from typing import Any

import polars as pl
import pytest

from gammascape.figures.dynamics.against_gamma import dynamics
from gammascape.figures.dynamics.phenomena import phenomena
from gammascape.study import Analysis
from gammascape.tables.dynamics.exponents import dynamics_scaling_table

from ..specs import axis_titles, nodes, rows, spec_of, subtitle, words
from ..synthetic import MLP3, Recipe, dynamics_table, phenomena_table

CNN = Recipe("cnn", 4, 0.5, dataset="photos")
BOTH = dynamics_table(MLP3, CNN)
FITS = dynamics_scaling_table(BOTH, Analysis(bootstrap=100))


def panel_titles(chart: Any) -> list[str]:
    found = []
    for node in nodes(spec_of(chart)):
        title = node.get("title")
        if isinstance(title, dict) and title.get("frame") == "group":
            text = title["text"]
            found.append(" ".join(text) if isinstance(text, list) else text)
    return found


def test_the_figure_states_the_measured_exponents_and_draws_the_predicted_ones() -> None:
    chart = dynamics(BOTH, FITS)
    assert "γ⁻²·⁰⁰" in words(chart)["title"]
    assert "sharpening as γ⁰·³³ to γ⁰·⁵⁰" in words(chart)["title"]
    assert panel_titles(chart) == [
        "τ at which the relative loss is 1/2",
        "Catapults; dashed: γ⁻²",
        "Sharpening, end over start; dashed: γ¹⁄³ and γ¹⁄²",
        "Alignment against fall; dashed: equal",
    ]
    assert "2 slices, 2 seeds" in subtitle(chart)
    assert all(title for title in axis_titles(chart))


def test_guide_lines_pass_through_the_middle_of_their_points() -> None:
    drawn = rows(dynamics(BOTH, FITS))
    # Catapults of the CNN, whose points are log10 of 10^(-2 gamma - 3) at gamma = -4, -3 and -2.
    line = [
        row
        for row in drawn
        if "cell" not in row and row["series"].startswith("cnn") and row["x"] < 0
    ]
    assert sorted((row["x"], row["y"]) for row in line) == [
        (-4.0, pytest.approx(5.0)),
        (-2.0, pytest.approx(1.0)),
    ]


def test_slices_that_no_panel_shows_are_named_nowhere() -> None:
    some = BOTH.filter((pl.col("path") == "catapult") | (pl.col("model") == "cnn"))
    other = pl.col("model") == "mlp3"
    some = some.with_columns(peak_ratio=pl.when(~other).then("peak_ratio"),
                             alignment_step=pl.when(~other).then("alignment_step"))  # fmt: skip
    chart = dynamics(some, FITS)
    assert "1 slice" in subtitle(chart)
    domains = [n["domain"] for n in nodes(spec_of(chart)) if isinstance(n.get("domain"), list)]
    assert not any("mlp3" in str(name) for domain in domains for name in domain)


def test_panels_without_data_are_left_out() -> None:
    lazy = BOTH.filter(path="catapult")
    assert panel_titles(dynamics(lazy, FITS)) == ["Catapults; dashed: γ⁻²"]
    empty = dynamics(BOTH.clear(), FITS.clear())
    assert "Nothing to compare" in words(empty)["title"]


def test_the_level_is_that_of_trained_cells_where_more_runs_reach_it() -> None:
    none_halved = BOTH.with_columns(half_tau=pl.lit(None, dtype=pl.Float64))
    assert "a trained cell's" in panel_titles(dynamics(none_halved, FITS))[0]


def test_each_pair_of_model_and_data_is_a_column_of_two_blocks() -> None:
    chart = phenomena(phenomena_table(BOTH), BOTH)
    columns = spec_of(chart)["hconcat"]
    assert [len(column["vconcat"]) for column in columns] == [2, 2]
    titles = panel_titles(chart)
    assert (
        titles[0]
        == "Catapult, mlp3 on digits (mse): peak 10 to 1.0·10⁵ times the first loss, Nηλ from 3.0 to 0.0"
    )
    assert titles[3].startswith("Alignment, cnn on photos (mse): half up at 0.50")
    assert "Catapults at small γ in 2 of 2 pairs" in words(chart)["title"]
    assert "at large γ in 2 of 2" in words(chart)["title"]
    assert "one seed" in subtitle(chart)


def test_alignment_that_comes_after_the_loss_is_not_called_early() -> None:
    late = dynamics_table(MLP3, silent=False)
    chart = phenomena(phenomena_table(late), late)
    assert "at large γ in 0 of 1" in words(chart)["title"]
    assert "half up at 2.00" in panel_titles(chart)[1]


def test_pairs_with_both_phenomena_are_drawn_alone() -> None:
    one_sided = (pl.col("model") == "cnn") & (pl.col("phenomenon") == "catapult")
    chart = phenomena(phenomena_table(BOTH).filter(~one_sided), BOTH)
    assert len(spec_of(chart)["hconcat"]) == 1
    assert "Catapults at small γ in 1 of 1 pair" in words(chart)["title"]


def test_a_phenomenon_that_no_run_shows_has_no_block() -> None:
    curves = phenomena_table(BOTH).filter(phenomenon="silent alignment")
    chart = phenomena(curves, BOTH)
    assert [len(column["vconcat"]) for column in spec_of(chart)["hconcat"]] == [1, 1]
    assert "Upper half" in words(phenomena(phenomena_table(BOTH), BOTH))["caption"]
    caption = words(chart)["caption"]
    assert "Shown are runs at large γ" in caption
    assert "climbs" not in caption
    assert "No run catapulted" in words(phenomena(curves.clear(), BOTH))["title"]


def test_pairs_that_show_different_phenomena_say_so_in_the_place_of_the_other() -> None:
    catapults = pl.col("phenomenon") == "catapult"
    chart = phenomena(phenomena_table(BOTH).filter((pl.col("model") == "cnn") == catapults), BOTH)
    notes = {row["note"] for row in rows(chart) if "note" in row}
    assert notes == {"no catapult measured", "no silent alignment measured"}


def test_a_spike_of_a_seed_without_other_gammas_does_not_move_the_guide() -> None:
    extra = BOTH.filter(path="catapult", model="cnn", gamma_log10=-3.0).with_columns(
        seed=pl.lit(7, dtype=pl.Int64), peak_ratio=pl.lit(4.0), cell=pl.lit("spike")
    )
    lines = [
        [row for row in rows(dynamics(table, FITS)) if "cell" not in row and row["x"] < 0]
        for table in (BOTH, pl.concat([BOTH, extra]))
    ]
    assert lines[0] == lines[1]
