"""Ways to falsify a chain: each is found, and the link that was falsified is the one that is named."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import gammascape
from gammascape.commands.audit import audit, audit_all
from gammascape.data.prepare import mnist
from gammascape.manifests import file_of, read_manifest, write_manifest
from gammascape.provenance.report import ranked
from gammascape.study import load_study
from gammascape.training import engine

from ..falsify import (
    CELLS,
    COMBINED,
    DATA,
    FIGURE,
    TABLE,
    TABLES,
    cells,
    errors,
    lower_loss,
    of_figure,
    rewrite,
    seal_again,
    warnings,
)
from ..tree import combine, inside, make_tables, train, write_study


def test_what_was_not_touched_holds(root: Path) -> None:
    for chain in (of_figure(root), audit_all(root, [])):
        assert errors(chain) == []
        assert warnings(chain) == set()
        kinds = {link.kind for link in chain.links.values()}
        assert kinds == {"figure", "table", "cell", "data", "file"}
        assert sum(link.kind == "cell" for link in chain.links.values()) == 6


def test_a_value_edited_in_a_cell(root: Path) -> None:
    cell = cells(root)[2]
    rewrite(root / cell / "summary.json", lower_loss)
    assert set(errors(of_figure(root))) == {(cell, "altered")}


def test_a_digit_edited_in_place_without_another_size(root: Path) -> None:
    cell = cells(root)[1]
    path = root / cell / "arrays.npz"
    raw = bytearray(path.read_bytes())
    raw[300] ^= 1
    path.write_bytes(raw)
    assert errors(of_figure(root)) == [(cell, "altered")]


def test_two_cells_with_each_others_summary(root: Path) -> None:
    a, b = cells(root)[:2]
    text = (root / a / "summary.json").read_text()
    shutil.copy(root / b / "summary.json", root / a / "summary.json")
    (root / b / "summary.json").write_text(text)
    assert set(errors(of_figure(root))) == {(a, "altered"), (b, "altered")}


def test_two_cells_in_each_others_folder(root: Path) -> None:
    a, b = cells(root)[:2]
    (root / a).rename(root / "aside")
    (root / b).rename(root / a)
    (root / "aside").rename(root / b)
    found = set(errors(of_figure(root)))
    assert {(a, "misplaced"), (b, "misplaced")} <= found
    assert {name for name, _ in found} == {a, b}


def test_a_swapped_cell_whose_manifest_was_given_the_place(root: Path) -> None:
    a, b = cells(root)[:2]
    shutil.rmtree(root / a)
    shutil.copytree(root / b, root / a)
    manifest = read_manifest(root / a / "manifest.json")
    write_manifest(root / a / "manifest.json", replace(manifest, name=a))
    found = [
        f.text for link in of_figure(root).links.values() for f in link.findings if link.name == a
    ]
    assert f"its record belongs to {b}" in found


def test_a_cell_changed_together_with_its_manifest(root: Path) -> None:
    cell = cells(root)[3]
    rewrite(root / cell / "summary.json", lower_loss)
    seal_again(root / cell)
    assert set(errors(of_figure(root))) == {(cell, "altered")}


def test_the_record_changed_in_manifest_and_summary(root: Path) -> None:
    cell = cells(root)[0]
    rewrite(root / cell / "summary.json", lambda summary: summary["cell"].update(eta="2"))
    rewrite(root / cell / "manifest.json", lambda manifest: manifest["record"].update(eta="2"))
    seal_again(root / cell)
    found = set(errors(of_figure(root)))
    assert (cell, "misplaced") in found
    assert {name for name, _ in found} == {cell}


def test_a_cell_that_says_another_device_than_it_said(root: Path) -> None:
    cell = cells(root)[5]
    rewrite(root / cell / "manifest.json", lambda content: content["device"].update(device="cuda"))
    assert errors(of_figure(root)) == [(cell, "altered")]


def test_a_prepared_file_replaced(root: Path) -> None:
    path = root / DATA / "train-0000.images.npy"
    images = np.load(path)
    np.save(path, np.ascontiguousarray(images[::-1]))
    assert errors(of_figure(root)) == [(DATA, "altered")]


def test_data_replaced_together_with_their_manifest(root: Path) -> None:
    images = root / "data/mnist/train-images-idx3-ubyte"
    raw = bytearray(images.read_bytes())
    raw[100] ^= 1
    images.write_bytes(raw)
    folder = root / DATA
    shutil.rmtree(folder)
    with inside(root):
        mnist.prepare(Path("data/mnist"), Path(DATA), verify=False)
    assert errors(of_figure(root)) == [(DATA, "altered")]


def test_a_published_file_altered_and_one_gone(root: Path) -> None:
    altered, gone = "data/mnist/train-labels-idx1-ubyte", "data/mnist/t10k-labels-idx1-ubyte"
    raw = bytearray((root / altered).read_bytes())
    raw[-1] ^= 1
    (root / altered).write_bytes(raw)
    (root / gone).unlink()
    chain = of_figure(root)
    assert errors(chain) == [(altered, "altered")]
    assert warnings(chain) == {(gone, "source gone")}


def test_an_edited_table(root: Path) -> None:
    path = root / f"{TABLE}.parquet"
    pl.read_parquet(path).with_columns(test_accuracy=pl.lit(0.99)).write_parquet(path)
    assert errors(of_figure(root)) == [(TABLE, "altered")]


def test_an_edited_table_with_a_manifest_that_fits(root: Path) -> None:
    path = root / f"{TABLE}.parquet"
    pl.read_parquet(path).with_columns(test_accuracy=pl.lit(0.99)).write_parquet(path)
    manifest = root / f"{TABLE}.manifest.json"
    made = read_manifest(manifest)
    write_manifest(manifest, replace(made, outputs=(file_of(path, path.parent),)))
    assert errors(of_figure(root)) == [(TABLE, "altered")]


def test_an_edited_svg(root: Path) -> None:
    path = root / f"{FIGURE}.svg"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    assert errors(of_figure(root)) == [(FIGURE, "altered")]


def test_an_edited_manifest_of_a_figure(root: Path) -> None:
    path = root / f"{FIGURE}.manifest.json"
    rewrite(path, lambda manifest: manifest["inputs"].clear())
    assert set(errors(of_figure(root))) == {(FIGURE, "altered"), (FIGURE, "unknown origin")}


def test_a_figure_in_the_place_of_another(root: Path) -> None:
    """The mark of what is in the place names a manifest that holds; the place names another."""
    other = root / "results/tiny/figures/exponents"
    for kind in ("json", "html", "svg", "png"):
        shutil.copy(root / f"{FIGURE}.{kind}", f"{other}.{kind}")
    manifest = (root / f"{FIGURE}.manifest.json").read_text()
    other.with_suffix(".manifest.json").write_text(manifest.replace("edges", "exponents"))
    (chain,) = audit([other.with_suffix(".svg")], root)
    assert ("results/tiny/figures/exponents", "altered") in errors(chain)


def test_a_dropped_cell(root: Path) -> None:
    cell = cells(root)[4]
    shutil.rmtree(root / cell)
    assert errors(of_figure(root)) == [(cell, "missing")]


def test_a_cell_dropped_from_the_manifest_of_the_table(root: Path) -> None:
    path = root / f"{TABLE}.manifest.json"
    rewrite(path, lambda manifest: manifest["inputs"].pop(0))
    chain = of_figure(root)
    assert set(errors(chain)) == {(TABLE, "altered")}
    texts = [f.text for link in chain.links.values() for f in link.findings]
    assert any("its manifest does not" in text for text in texts)


def test_a_copied_cell_under_another_name(root: Path) -> None:
    cell = cells(root)[0]
    stray = cell.replace("_s0-", "_s7-")
    shutil.copytree(root / cell, root / stray)
    chain = audit_all(root, [])
    assert {name for name, _ in errors(chain)} == {stray}
    assert (stray, "misplaced") in errors(chain)
    assert errors(of_figure(root)) == []


def test_a_trained_cell_that_no_study_has(root: Path) -> None:
    study = load_study(root / "config/studies/tiny.yaml")
    cell = replace(study.cells[0], eta="0.5")
    train(root, [cell])
    chain = audit_all(root, [])
    assert errors(chain) == []
    assert warnings(chain) == {(f"results/cells/{cell.path}", "not in the study")}


@pytest.mark.parametrize(
    ("place", "link"),
    [
        (f"{CELLS}/notes.txt", f"{CELLS}/notes.txt"),
        ("results/tiny/tables/better.parquet", "results/tiny/tables/better.parquet"),
        (f"{DATA}/extra.npy", DATA),
    ],
)
def test_a_file_that_no_rule_made(root: Path, place: str, link: str) -> None:
    (root / place).write_text("mine")
    assert errors(audit_all(root, [])) == [(link, "unknown origin")]


def test_a_table_made_from_one_that_no_rule_made(root: Path) -> None:
    study = load_study(root / "config/studies/tiny.yaml")
    (root / f"{TABLE}.manifest.json").unlink()
    combine(root, study, "cells")
    (chain,) = audit([root / f"{COMBINED}.parquet"], root)
    assert errors(chain) == [(f"{TABLE}.parquet", "unknown origin")]


def test_a_study_that_lost_cells_since(root: Path) -> None:
    lost = [cell for cell in cells(root) if "_e-1_" in cell]
    write_study(root, etas="[0, 1]")
    chain = of_figure(root)
    assert errors(chain) == []
    assert warnings(chain) == {(cell, "not in the study") for cell in lost}


def test_a_study_that_gained_cells_since(root: Path) -> None:
    write_study(root, etas="[-1, 0, 1, 2]")
    assert warnings(of_figure(root)) == {(TABLE, "study changed")}


def test_a_study_with_another_threshold_since(root: Path) -> None:
    path = root / "config/studies/tiny.yaml"
    path.write_text(path.read_text().replace("0.85", "0.5"))
    chain = of_figure(root)
    assert warnings(chain) == {(table, "study changed") for table in TABLES}
    texts = [f.text for link in chain.links.values() for f in link.findings]
    assert "tiny has another value of thresholds.trained_below" in texts


def test_a_study_without_the_slice(root: Path) -> None:
    write_study(root, steps=6)
    assert warnings(of_figure(root)) == {(table, "not in the study") for table in TABLES} | {
        (f"results/tiny/tables/{table}", "study changed") for table in ("thresholds", "scaling")
    }


def test_code_changed_without_another_version(root: Path, tmp_path: Path) -> None:
    package = Path(gammascape.__file__).parent
    shutil.copytree(package, tmp_path / "src/gammascape")
    sgd = tmp_path / "src/gammascape/training/sgd.py"
    sgd.write_text(sgd.read_text() + "\n_SECRET = 2\n")
    done = subprocess.run(
        [sys.executable, "-m", "gammascape", "audit", f"{FIGURE}.png", "--json"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (chain,) = json.loads(done.stdout)
    found = [f for f in chain["findings"] if f["finding"] == "code changed"]
    assert {f["link"].removesuffix("/manifest.json") for f in found} == set(cells(root))
    assert {f["text"] for f in found} == {"since it was made: training/sgd.py"}


def test_a_cell_from_another_device(root: Path) -> None:
    study = load_study(root / "config/studies/tiny.yaml")
    train(root, study.cells[:1], device_model="An accelerator")
    make_tables(root, study)
    (chain,) = audit([root / f"{COMBINED}.parquet"], root)
    assert errors(chain) == []
    assert warnings(chain) == {(TABLE, "mixed devices")}
    (text,) = [f.text for f in chain.links[f"{TABLE}.manifest.json"].findings if "like" in f.text]
    assert text.startswith("5 of device_model ")
    assert f"1 of device_model An accelerator (like {study.cells[0].path})" in text


@pytest.mark.parametrize("suffixes", [(".parquet", ".manifest.json"), (".parquet",)])
def test_an_older_table_restored(
    root: Path, tmp_path: Path, suffixes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in suffixes:
        shutil.copy(root / f"{TABLE}{suffix}", tmp_path / f"old{suffix}")
    study = load_study(root / "config/studies/tiny.yaml")
    # Trained again, to the same bytes. The table holds the seconds that it took, and rounded they can be
    # the same by chance: a clock that gains a second at every look takes longer.
    ticks = count()
    monkeypatch.setattr(engine, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    train(root, study.cells)
    make_tables(root, study)
    for suffix in suffixes:
        shutil.copy(tmp_path / f"old{suffix}", root / f"{TABLE}{suffix}")
    (chain,) = audit([root / f"{COMBINED}.parquet"], root)
    assert errors(chain) == [(TABLE, "altered")]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "gammascape-manifest-1"}', "null"])
def test_a_manifest_that_is_not_one(root: Path, content: str) -> None:
    cell = cells(root)[0]
    (root / cell / "manifest.json").write_text(content)
    assert errors(of_figure(root)) == [(cell, "altered")]


@pytest.mark.parametrize("part", ["record", "code", "environment", "device", "outputs", "inputs"])
@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [3], [{}]])
def test_a_manifest_with_a_part_that_is_not_one_is_an_error_not_a_crash(
    root: Path, part: str, value: object
) -> None:
    cell = cells(root)[0]
    rewrite(root / cell / "manifest.json", lambda manifest: manifest.update({part: value}))
    found = errors(of_figure(root))
    assert found
    assert {name for name, _ in found} == {cell}


def test_data_prepared_again_to_the_same_content_still_hold(root: Path) -> None:
    seal = read_manifest(root / DATA / "manifest.json").seal
    manifest = root / DATA / "manifest.json"
    later = "2031-01-01T00:00:00+00:00"
    rewrite(manifest, lambda content: content.update(started=later, finished=later))
    assert read_manifest(manifest).seal != seal
    chain = of_figure(root)
    assert errors(chain) == []
    notes = {(link.name, f.kind) for link, f in ranked(chain) if f.severity == "note"}
    assert notes == {(DATA, "remade")}
