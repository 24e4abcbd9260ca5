"""What the figure of similarity against gamma claims."""

from itertools import product
from typing import Any

import polars as pl
import pytest

from gammascape.figures.similarity.along_gamma import similarity_trend
from gammascape.tables.similarity.along_gamma import SUMMARY_SCHEMA, TREND_SCHEMA

from ..specs import data_of, rows, spec_of, subtitle, words

GAMMAS = (-3.0, -1.0, 0.0, 1.0, 3.0)
CONDITIONS = (("steps", None), ("loss", 0.8), ("loss", 0.5))


def tables(
    slope: float = 0.05, half: float | None = 0.02, **more: Any
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Similarity that changes by `slope` for each decade, known to `half`; architectures and seeds."""
    group = {
        "dataset": "digits", "loss": "mse", "batch_size": 32, "steps": 600, "passes": None,
        "probes": 128, "confidence": 0.95,
    } | more  # fmt: skip
    trend, summary = [], []
    measures = (("cka", "last"), ("cka", "all"), ("correlation", None))
    for (at, level), (measure, layers), (compared, resampled) in product(
        CONDITIONS,
        measures,
        (("architectures", "seeds"), ("architectures", "architectures"), ("seeds", "models")),
    ):
        key = group | {"at": at, "level": level, "measure": measure, "layers": layers}
        key |= {"compared": compared, "resampled": resampled}
        wide = None if half is None else half * (2 if resampled == "architectures" else 1)
        slopes = {"slope": slope, "slope_low": wide and slope - wide}
        slopes |= {"slope_high": wide and slope + wide}
        sure = wide is not None and abs(slope) > wide
        verdict = ("grows" if slope > 0 else "falls") if sure else "undecided"
        summary.append(
            key | slopes | {"verdict": verdict, "gammas": 5, "model_pairs": 6, "networks": 8}
        )
        for gamma in GAMMAS:
            if level == 0.5 and gamma < -2:
                continue
            value = 0.5 + slope * gamma + (0.1 if compared == "seeds" else 0)
            trend.append(
                key
                | {
                    "gamma_log10": gamma,
                    "value": value,
                    "value_low": wide and value - wide,
                    "value_high": wide and value + wide,
                    "shuffled_mean": 0.0,
                    "shuffled_high": 0.02,
                    "p_value": 1 / 201,
                    "model_pairs": 3 if level == 0.5 and gamma > 2 else 6,
                    "networks": 8,
                }
            )
    return pl.DataFrame(trend, schema=TREND_SCHEMA), pl.DataFrame(summary, schema=SUMMARY_SCHEMA)


@pytest.fixture(scope="module")
def chart():
    return similarity_trend(*tables())


def points(chart) -> pl.DataFrame:
    found = [row for row in rows(chart) if "measure" in row]
    return pl.DataFrame(found, infer_schema_length=None)


def test_the_caption_speaks_of_the_panels_that_are_drawn(chart):
    caption = words(chart)["caption"]
    for phrase in (
        "Above: their last hidden layers",
        "; below: their outputs",
        "right: when",
        "Bars",
    ):
        assert phrase in caption
    trend, summary = (table.filter(at="steps", measure="cka") for table in tables(half=None))
    caption = words(similarity_trend(trend, summary))["caption"]
    assert "Compared are their last hidden layers" in caption
    for phrase in ("their outputs", "right:", "Bars"):
        assert phrase not in caption


def test_the_title_says_how_sure_it_is_that_similarity_grows(chart):
    title = words(chart)["title"]
    assert "Different architectures become more similar with γ" in title
    # The wider of the two intervals, at the lowest level that most networks have reached.
    assert "+0.05 (95 % interval +0.01 to +0.09) at equal loss (0.5 of f = 0)" in title
    assert "at equal steps" in title


@pytest.mark.parametrize(
    ("slope", "half", "text"),
    [
        (-0.1, 0.02, "become less similar"),
        (0.01, 0.02, "stays undecided"),
        (0.05, None, "without an interval"),
    ],
)
def test_a_title_claims_no_more_than_the_intervals(slope, half, text):
    assert text in words(similarity_trend(*tables(slope, half)))["title"]


def test_each_point_has_one_interval_the_one_that_claims_most(chart):
    found = points(chart)
    key = ["at", "level", "measure", "compared", "gamma_log10"]
    assert found.unique(key).height == found.height
    assert set(found["resampled"]) == {"architectures", "models"}


def test_equal_loss_stands_beside_equal_steps_and_functions_below_representations(chart):
    spec = spec_of(chart)
    [group] = spec["vconcat"]
    titles = [[panel["title"]["text"] for panel in row["hconcat"]] for row in group["vconcat"]]
    assert (
        titles
        == [["at equal steps: the end of the runs", "at equal loss: different architectures"]] * 2
    )
    assert set(points(chart)["measure"]) == {"cka", "correlation"}
    assert set(points(chart)["layers"].drop_nulls()) == {"last"}


def test_shuffled_inputs_are_a_band(chart):
    band = data_of(chart, "area")[0]
    assert {row["reached"] for row in band} == {0.02}
    assert len(band) == len(GAMMAS) + 2


def test_points_of_fewer_pairs_are_hollow_and_said_to_be(chart):
    hollow = points(chart).filter(~pl.col("whole"))
    assert set(hollow["gamma_log10"]) == {3.0}
    assert set(hollow["level"]) == {0.5}
    assert "hollow" in subtitle(chart)


def test_intervals_end_at_the_axes():
    table, summary = tables(half=0.9)
    ends = points(similarity_trend(table, summary))
    assert ends["low"].min() == 0.0
    assert ends["high"].max() == 1.0


def test_data_sets_are_not_mixed():
    pairs = [tables(dataset=name) for name in ("cifar10", "mnist")]
    both = [pl.concat(parts) for parts in zip(*pairs, strict=True)]
    chart = similarity_trend(*both)
    assert len(spec_of(chart)["vconcat"]) == 2
    assert " on cifar10" in words(chart)["title"]


def test_nothing_to_compare_gets_a_note():
    empty = [table.clear() for table in tables()]
    assert "No two networks" in words(similarity_trend(*empty))["title"]


def test_the_subtitle_counts_and_says_what_bars_are(chart):
    for part in ("8 networks", "6 pairs of models", "128 probe inputs", "B = 32"):
        assert part in subtitle(chart)
    assert "95 % intervals by leaving out one architecture or one model at a time" in subtitle(
        chart
    )


def test_representations_alone_have_the_axis_and_the_legend():
    chart = similarity_trend(*(table.filter(measure="cka") for table in tables()))
    [group] = spec_of(chart)["vconcat"]
    assert len(group["vconcat"]) == 1
    assert "feature learning strength" in str(group["vconcat"][0])


def test_functions_alone_are_what_the_title_is_about():
    chart = similarity_trend(*(table.filter(measure="correlation") for table in tables()))
    assert "the correlation of functions changes by" in words(chart)["title"]
