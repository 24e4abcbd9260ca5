"""What the figure of similar representations claims."""

from dataclasses import replace

import polars as pl
import pytest

from gammascape.figures.similarity.map import similarity

from ..specs import data_of, nodes, rows, spec_of, subtitle, words
from ..synthetic import ALL, MLP3, similarity_table

FOUR = tuple(ALL[k] for k in (0, 3, 4, 5))
PAIRS = similarity_table(*FOUR)


@pytest.fixture(scope="module")
def chart():
    return similarity(PAIRS)


def _lines(chart) -> pl.DataFrame:
    return pl.DataFrame([row for row in rows(chart) if "kind" in row])


def test_the_map_has_every_pair_and_blanks_for_a_network_with_itself(chart):
    tiles = [row for row in rows(chart) if "model_a" in row]
    assert len(tiles) == (4 * 9) ** 2
    blank = {(t["model_a"], t["gamma_a_log10"]) for t in tiles if t["cka"] is None}
    assert {model for model, _ in blank} == {"cnn", "resnet", "vit"}
    assert "blank" in subtitle(chart)


def test_pairs_of_networks_of_different_data_are_blank_and_said_to_be(chart):
    assert "different versions of the data" not in subtitle(chart)
    of_other_data = pl.col("model_a") == "vit"
    apart = similarity(PAIRS.filter(of_other_data == (pl.col("model_b") == "vit")))
    assert "blank: networks of different versions of the data are not compared" in subtitle(apart)
    # A map without any tile would let Vega shift the others.
    blank = [row for row in rows(apart) if row.get("model_a") == "cnn" and row["model_b"] == "vit"]
    assert [row["cka"] for row in blank] == [None]


def test_a_title_names_the_gamma_at_which_similarity_is_highest():
    peak = PAIRS.with_columns(cka=1 - 0.1 * pl.col("gamma_a_log10").abs())
    title = words(similarity(peak))["title"]
    assert "is highest at γ = 1: CKA is 1.00 there and 0.60 at γ = 10⁻⁴, 0.60" in title


@pytest.mark.parametrize(
    "gammas", [(-3.6, -2.4, -1.2, 0.0, 1.2, 2.4), (0.3, 1.3), (-2.25, 1.0, 2.5)]
)
def test_axes_of_any_gammas_have_labels(gammas):
    recipes = [replace(recipe, gammas=gammas) for recipe in (MLP3, *ALL[3:5])]
    encoding = spec_of(similarity(similarity_table(*recipes)))
    axes = [node[channel]["axis"] for node in nodes(encoding) for channel in ("x", "y")
            if node.get(channel, {}).get("field") in ("gamma_a_log10", "gamma_b_log10")]  # fmt: skip
    assert axes
    assert all(len(axis["values"]) >= 2 and set(axis["values"]) <= set(gammas) for axis in axes)


def test_the_caption_speaks_of_lines_where_some_are_drawn(chart):
    assert "Right: the same for pairs of equal γ" in words(chart)["caption"]
    unequal = similarity(PAIRS.filter(pl.col("gamma_a_log10") != pl.col("gamma_b_log10")))
    assert words(unequal)["caption"].startswith("Similarity (linear CKA")
    assert "Right" not in words(unequal)["caption"]


def test_two_seeds_leave_nothing_blank():
    chart = similarity(similarity_table(MLP3))
    assert all(row["cka"] is not None for row in rows(chart))
    assert "blank" not in subtitle(chart)


def test_the_line_is_the_mean_over_pairs_of_different_architectures_at_equal_gamma(chart):
    lines = _lines(chart)
    mean = lines.filter(pl.col("kind") == "mean of all pairs", pl.col("gamma_log10") == 2)
    expected = PAIRS.filter(
        pl.col("model_a") != pl.col("model_b"),
        pl.col("gamma_a_log10") == 2,
        pl.col("gamma_b_log10") == 2,
    )["cka"].mean()
    assert mean["cka"].to_list() == [pytest.approx(expected)]


def test_each_pair_of_architectures_is_counted_once(chart):
    lines = _lines(chart).filter(pl.col("kind") == "one pair of architectures")
    assert lines["pair"].n_unique() == 4 * 3 // 2


def test_other_seeds_of_one_architecture_are_a_line_of_their_own(chart):
    lines = _lines(chart).filter(pl.col("kind") == "same architecture, other seed")
    assert lines.height == 9


@pytest.mark.parametrize(("sign", "verb"), [(1, "rises"), (-1, "falls"), (0, "barely changes")])
def test_the_title_says_whether_similarity_grows(sign, verb):
    table = PAIRS.with_columns(cka=0.5 + 0.02 * sign * pl.col("gamma_a_log10"))
    assert f"at equal γ {verb}" in words(similarity(table))["title"]


def test_one_architecture_is_compared_across_seeds():
    assert "across seeds" in words(similarity(similarity_table(MLP3)))["title"]


def test_one_architecture_with_one_seed_has_only_the_map():
    chart = similarity(similarity_table(ALL[3]))
    assert _lines(chart).is_empty()
    assert "other γ" in words(chart)["title"]


def test_losses_are_not_mixed():
    table = pl.concat([PAIRS, similarity_table(*(replace(r, loss="xent") for r in FOUR))])
    chart = similarity(table)
    assert len(spec_of(chart)["vconcat"]) == 2
    assert len(rows(chart)) < 5000


def test_a_large_map_is_thinned_and_says_so():
    recipes = [replace(r, gammas=tuple(k / 2 for k in range(-10, 11))) for r in FOUR]
    table = similarity_table(*recipes)
    assert table.height > 5000
    chart = similarity(table)
    assert len(rows(chart)) < 5000
    assert "of 21 γ shown" in subtitle(chart)


def test_no_pair_at_all_gets_a_note():
    for table in (PAIRS.clear(), similarity_table(replace(ALL[3], gammas=(0.0,)))):
        assert "no pair" in words(similarity(table))["title"]


def test_the_subtitle_counts_networks_seed_pairs_and_probes(chart):
    for part in ("36 pairs of model and γ", "2 pairs of seeds", "1,024 probe inputs", "B = 32"):
        assert part in subtitle(chart)
    assert data_of(chart, "rect")
