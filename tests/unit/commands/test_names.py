"""Each command understands each kind of name alike."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gammascape.cli import main
from gammascape.commands import accept, audit, replay, study_file
from gammascape.provenance.project import open_project
from gammascape.study.reading.yaml_reader import study_name

FIGURE = "results/tiny/figures/edges"
VERBS = ("why", "audit", "replay", "accept")


def first_cell() -> str:
    return f"results/cells/{next(iter(open_project().cells))}"


def digits(folder: Path) -> str:
    return first_cell().rpartition("-")[2][:7]


NAMES: dict[str, Callable[[Path], str]] = {
    "a file": lambda folder: f"{FIGURE}.svg",
    "its whole path": lambda folder: str(Path(f"{FIGURE}.json").resolve()),
    "its stem": lambda folder: FIGURE,
    "its manifest": lambda folder: f"{FIGURE}.manifest.json",
    "a copy": lambda folder: str(shutil.copy(f"{FIGURE}.png", folder / "figure-3.png")),
    "its name in results": lambda folder: "tiny/figures/edges.html",
    "its name alone": lambda folder: "edges",
    "its name with its kind": lambda folder: "figures/edges",
    "a folder": lambda folder: f"{first_cell()}/",
    "a file that is gone": lambda folder: f"{first_cell()}/arrays.npz",
    "a cell's path": lambda folder: first_cell().removeprefix("results/cells/"),
    "digits of its hash": digits,
}


@pytest.fixture
def named(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str], str]:
    """Calls a command in the finished study; returns the artifact that it took the name for."""
    monkeypatch.chdir(finished)
    accepted: list[Path] = []
    monkeypatch.setattr(accept, "accept", lambda path, *_: accepted.append(path))
    # What a command does with the artifact is tested with the command.
    monkeypatch.setattr(audit, "_made_otherwise", lambda *_: {})
    monkeypatch.setattr(replay, "replay", lambda *_: ())
    monkeypatch.setattr(replay, "again_from_cells", lambda *_: ())
    options: dict[str, list[str]] = {
        "audit": ["--json"],
        "replay": ["--cells", "1", "--json"],
        "accept": ["--reason", "x"],
    }
    answers: dict[str, Callable[[str], Any]] = {
        "why": lambda out: out.split()[1],
        "audit": lambda out: json.loads(out)[0]["artifacts"][0],
        "replay": lambda out: json.loads(out)["artifact"],
        "accept": lambda out: accepted[0].as_posix(),
    }

    def call(verb: str, name: str) -> str:
        assert main([verb, name, *options.get(verb, [])]) in (0, 1)
        found: str = answers[verb](capsys.readouterr().out)
        return found.removesuffix("/manifest.json").removesuffix(".manifest.json")

    return call


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("verb", VERBS)
def test_each_command_understands_each_name(
    named: Callable[[str, str], str], tmp_path: Path, verb: str, kind: str
) -> None:
    name = NAMES[kind](tmp_path)
    wanted = (
        first_cell()
        if "cell" in name or kind in ("a cell's path", "digits of its hash")
        else FIGURE
    )
    assert named(verb, name) == wanted


@pytest.mark.parametrize("verb", VERBS)
def test_a_name_of_nothing_and_of_several_cells_is_one_message(
    project: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    more = {"replay": ["--cells", "1"], "accept": ["--reason", "x"]}.get(verb, [])
    assert main([verb, "nothing", *more]) == 2
    assert capsys.readouterr().err.startswith("nothing: no artifact with a manifest; name a file")
    assert main([verb, "edgse", *more]) == 2
    assert "no artifact with a manifest; did you mean edges?" in capsys.readouterr().err
    assert main([verb, "performance", *more]) == 2
    assert (
        "performance: several tables and figures have this name; write one of "
        "tiny/figures/performance, tiny/tables/performance"
    ) in capsys.readouterr().err
    cell = Path(first_cell())
    shutil.copytree(cell, cell.with_name(f"g9_e9_s0-{cell.name.rpartition('-')[2][:6]}000000"))
    assert main([verb, digits(project)[:6], *more]) == 2
    assert "several cells have this name" in capsys.readouterr().err


STUDY_VERBS = {
    "advise": ["advise", "{}"],
    "scale": ["scale", "{}", "--width", "2x"],
    "seal": ["seal", "{}"],
    "explorer": ["explorer", "tiny", "{}", "--out", "both.html"],
    "reference": ["reference", "write", "{}"],
    "table": ["table", "claims", "--study", "{}"],
    "figure": ["figure", "edges", "--study", "{}", "--out", "e.svg"],
    "export-crate": ["export-crate", "crate", "--study", "{}"],
}


@pytest.mark.parametrize("verb", STUDY_VERBS)
def test_a_study_without_results_is_one_message(
    project: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    def answer(study: str) -> str:
        assert main([word.format(study) for word in STUDY_VERBS[verb]]) == 2
        return capsys.readouterr().err

    file = Path("config/studies/later.yaml")
    file.write_text(Path("config/studies/tiny.yaml").read_text())
    run = f"run snakemake --config study={file}\n"
    named = (file,) if verb == "export-crate" else ("later", file)
    for study in named:
        assert answer(str(study)) == f"{study}: it has no results yet; {run}"
    assert "did you mean later?" in answer("latr")
    assert "config/studies" in answer("nothing")
    if verb in ("table", "figure"):
        return
    Path("results/later/logs").mkdir(parents=True)
    for study in named:
        assert answer(str(study)) == f"{study}: it has only a part of its results; {run}"


def test_a_finished_study_of_toys_has_no_advice(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config/studies/later.yaml").write_text(Path("config/studies/tiny.yaml").read_text())
    page = Path("results/later/provenance.manifest.json")
    page.parent.mkdir()
    page.write_text("{}")
    assert main(["advise", "later"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "later: it is finished, and has no advice, which is made of trained networks"
    )


@pytest.mark.parametrize("name", ["tiny", "tiny.yaml", "tiny/", "results/tiny", "results/tiny/"])
def test_each_command_understands_each_name_of_a_study(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for words in (["seal"], ["cost"], ["table", "claims", "--study"]):
        assert main([*words, name]) == 0, words
    assert study_file(name) == "config/studies/tiny.yaml"


@pytest.mark.parametrize(
    "words",
    [["advise"], ["cost"], ["seal"], ["scale", "--width", "2x"], ["table", "gain", "--study"]],
)
def test_a_file_that_does_not_exist_is_not_another_study(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    assert main([*words, "nowhere/tiny.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("nowhere/tiny.yaml: no such file; did you mean config/studies/tiny.yaml")
    # Where it exists is asked in the folder of the results.
    Path("nowhere").mkdir()
    Path("nowhere/tiny.yaml").write_text(Path("config/studies/tiny.yaml").read_text())
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir("nowhere")
        assert main(["seal", "nowhere/tiny.yaml", "--directory", str(project)]) == 0
    # A study of which only results are left.
    Path("config/studies/tiny.yaml").rename("tiny.txt")
    assert study_name("config/studies/tiny.yaml") == "tiny"


@pytest.mark.parametrize("name", ["tiny.points", "config/studies/tiny.points.yaml"])
def test_a_file_of_points_is_no_study(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("config/studies/tiny.points.yaml").write_text("{}")
    assert main(["advise", name]) == 2
    said = capsys.readouterr().err
    assert "no study of this name has results here" in said
    assert "snakemake" not in said


@pytest.mark.parametrize("verb", ["audit", "replay", "table"])
def test_a_folder_without_results_is_said_to_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["--cells", "1"] if verb == "replay" else []
    assert main([verb, "edges", *more]) == 2
    # Not all of them have --directory.
    assert capsys.readouterr().err.endswith("no folder results; run this where Snakemake runs\n")
    assert main(["advise", "tiny"]) == 2
    assert "the folder results does not exist" in capsys.readouterr().err


def test_a_foreign_or_altered_file_is_neither_explained_nor_accepted(
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "altered.svg"
    copy.write_bytes(Path(f"{FIGURE}.svg").read_bytes() + b"\n")
    (tmp_path / "plot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, said in ((copy, "has another sha256"), (tmp_path / "plot.png", "names no manifest")):
        for command in (["why", str(name)], ["accept", str(name), "--reason", "x"]):
            assert main(command) == 2
            assert said in capsys.readouterr().err
    other = tmp_path / "other"
    shutil.copytree(project, other)
    assert main(["why", str(other / f"{FIGURE}.svg")]) == 2
    assert f"its results are in {other}" in capsys.readouterr().err


def test_a_damaged_table_and_text_that_is_not_utf8_are_messages(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(*_: Any, **options: Any) -> None:
        raise pl.exceptions.PanicException("out of range")

    with monkeypatch.context() as patch:
        patch.setattr(pl, "read_parquet", panic)
        assert main(["seal", "tiny"]) == 2
        assert "not a table (out of range)" in capsys.readouterr().err
        assert main(["audit", "results/tiny/tables/cells/small-digits-mse-B16-T30"]) == 1
        assert "is not a table of cells (out of range)" in capsys.readouterr().out
    cell = Path(first_cell(), "manifest.json")
    cell.write_bytes(b'{"kind": "\xff"}')
    assert main(["why", str(cell)]) == 2
    assert capsys.readouterr().err == f"{cell}: not a manifest (it is not UTF-8 text)\n"
    Path("bad.yaml").write_bytes(b"description: \xff\n")
    assert main(["cost", "bad.yaml"]) == 2
    assert (
        capsys.readouterr().err == "bad.yaml: is not UTF-8 text; save it with the encoding UTF-8\n"
    )


@pytest.mark.parametrize("study", ["tiny", "config/studies/tiny.yaml"])
def test_a_study_is_its_name_or_its_file_for_every_command(
    project: Path, capsys: pytest.CaptureFixture[str], study: str
) -> None:
    # Not the study.
    Path("tiny").mkdir()
    for words in (
        *(["cost", study], ["seal", study], ["advise", study], ["check-model", study, "none"]),
        *(["table", "gain", "--study", study], ["why", "edges", "--study", study]),
        *(
            ["audit", "edges", "--study", study],
            ["accept", "edges", "--reason", "x", "--study", study],
        ),
    ):
        status = main(words)
        said = capsys.readouterr()
        # No model has this name; all else of a finished study is answered.
        wanted = (2, "none") if words[0] == "check-model" else (0, "")
        assert status == wanted[0], said.err
        assert wanted[1] in said.err
    assert main(["map", study]) == 2
    assert "no grid has a map" in capsys.readouterr().err


def test_a_study_is_sealed_by_its_name_or_file_and_by_no_other_path(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    seals = []
    for name in ("tiny", "config/studies/tiny.yaml"):
        assert main(["seal", name]) == 0
        seals.append(capsys.readouterr().out)
    assert seals[0] == seals[1]
    assert main(["seal", "results/tiny/tiny.png"]) == 2
