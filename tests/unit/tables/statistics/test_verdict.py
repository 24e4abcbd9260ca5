"""Verdicts, their number, and power."""

import numpy as np
import pytest
from scipy.special import betaincinv, ndtr

from gammascape.tables.statistics.slopes import Posterior
from gammascape.tables.statistics.verdict import (
    holm,
    judge_above,
    judge_value,
    p_differs,
    power,
    share_interval,
)

NORMAL = Posterior(np.array([1.0]), np.array([0.6]), np.array([0.05]))


def test_agreement_means_that_something_was_excluded() -> None:
    assert judge_value(0.5, [0.4], 0.45, 0.55, 0.03) == "agrees"
    assert judge_value(0.5, [], 0.45, 0.55, 0.03) == "undecided"
    assert judge_value(0.5, [0.4, 1.0], 0.35, 0.55, 0.03) == "undecided"
    assert judge_value(0.5, [0.4], 0.3, 0.42, 0.03) == "differs"


def test_the_margin_is_that_of_the_alternatives_too() -> None:
    # As near to the one as to the other.
    assert judge_value(0.5, [0.4], 0.405, 0.475, 0.03) == "undecided"
    assert judge_value(0.5, [0.4], 0.435, 0.475, 0.03) == "agrees"


def test_a_bound_needs_both_ends() -> None:
    assert judge_above(0.1, 0.3) == "agrees"
    assert judge_above(-0.3, -0.1) == "differs"
    assert judge_above(-0.3, -0.1, bound=-0.5) == "agrees"
    assert judge_above(-0.1, 0.1) == judge_above(None, None) == "undecided"


@pytest.mark.parametrize("predicted", [0.45, 0.5, 0.7, 0.8])
def test_p_values_and_intervals_say_the_same(predicted: float) -> None:
    p = p_differs(NORMAL, predicted, 0.03)
    for confidence in (0.9, 0.95, 0.99):
        verdict = judge_value(predicted, [], *NORMAL.interval(confidence), 0.03)
        assert (p <= 1 - confidence) == (verdict == "differs")
    assert p_differs(NORMAL, 0.6, 0.03) == 1.0


def test_holm() -> None:
    # Holm (1979): 0.01 * 4, 0.02 * 3, then no less than before.
    assert holm([0.02, 0.5, 0.01, 0.025]).tolist() == pytest.approx([0.06, 0.5, 0.04, 0.06])
    rng = np.random.default_rng(0)
    # Among 26 claims that all hold one is called false in 5 % of studies, not in 74 %.
    p = rng.uniform(size=(400, 26))
    wrong = np.mean([holm(study).min() <= 0.05 for study in p])
    assert wrong < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(p.min(1) <= 0.05) > 0.6


def test_power_is_how_often_simulated_studies_agree() -> None:
    # An estimate 2/3 +- 0.05 excludes 1/2 where it lies above 1/2 + 1.96 * 0.05 + the margin.
    expected = ndtr((2 / 3 - 0.5 - 0.03 - 1.959964 * 0.05) / 0.05)
    assert power(NORMAL, 2 / 3, [0.5], 0.03, 0.95) == pytest.approx(expected, abs=0.02)
    rng = np.random.default_rng(0)
    low, high = (end - 0.6 for end in NORMAL.interval(0.95))
    verdicts = [
        judge_value(2 / 3, [0.5, 1.0], at + low, at + high, 0.03)
        for at in rng.normal(2 / 3, 0.05, 2000)
    ]
    agree = np.mean([verdict == "agrees" for verdict in verdicts])
    error = 3 * np.sqrt(agree * (1 - agree) / 2000)
    assert power(NORMAL, 2 / 3, [0.5, 1.0], 0.03, 0.95) == pytest.approx(agree, abs=error)
    assert power(NORMAL, 2 / 3, [0.6, 0.7], 0.03, 0.95) == 0.0
    assert power(NORMAL, 2 / 3, [], 0.03, 0.95) == 0.0


@pytest.mark.parametrize(
    ("share", "correlation", "seeds"), [(0.7, 0.5, 5), (0.5, 0.95, 3), (0.5, 0.95, 4)]
)
def test_shares_of_runs_that_go_together_by_seed(
    share: float, correlation: float, seeds: int
) -> None:
    rng = np.random.default_rng(0)
    tables, held = 200, 0
    ratio = (1 - correlation) / correlation
    for _ in range(tables):
        counts = rng.binomial(4, rng.beta(share * ratio, (1 - share) * ratio, seeds))
        ends = share_interval(counts, np.full(seeds, 4), 0.95)
        assert ends is not None
        held += ends[0] <= share <= ends[1]
    assert held >= tables * 0.95 - 3 * np.sqrt(tables * 0.95 * 0.05)


def test_one_run_of_each_seed_has_the_posterior_of_a_flat_prior() -> None:
    # To the step of the shares.
    expected = pytest.approx(betaincinv(4, 2, [0.025, 0.975]), abs=1 / 400)
    assert share_interval([1, 0, 1, 1], [1] * 4, 0.95) == expected


def test_runs_that_agree_within_seeds_are_hardly_more_than_one_each() -> None:
    one, four = (share_interval([n] * 3, [n] * 3, 0.95) for n in (1, 4))
    assert one is not None
    assert four is not None
    # Of the posterior 4 share^3, and nearly so.
    assert one[0] == pytest.approx(0.025 ** (1 / 4), abs=1 / 400)
    assert four[0] == pytest.approx(one[0], abs=0.02)
    # Nor is it lost with many runs, whose likelihood is small.
    many = share_interval([0, 1500], [3000] * 2, 0.95)
    assert many is not None
    assert 0 < many[0] < many[1] < 1
    assert share_interval([3], [4], 0.95) is None
    none = share_interval([0, 0], [1, 1], 0.95)
    assert none is not None
    assert none[0] == 0 < none[1] < 1
    assert one[1] == 1 > one[0]
