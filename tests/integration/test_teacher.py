"""What theory predicts, found again by training: config/studies/teacher.yaml on a law that is known exactly."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from .projects import ROOT, empty_project, snakemake

pytestmark = pytest.mark.xdist_group("teacher")

Table = Callable[[str], pl.DataFrame]
DEPTHS = (2, 3, 4)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The tables of the study, computed as a user would."""
    project = empty_project(tmp_path_factory.mktemp("teacher"), "")
    shutil.copy2(ROOT / "config/studies/teacher.yaml", project / "config/studies/tiny.yaml")
    tables = project / "results/tiny/tables"
    names = ("scaling", "exponent_models")
    done = snakemake(project, *(f"{tables.relative_to(project)}/{name}.parquet" for name in names))
    assert done.returncode == 0, done.stderr
    return lambda name: pl.read_parquet(tables / f"{name}.parquet")


def only(frame: pl.DataFrame, **values: object) -> dict[str, object]:
    """The one row with these values."""
    chosen = pl.all_horizontal(*(pl.col(name) == value for name, value in values.items()))
    return frame.row(by_predicate=chosen, named=True)


EDGES = [
    ("eta_no_spike", "mse", "lazy"),
    ("eta_max_trained", "mse", "rich"),
    ("eta_min", "mse", "lazy"),
    ("eta_min", "mse", "rich"),
    ("eta_no_spike", "xent", "lazy"),
    ("eta_max_trained", "xent", "rich"),
    ("eta_max_finite", "xent", "lazy"),
    ("eta_min", "xent", "rich"),
]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("edge", "loss", "window"), EDGES)
def test_edges_have_their_predicted_slopes(
    table: Table, edge: str, loss: str, window: str, depth: int
) -> None:
    row = only(table("scaling"), edge=edge, loss=loss, window=window, depth_exponent=depth)
    assert row["slope_low"] <= row["predicted_slope"] <= row["slope_high"]
    # An interval that holds everything would hold the prediction too. Predictions differ by 1/2 and more.
    assert row["slope_high"] - row["slope_low"] < 1.1
