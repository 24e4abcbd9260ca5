"""What the figures of exponents, thresholds and budgets claim."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from gammascape.figures.edges.budget import budget
from gammascape.figures.edges.exponents import exponents
from gammascape.figures.edges.sensitivity import sensitivity
from gammascape.runs.outcome import Thresholds
from gammascape.study import Analysis
from gammascape.tables.edges.apex import apex_table
from gammascape.tables.edges.exponent_models import exponent_model_table
from gammascape.tables.edges.exponents import scaling_table
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.edges.sensitivity import sensitivity_table

from ..specs import axis_titles, nodes, rows, spec_of, subtitle, words
from ..synthetic import ALL, MLP3, Recipe, budget_table, cells_table

ANALYSIS = Analysis(bootstrap=200)
LARGEST = ("eta_max_finite", "eta_max_trained", "eta_no_spike")
Tables = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


def tables_of(recipe: Recipe) -> Tables:
    cells = cells_table(recipe)
    edges = threshold_table(cells, recipe.depth)
    return (
        scaling_table(edges, ANALYSIS),
        exponent_model_table(edges, ANALYSIS),
        sensitivity_table(cells, recipe.depth, 0.9, Thresholds(), ANALYSIS),
    )


@pytest.fixture(scope="module")
def study() -> Tables:
    """scaling, exponent_models and sensitivity of six slices, two of them without L."""
    parts = [tables_of(recipe) for recipe in ALL]
    scaling, models, moved = (pl.concat(tables) for tables in zip(*parts, strict=True))
    return scaling, models, moved


def test_the_title_counts_the_slices_in_which_two_over_l_is_best(study: Tables) -> None:
    scaling, models, _ = study
    best = models.filter("best_by_bic", edge="eta_max_trained", law="2/L").height
    assert f"in {best} of 4 slices" in words(exponents(scaling, models))["title"]
    none = models.with_columns(best_by_bic=pl.lit(False))
    assert "in 0 of 4 slices" in words(exponents(scaling, none))["title"]


def test_every_slice_with_a_depth_has_the_marks_of_the_three_laws(study: Tables) -> None:
    scaling, models, _ = study
    marks = {
        (r["series"], r["law"]): r["slope"] for r in rows(exponents(scaling, models)) if "law" in r
    }
    assert marks["mlp3", "2/L"] == pytest.approx(2 / 3)
    assert marks["mlp4", "3/L"] == pytest.approx(3 / 4)
    assert marks["mlp2", "2/(L+1)"] == pytest.approx(2 / 3)
    assert {law for series, law in marks if series == "vit"} == {"2"}


def test_optimal_eta_is_not_among_the_largest(study: Tables) -> None:
    scaling, models, _ = study
    shown = {r["measured"] for r in rows(exponents(scaling, models)) if "measured" in r}
    assert shown == {"largest finite η", "largest trained η", "largest η without a spike"}


def test_intervals_wider_than_the_frame_end_at_it(study: Tables) -> None:
    scaling, models, _ = study
    wide = scaling.with_columns(slope_low=pl.lit(-50.0), slope_high=pl.lit(50.0))
    bars = [r for r in rows(exponents(wide, models)) if "low" in r]
    assert bars
    assert all(r["low"] > -5 and r["high"] < 5 for r in bars)


def test_a_slope_without_an_interval_is_not_drawn_and_nor_is_a_window_without_one(
    study: Tables,
) -> None:
    scaling, models, _ = study
    none = pl.lit(None, pl.Float64)
    of_window = pl.when(pl.col("window") != "lazy")
    known = scaling.with_columns(
        slope_low=of_window.then("slope_low"), slope_high=of_window.then("slope_high")
    )
    titles = [node["title"]["text"] for node in nodes(spec_of(exponents(known, models)))
              if isinstance(node.get("title"), dict) and "frame" in node["title"]]  # fmt: skip
    assert [str(title).strip("['").split(",")[0] for title in titles[1:]] == ["ultra-rich"]
    slopes = {r["slope"] for r in rows(exponents(known, models)) if "measured" in r}
    assert slopes == set(
        known.filter(pl.col("edge").is_in(LARGEST)).drop_nulls("slope_low")["slope"]
    )
    unsure = exponents(scaling.with_columns(slope_low=none, slope_high=none), models)
    assert [row["note"] for row in rows(unsure)] == ["nothing to draw"]


def test_weights_of_the_laws_stand_beside_their_slice(study: Tables) -> None:
    scaling, models, _ = study
    notes = {r["series"]: r["note"] for r in rows(exponents(scaling, models)) if "note" in r}
    [weight] = models.filter(model="mlp3", edge="eta_max_trained", law="2/L")["bic_weight"]
    assert f"2/L {100 * weight:.0f} %" in notes["mlp3"]
    assert set(notes) == {"mlp2", "mlp3", "mlp4", "cnn"}


def test_a_study_without_fits_gets_a_note(study: Tables) -> None:
    scaling, models, moved = study
    for chart in (
        exponents(scaling.clear(), models.clear()),
        sensitivity(moved.clear()),
        budget(budget_table(MLP3).clear(), pl.DataFrame()),
    ):
        assert [row["note"] for row in rows(chart)] == ["nothing to draw"]


def test_models_without_depth_are_drawn_without_laws() -> None:
    scaling, models, _ = tables_of(ALL[-1])
    chart = exponents(scaling, models)
    assert "Exponents" in words(chart)["title"]
    assert "percentages" not in words(chart)["caption"]
    assert "percentages" in words(exponents(*tables_of(MLP3)[:2]))["caption"]
    assert {r["law"] for r in rows(chart) if "law" in r} == {"2"}


def test_the_title_names_the_largest_shift_and_the_threshold_behind_it(study: Tables) -> None:
    moved = study[2]
    worst = moved.filter(pl.col("window") == "all", pl.col("factor") != 1).sort(
        pl.col("shift_log10").abs(), descending=True, nulls_last=True
    )
    title = words(sensitivity(moved))["title"]
    assert f"{abs(worst['shift_log10'][0]):.2f} decades" in title
    assert worst["threshold"][0].replace("_", " ") in title
    still = moved.with_columns(shift_log10=pl.lit(0.0), lost=0, won=0)
    assert words(sensitivity(still))["title"] == "No edge moves with any threshold"
    fewer = words(sensitivity(still.with_columns(lost=1)))["title"]
    assert fewer == "No edge moves with any threshold, but some appear or disappear"


def test_the_caption_says_what_the_table_holds(study: Tables) -> None:
    moved = study[2]

    def caption(table: pl.DataFrame) -> str:
        return str(words(sensitivity(table))["caption"])

    def without(name: str, **to: Any) -> pl.DataFrame:
        here = pl.col("threshold") == name
        return moved.with_columns(
            pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
            for column, value in to.items()
        )

    assert "one symbol per slice" in caption(moved)
    assert "one symbol per slice" not in caption(moved.filter(model="mlp3"))
    assert "in one slice" in caption(moved.filter(model="mlp3"))
    assert "half of the way" in caption(moved)
    # 0.1 is doubled to 0.2.
    small = pl.when(threshold="trained_below").then(0.1 * pl.col("factor")).otherwise("value")
    assert "half of the way" not in caption(moved.with_columns(value=small))
    assert "Of runaway above and catapult above, ratios to the start" in caption(moved)
    assert "Of catapult above, a ratio to" in caption(without("runaway_above", value=1.0))
    none = caption(without("catapult_above", shift_log10=0.001, value=1.0))
    assert none.endswith("catapult above.")
    some = caption(without("catapult_above", shift_log10=0.3))
    assert some.endswith("No edge moves with runaway above.")
    assert "Of runaway above, a ratio to" in none
    gone = sensitivity(without("catapult_above", shift_log10=None, common=0, lost=7))
    assert "No edge has an estimate with another catapult above." in words(gone)["caption"]
    lost = moved.filter(
        pl.col("factor") != 1, pl.col("threshold") != "catapult_above", window="all"
    )
    rows_gone = 2 * moved.filter(threshold="catapult_above", factor=2.0, window="all").height
    assert f"{lost['lost'].sum() + 7 * rows_gone} edges no longer" in subtitle(gone)
    nothing = words(sensitivity(moved.with_columns(shift_log10=pl.lit(None, pl.Float64))))
    assert nothing["title"] == "No edge of training has an estimate under another threshold"
    assert words(sensitivity(moved.clear()))["title"] == "No edge of training is bracketed"
    assert nothing["caption"] == f"{nothing['title']}."


def test_a_panel_names_all_values_of_its_threshold(study: Tables) -> None:
    other = pl.when(threshold="trained_below", factor=2.0, model="cnn").then(0.6).otherwise("value")
    titles = spec_of(sensitivity(study[2].with_columns(value=other)))["hconcat"]
    assert titles[0]["title"]["text"] == "trained below: 0.25, 0.5, 0.6 to 0.6708"


def test_each_threshold_has_a_panel_with_its_three_values(study: Tables) -> None:
    titles = [p["title"]["text"] for p in spec_of(sensitivity(study[2]))["hconcat"]]
    assert titles == [
        # Half of the way, in log loss, to 0.9: the frequencies of ten classes.
        "trained below: 0.25, 0.5, 0.6708",
        "runaway above: 1.025, 1.05, 1.1",
        "catapult above: 2, 3, 5",
    ]


def test_the_subtitle_says_how_slopes_change_and_edges_are_lost(study: Tables) -> None:
    text = subtitle(sensitivity(study[2]))
    for part in ("6 slices", "largest change of a slope", "no longer bracketed"):
        assert part in text


def mlp3_budget() -> tuple[pl.DataFrame, pl.DataFrame]:
    table = budget_table(MLP3)
    return table, apex_table(table, ANALYSIS)


def test_the_largest_gamma_that_trains_has_a_bar_up_to_the_first_that_does_not() -> None:
    table, apex = mlp3_budget()
    chart = budget(table, apex)
    bars = {r["budget"]: r for r in rows(chart) if r.get("measured") == "largest γ that trains"}
    closed = apex.filter(pl.col("smallest_closed_log10").is_not_null())
    assert closed.height >= 2
    for row in closed.iter_rows(named=True):
        bar = bars[row["budget"]]
        assert (bar["low"], bar["high"]) == (
            row["largest_open_log10"],
            row["smallest_closed_log10"],
        )
    top = spec_of(chart)["hconcat"][1]["layer"][0]["encoding"]
    assert top["y"]["field"] == "low"
    unknown = apex.with_columns(smallest_closed_log10=pl.lit(None, pl.Float64))
    for bar in rows(budget(table, unknown)):
        if bar.get("measured") == "largest γ that trains":
            assert bar["high"] == 4 + 1.5


def test_the_title_says_how_the_largest_gamma_rises() -> None:
    table, apex = mlp3_budget()
    title = words(budget(table, apex))["title"]
    assert "rises from" in title
    assert "after 600 steps" in title
    nothing = apex.with_columns(largest_open_log10=pl.lit(None, pl.Float64))
    assert "nothing trains" in words(budget(table, nothing))["title"]


def test_a_budget_without_windows_has_neither_their_panel_nor_words_about_it() -> None:
    table, apex = mlp3_budget()
    said = words(chart := budget(table, apex))["caption"]
    assert said.startswith("Left: decades between")
    assert len(spec_of(chart)["hconcat"]) == 2
    gone = pl.lit(None, pl.Float64)
    apex = apex.with_columns(gamma_max_log10=gone, predicted_gamma_max_log10=gone)
    chart = budget(table.with_columns(window_log10=gone), apex)
    said = words(chart)["caption"]
    assert said.startswith("The largest γ at which any sampled η trains")
    assert "windows" not in said
    assert "dashed" not in said
    assert len(spec_of(chart)["hconcat"]) == 1
    legends = [
        n["scale"]["domain"]
        for n in nodes(spec_of(chart))
        if "scale" in n and n.get("field") == "measured"
    ]
    assert legends[0] == ["largest γ that trains", "γ of the lowest loss"]


@pytest.mark.parametrize(("depth", "law"), [(3, "toy: γ ∝ T³"), (4, "toy: γ ∝ T²")])
def test_the_law_of_the_toy_is_named_beside_its_line(depth: int, law: str) -> None:
    recipe = replace(MLP3, depth=depth, gammas=tuple(float(g) for g in range(-4, 9)))
    table = budget_table(recipe)
    found = [r["law"] for r in rows(budget(table, apex_table(table, ANALYSIS))) if "law" in r]
    assert found == [law]


def test_a_model_without_depth_has_no_line_of_the_toy() -> None:
    table = budget_table(replace(MLP3, depth=None))
    table = table.with_columns(pl.col("depth_exponent").cast(pl.Int64))
    chart = budget(table, apex_table(table, ANALYSIS))
    assert not [r for r in rows(chart) if "law" in r]


def test_axes_have_units(study: Tables) -> None:
    scaling, models, moved = study
    charts = [exponents(scaling, models), sensitivity(moved), budget(*mlp3_budget())]
    for chart in charts:
        for title in axis_titles(chart) - {"model"}:
            assert title.endswith(")"), title
        assert any(node.get("mark") for node in nodes(spec_of(chart)))
