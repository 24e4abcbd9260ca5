"""Slopes and means of quantities in cells: exact cases, and how often their intervals hold the truth."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr, stdtrit

from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.slopes import Fit, Posterior, _propagate, fit_mean, fit_slope

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
GAMMA = np.array([1.2, 1.8, 2.4, 3.0])


def cells(y: Floats, step: float) -> tuple[Floats, Floats]:
    lower = np.floor(y / step) * step
    return lower, lower + step


def fitted(y: Floats, step: float = 0.0, confidence: float = 0.95) -> Fit:
    """The fit of y (gammas, seeds) at GAMMA."""
    lower, upper = cells(y.ravel(), step) if step else (y.ravel(), y.ravel())
    x, of = np.repeat(GAMMA, y.shape[1]), np.tile(np.arange(y.shape[1]), len(GAMMA))
    fit = fit_slope(x, of, lower, upper, confidence)
    assert fit is not None
    return fit


def ends(fit: Fit) -> tuple[float, float]:
    assert fit.low is not None
    assert fit.high is not None
    return fit.low, fit.high


def test_values_of_one_seed_have_the_interval_of_student() -> None:
    y = np.array([0.81, 1.33, 1.55, 2.12])
    fit = fitted(y[:, None])
    away = GAMMA - GAMMA.mean()
    slope = away @ y / (away @ away)
    rest = y - y.mean() - slope * away
    half = stdtrit(2, 0.975) * np.sqrt(rest @ rest / 2 / (away @ away))
    assert fit.value == pytest.approx(slope, abs=1e-5)  # the flat prior is wide, not flat
    assert fit.intercept == pytest.approx(y.mean() - slope * GAMMA.mean(), abs=1e-5)
    # Twelve scatters stand for all that Student's distribution integrates over.
    assert np.subtract(*ends(fit)[::-1]) == pytest.approx(2 * half, rel=0.15)


def test_a_mean_of_values_has_the_interval_of_student() -> None:
    y = np.array([0.2, 0.5, 0.35, 0.3, 0.75])
    fit = fit_mean(y, y, 0.95)
    assert fit is not None
    half = stdtrit(4, 0.975) * y.std(ddof=1) / np.sqrt(5)
    assert fit.value == pytest.approx(y.mean(), abs=1e-5)
    assert np.subtract(*ends(fit)[::-1]) == pytest.approx(2 * half, rel=0.15)
    one = fit_mean(y[:1], y[:1], 0.95)
    assert one is not None
    assert one.low is None
    assert fit_mean(np.array([-np.inf]), np.array([0.0]), 0.95) is None


def test_levels_of_seeds_are_taken_out() -> None:
    rng = np.random.default_rng(0)
    y = 0.67 * GAMMA[:, None] + rng.normal(0, 0.03, (4, 3))
    level, apart = ends(fitted(y)), ends(fitted(y + np.array([0.0, 0.7, -0.4])))
    assert apart == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("step", [0.5, 0.125])
def test_expectation_propagation_has_the_moments_of_the_integral(step: float) -> None:
    y = 2 / 3 * GAMMA + 0.31
    lower, upper = cells(y - y.mean(), step)
    upper[-1] = np.inf
    design = np.column_stack((GAMMA - GAMMA.mean(), np.ones(4)))
    noise = np.array([0.03, 0.1, 0.3])
    few = _propagate(design, np.full((3, 2), 30.0), noise, lower, upper, 3)
    evidence, means, covariances, _, _ = _propagate(
        design, np.full((3, 2), 30.0), noise, lower, upper, 57, (few.precision, few.pull)
    )
    slope, level = (grid.ravel() for grid in np.meshgrid(*[np.linspace(-2, 4, 700)] * 2))
    line = slope[:, None] * design[:, 0] + level[:, None]
    exact = []
    for k, s in enumerate(noise):
        mass = (ndtr((upper - line) / s) - ndtr((lower - line) / s)).prod(1)
        mean = mass @ slope / mass.sum()
        error = np.sqrt(mass @ (slope - mean) ** 2 / mass.sum())
        exact.append(np.log(mass.sum()))
        # Boxes with corners are no normal distribution: a few percent of the error are left.
        assert means[k, 0] == pytest.approx(mean, abs=0.1 * error)
        assert np.sqrt(covariances[k, 0, 0]) == pytest.approx(error, rel=0.1)
    assert np.diff(evidence) == pytest.approx(np.diff(exact), abs=0.1)


def test_two_gammas_have_a_slope_and_no_interval() -> None:
    fit = fit_slope([1.0, 1.0, 2.0], [0, 1, 0], [0.5, 0.5, 1.0], [0.75, 0.75, 1.25], 0.95)
    assert fit is not None
    assert fit.value == pytest.approx(0.5)
    assert (fit.low, fit.high, fit.posterior, fit.gammas, fit.seeds) == (None, None, None, 2, 2)
    assert fit_slope([1.0, 1.0], [0, 1], [0.5, 0.5], [0.75, 0.75], 0.95) is None


def test_cells_are_used_as_they_are_wide() -> None:
    y = (2 / 3 * GAMMA + 0.2)[:, None]
    widths = [np.subtract(*ends(fitted(y, step))[::-1]) for step in (0.5, 0.25, 0.125)]
    assert widths[0] > widths[1] > widths[2]
    # Any slope that leaves every edge in its cell is as likely as the true one, whatever the scatter.
    low, high = ends(fitted(y, 0.5))
    allowed = [b for b in np.linspace(0.2, 1.2, 101) if _fits(b, *cells(y.ravel(), 0.5))]
    assert low < min(allowed) + 0.05
    assert high > max(allowed) - 0.05


def _fits(slope: float, lower: Floats, upper: Floats) -> bool:
    """Whether a line of this slope goes through all cells."""
    return bool((upper - slope * GAMMA).min() >= (lower - slope * GAMMA).max())


@pytest.mark.parametrize("seeds", [5, 10])
def test_many_seeds_in_one_cell_tell_no_place_in_it(seeds: int) -> None:
    fit = fit_mean([0.0] * seeds, [0.5] * seeds, 0.95)
    assert fit is not None
    # The central 95 % of the cell; 1e-6 for the root of the quantile.
    assert (fit.low, fit.high) == pytest.approx((0.0125, 0.4875), abs=1e-6)
    x = np.repeat([1.0, 2.0, 3.0], seeds)
    slope = fit_slope(x, np.tile(np.arange(seeds), 3), x - 1, x - 0.5, 0.95)
    assert slope is not None
    # Lines through all cells have slopes from 0.75 to 1.25.
    assert slope.low is not None
    assert slope.high is not None
    assert slope.low <= 0.75 + 0.0125 + 1e-6
    assert slope.high >= 1.25 - 0.0125 - 1e-6
    assert slope.value == pytest.approx(1.0, abs=1e-3)


def test_an_edge_outside_of_the_window_counts_for_what_it_says() -> None:
    rng = np.random.default_rng(1)
    x, of = np.repeat(np.arange(1, 3.51, 0.5), 3), np.tile(np.arange(3), 6)
    y = 0.82 * x + rng.normal(0, 0.1, len(x))
    lower, upper = cells(y, 0.125)
    outside = y > 2.2
    censored = fit_slope(
        x, of, np.where(outside, 2.2, lower), np.where(outside, np.inf, upper), 0.95
    )
    dropped = fit_slope(x[~outside], of[~outside], lower[~outside], upper[~outside], 0.95)
    assert censored is not None
    assert dropped is not None
    assert censored.censored == outside.sum() > 3
    # Edges above the window are left out where they are high: the rest lies flatter.
    assert dropped.value < censored.value
    assert censored.low is not None
    assert censored.low < 0.82


def test_a_seed_whose_edges_lie_outside_makes_no_other_less_sure() -> None:
    gamma = np.arange(4.0)
    lower, upper = cells(0.37 + gamma, 0.25)
    alone = fit_slope(gamma, np.zeros(4), lower, upper, 0.95)
    assert alone is not None
    outside = np.full(4, -np.inf)
    both = fit_slope(
        np.tile(gamma, 2),
        np.repeat([0, 1], 4),
        np.concatenate((lower, outside)),
        np.concatenate((upper, upper + 1)),
        0.95,
    )
    assert both is not None
    assert ends(both) == ends(alone)
    assert (both.seeds, both.censored) == (1, 4)


def test_a_known_shape_is_taken_off() -> None:
    curve = 0.3 * np.exp(-GAMMA)
    y = 0.5 * GAMMA + curve + np.array([0.01, -0.02, 0.015, -0.005])
    of = np.zeros(4)
    with_shape = fit_slope(GAMMA, of, y, y, 0.95, curve)
    straight = fit_slope(GAMMA, of, y - curve, y - curve, 0.95)
    assert with_shape is not None
    assert straight is not None
    assert (with_shape.value, *ends(with_shape)) == (straight.value, *ends(straight))


def test_the_density_of_a_slope_is_the_ratio_of_likelihoods() -> None:
    mixture = Posterior(np.array([1.0]), np.array([0.6]), np.array([0.05]))
    law, other = mixture.density([2 / 3, 1 / 2])
    ratio = np.exp((-((2 / 3 - 0.6) ** 2) + (1 / 2 - 0.6) ** 2) / 2 / 0.05**2)
    assert law / other == pytest.approx(ratio)
    assert mixture.interval(0.95) == pytest.approx((0.6 - 0.098, 0.6 + 0.098), abs=1e-4)


def test_the_line_is_known_best_where_its_points_are() -> None:
    rng = np.random.default_rng(0)
    fit = fitted(2 / 3 * GAMMA[:, None] + 0.3 + rng.normal(0, 0.05, (4, 3)))
    assert fit.line is not None
    errors = [np.subtract(*fit.line.height(x).interval(0.95)[::-1]) for x in (0.0, 2.1, 4.0)]
    assert errors[1] < min(errors[0], errors[2])
    assert fit.line.height(0.0).mean() == pytest.approx(fit.intercept)
    low, high = fit.line.height(2.1).interval(0.95)
    assert low < 2 / 3 * 2.1 + 0.3 < high


@pytest.mark.parametrize(("noise", "seeds"), [(0.05, 1), (0.15, 1), (0.1, 3)])
def test_intervals_hold_the_truth_as_often_as_they_say(noise: float, seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    tables, held = 200, 0
    for _ in range(tables):
        slope = rng.uniform(0.4, 2)
        y = slope * GAMMA[:, None] + rng.uniform() + rng.normal(0, noise, (4, seeds))
        # Cells take long with several seeds: values are known exactly there.
        low, high = ends(fitted(y, 0.25 if seeds == 1 else 0.0))
        held += low <= slope <= high
    # Three standard deviations of the binomial below 95 %.
    assert held >= tables * 0.95 - 3 * np.sqrt(tables * 0.95 * 0.05)


def test_seeds_narrow_intervals_to_what_decides_between_depths() -> None:
    rng = np.random.default_rng(2)
    widths = [
        np.subtract(
            *ends(
                fitted(
                    2 / 3 * GAMMA[:, None]
                    + rng.uniform()
                    + rng.normal(0, 0.25, (1, 3))
                    + rng.normal(0, 0.05, (4, 3)),
                    0.125,
                )
            )[::-1]
        )
        for _ in range(20)
    ]
    assert np.mean(widths) < 0.3


def test_the_simulation_runs_through(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    coverage = importlib.import_module("coverage")
    monkeypatch.setattr(
        coverage, "slope_rows", lambda: iter([coverage.slope_row("no scatter", 3, 1, 0.5)])
    )
    monkeypatch.setattr(coverage, "GRIDS", ("1/2", "fine below"))
    assert coverage.main(["--tables", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("| gain |", "| gain above one |")) for line in printed) == 9
    assert any(line.startswith("| depth-small |") for line in printed)
    assert any(line.startswith("| Holm |") for line in printed)
    # The exact toy never differs from its laws, at any depth, density and window.
    toy = [
        line for line in printed if line.startswith(("| 2 |", "| 3 |", "| 4 |", "| 5 |", "| 6 |"))
    ]
    assert len(toy) == 10
    assert all(line.endswith("| 0 % | 0 % |") for line in toy)
    assert "nan" not in "".join(printed)
