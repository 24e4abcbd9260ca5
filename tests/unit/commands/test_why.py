"""Where an artifact comes from, in words."""

from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.provenance.project import open_project

from ..project import STUDY

SMALL = "small-digits-mse-B16-T30"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["why", *words]) == 0
    return capsys.readouterr().out


def line_of(text: str) -> int:
    """The number of the first line of the study with this text."""
    return next(n for n, line in enumerate(STUDY.splitlines(), 1) if text in line)


def test_a_cell_is_traced_to_the_lines_of_the_study(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = next(c for c in open_project().cells.values() if (c.gamma, c.eta) == ("1", "-1"))
    answer = said(capsys, cell.path)
    line = line_of("- model: small")
    assert f"config/studies/tiny.yaml, line {line}: grids[0], slice {SMALL}" in answer
    assert f"gamma on line {line_of('gamma: {log10: [0, 1]}')}" in answer
    assert f"models.small on line {line_of('small: {kind')}" in answer
    assert "by the rule train" in answer
    assert "0.25 s of device time, its share of a pack of 4 cells" in answer
    assert f"table results/tiny/tables/cells/{SMALL}" in answer


def test_a_figure_is_traced_through_its_tables_to_its_cells(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stem = f"results/tiny/figures/portrait/{SMALL}"
    answer = said(capsys, f"{stem}.svg")
    assert answer == said(capsys, stem)
    for rule in ("draw_slice", "edges", "cells"):
        assert f"rule {rule}" in answer
    assert "6 cells: rule train" in answer
    assert "1.5 s of device time" in answer
    assert "deep" not in answer
    assert "page results/index" in answer


def test_a_cell_that_is_not_there_yet_is_traced_too(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(iter(open_project().cells))
    for file in Path("results/cells", path).iterdir():
        file.unlink()
    answer = said(capsys, path)
    assert "not trained yet" in answer
    assert f"line {line_of('- model: small')}: grids[0]" in answer
