"""What the index page shows and links."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest

from gammascape.durations import duration
from gammascape.figures.edges.against_gamma import edges
from gammascape.figures.page.index import (
    FigureEntry,
    StudySection,
    TableEntry,
    read_figure,
    write_index,
)
from gammascape.figures.style.save import save
from gammascape.tables.factors import REGIME_SCHEMA


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def _links(page: Path) -> list[str]:
    parser = _Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


@pytest.fixture(scope="module")
def study_files(tmp_path_factory, mlp3) -> Path:
    """The folder of a study with one figure and one table."""
    cells, thresholds, scaling = mlp3
    folder = tmp_path_factory.mktemp("study")
    save(edges(thresholds, scaling), folder / "figures" / "edges")
    (folder / "tables").mkdir()
    cells.write_parquet(folder / "tables" / "cells.parquet")
    return folder


@pytest.fixture
def section(tmp_path, study_files, mlp3) -> StudySection:
    folder = shutil.copytree(study_files, tmp_path / "results" / "quickstart")
    figure = read_figure(folder / "figures" / "edges")
    table = TableEntry(folder / "tables" / "cells.parquet", "One row per cell & <more>.")
    return StudySection("quickstart", "Two seeds < three.", mlp3[0], [figure], [table])


@pytest.fixture
def page(tmp_path, section) -> Path:
    path = tmp_path / "results" / "index.html"
    write_index([section], path)
    return path


def test_every_link_leads_to_a_file(page):
    files = [link for link in _links(page) if not link.startswith("#")]
    assert len(files) == 2 + 4 + 1
    for link in files:
        assert (page.parent / unquote(link)).is_file(), link


def test_links_are_relative_and_nothing_comes_from_elsewhere(page):
    assert all(not re.match(r"[a-z]+:|/", link) for link in _links(page))
    assert "<script" not in page.read_text()


def test_the_figure_is_an_image_with_its_title_and_caption(page, section):
    text = page.read_text()
    (figure,) = section.figures
    assert '<img src="quickstart/figures/edges.svg"' in text
    assert figure.title in text
    assert figure.caption in text


def test_a_figure_with_nothing_to_say_is_named_and_not_shown(tmp_path, section, mlp3):
    thresholds, scaling = (table.clear() for table in mlp3[1:])
    stem = tmp_path / "results/quickstart/figures/edges/narrow"
    save(edges(thresholds, scaling), stem)
    path = tmp_path / "results/index.html"
    figure = read_figure(stem)
    # Its caption would speak of panels and lines that are not there.
    assert figure.caption == f"{figure.title}."
    assert json.loads(stem.with_suffix(".json").read_text())["description"] == figure.caption
    write_index([replace(section, figures=[*section.figures, figure])], path)
    text = re.sub("<.*?>", "", path.read_text())
    assert re.search(r"^Not drawn: edges/narrow: No edge of .*\.$", text, re.MULTILINE)
    assert "quickstart/figures/edges/narrow.html" in _links(path)
    assert path.read_text().count("<img ") == 1
    assert text.count("Not drawn") == 1


def test_the_counts_of_a_study_are_shown(page, mlp3):
    cells, *_ = mlp3
    text = page.read_text()
    assert f"<b>{cells.height} cells</b>" in text
    assert f"<b>{cells.filter(status='trained').height}</b> trained" in text
    assert f"<b>{duration(0.25 * cells.height)}</b> on the device" in text


def test_text_is_escaped(page):
    text = page.read_text()
    assert "One row per cell &amp; &lt;more&gt;." in text
    assert "Two seeds &lt; three." in text


def test_the_page_says_what_is_not_compared_because_its_data_differ(tmp_path, mlp3):
    cells = mlp3[0]
    slices = cells.select("slice", "dataset").row(0)
    others = pl.concat(
        [
            cells.with_columns(slice=pl.lit("late"), data_digest=pl.lit("0" * 64)),
            cells.with_columns(slice=pl.lit("toy"), data_digest=pl.lit("one example: x = 1")),
        ]
    )
    row = {"factor": "batch_size", "group": "mlp", "slice": "late", "quantity": "left_out"}
    regimes = pl.DataFrame([row], schema=REGIME_SCHEMA)
    path = tmp_path / "index.html"
    write_index([StudySection("s", "", pl.concat([cells, others]), [], [], None, regimes)], path)
    text = path.read_text()
    assert f"Slices on {slices[1]} were trained on different versions of it: " in text
    assert f"000000000000 by late; 5e1f by {slices[0]}." in text
    assert "toy" not in text
    assert "Along batch_size (mlp), late is left out" in text
    write_index([StudySection("s", "", cells, [], [], None, regimes.clear())], path)
    assert "Not compared" not in path.read_text()


def test_the_page_leads_to_the_explorer_and_says_what_is_not_there_yet(tmp_path, section):
    explorer = section.tables[0].path.parents[1] / "explorer.html"
    path, planned = tmp_path / "results/index.html", section.distinct.height + 488
    unfinished = replace(section, explorer=TableEntry(explorer, "Look."), planned=planned)
    with pytest.raises(FileNotFoundError, match=r"explorer\.html"):
        write_index([unfinished], path)
    explorer.touch()
    write_index([unfinished], path)
    assert "quickstart/explorer.html" in _links(path)
    assert f"{planned - 488} of {planned} cells." in path.read_text()
    write_index([replace(unfinished, planned=planned - 488)], path)
    assert "not finished" not in path.read_text()


def test_figures_are_folded_by_what_they_show_and_portraits_stand_on_one_row(
    tmp_path, study_files, section
):
    stems = [section.figures[0].stem.parent / "portrait" / key for key in ("a", "b")]
    for stem in stems:
        stem.parent.mkdir(exist_ok=True)
        for kind in ("json", "html", "svg", "png"):
            shutil.copy(study_files / f"figures/edges.{kind}", f"{stem}.{kind}")
    path = tmp_path / "results/index.html"
    figures = [*map(read_figure, stems), *section.figures]
    themes = {"portrait": ("phase portrait", "Tiles & edges.")}
    write_index([replace(section, figures=figures)], path, themes)
    text = path.read_text()
    assert "<summary><b>Phase portrait</b> (2): Tiles &amp; edges.</summary>" in text
    row = text.split("<div class=portraits>")[1].split("</div>")[0]
    assert [link for link in ("a", "b") if f'src="quickstart/figures/portrait/{link}.svg"' in row]
    assert row.count("<img ") == 2
    assert text.count("<img ") == text.count('loading="lazy"') == 5


def test_a_missing_file_is_named_instead_of_linked(tmp_path, section):
    section.tables[0].path.unlink()
    with pytest.raises(FileNotFoundError, match=r"cells\.parquet"):
        write_index([section], tmp_path / "results" / "index.html")


def test_several_studies_get_a_list_of_contents(tmp_path, section, mlp3):
    path = tmp_path / "results" / "index.html"
    other = StudySection("other", "", mlp3[0].clear(), [], [])
    write_index([section, other], path)
    assert {"#quickstart", "#other"} <= set(_links(path))


def test_a_page_without_studies_says_so(tmp_path):
    write_index([], tmp_path / "index.html")
    assert "No study has results yet." in (tmp_path / "index.html").read_text()


def test_the_page_adapts_to_phones_and_dark_rooms(page):
    text = page.read_text()
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_a_figure_without_metadata_is_called_by_its_file_name(tmp_path):
    (tmp_path / "plain.json").write_text("{}")
    assert read_figure(tmp_path / "plain") == FigureEntry(tmp_path / "plain", "plain", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (45, "45 s"), (720, "12 min 00 s"), (12600, "3 h 30 min")]
)
def test_times_are_written_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_each_of_twenty_slices_has_one_line_of_advice_and_folds_the_rest(tmp_path, section):
    def shown(number: int) -> list[tuple[str, str]]:
        rows = [
            {"slice": f"mlp{k}", "kind": kind, "text": f"{kind} at gamma = {k}.", "todo": None}
            for k in range(number)
            for kind in ("choice", "gain")
        ]
        page = tmp_path / "results" / "index.html"
        write_index([replace(section, advice=pl.DataFrame(rows))], page)
        pattern = r"<details class=lead( open)?><summary>(.*?)</summary>.*?gain at γ"
        return re.findall(pattern, page.read_text(), re.DOTALL)

    found = shown(20)
    assert len(found) == 20
    assert all(not opened for opened, _ in found)
    assert found[19][1] == "<b>mlp19.</b>\nchoice at γ = 19."
    assert [opened for opened, _ in shown(1)] == [" open"]
