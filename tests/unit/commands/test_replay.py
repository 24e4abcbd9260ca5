"""Training a sample of cells again: what agrees, what does not, and what is said of it."""

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from gammascape.cli import main
from gammascape.commands.replay import cells_behind, sample
from gammascape.manifests import read_manifest, source_of, write_manifest
from gammascape.provenance.compare import compare
from gammascape.provenance.remake import THE_SAME, below, remake, run_rule
from gammascape.study import load_study
from gammascape.workflow.catalogue import everything
from gammascape.workflow.plan import load_plan

from ..falsify import (
    FIGURE,
    TABLE,
    TABLES,
    cells,
    edit_table,
    errors,
    fit,
    lower_loss,
    of_figure,
    rewrite,
    seal_again,
)
from ..project import change_code, plan_of
from ..tree import combine, make, make_figure, prepare_data, train


def replay(root: Path, count: int, *more: str) -> int:
    return main(["replay", str(root / f"{FIGURE}.png"), "--cells", str(count), *more])


Arrays = dict[str, NDArray[Any]]


def change(folder: Path, edit: Callable[[Arrays], None]) -> None:
    """Change arrays of a cell; its manifest fits again."""
    with np.load(folder / "arrays.npz") as file:
        arrays = {name: file[name] for name in file.files}
    edit(arrays)
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    (folder / "arrays.npz").write_bytes(packed.getvalue())
    seal_again(folder)


def times(name: str, step: int, factor: float) -> Callable[[Arrays], None]:
    def edit(arrays: Arrays) -> None:
        arrays[name].flat[step] *= factor

    return edit


def move_kernel(arrays: Arrays) -> None:
    # Large beside all entries.
    gram = arrays["gram.layer1"]
    assert np.isfinite(gram).all(), "a dead network has no kernel to change"
    gram.flat[2] = -gram.flat[2] - 1 - np.abs(gram).max()


def rows_of(text: str) -> dict[str, dict[str, Any]]:
    return {row["cell"]: row for row in json.loads(text)["cells"]}


def test_untouched_cells_agree_bit_for_bit(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(p for p in root.rglob("*"))
    assert replay(root, 2) == 0
    said = capsys.readouterr().out
    assert "2 of 6 cells" in said
    assert said.count("the same bytes") == 2
    assert "2 of 2 agree, 2 of them bit for bit" in said
    assert said.endswith("everything agrees\n")
    assert sorted(p for p in root.rglob("*")) == before


def test_a_falsified_cell_is_found_though_its_manifest_fits(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history, value = cells(root)[1:3]
    change(root / history, times("loss", 3, 0.9))
    rewrite(root / value / "summary.json", lower_loss)
    seal_again(root / value)
    assert replay(root, 6, "--json") == 1
    rows = rows_of(capsys.readouterr().out)
    assert {name for name, row in rows.items() if not row["agrees"]} == {history, value}
    assert rows[history]["text"].startswith("the loss of step 3 is ")
    assert rows[value]["text"] == "summary.json differs in facts"


def test_on_another_device_rounding_agrees_and_nothing_else_does(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load_study(root / "config/studies/tiny.yaml")
    train(root, study.cells, device_model="An accelerator")
    rounded, loss, fact, kernel, accuracy, status = cells(root)
    # What another device's rounding does.
    change(root / rounded, times("loss", 3, 1 + 1e-6))
    change(root / loss, times("loss", 3, 1.01))
    change(root / kernel, move_kernel)
    for cell, edit in {
        fact: lower_loss,
        accuracy: lambda summary: summary["evaluations"][-1].update(accuracy=0.99),
        status: lambda summary: summary.update(status="dead"),
    }.items():
        rewrite(root / cell / "summary.json", edit)
        seal_again(root / cell)
    assert replay(root, 6, "--json") == 1
    rows = rows_of(capsys.readouterr().out)
    assert [name for name, row in rows.items() if row["agrees"]] == [rounded]
    assert not rows[rounded]["identical"]
    named = {cell: rows[cell]["text"].split(" is ")[0] for cell in rows if cell != rounded}
    assert named == {
        loss: "loss[3]",
        kernel: "gram.layer1[2]",
        fact: "facts.final_loss",
        accuracy: f"evaluations[{named[accuracy][12:-10]}].accuracy",
        status: "status",
    }


def test_what_rounding_decides_cannot_be_compared(tmp_path: Path) -> None:
    """The twin drifts away in the second half: nothing is known there, the first half is held to its own."""
    steps = np.linspace(1, 0.5, 100)
    summary = {"cell": {}, "status": "trained", "facts": {"final_loss": 0.5}}
    for name in ("made", "again", "twin"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(summary))
        drift = 1 + (name == "twin") * np.where(np.arange(100) < 50, 1e-6, 0.5)
        np.savez(tmp_path / name / "arrays.npz", loss=steps * drift)
    folders = [tmp_path / name for name in ("made", "again", "twin")]
    verdicts = []
    for place in (80, 30):
        change_plain(tmp_path / "made", steps, place)
        verdicts.append(compare(*folders))
    assert [verdict.agrees for verdict in verdicts] == [None, False]
    assert verdicts[0].text.endswith("rounding decides 1 of 53, like loss")
    assert verdicts[1].text.startswith("loss[30] is ")


def change_plain(folder: Path, losses: NDArray[Any], place: int) -> None:
    changed = losses.copy()
    changed[place] *= 1.5
    np.savez(folder / "arrays.npz", loss=changed)


def test_an_edited_table_is_found_though_all_above_was_made_again_from_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load_study(root / "config/studies/tiny.yaml")
    edit_table(root, TABLES[1], eta_log10=pl.col("eta_log10") + 1)
    for table in ("thresholds", "scaling"):
        make(root, study, f"tables/{table}/small" if table == "scaling" else "-")
        combine(root, study, table)
    make_figure(root, study)
    assert errors(of_figure(root)) == []
    assert replay(root, 1, "--json") == 1
    made = {row["name"]: row for row in json.loads(capsys.readouterr().out)["made"]}
    assert not made[TABLES[1]]["agrees"]
    assert made[TABLES[0]]["agrees"]
    assert "eta_log10 of row 1 is" in made[TABLES[1]]["text"]


@pytest.mark.parametrize("kind", ["svg", "png", "html", "json"])
def test_a_figure_edited_together_with_its_manifest(
    root: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = root / f"{FIGURE}.{kind}"
    path.write_bytes(path.read_bytes() + b"\n")
    fit(root, FIGURE)
    assert replay(root, 1, "--json") == 1
    made = {row["name"]: row for row in json.loads(capsys.readouterr().out)["made"]}
    assert {name for name, row in made.items() if not row["agrees"]} == {FIGURE}
    assert made[FIGURE]["text"] == f"edges.{kind} differs"


def test_a_figure_drawn_again_for_print_cannot_be_compared_and_does_not_differ(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = tmp_path / "figure-2.pdf"
    monkeypatch.chdir(root)
    assert main(["figure", FIGURE, "--out", str(drawn)]) == 0
    assert main(["replay", str(drawn), "--cells", "1"]) == 1
    said = capsys.readouterr().out
    assert "figure-2.pdf was drawn again by gammascape figure, for print" in said
    assert said.endswith("1 table or figure cannot be compared\n")


def test_what_cannot_be_read_differs_and_keeps_nothing_from_being_made_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables, svg = root / "results/tiny/tables", root / f"{FIGURE}.svg"
    os.mkfifo(tables / "fifo")
    (tables / "zero").symlink_to("/dev/zero")
    (tables / "loop").symlink_to(".")
    (root / f"{TABLES[1]}.parquet").write_text("no table")
    svg.unlink()
    svg.symlink_to("/dev/zero")
    assert replay(root, 1, "--json") == 1
    made = {row["name"]: row for row in json.loads(capsys.readouterr().out)["made"]}
    assert {name for name, row in made.items() if not row["agrees"]} == {FIGURE, TABLES[1]}
    assert all("cannot be read" in made[name]["text"] for name in (FIGURE, TABLES[1]))


def test_a_table_of_another_machine_agrees_within_rounding(root: Path) -> None:
    plan = load_plan({"study": str(root / "config/studies/tiny.yaml")})
    items = below(everything(plan), f"{TABLE}.manifest.json")

    def verdict(name: str, factor: float) -> bool | None:
        edit_table(root, TABLE, final_loss=pl.col("final_loss") * factor)
        scratch = root.parent / name
        return {row.name: row.agrees for row in remake(items, root, scratch)}[TABLE]

    assert verdict("same", 1 + 1e-9) is False
    rewrite(root / f"{TABLE}.manifest.json", lambda m: m["environment"].update(host="another"))
    assert verdict("other", 1.0) is True
    assert verdict("edited", 1.01) is False


def test_what_other_code_made_cannot_be_compared(root: Path) -> None:
    plan = load_plan({"study": str(root / "config/studies/tiny.yaml")})
    edit_table(root, TABLE, final_loss=pl.col("final_loss") * 2)
    change_code(root / f"{TABLE}.manifest.json", "tables/cells.py")
    rows = remake(below(everything(plan), f"{TABLE}.manifest.json"), root, root.parent / "s")
    verdicts = {row.name: row for row in rows}
    assert verdicts[TABLE].agrees is None
    assert "tables/cells.py" in verdicts[TABLE].text


def test_a_page_agrees_that_sums_up_data_and_is_older_than_a_declaration(project: Path) -> None:
    """Prepared data are no input of a page, and `accept` does not make a page again."""
    items = everything(plan_of())
    page = items["results/tiny/provenance.manifest.json"]
    prepare_data(project, "digits")
    data = Path("results/data/digits/manifest.json")
    cell = next(path for path in page.files if path.startswith("results/cells/"))
    made = read_manifest(Path(cell))
    write_manifest(Path(cell), replace(made, inputs=(source_of(data),)))
    run_rule(page)
    assert "data: made" in Path(page.outputs[0]).read_text()
    later = {"at": "9999-01-01T00:00:00+00:00", "reason": "x", "source_sha256": "0" * 64}
    write_manifest(data, replace(read_manifest(data), accepted=(later,)))
    scratch = project.parent / "scratch"
    # As if its figures had been made again.
    shutil.copytree("results/tiny/figures", scratch / "results/tiny/figures")
    (row,) = remake([page], project, scratch)
    assert row.text == THE_SAME


def test_cells_whose_data_are_gone_are_not_trained(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / "results/data")
    assert replay(root, 1) == 1
    said = capsys.readouterr().out
    assert "not trained" in said
    assert "0 of 1 agree" in said


def test_the_sample_is_that_of_its_seed(root: Path) -> None:
    behind = cells_behind(f"{FIGURE}.manifest.json", root)
    assert len(behind) == 6
    assert sample(behind, 3, 1) == sample(behind, 3, 1)
    assert len({tuple(sample(behind, 3, seed)) for seed in range(20)}) > 3
    assert sample(behind, 50, 0) == behind


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_sample_of_nothing_is_a_mistake(root: Path, count: str) -> None:
    assert main(["replay", str(root / f"{FIGURE}.png"), "--cells", count]) == 2
