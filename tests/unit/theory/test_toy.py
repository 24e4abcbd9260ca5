"""The toy models against the prefactors, exponents and simulated numbers of docs/explanation/theory.md."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from gammascape.theory import toy as theory
from gammascape.theory.toy import Loss

from .. import toys
from ..toys import Start, fly

LAZY = 10.0 ** np.array([-6.0, -5.0])
RICH = 10.0 ** np.array([9.0, 10.0])
DEPTHS = (2, 3, 4, 5)
BOTH: tuple[Loss, Loss] = ("mse", "xent")
STEPS = 400


def slope(gamma: np.ndarray, values: np.ndarray) -> float:
    return float(np.diff(np.log10(values))[-1] / np.diff(np.log10(gamma))[-1])


def test_theory_needs_numpy_alone() -> None:
    allowed = {"numpy", *sys.stdlib_module_names}
    for node in ast.walk(ast.parse(Path(theory.__file__).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            assert name.split(".")[0] in allowed or name == "gammascape.theory.edges", name


# The minimum and its curvature.


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("depth", DEPTHS)
def test_sharpness_is_the_curvature_of_the_loss(depth: int, loss: Loss) -> None:
    gamma = 10.0 ** np.arange(-3, 7)

    def curvature(w: np.ndarray) -> np.ndarray:
        # Central differences; h = 1e-3 of the scale on which the output changes by one. The loss there is
        # about 1e-6, so its rounding of 1e-16 / h^2 leaves ten digits, and h^2 terms leave about five.
        h = 1e-3 * gamma / (depth * w ** (depth - 1))
        values = [
            theory.loss_of(theory.output(w - 1 + k * h, gamma, depth), loss) for k in (-1, 0, 1)
        ]
        return np.asarray((values[0] - 2 * values[1] + values[2]) / h**2)

    w = theory.minimum(gamma, depth)
    np.testing.assert_allclose(theory.output(w - 1, gamma, depth), 1, rtol=1e-9)
    np.testing.assert_allclose(curvature(w), theory.sharpness(gamma, depth, loss), rtol=1e-4)
    # At the start one scale does not fit: for gamma >> 1 the curvature bends within it.
    small = gamma <= 10
    np.testing.assert_allclose(
        curvature(np.ones_like(gamma))[small],
        theory.initial_sharpness(gamma, depth, loss)[small],
        rtol=1e-3,
    )


@pytest.mark.parametrize("depth", DEPTHS)
def test_sharpness_has_the_prefactors_of_both_limits(depth: int) -> None:
    lazy, rich = 1e-6, 1e12
    # Corrections are of relative order gamma and 1/gamma.
    assert theory.sharpness(lazy, depth, "mse") == pytest.approx(depth**2 * lazy**-2, rel=1e-5)
    assert theory.sharpness(rich, depth, "mse") == pytest.approx(
        depth**2 * rich ** (-2 / depth), rel=1e-9
    )
    assert theory.eta_critical(lazy, depth, "mse") == pytest.approx(
        2 / depth**2 * lazy**2, rel=1e-5
    )
    assert theory.eta_critical(rich, depth, "mse") == pytest.approx(
        2 / depth**2 * rich ** (2 / depth), rel=1e-9
    )


def test_cross_entropy_turns_unstable_at_an_eta_larger_by_one_over_p0_p1() -> None:
    gamma = 10.0 ** np.arange(-4, 5)
    p0 = 1 / (1 + np.e)
    ratio = theory.eta_critical(gamma, 3, "xent") / theory.eta_critical(gamma, 3, "mse")
    np.testing.assert_allclose(ratio, 1 / (p0 * (1 - p0)), rtol=1e-12)


def test_the_cross_entropy_toy_has_its_minimum_zero_at_one() -> None:
    f = np.linspace(-20, 20, 401)
    assert theory.loss_of(1.0, "xent") == pytest.approx(0, abs=1e-15)
    assert f[np.argmin(theory.loss_of(f, "xent"))] == pytest.approx(1, abs=1e-9)


def test_a_network_begins_as_sharp_as_gamma_to_minus_two_and_minus_one() -> None:
    for depth in DEPTHS:
        start = np.abs(theory.initial_sharpness(np.stack([LAZY, RICH]), depth, "mse"))
        assert slope(LAZY, start[0]) == pytest.approx(-2, abs=1e-4)
        assert slope(RICH, start[1]) == pytest.approx(-1, abs=1e-4)
        grown = slope(RICH, toys.sharpening(RICH, depth, "mse"))
        assert grown == pytest.approx(1 - 2 / depth, abs=1e-4)


# Gradient descent against eta_critical.


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_largest_eta_that_converges_is_two_over_the_sharpness(depth: int, loss: Loss) -> None:
    gamma = 10.0 ** np.arange(-4, 4)
    critical = np.log10(theory.eta_critical(gamma, depth, loss))
    found = toys.edge_log10(
        "eta_max_trained", gamma, depth, loss, 2 * STEPS, critical - 0.2, level=1e-3, reach=0.3
    )
    # Within d ln(10) of the edge the error shrinks by 1 - 2.3 d a step: after 800 steps 0.01 decades are
    # known. Above it, the two-cycle that replaces the minimum has amplitude ~ sqrt(d), below the level of
    # 1e-3 for d of the same size.
    np.testing.assert_allclose(found, critical, atol=0.01)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_training_in_a_cycle_is_possible_up_to_twice_eta_critical(depth: int) -> None:
    # A loss under one half does not need a minimum that is stable: 1.6 was simulated at L = 3, gamma = 1000.
    gamma = np.array([1e3])
    critical = np.log10(theory.eta_critical(gamma, depth, "mse"))
    found = toys.edge_log10(
        "eta_max_trained", gamma, depth, "mse", STEPS, critical - 0.2, reach=1.0
    )
    assert 1.4 < 10 ** (found - critical)[0] < 2.1


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_cross_entropy_stays_finite_up_to_eta_of_order_gamma_in_the_lazy_regime(depth: int) -> None:
    gamma = 10.0 ** np.array([-5.0, -3.0, -1.0])
    critical = np.log10(theory.eta_critical(gamma, depth, "xent"))
    edge = toys.edge_log10("eta_max_finite", gamma, depth, "xent", STEPS, critical, reach=8.0)
    # Above eta_critical the outputs are chaotic, so an edge is blurred by about 0.2 decades: 0.1 in a slope
    # over four decades. The squared loss would give 2.
    assert np.polyfit(np.log10(gamma), edge, 1)[0] == pytest.approx(1, abs=0.1)
    # Beyond the apex, 1e5 for L = 4 and this budget, a run would stay finite on its plateau.
    rich = 10.0 ** np.array([1.0, 2.5, 4.0])
    critical = np.log10(theory.eta_critical(rich, depth, "xent"))
    edge = toys.edge_log10("eta_max_finite", rich, depth, "xent", STEPS, critical - 0.2)
    assert np.polyfit(np.log10(rich), edge, 1)[0] == pytest.approx(2 / depth, abs=0.1)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_squared_loss_has_a_fixed_ratio_of_divergence_to_instability(depth: int) -> None:
    gamma = 10.0 ** np.array([-5.0, -3.0, 3.0, 5.0])
    critical = np.log10(theory.eta_critical(gamma, depth, "mse"))
    ratio = 10 ** (
        toys.edge_log10("eta_max_finite", gamma, depth, "mse", STEPS, critical - 0.2) - critical
    )
    # For L = 2 it is 2 at every gamma; the chaos above the edge blurs it for greater depths.
    assert ratio.min() > 1.9
    assert ratio.max() < (2.05 if depth == 2 else 4.5)


# The lower edge, the plateau and the window between the edges.


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("depth", DEPTHS)
def test_eta_min_of_the_flow_is_that_of_gradient_descent(depth: int, loss: Loss) -> None:
    gamma = 10.0 ** np.arange(-4, 4)
    predicted = np.log10(theory.eta_min(gamma, depth, loss, 600))
    found = toys.edge_log10("eta_min", gamma, depth, loss, 600, predicted + 0.1, reach=0.2)
    # Steps of finite size differ from the flow by about 1/T x the decades of growth: 0.002 decades here.
    np.testing.assert_allclose(found, predicted, atol=0.01)


@pytest.mark.parametrize("depth", DEPTHS)
def test_eta_min_has_the_prefactors_of_both_limits(depth: int) -> None:
    steps, level = 1000, 0.5
    lazy = 1e-6
    # Exponential decay of f - 1 at rate eta L^2 / gamma^2; the logarithm is of the level reached.
    expected = lazy**2 / (depth**2 * steps) * np.log(1 / np.sqrt(level))
    assert theory.eta_min(lazy, depth, "mse", steps, level) == pytest.approx(expected, rel=1e-5)
    rich = 1e12
    if depth == 2:
        # The level adds a constant to the logarithm, a few percent of ln(1e12) = 27.6.
        expected, near = rich * np.log(rich) / (4 * steps), 0.05
    else:
        # What is missing of the drop is gamma^-((L - 2) / L): 1e-4 for L = 3, and less for greater depths.
        expected, near = rich / (depth * (depth - 2) * steps), 1e-3
    assert theory.eta_min(rich, depth, "mse", steps, level) == pytest.approx(expected, rel=near)


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("depth", [3, 4, 5])
def test_loss_falls_at_one_tau_whatever_gamma_and_level(depth: int, loss: Loss) -> None:
    gamma = 10.0 ** np.arange(6, 12)[:, None]
    tau = theory.collapse_tau(gamma, depth, loss, np.array([0.9, 0.5, 0.1]))
    # Corrections are of order gamma^-((L - 2) / L) <= 1e-2.
    np.testing.assert_allclose(tau, toys.escape_tau(1.0, depth, loss), rtol=0.05)


def test_at_depth_two_the_fall_moves_by_a_constant_per_decade() -> None:
    gamma = 10.0 ** np.arange(4, 10)
    moves = np.diff(theory.collapse_tau(gamma, 2, "mse"))
    np.testing.assert_allclose(moves, np.log(10) / 4, rtol=1e-3)
    np.testing.assert_allclose(np.diff(toys.escape_tau(gamma, 2, "mse")), np.log(10) / 4)


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_the_drop_is_narrower_in_tau_as_gamma_grows(depth: int) -> None:
    width = theory.collapse_tau(RICH, depth, "mse", 0.1) - theory.collapse_tau(
        RICH, depth, "mse", 0.9
    )
    assert slope(RICH, width) == pytest.approx(-(depth - 2) / depth, abs=0.01)


def test_tau_follows_gradient_descent_at_small_eta() -> None:
    gamma, depth, eta = 30.0, 3, 1e-3
    f = np.array([float(f) for f in theory.outputs(gamma, eta, depth, "mse", 13_000)])
    for level in (0.9, 0.5, 0.1):
        step = int(np.argmax(f >= theory.output_at(level, "mse")))
        # One step is 3e-5 of tau; Euler's error is of the relative size of the steps' growth, 1e-3.
        assert eta * step / gamma == pytest.approx(
            float(theory.collapse_tau(gamma, depth, "mse", level)), rel=3e-3
        )


@pytest.mark.parametrize("depth", DEPTHS)
def test_steps_to_escape_grow_with_gamma_at_a_fixed_share_of_the_edge(depth: int) -> None:
    gamma = 10.0 ** np.array([11.0, 12.0])
    steps = toys.escape_steps(gamma, depth, "mse", 0.5)
    if depth > 2:
        assert slope(gamma, steps) == pytest.approx(1 - 2 / depth, abs=0.01)
    else:
        # tau gamma / eta at eta = 0.5 gamma / 2: four times the tau's growth by ln(10) / 4.
        assert steps[1] - steps[0] == pytest.approx(np.log(10), rel=1e-3)
    count = toys.escape_steps(100.0, depth, "mse", 0.1)
    eta = 0.1 * theory.eta_critical(100.0, depth, "mse")
    losses = [
        float(theory.loss_of(f, "mse")) for f in theory.outputs(100.0, eta, depth, "mse", 500)
    ]
    # At a tenth of the edge gradient descent lags the flow by some percent.
    assert np.argmax(np.array(losses) <= 0.25) == pytest.approx(float(count), rel=0.1, abs=1.5)


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_the_window_narrows_with_gamma_and_widens_with_the_budget(depth: int) -> None:
    gamma, steps = 1e12, 1000
    expected = 2 * (depth - 2) / depth * steps * gamma ** (-(depth - 2) / depth)
    assert toys.window(gamma, depth, "mse", steps) == pytest.approx(expected, rel=1e-3)
    twice = toys.window(gamma, depth, "mse", 2 * steps)
    assert twice == pytest.approx(2 * float(toys.window(gamma, depth, "mse", steps)), rel=1e-12)


@pytest.mark.parametrize(("depth", "power"), [(3, 3), (4, 2), (5, 5 / 3)])
def test_the_window_closes_at_a_power_of_the_budget(depth: int, power: float) -> None:
    steps = np.array([1e3, 1e4])
    apex = theory.gamma_max_log10(depth, steps)
    np.testing.assert_allclose(apex, power * np.log10(2 * (depth - 2) * steps / depth), rtol=1e-12)
    assert apex[1] - apex[0] == pytest.approx(power)
    # There the edges meet; the plateau has lost gamma^-((L - 2)/L) ~ 1/T of its length.
    np.testing.assert_allclose(toys.window(10**apex, depth, "mse", steps), 1, rtol=0.01)


def test_at_depth_two_the_window_closes_exponentially_late() -> None:
    assert theory.gamma_max_log10(2, 5) == pytest.approx(np.log10(np.exp(10)))
    # ln(gamma) gains the constant of the level: 10 - 0.9, as a share of 10.
    apex = 10 ** float(theory.gamma_max_log10(2, 150))
    assert toys.window(apex, 2, "mse", 150) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("depth", [3, 4])
def test_nothing_trains_beyond_the_apex_and_something_does_before(depth: int) -> None:
    steps = 100
    apex = float(theory.gamma_max_log10(depth, steps))
    # The apex is known up to a constant of the window's width, of order one: its power L / (L - 2) is
    # the same constant in decades of gamma. Two decades are beyond it.
    for gamma, trains in ((10 ** (apex - 2), True), (10 ** (apex + 2), False)):
        critical = np.log10(theory.eta_critical(gamma, depth, "mse"))
        etas = 10 ** np.linspace(critical - 4, critical + 4, 400)
        # The mean of the last steps: where nothing is stable a run can still pass the minimum once.
        run = theory.descend(gamma, etas, depth, "mse", steps, window=10)
        with np.errstate(invalid="ignore"):
            assert (run.finite & (run.final_loss <= 0.25)).any() == trains


# The catapult.

SMALL = 10.0 ** np.array([-4.0, -3.0, -2.0, -1.0])


def test_two_parameters_stay_finite_up_to_four_over_the_sharpness() -> None:
    start = Start(1.0, 0.0)

    def finite(log10: np.ndarray) -> np.ndarray:
        return fly(SMALL, 10.0**log10 / toys.catapult_sharpness(SMALL, start), start, 400).finite

    found = 10 ** toys.bisect(finite, np.full(4, np.log10(2.0)), np.full(4, np.log10(8.0)))
    # Simulated elsewhere: 3.85 to 4.0 for these gammas; 400 steps let a run 0.1 % above 4 stay finite.
    assert toys.divergence_edge(start) == 4
    assert found.min() > 3.8
    assert found.max() < 4.01


def test_a_catapult_needs_unequal_weights() -> None:
    # Where both predictions hold, gamma << 1.
    gamma = SMALL[:3]
    for start, edge in (
        (Start(1, 1), 2),
        (Start(1, 0.5), 2.5),
        (Start(1, 0.3), 1.09 / 0.3),
        (Start(1, 0), 4),
    ):
        assert toys.settling_edge(start) == pytest.approx(edge)
        for share, settles in ((0.93, True), (1.07, False)):
            eta = share * edge / toys.catapult_sharpness(gamma, start)
            flight = fly(gamma, eta, start, 3000)
            with np.errstate(invalid="ignore"):
                assert (flight.finite & (flight.last_loss < 1e-6)).tolist() == [settles] * 3


def test_a_catapult_ends_flatter_than_two_over_eta_after_beginning_sharper() -> None:
    start = Start(1.0, 0.0)
    eta = 3 / toys.catapult_sharpness(SMALL, start)
    flight = fly(SMALL, eta, start, 400)
    assert (flight.last_loss < 1e-12).all()
    assert (eta * toys.catapult_sharpness(SMALL, start) > 2).all()
    assert (eta * flight.sharpness < 2).all()
    assert (flight.peak_loss[:3] > 100).all()


def test_the_peak_of_a_catapult_is_as_high_as_gamma_to_minus_two() -> None:
    start = Start(1.0, 0.9)
    flight = fly(SMALL, 3.5 / toys.catapult_sharpness(SMALL, start), start, 300)
    # At the peak u v passes zero: f = -u0 v0 / gamma, give or take one step of the oscillation.
    np.testing.assert_allclose(flight.peak_loss, 0.5 * 0.9**2 / SMALL**2, rtol=0.3)
    # Simulated elsewhere, at one eta and another start: 4e7, 6e5, 4e3, 41.
    np.testing.assert_allclose(np.log10(flight.peak_loss), np.log10([4e7, 6e5, 4e3, 41]), atol=0.2)


def test_the_peak_of_a_catapult_comes_as_late_as_log_of_one_over_gamma() -> None:
    start = Start(1.0, 0.0)
    gamma = 10.0 ** np.arange(-7.0, -1.0)
    steps = fly(gamma, 3 / toys.catapult_sharpness(gamma, start), start, 200).peak_step
    # The residual doubles in each step (1 - 3 = -2) until it reaches 1/gamma: log2(10) = 3.3 a decade.
    assert np.polyfit(-np.log10(gamma), steps, 1)[0] == pytest.approx(np.log2(10), abs=0.3)


# Sign-SGD.


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_both_edges_of_sign_sgd_have_the_exponents_one_and_one_over_l(depth: int) -> None:
    lower = toys.sign_eta_min(np.stack([LAZY, RICH]), depth, "mse", 200)
    upper = toys.sign_eta_max(np.stack([LAZY, RICH]), depth)
    for edge in (lower, upper):
        # Corrections: gamma when lazy, gamma^(-1/L) >= 5e-3 when rich.
        assert slope(LAZY, edge[0]) == pytest.approx(1, abs=1e-4)
        assert slope(RICH, edge[1]) == pytest.approx(1 / depth, abs=2e-3)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_edges_of_sign_sgd_are_those_of_its_dynamics(depth: int) -> None:
    gamma = 10.0 ** np.arange(-4, 9)
    safe = np.log10(toys.sign_eta_max(gamma, depth))
    lowest = toys.edge_log10("eta_min", gamma, depth, "mse", 200, safe - 0.3, sign=True)
    predicted = np.log10(toys.sign_eta_min(gamma, depth, "mse", 200))
    np.testing.assert_allclose(lowest, predicted, atol=2e-4)  # bisection gives 1e-4
    found = toys.edge_log10("eta_max_trained", gamma, depth, "mse", 200, safe - 0.3, sign=True)
    # `safe` holds wherever the jumps fall; a lucky place allows less than a factor of five more.
    assert (found >= safe - 1e-3).all()
    assert (found < safe + 0.7).all()
    # So the window stays open: it does not depend on gamma at either end.
    ratio = safe - predicted
    assert ratio[-1] == pytest.approx(ratio[-2], abs=0.01)


# Numbers.


def test_small_gamma_loses_no_digits() -> None:
    # f after one step is eta L^2 / gamma^2 to first order; w^L - 1 in floats would be 0 here.
    gamma = 1e-17
    _, f = theory.outputs(gamma, 0.01 * gamma**2, 3, "mse", 1)
    assert f == pytest.approx(0.09, rel=1e-12)


def test_bisection_says_when_the_edge_is_not_between() -> None:
    def below(x: np.ndarray) -> np.ndarray:
        return np.asarray(x < np.array([0.5, 3.0, -3.0]))

    found = toys.bisect(below, np.zeros(3), np.ones(3))
    assert found[0] == pytest.approx(0.5, abs=1e-4)
    assert np.isnan(found[1:]).all()


def test_a_run_that_explodes_is_not_finite_and_the_others_do_not_notice() -> None:
    run = theory.descend(1.0, np.array([0.05, 50.0]), 3, "mse", 60, window=10)
    assert run.finite.tolist() == [True, False]
    assert run.final_loss[0] < 1e-6
    assert run.peak_loss[0] == 0.5
    assert run.peak_step[0] == 0
    alone = theory.descend(1.0, np.array([0.05]), 3, "mse", 60, window=10)
    assert alone.final_loss[0] == run.final_loss[0]
