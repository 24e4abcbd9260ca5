"""Scores that survive a choice."""

import numpy as np
import polars as pl
import pytest

from gammascape.tables.performance.choice import choose_elsewhere, chosen_interval


def scores(values: np.ndarray, gamma: float = 0.0) -> pl.DataFrame:
    """Rows of values (etas, seeds)."""
    etas, seeds = values.shape
    return pl.DataFrame(
        {
            "gamma_log10": gamma,
            "eta_log10": np.repeat(np.arange(etas) / 10, seeds),
            "seed": np.tile(np.arange(seeds), etas),
            "data_seed": 0,
            "value": pl.Series(values.ravel(), nan_to_null=True),
        }
    )


def chosen(values: np.ndarray) -> pl.DataFrame:
    return choose_elsewhere(scores(values), ["gamma_log10"], ["eta_log10"])


def test_the_other_seeds_choose() -> None:
    values = np.array([[0.9, 0.5, 0.6], [0.1, 0.7, 0.8], [0.2, 0.9, 0.1]])
    found = chosen(values)
    # Means of the others: .55 .75 .5 for the first, .75 .45 .15 for the second, .7 .4 .55 for the third.
    assert found["value"].to_list() == [0.1, 0.5, 0.6]
    assert found["chosen_by"].to_list() == [2, 2, 2]


def test_one_seed_chooses_for_itself_and_is_marked() -> None:
    found = chosen(np.array([[0.4], [0.6]]))
    assert found.select("value", "chosen_by").rows() == [(0.6, 0)]


def test_what_others_did_not_reach_is_chosen_last() -> None:
    nan = np.nan
    found = chosen(-np.array([[3.0, nan, 1.0], [5.0, 5.0, 5.0]]))
    assert found["eta_log10"].to_list() == [0.1, 0.0, 0.1]
    # The seed that missed the target is not left out: it has no value.
    assert found["value"].to_list() == [-5.0, None, -5.0]


def test_the_best_of_equal_etas_is_no_better_than_they_are() -> None:
    rng = np.random.default_rng(0)
    means, held, tables = [], 0, 150
    for _ in range(tables):
        found = chosen(rng.normal(0.9, 0.01, (6, 4)))["value"].to_numpy()
        means.append(found.mean())
        ends = chosen_interval(found, 0.95)
        assert ends is not None
        held += ends[0] <= 0.9 <= ends[1]
    # The best of six lies 1.27 standard deviations above their mean.
    assert abs(np.mean(means) - 0.9) < 3 * 0.005 / np.sqrt(tables)
    assert held >= tables * 0.95 - 3 * np.sqrt(tables * 0.95 * 0.05)


def test_two_seeds_take_the_scatter_of_all_gammas_or_their_own_if_it_is_larger() -> None:
    rng = np.random.default_rng(0)
    widths, held, tables = [], 0, 400
    for _ in range(tables):
        found = list(rng.normal(0.9, 0.01, (7, 2)))
        ends = chosen_interval(found[0], 0.95, found)
        assert ends is not None
        held += ends[0] <= 0.9 <= ends[1]
        widths.append(ends[1] - ends[0])
    # Errors are widened for seeds that choose for one another, and here none does: at least 95 %.
    assert held >= tables * 0.95 - 3 * np.sqrt(tables * 0.95 * 0.05)
    # Student's of two seeds alone has 12.7 standard errors on either side, 0.19 on average here.
    assert np.median(widths) < 0.06
    quiet, wide = [np.array([0.9, 0.9])] * 6, np.array([0.5, 0.7])
    low, high = chosen_interval(wide, 0.95, [wide, *quiet]) or (0, 0)
    # 2.36 (7 degrees of freedom) times the error of 0.1, widened by 1.46.
    assert (low, high) == pytest.approx(
        (0.6 - 2.365 * 0.1 * 1.4602, 0.6 + 2.365 * 0.1 * 1.4602), abs=1e-3
    )
    tied = chosen_interval(quiet[0], 0.95, [wide, *quiet])
    assert tied is not None
    assert tied[0] < 0.9 < tied[1]
    assert chosen_interval(quiet[0], 0.95, quiet) is None


def test_one_seed_has_no_interval() -> None:
    assert chosen_interval(np.array([0.9]), 0.95) is None
