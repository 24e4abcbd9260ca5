"""What lies on disk after a figure is saved."""

import json
import re

import pytest

from gammascape.figures import FORMATS, collapse, edges, portrait, save, similarity

from .specs import spec_of, words
from .synthetic import MLP3, curves_table, similarity_table


@pytest.fixture(scope="module")
def saved(tmp_path_factory, request):
    mlp3 = request.getfixturevalue("mlp3")
    stem = tmp_path_factory.mktemp("figures") / "portrait" / "mlp3-digits-mse-B32-T600"
    return save(portrait(*mlp3), stem, usermeta={"manifest": "sha256:abc"})


def test_all_formats_are_written_beside_each_other(saved):
    assert set(saved) == set(FORMATS)
    assert saved["png"].read_bytes().startswith(b"\x89PNG")
    assert saved["svg"].read_text().startswith("<svg")
    assert saved["svg"].name == "mlp3-digits-mse-B32-T600.svg"


def test_the_json_explains_itself(saved):
    spec = json.loads(saved["json"].read_text())
    meta = spec["usermeta"]["gammascape"]
    assert spec["description"] == meta["caption"]
    assert meta["manifest"] == "sha256:abc"
    assert meta["figure"] == "portrait"
    assert "mlp3 on digits" in meta["title"]


def test_a_given_title_and_caption_replace_those_of_the_figure(tmp_path, mlp3):
    paths = save(portrait(*mlp3), tmp_path / "p", title="A title", caption="A caption.")
    spec = json.loads(paths["json"].read_text())
    assert spec["description"] == "A caption."
    assert spec["usermeta"]["gammascape"]["title"] == "A title"


def test_the_html_needs_no_network(saved):
    page = saved["html"].read_text()
    assert not re.search(r"<(script|link)[^>]*(src|href)\s*=", page)
    assert len(page) > 500_000
    assert "vegaEmbed" in page
    assert "<title>mlp3 on digits" in page


def test_the_same_tables_give_the_same_bytes(tmp_path, mlp3):
    first = save(portrait(*mlp3), tmp_path / "a")
    save(collapse(curves_table(MLP3)), tmp_path / "between")
    second = save(portrait(*mlp3), tmp_path / "b")
    for kind in FORMATS:
        assert first[kind].read_bytes() == second[kind].read_bytes(), kind


def test_the_order_of_the_rows_does_not_matter(mlp3):
    shuffled = [table.sample(fraction=1, shuffle=True, seed=1) for table in mlp3]
    assert spec_of(portrait(*shuffled)) == spec_of(portrait(*mlp3))
    assert spec_of(edges(*shuffled[1:])) == spec_of(edges(*mlp3[1:]))
    pairs = similarity_table(MLP3)
    mixed = pairs.sample(fraction=1, shuffle=True, seed=1)
    assert spec_of(similarity(mixed)) == spec_of(similarity(pairs))
    curves = curves_table(MLP3)
    mixed = curves.sample(fraction=1, shuffle=True, seed=1)
    assert spec_of(collapse(mixed)) == spec_of(collapse(curves))


def test_every_figure_says_what_is_on_its_axes(mlp3):
    charts = [
        portrait(*mlp3),
        edges(*mlp3[1:]),
        collapse(curves_table(MLP3)),
        similarity(similarity_table(MLP3)),
    ]
    for chart in charts:
        assert len(words(chart)["caption"]) > 80
        assert spec_of(chart)["usermeta"]["gammascape"]["title"]


def test_ids_in_the_svg_stay_linked(saved):
    svg = saved["svg"].read_text()
    used = set(re.findall(r"url\(#([^)]+)\)", svg))
    assert used
    assert used <= set(re.findall(r'id="([^"]+)"', svg))


def test_an_empty_study_can_be_saved(tmp_path, mlp3):
    _, thresholds, scaling = mlp3
    empty = edges(thresholds.clear(), scaling.clear())
    assert save(empty, tmp_path / "edges")["png"].stat().st_size > 0
