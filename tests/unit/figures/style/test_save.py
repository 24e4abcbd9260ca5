"""What lies on disk after a figure is saved."""

import json
import re
from importlib.metadata import version
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest
import vl_convert
from PIL import Image

from gammascape.figures.dynamics.curves import collapse
from gammascape.figures.edges.against_gamma import edges
from gammascape.figures.edges.portrait import portrait
from gammascape.figures.similarity.map import similarity
from gammascape.figures.style import save as save_module
from gammascape.figures.style import theme
from gammascape.figures.style.offline import javascript
from gammascape.figures.style.save import VEGA_LITE, save
from gammascape.manifests.mark import FORMATS, mark_html, mark_svg, read_mark
from gammascape.manifests.scripts import is_bundle

from ...browser import CHROMIUM, chromium
from ..specs import spec_of, words
from ..synthetic import MLP3, curves_table, similarity_table


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


def test_the_html_needs_no_network(saved):
    page = saved["html"].read_text()
    assert not re.search(r"<(script|link)[^>]*(src|href)\s*=", page)
    assert len(page) > 500_000
    assert "vegaEmbed" in page
    assert "<title>mlp3 on digits" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, see .ci/run")
def test_a_page_fits_a_window_of_400_pixels(tmp_path, mlp3):
    _, thresholds, scaling = mlp3
    curves = curves_table(MLP3)
    panel = alt.Chart(curves[:50]).mark_point().properties(width=460)
    panel = panel.encode(x="step:Q", y="tau:Q", color="cell:N")
    charts = [
        portrait(*mlp3),
        collapse(curves),
        edges(thresholds, scaling),
        theme.Figure("pair", "Caption.").finish(
            alt.hconcat(panel, panel), "A title of many words " * 5, ["counts " * 30]
        ),
    ]
    width = "document.querySelector('#vega-chart svg').getBoundingClientRect().width"
    scrolled = "document.documentElement.scrollWidth"
    ends = "[...document.querySelectorAll('#vega-chart text')].map(t => t.getBoundingClientRect().right)"
    with chromium() as browser:
        for number, chart in enumerate(charts):
            page = save(chart, tmp_path / str(number))["html"]
            browser.open(page, width=1400)
            wide = browser.run(width)
            browser.open(page, width=400)
            assert browser.run(width) <= 400 < wide
            assert browser.run(scrolled) <= 400
            assert max(browser.run(ends)) <= 400
            assert words(chart)["caption"] in browser.run("document.body.innerText")
        assert not browser.said


def test_the_scripts_of_a_page_are_put_together_once_and_known_by_their_hash(tmp_path, monkeypatch):
    made = javascript(VEGA_LITE, tmp_path / "cache")
    assert is_bundle(made.encode(), version("vl-convert-python"), VEGA_LITE)
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda *_: "made again")
    javascript.cache_clear()
    assert javascript(VEGA_LITE, tmp_path / "cache") == made
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text(made + "send(document)")
    javascript.cache_clear()
    assert javascript(VEGA_LITE, tmp_path / "cache") == "made again"


def test_scripts_are_put_together_where_they_cannot_be_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda *_: "made")
    (tmp_path / "file").touch()
    assert javascript("6.4", tmp_path / "file") == "made"


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


MARK = {
    "manifest": "results/s/figures/edges.manifest.json",
    "claim": "ab" * 32,
    "study": "s",
    "commit": None,
}


@pytest.fixture(scope="module")
def marked(tmp_path_factory, request):
    mlp3 = request.getfixturevalue("mlp3")
    return save(edges(*mlp3[1:]), tmp_path_factory.mktemp("marked") / "edges", usermeta=MARK)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_carries_its_mark(marked, tmp_path, kind):
    copy = tmp_path / f"elsewhere.{kind}"
    copy.write_bytes(marked[kind].read_bytes())
    mark = read_mark(copy)
    assert mark is not None
    assert mark.as_json() == MARK


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_without_a_mark_has_none(mlp3, tmp_path, kind):
    plain = save(edges(*mlp3[1:]), tmp_path / "plain")
    assert read_mark(plain[kind]) is None
    plain[kind].write_bytes(plain[kind].read_bytes()[:20])
    assert read_mark(plain[kind]) is None


def test_a_mark_survives_awkward_text(tmp_path):
    mark = MARK | {"study": "<&\"'>—γ"}
    for kind, content in {
        "svg": mark_svg('<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>', mark).encode(),
        "html": mark_html("<html><body></body></html>", mark).encode(),
    }.items():
        path = tmp_path / f"f.{kind}"
        path.write_bytes(content)
        found = read_mark(path)
        assert found is not None
        assert found.study == mark["study"]


def test_marked_files_are_still_what_they_were(marked):
    root = ElementTree.fromstring(marked["svg"].read_text())
    assert root[0].tag == "{http://www.w3.org/2000/svg}metadata"
    with Image.open(marked["png"]) as image:
        image.load()
        assert json.loads(image.text["gammascape"]) == MARK


def test_the_page_says_how_to_audit_it(marked):
    page = marked["html"].read_text()
    assert "gammascape audit results/s/figures/edges.html" in page
    way, chart = page.index('<a href="../../index.html">'), page.index('<div id="vega-chart">')
    assert page.index("</head>") < way < chart
    assert 'name="viewport"' in page
    assert "@media screen and (prefers-color-scheme: dark)" in page
    assert page.index("vega-chart") < page.index("<footer") < page.rindex("</body>")


def test_characters_that_no_font_has_look_alike():
    # Of private use, which fonts leave empty.
    assert save_module.look_alike("\ue000", "\ue001")
    assert not save_module.look_alike("1", "2")


def test_raised_characters_need_no_font_that_has_them(monkeypatch):
    svg = '<svg aria-label="10⁻²"><text x="1">10⁻²·⁰² γ²⁄ᴸ, 5.1·10⁴</text><text>log₁₀ ∝ 1</text></svg>'
    monkeypatch.setattr(save_module, "_lacks", lambda: False)
    assert save_module.with_fonts_of_this_machine(svg) == svg
    monkeypatch.setattr(save_module, "_lacks", lambda: True)
    up = '<tspan baseline-shift="super" font-size="70%">'
    assert save_module.with_fonts_of_this_machine(svg) == (
        f'<svg aria-label="10⁻²"><text x="1">10{up}−2.02</tspan> γ{up}2/L</tspan>, 5.1·10{up}4</tspan>'
        f"</text><text>log{up.replace('super', 'sub')}10</tspan> ~ 1</text></svg>"
    )


def test_a_figure_is_drawn_without_such_fonts(tmp_path, monkeypatch):
    figure = alt.Chart(pl.DataFrame({"x": [1]})).mark_point().properties(title="γ⁻²")
    monkeypatch.setattr(save_module, "_lacks", lambda: False)
    usual = save(figure, tmp_path / "usual")
    monkeypatch.setattr(save_module, "_lacks", lambda: True)
    without = save(figure, tmp_path / "without")
    assert usual["svg"].read_bytes() == without["svg"].read_bytes()
    assert usual["png"].read_bytes() != without["png"].read_bytes()
