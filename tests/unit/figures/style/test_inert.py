"""Texts of charts are texts: they run nothing and act on nothing."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import altair as alt

from gammascape.figures.style.save import save
from gammascape.manifests.mark import read_mark

TEXT = "</script><script>alert(1)</script><!-- <script> \"'&\x1b[2J\u202e"


class Tags(HTMLParser):
    """Names of the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)


def saved(stem: Path, text: str) -> dict[str, Path]:
    chart = alt.Chart(alt.Data(values=[{"a": text}]), title=text).mark_point().encode(x="a:N")
    mark = {"manifest": "results/s/f.manifest.json", "claim": "0", "study": text, "commit": text}
    words = {"gammascape": {"title": text, "caption": text}}
    return save(chart.properties(description=text, usermeta=words), stem, usermeta=mark)


def test_no_text_of_a_chart_becomes_an_element_or_acts_on_a_terminal(tmp_path: Path) -> None:
    plain, odd = saved(tmp_path / "plain", "text"), saved(tmp_path / "odd", TEXT)
    pages = [paths["html"].read_text() for paths in (plain, odd)]
    assert Tags(pages[1]).names == Tags(pages[0]).names
    elements = [
        [element.tag for element in ElementTree.parse(paths["svg"]).iter()]
        for paths in (plain, odd)
    ]
    assert set(elements[1]) == set(elements[0])
    for path in odd.values():
        assert b"\x1b[2J" not in path.read_bytes()
        mark = read_mark(path)
        assert mark is not None
        assert mark.manifest == "results/s/f.manifest.json"
    # Escaped, the chart is still the same.
    (spec,) = re.findall(r"(?m)^ *const spec = (.*);$", pages[1])
    drawn = json.loads(odd["json"].read_text())
    assert json.loads(spec) == drawn
    assert drawn["title"].startswith("</script><script>")
