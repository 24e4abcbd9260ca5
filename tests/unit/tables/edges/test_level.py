"""Edges as levels of the probability to train: the same whatever the density of etas."""

import numpy as np
import pytest
from scipy.special import ndtr

from gammascape.tables.edges.level import ZONE, edge_levels
from gammascape.tables.statistics.slopes import fit_mean

UPPER, LOWER, BLUR = 0.3, -1.5, 0.2


def outcomes(x: np.ndarray, rng: np.random.Generator, blur: float = BLUR) -> np.ndarray:
    chance = ndtr((UPPER - x) / blur) * ndtr((x - LOWER) / blur)
    return rng.uniform(size=len(x)) < chance


def test_without_a_mixed_zone_an_edge_lies_in_its_bracket() -> None:
    eta = np.array([0.5, -0.5, -1.0, 0.0, -1.25])
    [edges] = edge_levels(np.zeros(5), eta, [False, True, False, True, False], 0.95)
    assert edges is not None
    upper, lower = edges["upper"], edges["lower"]
    assert (upper.estimate, upper.low, upper.high, upper.zone, upper.mixed) == (
        0.25,
        0.0,
        0.5,
        0.0,
        False,
    )
    assert (lower.estimate, lower.low, lower.high, lower.zone) == (-0.75, -1.0, -0.5, 0.0)


def test_an_edge_outside_of_the_window_is_infinite() -> None:
    [edges] = edge_levels([0, 0, 0], [0.0, 0.5, 1.0], [True, True, True], 0.95)
    assert edges is not None
    assert (edges["upper"].low, edges["upper"].high, edges["upper"].estimate) == (
        1.0,
        np.inf,
        np.inf,
    )
    assert (edges["lower"].low, edges["lower"].high, edges["lower"].estimate) == (
        -np.inf,
        0.0,
        -np.inf,
    )
    assert edge_levels([0, 0], [0.0, 0.5], [False, False], 0.95) == [None]


def grids(
    step: float | None, lines: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lines of etas of one step, or of 1/16 within half a decade around the edge and 1/2 elsewhere."""
    parts = []
    for _ in range(lines):
        coarse = np.arange(-3 + (step or 0.5) * rng.uniform(), 2.5, step or 0.5)
        fine = np.arange(UPPER - 0.5 + rng.uniform() / 16, UPPER + 0.5, 1 / 16)
        near = np.abs(coarse - UPPER) < 0.5
        parts.append(coarse if step else np.concatenate((coarse[~near], fine)))
    return np.concatenate(parts), np.repeat(np.arange(lines), [len(part) for part in parts])


@pytest.mark.parametrize("step", [1 / 2, 1 / 4, 1 / 8, 1 / 16, None])
def test_a_blurred_edge_does_not_move_with_the_density_of_etas(step: float | None) -> None:
    rng = np.random.default_rng(0)
    found, held = [], []
    for _ in range(12 if step == 1 / 16 else 25):
        x, of = grids(step, 8, rng)
        for edges in edge_levels(of, x, outcomes(x, rng), 0.95):
            assert edges is not None
            found.append(edges["upper"].estimate)
            held.append(edges["upper"].low <= UPPER <= edges["upper"].high)
    error = np.std(found) / np.sqrt(len(found))
    # The ends of uninterrupted runs lie 0.09 and 0.14 decades too low at steps of 1/8 and 1/16.
    assert abs(np.mean(found) - UPPER) < 0.015 + 3 * error
    if step == 1 / 16:
        assert np.mean(held) > 0.9


def test_the_width_of_the_mixed_zone_is_found_beside_the_edge() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(-3, 2.5, 1 / 64)
    for blur in (0.1, 0.2):
        [edges] = edge_levels(np.zeros_like(x), x, outcomes(x, rng, blur), 0.95)
        assert edges is not None
        for side, truth in (("upper", UPPER), ("lower", LOWER)):
            # Some 16 cells lie in a zone of 1/4 decade: the edge is known to about blur / sqrt(16).
            assert abs(edges[side].estimate - truth) < 3 * blur / 4  # type: ignore[index]
            assert edges[side].zone == pytest.approx(ZONE * blur, rel=0.6)  # type: ignore[index]


@pytest.mark.parametrize("step", [0.5, 0.25, 0.125, 0.0625])
def test_an_edge_beyond_the_window_has_one_end_though_a_run_inside_failed(step: float) -> None:
    eta = np.arange(0, 2.001, step)
    trained = np.arange(len(eta)) != round(1.25 / step)
    for side, sign in (("upper", 1), ("lower", -1)):
        [edges] = edge_levels(np.zeros(len(eta)), sign * eta, trained, 0.95)
        assert edges is not None
        edge = edges[side]
        assert edge.mixed
        low, high = sorted(sign * end for end in (edge.low, edge.high))
        assert (low <= 2.0, high, sign * edge.estimate) == (True, np.inf, np.inf)


def test_a_run_that_trains_far_outside_is_a_lapse() -> None:
    eta = np.arange(0, 4, 0.25)
    trained = (eta < 1.5) | (eta == eta[-1])
    [edges] = edge_levels(np.zeros(len(eta)), eta, trained, 0.95)
    assert edges is not None
    assert 1.0 < edges["upper"].estimate < 1.75


def test_sharp_lines_lend_their_blur_to_a_rough_one_in_part() -> None:
    eta = np.arange(-2, 2, 0.125)
    rough = ((eta < -0.3) | np.isin(eta, [-0.125, 0.25, 0.625])) & ~np.isin(eta, [-0.5, -0.75])
    lines = np.concatenate([rough, *[eta < 0.05] * 7])
    alone = edge_levels(np.zeros(len(eta)), eta, rough, 0.95)[0]
    together = edge_levels(np.repeat(np.arange(8), len(eta)), np.tile(eta, 8), lines, 0.95)[0]
    assert alone is not None
    assert together is not None
    # With one blur for all it had a sixth of its own zone.
    assert alone["upper"].zone / 2 < together["upper"].zone < alone["upper"].zone


def test_a_failure_within_the_window_does_not_end_it() -> None:
    x = np.arange(-2, 2.01, 0.25)
    good = np.abs(x) <= 1
    good[x == 0.25] = False
    [edges] = edge_levels(np.zeros_like(x), x, good, 0.95)
    assert edges is not None
    assert 0.75 < edges["upper"].estimate < 1.5


def test_the_mean_of_seeds_is_held_as_often_as_said() -> None:
    rng = np.random.default_rng(3)
    tables, held = 60, 0
    x, of = np.tile(np.arange(-1, 2.01, 0.25), 3), np.repeat(np.arange(3), 13)
    for _ in range(tables):
        edges = 0.5 + rng.normal(0, 0.2, 3)
        found = edge_levels(of, x, x < edges[of], 0.95)
        cells = np.array(
            [(edge["upper"].low, edge["upper"].high) for edge in found if edge is not None]
        )
        mean = fit_mean(*cells.T, 0.95)
        assert mean is not None
        assert mean.low is not None
        assert mean.high is not None
        held += mean.low <= 0.5 <= mean.high
    assert held >= tables * 0.95 - 3 * np.sqrt(tables * 0.95 * 0.05)
