"""What the figure of edges and slopes claims."""

from dataclasses import replace

import polars as pl

from gammascape.figures.edges.against_gamma import edges

from ..specs import axis_titles, nodes, rows, spec_of, subtitle, words
from ..synthetic import ALL, cells_table, scaling_table, thresholds_table


def _texts(chart) -> list[str]:
    return [row["note"] for row in rows(chart) if "note" in row]


def test_there_is_one_panel_per_slice(everything):
    _, thresholds, scaling = everything
    panels = spec_of(edges(thresholds, scaling))["concat"]
    assert [panel["title"]["text"] for panel in panels] == sorted(r.model for r in ALL)


def test_panels_say_how_far_apart_the_etas_around_edges_lie_and_where_outcomes_alternate(mlp3):
    _, thresholds, scaling = mlp3
    eta, edge = pl.col("eta_log10"), pl.col("edge")
    sharp = thresholds.filter("bounded").with_columns(
        lower_log10=eta - pl.when(edge == "eta_max_finite").then(0.25).otherwise(0.5),
        upper_log10=eta + pl.when(edge == "eta_max_finite").then(0.25).otherwise(0.5),
        zone_log10=pl.when(edge == "eta_max_trained").then(0.34).otherwise(0.0),
    )
    (panel,) = spec_of(edges(sharp, scaling))["concat"]
    assert panel["title"]["subtitle"] == [
        "η around edges: 0.25 to 0.5 decades apart",
        "outcomes mixed over up to 0.34 decades (largest trained η)",
    ]
    # Neighbours of the best eta bracket no edge, and 2 / sharpness none. A lower edge lies above its bracket.
    odd = sharp.with_columns(
        lower_log10=pl.when(edge == "eta_min").then(eta - 0.125).otherwise(eta - 3),
        upper_log10=pl.when(edge.is_in(["eta_min", "eta_best"])).then(eta + 3).otherwise(eta + 1),
        zone_log10=0.0,
    )
    computed = odd.filter(edge="eta_best").with_columns(edge=pl.lit("eta_crit"), upper_log10=eta)
    (panel,) = spec_of(edges(pl.concat([odd, computed]), scaling))["concat"]
    assert panel["title"]["subtitle"] == ["η around edges: 0.125 to 1 decade apart"]
    (panel,) = spec_of(edges(sharp.with_columns(bounded=False), scaling))["concat"]
    assert panel["title"]["subtitle"] == []


def test_slopes_are_printed_with_their_interval_and_the_prediction(mlp3):
    _, thresholds, scaling = mlp3
    row = scaling.filter(pl.col("edge") == "eta_max_trained", pl.col("window") == "rich").row(
        0, named=True
    )
    expected = (
        f"largest trained η: {row['slope']:.2f} [{row['slope_low']:.2f}, {row['slope_high']:.2f}]"
    )
    assert f"{expected} (2/3)" in _texts(edges(thresholds, scaling))


def test_a_slope_without_prediction_has_none_beside_it(everything):
    _, thresholds, scaling = everything
    vit = scaling.filter(pl.col("model") == "vit")
    texts = _texts(edges(thresholds.filter(pl.col("model") == "vit"), vit))
    assert not any(text.startswith("best η") and text.endswith(")") for text in texts)


def test_unbounded_edges_are_hollow(everything):
    _, thresholds, scaling = (t.filter(pl.col("model") == "mlp2") for t in everything)
    chart = edges(thresholds, scaling)
    layers = [n for n in nodes(spec_of(chart)) if n.get("mark", {}) and "transform" in n]
    looks = {n["transform"][0]["filter"]: n["mark"] for n in layers}
    assert looks["datum.bounded"]["filled"] is True
    assert looks["!datum.bounded"]["fill"] == "white"
    assert {row["bounded"] for row in rows(chart) if "bounded" in row} == {True, False}


def test_bars_reach_to_the_neighbouring_grid_points_and_stop_at_the_sampled_range(everything):
    _, thresholds, scaling = (t.filter(pl.col("model") == "mlp2") for t in everything)
    assert thresholds["lower_log10"].null_count() > 0
    for row in rows(edges(thresholds, scaling)):
        if "lower_log10" in row:
            assert row["lower_log10"] <= row["eta_log10"] <= row["upper_log10"]


def test_fitted_lines_span_their_windows(mlp3):
    _, thresholds, scaling = mlp3
    ends = [row for row in rows(edges(thresholds, scaling)) if "window" in row]
    assert {row["x"] for row in ends if row["window"] == "rich"} == {1.0, 4.0}
    assert {row["x"] for row in ends if row["window"] == "lazy"} == {-4.0, -2.0}


def test_the_title_counts_the_intervals_that_hold_the_prediction(everything):
    _, thresholds, scaling = everything
    law = scaling.filter(pl.col("edge") == "eta_max_trained", pl.col("window") == "rich")
    n = law["predicted_slope"].count()
    assert n > 1
    wide = scaling.with_columns(slope_low=pl.lit(-10.0), slope_high=pl.lit(10.0))
    words_of_wide = f"{n} of {n} fitted intervals hold the predicted slope, 0 of them alone and {n}"
    assert words_of_wide in words(edges(thresholds, wide))["title"]
    near = {
        name: pl.col("predicted_slope") + off
        for name, off in (("slope_low", -0.01), ("slope_high", 0.01))
    }
    title = words(edges(thresholds, scaling.with_columns(**near)))["title"]
    assert f"{n} of {n} fitted intervals hold the predicted slope, {n} of them alone" in title
    none = scaling.with_columns(slope_low=pl.lit(9.0), slope_high=pl.lit(10.0))
    assert f"0 of {n} fitted intervals" in words(edges(thresholds, none))["title"]


def test_a_single_fit_is_not_counted_in_the_title(mlp3):
    _, thresholds, scaling = mlp3
    one = scaling.filter(pl.col("window") == "rich")
    rest = "and other laws' slopes"
    for low, word in ((-10.0, f"holds the predicted slope {rest}"), (9.0, "misses the predicted")):
        fitted = one.with_columns(slope_low=pl.lit(low), slope_high=pl.lit(10.0))
        assert f"the fitted interval {word}" in words(edges(thresholds, fitted))["title"]


def test_the_subtitle_counts_edges_cells_and_seeds(mlp3):
    _, thresholds, scaling = mlp3
    text = subtitle(edges(thresholds, scaling))
    for part in (f"{thresholds.height} edges", "cells", "2 seeds", "95 %", "data digits"):
        assert part in text


def test_lines_are_spoken_of_where_there_are_some(mlp3):
    _, thresholds, scaling = mlp3
    for table, said in ((scaling, True), (scaling.clear(), False)):
        assert ("lines are fitted" in words(edges(thresholds, table))["caption"]) == said


def test_hollow_symbols_and_training_are_spoken_of_where_there_are_some(mlp3):
    _, thresholds, scaling = mlp3
    bound = thresholds.with_columns(bounded=pl.lit(False))
    for table, said in ((bound, True), (thresholds.filter("bounded"), False)):
        chart = edges(table, scaling)
        assert ("hollow" in words(chart)["caption"]) == ("hollow" in subtitle(chart)) == said
    for edge, said in (("eta_max_trained", True), ("eta_max_finite", False)):
        chart = edges(thresholds.filter(edge=edge), scaling.clear())
        assert ("that trains" in words(chart)["title"]) == said


def test_axes_are_titled(mlp3):
    _, thresholds, scaling = mlp3
    assert {title.split(" (")[1] for title in axis_titles(edges(thresholds, scaling))} == {
        "dimensionless)"
    }


def test_a_study_in_which_nothing_trained_gets_a_note(mlp3):
    _, thresholds, scaling = mlp3
    chart = edges(thresholds.clear(), scaling.clear())
    assert "No edge" in words(chart)["title"]
    assert len(rows(chart)) == 1


def test_edges_without_any_fit_are_drawn():
    recipe = replace(ALL[0], gammas=(0.0,))
    thresholds = thresholds_table(cells_table(recipe), recipe)
    scaling = scaling_table(thresholds)
    assert scaling.is_empty()
    assert not _texts(edges(thresholds, scaling))


def test_many_seeds_are_thinned_to_the_first():
    recipe = replace(ALL[0], seeds=tuple(range(60)), gammas=tuple(k / 2 for k in range(-8, 10)))
    thresholds = thresholds_table(cells_table(recipe), recipe)
    assert thresholds.height > 4000
    chart = edges(thresholds, scaling_table(thresholds))
    assert len(rows(chart)) < 5000
    assert "first seed" in subtitle(chart)


def test_an_edge_that_one_slice_lacks_keeps_its_colour_and_shape(everything):
    _, thresholds, scaling = everything
    lacking = thresholds.filter((pl.col("model") != "cnn") | (pl.col("edge") != "eta_max_finite"))
    # Panels share one legend, so all of them must say the same about every edge.
    said: dict[str, set[tuple[str, str]]] = {}
    for node in nodes(spec_of(edges(lacking, scaling))):
        for channel in ("color", "shape"):
            scale = node.get(channel, {}).get("scale") if isinstance(node.get(channel), dict) else 0
            if scale and "domain" in scale:
                pairs = zip(scale["domain"], scale["range"], strict=True)
                said.setdefault(channel, set()).add(tuple(pairs))
    assert {channel: len(kinds) for channel, kinds in said.items()} == {"color": 1, "shape": 1}
