"""All cells as one frame, and the curves of one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import polars as pl
import pytest

import gammascape
from gammascape.runs.outcome import Thresholds
from gammascape.tables.cells import TableError

from .project import ROOT, plan_of, write_results


def test_a_frame_has_one_row_for_each_cell_with_its_parameters(project: Path) -> None:
    frame = gammascape.load("results").collect()
    cells = plan_of().cells
    assert set(frame["cell"]) == set(cells)
    for row in frame.iter_rows(named=True):
        cell = cells[row["cell"]]
        assert (row["gamma_log10"], row["eta_log10"]) == (float(cell.gamma), float(cell.eta))
        assert row["model.depth"] == cell.model.depth_exponent
        assert row["model.padding"] is None
        assert (row["status"] == "diverged") == (row["eta"] > row["gamma"])
        assert (project / row["path"] / "summary.json").is_file()
    assert frame["seconds"].sum() == 0.25 * len(cells)


def test_the_frame_becomes_one_of_pandas_as_its_documentation_says(project: Path) -> None:
    frame = gammascape.load("results")
    call = "pandas.DataFrame(frame.collect().to_dict(as_series=False))"
    assert call in str(gammascape.load.__doc__)
    made = eval(call, {"pandas": pandas, "frame": frame})
    assert made["cell"].tolist() == frame.collect()["cell"].to_list()
    assert [*made.columns] == frame.collect_schema().names()


def test_nothing_is_read_before_the_frame_is_collected(project: Path) -> None:
    lazy = gammascape.load("results").filter(pl.col("status") == "trained").select("cell", "eta")
    damaged = next(project.glob("results/cells/*/*/summary.json"))
    damaged.write_text("{")
    with pytest.raises(TableError, match="damaged"):
        lazy.collect()


def test_a_filter_and_a_choice_of_columns_give_what_they_give_on_the_whole(project: Path) -> None:
    lazy = gammascape.load("results")
    trained = pl.col("status") == "trained"
    whole = lazy.collect().filter(trained).select("cell", "eta")
    assert lazy.filter(trained).select("cell", "eta").collect().equals(whole)
    assert lazy.head(3).collect().equals(lazy.collect().head(3))


def test_other_thresholds_judge_the_same_cells_otherwise(project: Path) -> None:
    strict = gammascape.load("results", Thresholds(trained_below=1e-6)).collect()
    assert "trained" not in set(strict["status"])


def test_a_study_judges_its_own_cells(project: Path) -> None:
    study = Path("config/studies/tiny.yaml")
    fewer = study.read_text().replace("[-1, 0, 1]", "[-1, 0]")
    Path("config/studies/mine.yaml").write_text(fewer + "analysis: {trained_below: 1.0e-6}\n")
    write_results(plan_of("mine"), figures=False)
    mine = gammascape.load(study="mine").collect()
    assert set(mine["cell"]) == set(plan_of("mine").cells)
    table = pl.read_parquet("results/mine/tables/cells.parquet")
    assert dict(mine.select("cell", "status").iter_rows()) == dict(
        table.select("cell", "status").iter_rows()
    )
    assert "trained" not in set(mine["status"])
    assert "trained" in set(gammascape.load().collect()["status"])
    with pytest.raises(FileNotFoundError, match=r"no tables of this study; .* There are mine"):
        gammascape.load(study="other")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"trained_below": 0.3, "stdy": "mine"},
            ["not trained_below, stdy; ", "study='NAME'", "Thresholds(trained_below=0.3)"],
        ),
        ({"thresholds": {"runaway_above": 2}}, ["study='NAME'", "Thresholds(runaway_above=2)"]),
        ({"thresholds": "mine"}, ["not thresholds='mine'; ", "study='NAME'"]),
        ({"confidence": 0.9}, ["confidence under analysis in a study changes its tables"]),
    ],
)
def test_a_wrong_argument_is_answered_with_what_to_write(
    wrong: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(TypeError) as raised:
        gammascape.load(**wrong)
    for words in ["load() takes results, thresholds and study, not ", *said]:
        assert words in str(raised.value)
    assert ("Thresholds(" in str(raised.value)) == ("confidence" not in wrong)


def test_history_has_the_losses_of_every_step_and_the_tests_where_they_were_made(
    project: Path,
) -> None:
    rows = gammascape.load("results").filter(pl.col("gamma_log10") == 1, pl.col("eta") == 1)
    curves = gammascape.history(rows.collect()["path"].item())
    assert curves["step"].to_list() == list(range(31))
    assert curves["tau"].to_list() == pytest.approx([0.1 * step for step in range(31)])
    assert curves["loss"].null_count() == 1
    assert curves.filter(pl.col("test_accuracy").is_not_null())["step"].to_list() == [0, 30]


def test_a_folder_without_cells_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder; results is where"):
        gammascape.load(tmp_path)
    table = tmp_path / "mine/tables/cells.parquet"
    table.parent.mkdir(parents=True)
    table.touch()
    with pytest.raises(FileNotFoundError, match=f"without cells, read {table} with polars"):
        gammascape.load(tmp_path)


def test_the_example_prints_the_best_eta_of_each_gamma(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/load_results.py", "results"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "mlp of depth 2 and width 16 on digits, mse, gamma = 1",
        "mlp of depth 2 and width 16 on digits, mse, gamma = 10",
        "mlp of depth 3 and width 16 on digits, mse, gamma = 1",
    ]


def test_importing_the_package_loads_neither_torch_nor_polars() -> None:
    code = "import sys, gammascape; sys.exit('torch' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
