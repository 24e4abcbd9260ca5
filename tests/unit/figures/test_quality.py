"""What the figure of generated digits claims."""

import copy
from typing import Any

import pytest

from gammascape.figures.quality import quality

from .specs import axis_titles, data_of, nodes, rows, spec_of, subtitle, words

MEASURES: dict[str, Any] = {
    "samples": 900,
    "accuracy": {
        "test": 0.991,
        "samples": 0.953,
        "test_classes": [0.99] * 10,
        "samples_classes": [0.9 + k / 100 for k in range(9)] + [None],
    },
    "nearest": {
        "subset": 900,
        "test_subset": 2000,
        "test_quantiles": [1.0 + k / 10 for k in range(51)],
        "samples_quantiles": [2.0 + k / 10 for k in range(51)],
        "close_limit": 1.05,
        "close_share": 0.02,
    },
    "pictures": {
        "test": "data:image/png;base64,dGVzdA==",
        "samples": "data:image/png;base64,bWFkZQ==",
    },
}


def test_the_title_compares_with_real_digits() -> None:
    title = words(quality(MEASURES, "deform"))["title"]
    assert title == "95.3% of the deformed digits are read as labelled, 99.1% of MNIST's"
    assert "diffusion model" in words(quality(MEASURES, "diffusion"))["title"]


def test_the_counts_and_the_share_of_copies_are_in_the_subtitle() -> None:
    text = subtitle(quality(MEASURES, "deform"))
    assert "900 generated images" in text
    assert "2,000 test images" in text
    assert "2.0% of these are closer to a training image" in text


def test_a_class_without_samples_has_no_symbol() -> None:
    (points,) = data_of(quality(MEASURES, "deform"), "point")
    made = {row["digit"] for row in points if row["set"] == "generated"}
    assert made == set(range(9))


def test_curves_run_from_the_nearest_to_the_farthest() -> None:
    (curves,) = data_of(quality(MEASURES, "deform"), "line")
    made = [row for row in curves if row["set"] == "generated"]
    assert (made[0]["distance"], made[0]["share"]) == (2.0, 0)
    assert (made[-1]["distance"], made[-1]["share"]) == (7.0, 100)


def test_pictures_and_axes_say_what_they_show() -> None:
    chart = quality(MEASURES, "deform")
    urls = [row["url"] for row in rows(chart) if "url" in row]
    assert urls == list(MEASURES["pictures"].values())
    titles = [
        node["title"]["text"]
        for node in nodes(spec_of(chart))
        if isinstance(node.get("title"), dict)
    ]
    assert {"MNIST test set", "generated"} <= {text for text in titles if isinstance(text, str)}
    assert any("distance to the nearest training image" in title for title in axis_titles(chart))
    assert any("(%)" in title for title in axis_titles(chart))


def test_the_axis_reaches_down_to_the_worst_class() -> None:
    bad = copy.deepcopy(MEASURES)
    bad["accuracy"]["samples_classes"][3] = 0.2
    (scale,) = [
        node["y"]["scale"]["domain"]
        for node in nodes(spec_of(quality(bad, "deform")))
        if isinstance(node.get("y"), dict) and node["y"].get("title") == "read as labelled (%)"
    ]
    assert scale[0] == pytest.approx(19)
