"""Slopes, bends and the comparison of exponents, on many tables whose answers are known."""

from itertools import product

import numpy as np
import polars as pl
import pytest

from gammascape.study import Analysis
from gammascape.tables.edges.crossover import crossover, crossover_table
from gammascape.tables.edges.exponent_models import compare, exponent_model_table
from gammascape.tables.edges.exponents import scaling_table
from gammascape.tables.statistics.fits import Floats, fit_broken
from gammascape.tables.statistics.slopes import Fit, fit_slope
from gammascape.theory.edges import law_slopes
from gammascape.theory.toy import eta_critical, eta_min

from ...planted import on_grid, threshold_rows

FAST = Analysis(bootstrap=300)


def planted(
    rng: np.random.Generator, gammas: Floats, truth: Floats, seeds: int, noise: float, common: float
) -> Floats:
    """(gammas, seeds): the truth, a scatter of each gamma, and one of each seed."""
    shape = (len(gammas), seeds)
    return (
        truth[:, None] + rng.normal(0, common, (shape[0], 1)) + rng.normal(0, noise, shape)
    ).astype(float)


@pytest.mark.parametrize(
    ("gammas", "seeds", "step", "noise", "common"),
    [(4, 1, 0.5, 0.0, 0.0), (7, 1, 0.25, 0.15, 0.0), (7, 3, 0.25, 0.1, 0.2)],
)
def test_intervals_of_slopes_hold_the_truth_at_least_as_often_as_they_say(
    gammas: int, seeds: int, step: float, noise: float, common: float
) -> None:
    rng = np.random.default_rng(gammas * 100 + seeds)
    tables, held, widths = 40, {"slope": 0, "prefactor": 0}, []
    at = np.linspace(1, 4, gammas)
    for _ in range(tables):
        # The height varies, as a slope in step with the grid would be found without any error.
        height = rng.uniform(0, 1)
        y = planted(rng, at, 2 / 3 * at + height, seeds, noise, common)
        [row] = scaling_table(threshold_rows(at, y, step), FAST).to_dicts()
        held["slope"] += row["slope_low"] <= 2 / 3 <= row["slope_high"]
        ends = [row[f"prefactor_at_predicted_{end}_log10"] for end in ("low", "high")]
        held["prefactor"] += ends[0] <= height <= ends[1]
        widths.append(row["slope_high"] - row["slope_low"])
    # Three standard deviations of the binomial below the stated rate.
    assert min(held.values()) >= tables * 0.95 - 3 * np.sqrt(tables * 0.95 * 0.05), held
    # They are not bought by width: without a grid, Student's interval would have this many standard errors.
    known = np.sqrt((step**2 / 12 + common**2 + noise**2 / seeds) / ((at - at.mean()) ** 2).sum())
    quantile = {4: 4.303, 7: 2.571}[gammas]
    assert np.median(widths) < 1.5 * 2 * quantile * known


def test_a_table_gives_the_same_intervals_each_time() -> None:
    rng = np.random.default_rng(0)
    at = np.arange(1.0, 6)
    table = threshold_rows(at, planted(rng, at, 0.67 * at, 2, 0.1, 0.1), 0.25)
    assert scaling_table(table, FAST).equals(scaling_table(table, FAST))


def test_seeds_narrow_the_interval_where_they_are_what_scatters() -> None:
    rng = np.random.default_rng(1)
    at, widths = np.linspace(1, 4, 7), {}
    for seeds in (1, 12):
        tables = [
            scaling_table(
                threshold_rows(at, planted(rng, at, 0.67 * at, seeds, 0.4, 0.0), 0.05), FAST
            )
            for _ in range(8)
        ]
        widths[seeds] = np.mean([t["slope_high"][0] - t["slope_low"][0] for t in tables])
    # Twelve seeds give intervals narrower by sqrt(12) = 3.5, and more where one seed has no second to tell.
    assert widths[12] < widths[1] / 2.5


def test_estimates_between_sampled_etas_have_a_slope_and_no_narrower_interval() -> None:
    at = np.linspace(1, 4, 7)
    exact = (0.67 * at + 0.2)[:, None]
    grid = threshold_rows(at, exact, 0.5)
    table = grid.with_columns(
        estimate_log10=pl.Series(exact.ravel()), method=pl.lit("interpolated")
    )
    [row], [other] = (scaling_table(rows, FAST).to_dicts() for rows in (table, grid))
    assert row["interpolated"] == row["points"] == row["gammas"] == 7
    assert row["estimate_slope"] == pytest.approx(0.67, abs=1e-9)
    assert [row[name] for name in ("slope", "slope_low", "slope_high")] == [
        other[name] for name in ("slope", "slope_low", "slope_high")
    ]


def test_two_gammas_have_no_interval() -> None:
    at = np.array([1.0, 2.0])
    [row] = scaling_table(threshold_rows(at, np.array([[0.6], [1.3]]), 0.5), FAST).to_dicts()
    assert row["slope"] == pytest.approx(0.5)
    for column in ("slope_low", "slope_high", "prefactor_at_predicted_low_log10", "p_differs"):
        assert row[column] is None
    assert row["margin"] > 0


def test_an_edge_beyond_the_sampled_etas_is_counted_and_not_dropped() -> None:
    rng = np.random.default_rng(2)
    slopes: dict[str, list[float]] = {"censored": [], "dropped": []}
    at, top = np.linspace(1, 4, 7), 2.5
    for _ in range(12):
        y = planted(rng, at, 0.82 * at, 3, 0.15, 0.0)
        beyond = pl.Series(y.ravel() > top)
        table = threshold_rows(at, np.minimum(y, top - 1e-9), 0.125)
        ends = {"bounded": ~beyond}
        for name in ("estimate_log10", "estimate_high_log10"):
            ends[name] = table[name].set(beyond, None)
        ends["estimate_low_log10"] = table["estimate_low_log10"].set(beyond, top)
        table = table.with_columns(**ends)
        [row] = scaling_table(table, FAST).to_dicts()
        [few] = scaling_table(table.filter("bounded"), FAST).to_dicts()
        assert row["censored"] == beyond.sum() > 3
        assert (row["points"], few["censored"]) == (21, 0)
        slopes["censored"].append(row["slope"])
        slopes["dropped"].append(few["slope"])
    # Without the edges that lie above, the gammas at the end have the lower ones.
    assert np.mean(slopes["censored"]) == pytest.approx(0.82, abs=0.04)
    assert np.mean(slopes["dropped"]) < np.mean(slopes["censored"]) - 0.02


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("toy", [True, False])
def test_the_exact_toy_never_differs_from_its_laws(depth: int, toy: bool) -> None:
    """From gamma = 10 on, whatever the window and the density of etas, as a toy or as a network like it."""
    rng = np.random.default_rng(depth)
    for edge, exact in (("eta_max_trained", eta_critical), ("eta_min", eta_min)):
        spans = (1, 1.75), (1, 2.5), (1, 4), (2, 4)
        for step, (start, stop) in product((0.5, 0.125, 1 / 32), spans):
            at = np.arange(start, stop + 0.1, 0.25)
            known = (depth, "mse", *([300] if edge == "eta_min" else []))
            y = np.log10(exact(10**at, *known)) + step * rng.uniform()  # type: ignore[operator]
            rows = threshold_rows(at, y[:, None], step, depth, edge).with_columns(toy=toy)
            [row] = scaling_table(rows, FAST).to_dicts()
            assert row["p_differs"] > 0.05
            assert row["power"] is not None
            if toy:
                # What is known is taken off: the law itself is found, to the width of a cell over the window.
                assert abs(row["slope"] - row["predicted_slope"]) <= step / (stop - start) + 0.01


def test_a_law_that_fails_by_more_than_its_margin_differs() -> None:
    at = np.arange(1, 4.1, 0.5)
    y = np.array([0.95 * at + 0.1]).T + np.array([0.0, 0.3, -0.2])
    [row] = scaling_table(threshold_rows(at, y, 0.125), FAST).to_dicts()
    assert row["margin"] < 0.1
    assert row["p_differs"] < 0.01


def fitted(at: Floats, y: Floats, step: float) -> Fit:
    lower, upper = on_grid(y, step)
    seeds = y.shape[1]
    x, of = np.repeat(at, seeds), np.tile(np.arange(seeds), len(at))
    fit = fit_slope(x, of, lower.ravel(), upper.ravel(), 0.95)
    assert fit is not None
    return fit


@pytest.mark.parametrize(("depth", "law"), [(4, "2/L"), (3, "3/L"), (2, "2/(L+1)")])
def test_the_law_that_was_planted_is_chosen(depth: int, law: str) -> None:
    rng = np.random.default_rng(depth)
    tables, chosen = 30, {"bic": 0, "aicc": 0}
    at, slope = np.linspace(1, 5, 9), law_slopes(depth)[law]
    for _ in range(tables):
        y = planted(rng, at, slope * at + rng.uniform(0, 1), 3, 0.05, 0.05)
        rows = compare(fitted(at, y, 0.25), law_slopes(depth))
        for criterion in chosen:
            [best] = [row["law"] for row in rows if row[f"best_by_{criterion}"]]
            chosen[criterion] += best == law
    # A free slope beats the true law if it gains more than the penalty, log 9 = 2.2 for BIC and 4.0 for AICc:
    # where the scatter of nine gammas is not known, that is a t of seven degrees beyond 1.4 or 2.0, in 21 and 9
    # % of tables. The other laws are 0.1 or more away, four standard errors of the slope. Three binomial
    # deviations are 22 and 16 %.
    assert chosen["bic"] > 0.57 * tables
    assert chosen["aicc"] > 0.75 * tables


def test_a_slope_that_is_no_law_is_left_free() -> None:
    rng = np.random.default_rng(0)
    at, free = np.linspace(1, 5, 9), 0
    for _ in range(25):
        y = planted(rng, at, 0.82 * at, 3, 0.05, 0.05)
        rows = compare(fitted(at, y, 0.25), law_slopes(3))
        free += next(row["best_by_bic"] for row in rows if row["law"] == "free")
    # 0.82 is 0.15 from 2/3, six standard errors of about 0.025; 24 of 25 leaves room for chance.
    assert free >= 24


def test_weights_sum_to_one_and_few_gammas_have_no_aicc() -> None:
    at = np.array([1.0, 2.0, 3.0, 4.0])
    table = exponent_model_table(threshold_rows(at, (0.7 * at)[:, None], 0.5), FAST)
    assert table["law"].to_list() == ["2/L", "3/L", "2/(L+1)", "free"]
    assert table["bic_weight"].sum() == pytest.approx(1)
    assert table["best_by_bic"].sum() == 1
    # Four gammas leave no degree of freedom for the correction of three parameters.
    assert table.filter(law="free")["aicc"].to_list() == [None]
    assert table["best_by_aicc"].null_count() == 4


def test_coincidence_on_the_grid_is_not_taken_for_precision() -> None:
    at = np.linspace(1, 5, 9)
    # Slope 1 in step with a grid of half a decade: the residuals of the law 3/L are exactly zero.
    rows = compare(fitted(at, (at + 0.2)[:, None], 0.5), law_slopes(3))
    assert all(np.isfinite(row["bic"]) for row in rows)
    assert next(row for row in rows if row["best_by_bic"])["law"] == "3/L"


def test_optimal_eta_is_not_compared_with_laws_of_the_largest() -> None:
    at = np.linspace(1, 5, 9)
    for edge in ("eta_best", "eta_min"):
        assert exponent_model_table(
            threshold_rows(at, at[:, None], 0.25, edge=edge), FAST
        ).is_empty()


def test_a_model_without_depth_exponent_has_no_laws() -> None:
    at = np.linspace(1, 5, 9)
    assert exponent_model_table(threshold_rows(at, at[:, None], 0.25, None), FAST).is_empty()


def bent(at: Floats, knot: float, before: float = 2.0, after: float = 2 / 3) -> Floats:
    return before * np.minimum(at - knot, 0) + after * np.maximum(at - knot, 0)


def test_the_planted_crossover_is_within_its_interval_at_the_stated_rate() -> None:
    rng = np.random.default_rng(4)
    tables = 120
    held = dict.fromkeys(("crossover", "slope_before", "slope_after"), 0)
    found, bends = [], 0
    at = np.arange(-4, 4.1, 1.0)
    for _ in range(tables):
        knot = rng.uniform(-1, 1)
        y = planted(rng, at, bent(at, knot) + rng.uniform(0, 1), 2, 0.1, 0.05)
        row = crossover(threshold_rows(at, y, 0.25), Analysis(bootstrap=200, confidence=0.9), rng)
        for name, truth in (("crossover", knot), ("slope_before", 2.0), ("slope_after", 2 / 3)):
            unit = "_log10" if name == "crossover" else ""
            held[name] += row[f"{name}_low{unit}"] <= truth <= row[f"{name}_high{unit}"]
        found.append(abs(row["crossover_log10"] - knot))
        bends += row["bends"]
    # 90 % of 120 less three standard deviations of the binomial (3.3) is 98.
    assert min(held.values()) >= 98, held
    assert np.median(found) < 0.15
    assert bends == tables


def test_a_straight_edge_does_not_bend() -> None:
    rng = np.random.default_rng(6)
    at, bends = np.arange(-4, 4.1, 0.5), 0
    for _ in range(60):
        y = planted(rng, at, 1.3 * at, 1, 0.1, 0.0)
        bends += crossover(threshold_rows(at, y, 0.25), FAST, rng)["bends"]
    # Two more parameters cost 2 log 17 = 5.7, which a chi-square of two degrees exceeds in 6 % of tables; the
    # search for the knot makes that about twice as often. 60 tables: 7 on average, three deviations 8.
    assert bends <= 15


def test_a_broken_line_without_noise_is_found_exactly() -> None:
    at = np.linspace(-3, 3, 13)
    [(knot, _, before, after)], values, _ = fit_broken(at, np.ones_like(at), bent(at, 0.5)[None])
    assert knot == pytest.approx(0.5, abs=1e-9)
    assert (before, after) == pytest.approx((2, 2 / 3))
    assert values[0] == pytest.approx(bent(at, 0.5))


def test_few_gammas_have_no_crossover() -> None:
    at = np.arange(4.0)
    assert crossover_table(threshold_rows(at, at[:, None], 0.5), FAST).is_empty()
    [row] = crossover_table(
        threshold_rows(np.arange(5.0), np.arange(5.0)[:, None], 0.5), FAST
    ).to_dicts()
    assert row["gammas"] == 5


def test_empty_tables_keep_their_columns() -> None:
    empty = threshold_rows(np.array([]), np.empty((0, 1)), 0.5)
    for table in (scaling_table, exponent_model_table, crossover_table):
        result = table(empty, FAST)
        assert result.is_empty()
        assert "slice" in result.columns
