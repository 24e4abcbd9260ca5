"""Tables that the tests of figures share."""

import polars as pl
import pytest

from .synthetic import ALL, MLP3, cells_table, scaling_table, thresholds_table

Study = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="session")
def mlp3() -> Study:
    """cells, thresholds and scaling of one slice with two seeds."""
    cells = cells_table(MLP3)
    thresholds = thresholds_table(cells, MLP3)
    return cells, thresholds, scaling_table(thresholds)


@pytest.fixture(scope="session")
def everything() -> Study:
    """cells, thresholds and scaling of six slices."""
    cells = cells_table(*ALL)
    thresholds = thresholds_table(cells, *ALL)
    return cells, thresholds, scaling_table(thresholds)
