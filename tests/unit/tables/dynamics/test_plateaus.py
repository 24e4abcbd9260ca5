"""Plateaus and drops of loss histories whose stairs are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gammascape.tables.dynamics.curves import History
from gammascape.tables.dynamics.plateaus import TOLERANCE, escape_of, find_stairs, first_passage
from gammascape.tables.statistics.fits import Floats

LEVELS = (1.0, 0.9, 0.4, 0.1)
ENDS = (30, 300, 3000)
STEPS = 20_000
PRIOR = 0.9


def stairs(noise: float = 0.0, seed: int = 0) -> tuple[Floats, Floats]:
    """A smoothed history with plateaus at LEVELS until ENDS, with relative noise on all but the first."""
    t = np.arange(1, STEPS + 1.0)
    loss = np.array(LEVELS)[np.searchsorted(ENDS, t)]
    # The first plateau is at f = 0, whose loss is the one that it is divided by.
    scatter = np.where(loss < 1, noise, 0.0) * np.random.default_rng(seed).standard_normal(STEPS)
    return History(t - 1, loss * (1 + scatter), np.ones(STEPS)).smooth()


@pytest.mark.parametrize(("noise", "seed"), [(0.0, 0), (0.05, 1), (0.1, 2), (0.1, 3)])
def test_known_stairs_are_found_through_the_noise_of_batches(noise: float, seed: int) -> None:
    found = find_stairs(*stairs(noise, seed), prior=PRIOR)
    assert len(found.plateaus) == len(LEVELS)
    # Heights within half the band; ends within two bins of a 24th of a decade, and the median's reach of two.
    for plateau, height in zip(found.plateaus, LEVELS, strict=True):
        assert abs(np.log10(plateau.height / height)) <= TOLERANCE / 2
    for plateau, end in zip(found.plateaus, ENDS, strict=False):
        assert abs(np.log10(plateau.end / end)) <= 4 / 24
    assert len(found.drops) == len(ENDS)
    for drop, end, upper, lower in zip(found.drops, ENDS, LEVELS, LEVELS[1:], strict=False):
        assert abs(np.log10(drop.step / end)) <= 4 / 24
        assert drop.size == pytest.approx(np.log10(upper / lower), abs=TOLERANCE)


def test_the_stair_of_the_class_frequencies_is_told_from_those_of_features() -> None:
    found = find_stairs(*stairs(), prior=PRIOR)
    assert [p.class_prior for p in found.plateaus] == [False, True, False, False]
    assert [d.class_prior for d in found.drops] == [True, False, False]
    # It is left when the features are learned, not when the frequencies are.
    assert escape_of(found, PRIOR) == found.plateaus[1].end
    without = find_stairs(*stairs())
    assert not any(p.class_prior for p in without.plateaus)
    assert escape_of(without, None) == without.plateaus[0].end


# Workers flush subnormal numbers to zero, and tests that train do so in this process.
@given(
    slope=st.floats(0.2, 2.0),
    noise=st.floats(0, 0.05, allow_subnormal=False),
    seed=st.integers(0, 99),
)
def test_a_power_law_has_no_plateaus_and_one_drop(slope: float, noise: float, seed: int) -> None:
    t = np.arange(1, 2001.0)
    scatter = 1 + noise * np.random.default_rng(seed).standard_normal(len(t))
    found = find_stairs(*History(t - 1, t**-slope * scatter, np.ones(len(t))).smooth())
    assert found.plateaus == ()
    [drop] = found.drops
    assert drop.size == pytest.approx(slope * np.log10(2000), rel=0.1)


def test_a_flat_history_is_one_plateau_without_drops() -> None:
    found = find_stairs(*History(np.arange(100.0), np.full(100, 0.1), np.full(100, 0.1)).smooth())
    [plateau] = found.plateaus
    assert (plateau.start, plateau.height) == (1.0, pytest.approx(1.0))
    assert found.drops == ()


def test_a_spike_does_not_break_a_plateau() -> None:
    t = np.arange(1, 1001.0)
    loss = np.where(t == 50, 30.0, 1.0)
    assert len(find_stairs(*History(t - 1, loss, np.ones(1000)).smooth()).plateaus) == 1


@given(level=st.floats(0.01, 0.99))
def test_the_first_passage_of_a_power_law_is_exact(level: float) -> None:
    step = np.geomspace(1, 1e4, 97)
    assert first_passage(step, step**-0.5, level) == pytest.approx(level**-2)


def test_a_level_that_is_not_reached_has_no_passage() -> None:
    assert first_passage(np.array([1.0, 10.0]), np.array([1.0, 0.6]), 0.5) is None
