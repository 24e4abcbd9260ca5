"""Figures drawn again for print, and tables as text."""

import io
import json
import re
from pathlib import Path

import polars as pl
import pytest

from gammascape.cli import main
from gammascape.manifests.mark import read_mark
from gammascape.provenance.remake import run_rule
from gammascape.workflow.catalogue import artifacts

from ..project import plan_of, write_results

FIGURE = Path("results/tiny/figures/edges")


def test_a_figure_is_drawn_in_a_width_with_its_mark(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--width", "8.382cm", "--no-title"]
    for kind in ("pdf", "svg", "png"):
        assert main(["figure", "edges", "--out", f"paper/e.{kind}", *options]) == 0
        mark, own = read_mark(Path(f"paper/e.{kind}")), read_mark(FIGURE.with_suffix(".svg"))
        assert mark is not None
        assert own is not None
        assert mark.redrawn
        assert mark.claim == own.claim
        said = capsys.readouterr().out
        assert re.search(r"results/tiny/figures/edges; its smallest text has [\d.]+ points", said)
        assert main(["audit", f"paper/e.{kind}"]) == 0
        audited = capsys.readouterr().out
        assert f"not compared: e.{kind} was drawn again" in audited
        assert "tables/thresholds  table  verified" in audited
        for verb in (["why"], ["accept", "--reason", "x"]):
            assert main([*verb, f"paper/e.{kind}"]) == 2
            assert f"copy of {FIGURE}; name that file instead\n" in capsys.readouterr().err
    svg = Path("paper/e.svg").read_text()
    assert 'width="237.6pt"' in svg
    title = json.loads(FIGURE.with_suffix(".json").read_text())["title"]["text"][0]
    assert title in FIGURE.with_suffix(".svg").read_text()
    assert title not in svg
    pdf = Path("paper/e.pdf").read_bytes()
    assert b"MediaBox [0 0 237.6 " in pdf
    # Readers look for the end of a PDF in its last 1024 bytes.
    assert b"%%EOF" in pdf[-1024:]
    (width,) = re.findall(rb"IHDR(.{4})", Path("paper/e.png").read_bytes(), re.DOTALL)
    assert int.from_bytes(width, "big") == 990


def test_a_theme_is_put_over_the_figure_s_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("theme.yaml").write_text("config: {axis: {labelColor: '#123456'}}\n")
    assert main(["figure", str(FIGURE), "--theme", "theme.yaml", "--out", "a.svg"]) == 0
    svg = Path("a.svg").read_text()
    assert "#123456" in svg
    # The other sizes of axes stay.
    assert 'font-size="10.5px"' in svg
    for theme, said in {
        "[1, 2]": "a theme is a mapping",
        "axsi: {grid: false}": "theme.yaml: Additional properties are not allowed ('axsi' was",
        "axis: {labelFontSize: big}": "theme.yaml: axis: labelFontSize: 'big' is not of type 'number'",
    }.items():
        Path("theme.yaml").write_text(theme)
        assert main(["figure", str(FIGURE), "--theme", "theme.yaml", "--out", "b.svg"]) == 2
        assert said in capsys.readouterr().err
    assert not Path("b.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["edges", "--out", "a.gif"], "end the name in one of .pdf, .svg, .png"),
        (["nothing", "--out", "a.svg"], "nothing: no artifact"),
        (
            ["portrait", "--out", "a.svg"],
            "several figures have this name; write one of tiny/figures/portrait/",
        ),
        (["results/tiny/tables/gain", "--out", "a.svg"], "is a table, not a figure"),
    ],
)
def test_mistakes_are_answered(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["figure", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not Path("a.svg").exists()


def test_an_altered_figure_is_not_drawn(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FIGURE.with_suffix(".json")
    file.write_text(file.read_text().replace("largest", "smallest"))
    assert main(["figure", "edges", "--out", "a.svg"]) == 2
    assert "is not the file of its manifest: run snakemake" in capsys.readouterr().err


def test_a_table_is_printed_and_read_as_csv(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("gain", "dynamics"):
        table = pl.read_parquet(f"results/tiny/tables/{name}.parquet")
        assert main(["table", name, "--csv"]) == 0
        text = capsys.readouterr().out
        read = pl.read_csv(io.StringIO(text), infer_schema_length=None)
        assert read.columns == table.columns
        assert read.height == table.height
        lists = [column for column, kind in table.schema.items() if kind.is_nested()]
        assert lists
        for column in lists:
            values = [None if cell is None else json.loads(cell) for cell in read[column]]
            assert values == table[column].to_list()


@pytest.mark.parametrize("kind", ["table", "figure"])
def test_every_table_and_figure_has_each_of_its_names(
    project: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    # Logs lie in folders of the same names.
    Path(f"results/logs/{kind}s/tiny").mkdir(parents=True)
    suffix, more = {"table": ("parquet", []), "figure": ("json", ["--out", "drawn.svg"])}[kind]
    found = sorted(Path(f"results/tiny/{kind}s").rglob(f"*[!t].{suffix}"))
    # One of each folder: names that begin as others do are among none's.
    for file in {path.parent.name.replace(f"{kind}s", path.name): path for path in found}.values():
        stem = file.with_suffix("")
        below = stem.relative_to("results/tiny")
        for name in (file, stem, f"tiny/{below}", below, below.relative_to(f"{kind}s")):
            for study in ([], ["--study", "tiny"]):
                # To draw takes a while: one name is enough.
                if kind == "table" or name == f"tiny/{below}":
                    assert main([kind, str(name), *more, *study]) == 0, capsys.readouterr().err
                    assert str(stem) in capsys.readouterr().out
    assert main([kind, str(stem), *more, "--study", "other"]) == 2
    assert "other: no study of this name has results here" in capsys.readouterr().err
    for name in ("**x", "*"):
        assert main([kind, name, *more]) == 2
    assert main([kind, "gain", *more, "--study", "."]) == 2
    capsys.readouterr()
    assert main([kind, "tiny", *more]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_a_name_of_several_studies_needs_the_study(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path("config/studies/tiny.yaml")
    study.with_name("mine.yaml").write_text(study.read_text())
    plan = plan_of("mine")
    write_results(plan, figures=False)
    for item in artifacts(plan, "mine"):
        if "/figures/edges" in item.stem or "/figures/portrait/" in item.stem:
            run_rule(item)
    assert main(["table", "gain"]) == 2
    said = capsys.readouterr().err
    assert "write one of mine/tables/gain, tiny/tables/gain, or add --study mine or tiny" in said
    for name in ("tiny", "config/studies/mine.yaml"):
        assert main(["table", "gain", "--study", name]) == 0
        assert f"results/{Path(name).stem}/tables/gain.parquet" in capsys.readouterr().out
        assert main(["figure", "edges", "--study", name, "--out", "e.svg"]) == 0
        assert f"results/{Path(name).stem}/figures/edges;" in capsys.readouterr().out
    assert main(["figure", "portrait", "--study", "mine", "--out", "e.svg"]) == 2
    said = capsys.readouterr().err
    assert "mine/figures/portrait/" in said
    assert "tiny" not in said
    assert "--study" not in said
    assert main(["table", "gain", "--study", "other"]) == 2
    assert "other: no study of this name has results here" in capsys.readouterr().err
    for more in ([], ["--study", "mine"]):
        assert main(["table", "gian", *more]) == 2
        assert "has no table of this name; did you mean gain?" in capsys.readouterr().err
