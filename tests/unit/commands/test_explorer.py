"""Explorers of several studies, and where they say that they come from."""

from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.figures.explorer.page import data_of, joint_explorer
from gammascape.manifests.mark import read_marks
from gammascape.provenance.remake import run_rule
from gammascape.workflow.catalogue import everything

from ..browser import CHROMIUM, chromium
from ..project import STUDY, make_project, plan_of, write_synthetic_cell

OTHER = STUDY.replace("[-1, 0, 1]", "[-1, 0.5, 2]") + "analysis: {trained_below: 0.3}\n"
FILES = [Path(f"results/{name}/explorer.html") for name in ("tiny", "other")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies with tables and explorers, and no figures."""
    made = make_project(tmp_path_factory.mktemp("explorers") / "project")
    (made / "config/studies/other.yaml").write_text(OTHER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        plan = plan_of("tiny", "other")
        for path, cell in plan.cells.items():
            write_synthetic_cell(Path("results/cells") / path, cell)
        for item in everything(plan).values():
            if item.rule in ("cells", "edges", "combine", "similarity", "explorer"):
                run_rule(item)
    return made


@pytest.fixture
def both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An explorer of both."""
    monkeypatch.chdir(folder)
    # A test may have left one with a mark taken out, which is not replaced.
    Path("sent/both.html").unlink(missing_ok=True)
    assert main(["explorer", "tiny", "config/studies/other.yaml", "--out", "sent/both.html"]) == 0
    return Path("sent/both.html")


def test_both_studies_are_traced_and_edits_are_found(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["audit", str(both)]) == 0
    said = capsys.readouterr().out
    for study in ("tiny", "other"):
        assert f"results/{study}/explorer  page  verified" in said
        assert f"for the study {study}" in both.read_text()
    text = both.read_text()
    loss = data_of(text)["judged"]["relative"][0][0]
    both.write_text(text.replace(str(loss), "0.0042", 1))
    assert main(["audit", str(both)]) == 1
    assert "altered: the data in both.html differ from" in capsys.readouterr().out
    both.write_text(text.replace("No network is chosen", "Choose a network"))
    assert main(["audit", "--strict", str(both)]) == 1
    assert "not compared: the data in both.html are right" in capsys.readouterr().out
    # Without the second mark it passes for no explorer of the first study.
    footer = text.rindex("<footer")
    both.write_text(text[:footer] + text[text.index("</footer>", footer) :])
    assert main(["audit", str(both)]) == 1
    assert "another sha256" in capsys.readouterr().out


def test_numbers_are_those_of_each_study(both: Path) -> None:
    data, *parts = (data_of(path.read_text()) for path in (both, *FILES))
    assert [one["name"] for one in data["studies"]] == ["tiny", "other"]
    row = 0
    for part, study in zip(parts, ("tiny", "other"), strict=True):
        for column in ("cell", "final_loss", "half"):
            values = part["cells"][column]
            assert data["cells"][column][row : row + len(values)] == values
        for own in part["measures"]:
            (found,) = (
                m
                for m in data["measures"]
                if (m["name"], m["layer"]) == (own["name"], own["layer"])
            )
            for i, grid in enumerate(own["grid"]):
                assert found["values"][row + i] == own["values"][i]
                moved = found["grid"][row + i]
                assert (grid is None) == (moved is None)
                assert grid is None or data["grids"][moved] == part["grids"][grid]
        for i, s in enumerate(part["cells"]["slice"]):
            named = data["slices"][data["cells"]["slice"][row + i]]
            assert named["slice"] == f"{study}: {part['slices'][s]['slice']}"
            assert any(row + i in inside for inside in named["tiles"]["cells"])
        row += len(part["cells"]["cell"])
    same = joint_explorer(FILES, [mark for file in FILES for mark in read_marks(file)])
    assert same == both.read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, see .ci/run")
def test_two_studies_light_up_at_the_same_place(both: Path) -> None:
    with chromium() as tab:
        tab.open(both)
        titles = "[...document.querySelectorAll('h3')].slice(0, 2).map(h => h.textContent)"
        first, second = tab.run(titles)
        assert (first.partition(": ")[0], second.partition(": ")[0]) == ("tiny", "other")
        assert first.partition(": ")[2] == second.partition(": ")[2]
        low = "p.view.signal('low')"
        ends = f"explorer.planes().map(p => [...`xy`].map(a => p.view.scale(a).domain()).concat({low}))"
        domains = tab.run(ends)
        assert domains[0] == domains[1]
        # Chosen in the first alone, the place of it has an outline in both.
        tab.run("explorer.choose([0])")
        marked = "explorer.planes().map(p => p.view.data('marked').map(m => [m.x, m.y, m.inner]))"
        (own,), (other,) = tab.run(marked)
        assert own[2] > other[2] > 0
        # The first plane has no such tile, and shows its place all the same.
        tab.run(
            "(p => { p.box.focus(); const t = explorer.data.slices[p.s].tiles;"
            " explorer.point({ gamma: t.gamma[0], eta: Math.max(...t.eta), s: p.s }) })(explorer.planes()[1])"
        )
        tab.idle()
        first, second = (rows[-1] for rows in tab.run(marked))
        assert first[:2] == second[:2]
        # Each study's own threshold says what is trained.
        for s, limit in ((0, "0.5"), (1, "0.3")):
            row = f"explorer.data.cells.slice.findIndex(k => explorer.data.slices[k].study === {s})"
            table = tab.run(f"explorer.choose([{row}]).then(() => explorer.csv())")
            assert f"ends between {limit} and" in table
        state = tab.run("location.hash")
        shown = tab.run("JSON.stringify([explorer.state, explorer.chosen()])")
        tab.open(both, state)
        assert tab.run("JSON.stringify([explorer.state, explorer.chosen()])") == shown
        assert tab.said == []


def test_only_an_explorer_of_several_studies_is_replaced(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = both.read_text()
    both.write_text(same.replace("No network is chosen", "Choose a network"))
    words = ["explorer", "tiny", "other", "--out"]
    assert main([*words, str(both)]) == 0
    assert both.read_text() == same
    notes, folder = Path("notes.html"), Path("folder.html")
    notes.write_text("<p>mine</p>")
    folder.mkdir()
    for path in (notes, folder, FILES[0]):
        before = path.read_bytes() if path.is_file() else None
        assert main([*words, str(path)]) == 2
        assert f"{path} exists and is no explorer of several studies" in capsys.readouterr().err
        assert before is None or path.read_bytes() == before


def test_mistakes_are_explained(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in {
        ("tiny", "--out", "a.html"): "name two studies or more",
        ("tiny", "none", "--out", "a.html"): "none: no study of this name has results here",
        ("tiny", "none", "--out", "a.png"): "a.png: end the name in .html",
    }.items():
        assert main(["explorer", *words]) == 2
        assert said in capsys.readouterr().err
    old = Path("old.html")
    old.write_text(FILES[1].read_text().replace('"studies"', '"study"'))
    with pytest.raises(ValueError, match=r"^old\.html: made by another version"):
        joint_explorer([FILES[0], old], [])
