"""Digests of what modules say, and what is remembered of them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gammascape.manifests import code


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library of two modules, of which one imports the other, and a file to remember them."""
    package = tmp_path / "gammascape"
    (package / "tables").mkdir(parents=True)
    (package / "tables/first.py").write_text("from gammascape.tables import second\n")
    (package / "tables/second.py").write_text("x = 1\n")
    monkeypatch.setattr(code, "PACKAGE", package)
    monkeypatch.setenv(code.REMEMBERED, str(tmp_path / "modules.json"))
    forget()
    yield package
    forget()


def forget() -> None:
    for function in (code.modules_of, code.closure, code._module, code._place, code._remembered):
        function.cache_clear()


def state() -> tuple[object, object]:
    forget()
    return code.modules_of("tables"), code.closure("gammascape.tables.first")


def test_what_is_remembered_is_what_is_read(library: Path, tmp_path: Path) -> None:
    read = state()
    assert read[1] == ("tables/first.py", "tables/second.py")
    code.remember()
    assert len(json.loads((tmp_path / "modules.json").read_text())) == 2
    assert state() == read


def test_another_text_is_read_anew_and_a_comment_changes_nothing(library: Path) -> None:
    before = state()
    code.remember()
    (library / "tables/second.py").write_text("x = 1  # a remark\n")
    assert state() == before
    (library / "tables/second.py").write_text("x = 2\n")
    assert state() != before


def test_what_a_package_passes_on_counts_where_it_is_defined(library: Path) -> None:
    study, theory = library / "study", library / "theory"
    for folder in (study, theory):
        folder.mkdir()
    (study / "__init__.py").write_text(
        "from gammascape.study.cell import Cell\nfrom gammascape.theory.edges import slope\n"
    )
    (study / "cell.py").write_text("class Cell: ...\n")
    (theory / "edges.py").write_text("def slope(): ...\n")
    (library / "tables/second.py").write_text("from gammascape.study import Cell, slope\n")
    # Modules that only describe studies decide no table.
    assert state()[1] == ("tables/first.py", "tables/second.py", "theory/edges.py")


@pytest.mark.parametrize("name", ["a.html.j2", "a.js"])
def test_templates_count_where_they_are_named(library: Path, name: str) -> None:
    folder = library / "figures"
    folder.mkdir()
    (folder / "__init__.py").write_text("def render(name): ...\n")
    for text in ("a.html.j2", "a.js", "b.html.j2", "other.html.j2"):
        (folder / text).write_text('{% extends "b.html.j2" %}' if text == name else "")
    (library / "tables/second.py").write_text(
        f'from gammascape.figures import render\nrender("{name}")\n'
    )
    expected = {"tables/first.py", "tables/second.py", "figures/__init__.py"}
    expected |= {f"figures/{name}", "figures/b.html.j2"}
    assert set(state()[1]) == expected
    code.remember()
    assert set(state()[1]) == expected


@pytest.mark.parametrize("text", ["", "[1]", "{", "\0"])
def test_a_damaged_memory_is_none(library: Path, tmp_path: Path, text: str) -> None:
    before = state()
    (tmp_path / "modules.json").write_text(text)
    assert state() == before


def test_commands_read_every_module(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state()
    code.remember()
    path = Path(os.environ[code.REMEMBERED])
    path.write_text(path.read_text().replace(code.meaning(library / "tables/second.py"), "0" * 12))
    assert state() != before
    monkeypatch.delenv(code.REMEMBERED)
    assert state() == before
