"""What a phase portrait claims."""

from dataclasses import replace

import polars as pl
import pytest

from gammascape.figures.edges.portrait import HEIGHT, portrait
from gammascape.figures.style import theme
from gammascape.figures.style.plane import theory_lines, tile_sides
from gammascape.tables.toy import DATA

from ..specs import axis_titles, data_of, marks, nodes, rows, spec_of, subtitle, words
from ..synthetic import ALL, MLP3, cells_table, scaling_table, thresholds_table


@pytest.fixture(scope="module")
def chart(mlp3):
    return portrait(*mlp3)


def test_every_pair_of_gamma_and_eta_is_one_tile(chart, mlp3):
    cells, *_ = mlp3
    tiles = [row for data in data_of(chart, "rect") for row in data]
    pairs = cells.select("gamma_log10", "eta_log10").unique().rows()
    assert sorted((t["gamma_log10"], t["eta_log10"]) for t in tiles) == sorted(pairs)


def test_only_what_is_drawn_is_described(chart, mlp3):
    cells, thresholds, scaling = mlp3
    for full, drawn in ((chart, True), (portrait(cells, thresholds, scaling.clear()), False)):
        said = words(full)
        assert ("dashed" in said["subtitle"][-1]) == drawn
        assert ("dashed lines are power laws" in said["caption"]) == drawn
    plain = cells.filter(status="trained")
    said = words(portrait(plain, thresholds.clear(), scaling.clear()))["caption"]
    assert said.endswith("(brighter is lower).")


def test_a_tile_shows_its_best_seed(mlp3):
    cells, thresholds, scaling = mlp3
    trained = cells.filter(pl.col("status") == "trained")
    gamma, eta = trained.select("gamma_log10", "eta_log10").row(0)
    here = (pl.col("gamma_log10") == gamma) & (pl.col("eta_log10") == eta)
    second = here & (pl.col("seed") == 1)
    cells = cells.with_columns(
        pl.when(second).then(pl.lit("diverged")).otherwise("status").alias("status"),
        pl.when(second).then(None).otherwise("relative_loss").alias("relative_loss"),
    )
    tiles = [r for r in rows(portrait(cells, thresholds, scaling)) if "seeds" in r]
    (tile,) = [t for t in tiles if (t["gamma_log10"], t["eta_log10"]) == (gamma, eta)]
    assert tile["status"] == "trained"
    assert tile["seeds"] == "diverged, trained"
    assert "best seed" in subtitle(portrait(cells, thresholds, scaling))


def test_losses_are_coloured_on_a_log_scale_and_other_endings_are_not(chart):
    spec = spec_of(chart)
    (colour,) = [
        n["color"]
        for n in nodes(spec)
        if isinstance(n.get("color"), dict) and n["color"].get("field") == "relative_loss"
    ]
    assert colour["scale"]["type"] == "log"
    assert colour["scale"]["scheme"] == "viridis"
    coloured = [
        spec["datasets"][n["data"]["name"]]
        for n in nodes(spec)
        if "data" in n and n.get("encoding", {}).get("color") == colour
    ]
    assert {row["status"] for data in coloured for row in data} <= {"trained", "untrained"}


def test_statuses_off_the_loss_scale_differ_in_shape_and_not_only_in_colour(chart):
    encodings = [n for n in nodes(spec_of(chart)) if isinstance(n.get("shape"), dict)]
    shapes = [n["shape"]["scale"] for n in encodings if "scale" in n["shape"]]
    status = next(s for s in shapes if any("diverged" in word for word in s["domain"]))
    assert len(status["domain"]) == len(set(status["range"])) == 3


def test_tiles_meet_half_way_whatever_the_spacing():
    sides = tile_sides([-2.0, -1.0, 0.0, 0.25, 0.5, 3.0])
    assert [high for _, high in sides[:-1]] == [low for low, _ in sides[1:]]
    assert sides[3] == (0.125, 0.375)
    assert sides[0] == (-2.5, -1.5)


def test_tiles_do_not_reach_into_a_hole_that_was_not_sampled():
    sides = tile_sides([0.0, 0.5, 5.0, 5.5], hole=1.5)
    assert sides == [(-0.25, 0.25), (0.25, 0.75), (4.75, 5.25), (5.25, 5.75)]


def test_a_lone_point_has_a_tile():
    assert tile_sides([2.0]) == [(1.75, 2.25)]


def test_theory_lines_have_the_predicted_slope_and_the_prefactor_of_the_table(mlp3):
    *_, scaling = mlp3
    lines = theory_lines(scaling)
    found = {(r["edge"], r["window"]): r for r in lines.iter_rows(named=True)}
    assert found["eta_max_trained", "rich"]["predicted_slope"] == pytest.approx(2 / 3)
    assert found["eta_min", "rich"]["predicted_slope"] == 1
    assert found["eta_max_trained", "lazy"]["predicted_slope"] == 2
    moved = scaling.with_columns(pl.col("prefactor_at_predicted_log10") + 1)
    heights = [t["prefactor_at_predicted_log10"] for t in (lines, theory_lines(moved))]
    assert (heights[1] - heights[0]).to_list() == pytest.approx([1] * lines.height)


def test_theory_lines_are_drawn_where_they_say(chart, mlp3):
    *_, scaling = mlp3
    drawn = [data for data in data_of(chart, "line") if len(data) == 2]
    for line in theory_lines(scaling).iter_rows(named=True):
        ends = [
            (g, pytest.approx(line["prefactor_at_predicted_log10"] + line["predicted_slope"] * g))
            for g in (line["from_log10"], line["to_log10"])
        ]
        assert any([(r["gamma_log10"], r["eta_log10"]) for r in data] == ends for data in drawn)


def test_an_edge_at_the_end_of_the_sampled_range_is_not_drawn(mlp3):
    cells, thresholds, scaling = mlp3
    far = thresholds.filter(pl.col("edge") == "eta_min").with_columns(
        bounded=pl.lit(False), eta_log10=pl.lit(-99.0)
    )
    more = pl.concat([thresholds, far])
    assert all(row.get("eta_log10") != -99 for row in rows(portrait(cells, more, scaling)))


def test_theory_lines_are_labelled_with_prefactor_and_exponent(chart, mlp3):
    *_, scaling = mlp3
    laws = {data[0]["law"] for data in data_of(chart, "text")}
    assert {law.partition("γ")[2] for law in laws} == {"²", "²⁄³", ""}
    (rich,) = [law for law in laws if law.endswith("γ²⁄³")]
    fit = scaling.filter(edge="eta_max_trained", window="rich")["prefactor_at_predicted_log10"][0]
    # Two digits are within 5 percent.
    assert float(rich.split()[2]) == pytest.approx(10**fit, rel=0.05)


def test_the_frame_has_room_for_the_words_of_a_law(mlp3):
    cells, thresholds, scaling = mlp3
    # Lines at the upper end of the plane, where their words stand above them.
    top = cells["eta_log10"].max()
    level = top - pl.col("predicted_slope") * 2.5
    spec = spec_of(
        portrait(cells, thresholds, scaling.with_columns(prefactor_at_predicted_log10=level))
    )
    ys = [n["y"]["scale"]["domain"] for n in nodes(spec) if "scale" in (n.get("y") or {})]
    (low, high), *same = ys
    assert all(domain == [low, high] for domain in same)
    for layer in spec["layer"]:
        if layer["mark"]["type"] == "text":
            (row,) = spec["datasets"][layer["data"]["name"]]
            middle = (high - row["eta_log10"]) / (high - low) * HEIGHT + layer["mark"]["dy"]
            assert 8 < middle < HEIGHT


@pytest.mark.parametrize(
    ("log10", "text"),
    [
        (0, "1"),
        (-0.4949, "0.32"),
        (1.672, "47"),
        (1.9999, "1.0·10²"),
        (-3.29, "5.1·10⁻⁴"),
        (6.4, "2.5·10⁶"),
    ],
)
def test_a_prefactor_has_two_digits(log10, text):
    assert theme.two_digits(log10) == text


def test_without_a_prediction_or_a_fit_there_is_no_line(mlp3):
    *_, scaling = mlp3
    unknown = scaling.with_columns(
        predicted_slope=pl.lit(None, pl.Float64),
        prefactor_at_predicted_log10=pl.lit(None, pl.Float64),
    )
    assert theory_lines(unknown).is_empty()
    assert theory_lines(scaling.clear()).is_empty()


def test_cross_entropy_shows_both_lazy_upper_laws():
    recipe = replace(MLP3, loss="xent")
    cells = cells_table(recipe)
    thresholds = thresholds_table(cells, recipe)
    lines = theory_lines(scaling_table(thresholds))
    lazy = lines.filter(pl.col("window") == "lazy", pl.col("edge") != "eta_min")
    assert dict(lazy.select("edge", "predicted_slope").iter_rows()) == {
        "eta_max_finite": 1.0,
        "eta_max_trained": 2.0,
    }


def test_a_model_without_depth_exponent_gets_no_rich_upper_line(everything):
    *_, scaling = (t.filter(pl.col("model") == "vit") for t in everything)
    lines = theory_lines(scaling)
    assert ("eta_max_trained", "rich") not in lines.select("edge", "window").rows()
    assert ("eta_max_trained", "lazy") in lines.select("edge", "window").rows()


def test_the_subtitle_counts_cells_seeds_and_statuses_and_names_the_budget(chart, mlp3):
    cells, *_ = mlp3
    text = subtitle(chart)
    trained = cells.filter(pl.col("status") == "trained").height
    for part in (f"{cells.height} cells", "2 seeds", f"{trained} trained", "B = 32", "loss mse"):
        assert part in text
    assert "T = 600 steps" in text


def test_the_title_gives_the_fitted_slopes(chart, mlp3):
    *_, scaling = mlp3
    rich = scaling.filter(pl.col("edge") == "eta_max_trained", pl.col("window") == "rich")
    slope = theme.superscript(f"{rich['slope'][0]:.2f}")
    assert f"γ{slope} at large γ" in words(chart)["title"]
    # Of two gammas nothing is said.
    bare = scaling.with_columns(slope_low=None, slope_high=None)
    cells, thresholds, _ = mlp3
    assert "grows" not in words(portrait(cells, thresholds, bare))["title"]


def test_axes_are_powers_of_ten_without_unit(chart):
    assert axis_titles(chart) == {
        "feature learning strength γ (dimensionless)",
        "learning rate η (dimensionless)",
    }
    assert any("'⁰'" in n.get("labelExpr", "") for n in nodes(spec_of(chart)))


def test_it_may_be_given_the_tables_of_a_whole_study(everything):
    cells, thresholds, scaling = everything
    cells = cells.filter(pl.col("model") == "cnn")
    own = [table.filter(pl.col("model") == "cnn") for table in (thresholds, scaling)]
    assert spec_of(portrait(cells, thresholds, scaling)) == spec_of(portrait(cells, *own))


def test_cells_of_two_slices_are_refused(everything):
    with pytest.raises(ValueError, match="one slice"):
        portrait(*everything)


def test_a_slice_in_which_nothing_trained_is_still_drawn(mlp3):
    cells, thresholds, scaling = mlp3
    diverged = cells.with_columns(status=pl.lit("diverged"), relative_loss=pl.lit(None, pl.Float64))
    chart = portrait(diverged, thresholds.clear(), scaling.clear())
    assert "nothing trains" in words(chart)["title"]
    assert {mark["type"] for mark in marks(chart)} == {"rect", "point"}


def test_without_edges_the_title_counts_what_trains(mlp3):
    cells, thresholds, scaling = mlp3
    title = words(portrait(cells, thresholds, scaling.clear()))["title"]
    assert f"of {cells.select('gamma_log10', 'eta_log10').n_unique()} pairs" in title


def test_a_single_gamma_is_drawn():
    recipe = replace(ALL[3], gammas=(0.0,))
    cells = cells_table(recipe)
    thresholds = thresholds_table(cells, recipe)
    tiles = data_of(portrait(cells, thresholds, scaling_table(thresholds)), "rect")
    assert {(row["x"], row["x2"]) for data in tiles for row in data} == {(-0.25, 0.25)}


def test_a_slice_with_too_many_cells_is_thinned_and_says_so():
    recipe = replace(ALL[3], gammas=tuple(k / 60 for k in range(-240, 240)))
    cells = cells_table(recipe)
    assert cells.height > 4500
    chart = portrait(
        cells, thresholds_table(cells.clear()), scaling_table(thresholds_table(cells.clear()))
    )
    assert len(rows(chart)) < 5000
    assert "of 480 γ" in subtitle(chart)
    assert f"{cells.height:,} cells" in subtitle(chart)


@pytest.mark.parametrize(
    ("log10", "text"), [(-4, "10⁻⁴"), (12, "10¹²"), (0, "1"), (1, "10"), (-2.5, "10⁻²·⁵")]
)
def test_powers_of_ten_are_written_with_raised_digits(log10, text):
    assert theme.power_of_ten(log10) == text


def test_the_portrait_of_a_toy_shows_its_exact_edges(mlp3):
    cells, thresholds, scaling = mlp3
    toy = cells.with_columns(data_digest=pl.lit(DATA))
    dotted = [
        [
            mark
            for mark in marks(portrait(table, thresholds, scaling))
            if mark.get("strokeDash") == [1.5, 3]
        ]
        for table in (cells, toy)
    ]
    assert [len(found) for found in dotted] == [0, 2]
    assert "dotted: exact" in subtitle(portrait(toy, thresholds, scaling))
