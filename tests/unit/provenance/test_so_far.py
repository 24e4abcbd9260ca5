"""What is shown of a study while it is trained."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from gammascape.cli import main
from gammascape.execution.so_far import FOLDER
from gammascape.figures.explorer.page import data_of
from gammascape.provenance.so_far import TABLES, write_so_far

from ..project import STUDY, make_project, plan_of, write_results, write_synthetic_cell


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of which three cells are there, all of one slice."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    for path, cell in list(plan_of().cells.items())[:3]:
        write_synthetic_cell(Path("results/cells") / path, cell)
    return folder


def test_a_half_finished_study_is_shown_and_says_so(half: Path) -> None:
    plan = plan_of()
    assert write_so_far(plan, "tiny") == 3
    page = (FOLDER / "tiny/explorer.html").read_text()
    assert "<b>3 of 8 cells.</b>" in page
    assert "Written at " in page
    assert "data-gammascape" not in page
    assert data_of(page)["cells"]["cell"] == [*plan.cells][:3]
    # Nothing is newer.
    assert write_so_far(plan, "tiny") == 0
    for path, cell in plan.cells.items():
        write_synthetic_cell(Path("results/cells") / path, cell)
    assert write_so_far(plan, "tiny") == 8
    # They are the tables of the finished study.
    shown = {name: pl.read_parquet(FOLDER / f"tiny/{name}.parquet") for name in TABLES}
    write_results(plan, figures=False)
    for name, table in shown.items():
        assert table.drop("seconds", strict=False).equals(
            pl.read_parquet(f"results/tiny/tables/{name}.parquet").drop("seconds", strict=False)
        )


def test_no_cell_no_page(half: Path) -> None:
    shutil.rmtree("results/cells")
    assert write_so_far(plan_of(), "tiny") == 0
    assert not FOLDER.exists()


def test_audits_leave_it_aside(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_so_far(plan_of(), "tiny")
    main(["audit", "--all"])
    assert "so-far" not in capsys.readouterr().out


def test_the_process_answers_and_ends_with_its_input(half: Path) -> None:
    other = STUDY.replace("steps: 30", "steps: 40")
    Path("config/studies/other.yaml").write_text(other)
    config = json.dumps({"study": ["config/studies/tiny.yaml", "config/studies/other.yaml"]})
    words = [sys.executable, "-m", "gammascape.provenance.so_far", config]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        assert answer["cells"] == {"tiny": [3, 8]}
        assert answer["seconds"] > answer["again"] > 0
        # A damaged cell is no end of it, and hides no other study.
        next(Path("results/cells").glob("*/*/summary.json")).write_text("{")
        shutil.rmtree(FOLDER)
        path, cell = next(iter(plan_of("other").cells.items()))
        write_synthetic_cell(Path("results/cells") / path, cell)
        print(file=process.stdin, flush=True)
        assert json.loads(process.stdout.readline())["cells"] == {"other": [1, 8]}
        process.stdin.close()
        assert process.wait(60) == 0
