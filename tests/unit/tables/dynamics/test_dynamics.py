"""Tables of dynamics on runs whose theory is exact: catapults, drifts of tau, slopes, alignment."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gammascape.study import Analysis
from gammascape.tables.cells import CELL_SCHEMA
from gammascape.tables.dynamics.collapse import collapse_of
from gammascape.tables.dynamics.curves import History
from gammascape.tables.dynamics.events import (
    DYNAMICS_SCHEMA,
    alignment_time,
    dynamics_table,
    events,
)
from gammascape.tables.dynamics.exponents import dynamics_scaling_table
from gammascape.tables.dynamics.paths import path_table
from gammascape.tables.dynamics.phenomena import phenomenon_rows
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.statistics.fits import Floats
from gammascape.theory import toy as theory

from ... import toys
from ...planted import LABELS, line
from ...toys import Start, fly

ANALYSIS = Analysis()
RICH = (2.0, 3.0, 4.0, 5.0)


def rows(**columns: Any) -> pl.DataFrame:
    """Rows of the table dynamics; what is not given is as in a plain run on the scaled path."""
    given = LABELS | {"depth_exponent": 3, "path": "scaled", "window": "rich", "seed": 0}
    frame = pl.DataFrame(columns).with_columns(
        **{k: pl.lit(v) for k, v in given.items() if k not in columns}
    )
    frame = frame.with_columns(
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in DYNAMICS_SCHEMA.items()
        if name not in frame.columns
    )
    return frame.select(pl.col(n).cast(t) for n, t in DYNAMICS_SCHEMA.items())


def fit(table: pl.DataFrame, quantity: str, window: str) -> dict[str, Any]:
    [row] = (
        dynamics_scaling_table(table, ANALYSIS).filter(quantity=quantity, window=window).to_dicts()
    )
    return row


def test_the_slope_of_the_catapult_is_that_of_the_two_parameter_model() -> None:
    gamma = np.array([-4.0, -3.5, -3.0, -2.5, -2.0])
    start = Start(1.3, 0.4)
    scaled = 2.8
    # One ratio eta lambda_0 for all gammas, as on the path of the table.
    eta = scaled * 10.0 ** (2 * gamma) / (start.u**2 + start.v**2)
    run = fly(10.0**gamma, eta, start, 400)
    assert run.finite.all()
    table = rows(
        gamma_log10=gamma,
        path=["catapult"] * 5,
        window=["lazy"] * 5,
        peak_ratio=run.peak_loss / 0.5,
        peak_step=run.peak_step + 1,
        eta_times_sharpness_init=[scaled] * 5,
    )
    peak = fit(table, "catapult_peak", "lazy")
    assert peak["predicted_slope"] == -2
    assert peak["slope"] == pytest.approx(-2, abs=0.1)
    assert peak["slope_low"] < peak["slope"] < peak["slope_high"]
    # |f| grows by eta lambda_0 - 1 in each step, so a decade of gamma costs the same number of steps.
    time = fit(table, "catapult_peak_step", "lazy")
    assert time["unit"] == "steps"
    assert time["predicted_slope"] == pytest.approx(-1 / np.log10(scaled - 1))
    assert time["slope"] == pytest.approx(time["predicted_slope"], rel=0.1)


def toy_runs(depth: int) -> tuple[pl.DataFrame, dict[str, tuple[Floats, Floats]]]:
    """The toy at eta well below its upper edge, for each gamma of RICH."""
    gamma = 10.0 ** np.array(RICH)
    eta = 0.02 * theory.eta_critical(gamma, depth, "mse")
    steps = int(1.2 * toys.escape_steps(gamma[-1], depth, "mse", 0.02))
    losses = [theory.loss_of(f, "mse") for f in theory.outputs(gamma, eta, depth, "mse", steps)]
    step = np.arange(steps, dtype=float)
    columns = np.array(losses)[:-1].T
    zero = np.full(steps, 0.5)
    runs = {f"c{k}": History(step, loss, zero).smooth() for k, loss in enumerate(columns)}
    table = rows(
        gamma_log10=RICH,
        eta_log10=np.log10(eta),
        cell=list(runs),
        depth_exponent=[depth] * len(RICH),
        half_step=[_half(run) for run in runs.values()],
        half_tau=[_half(r) * e / g for r, e, g in zip(runs.values(), eta, gamma, strict=True)],
    )
    return table, runs


def _half(run: tuple[Floats, Floats]) -> float:
    step, relative = run
    return float(step[np.flatnonzero(relative <= 0.5)[0]])


def test_tau_drifts_by_a_constant_per_decade_at_depth_two() -> None:
    [row] = collapse_of(*toy_runs(2), ANALYSIS).to_dicts()
    # log(10) / 4 of toys.escape_tau; a bin of the smoothed curve is 10 % wide.
    assert row["tau_drift"] == pytest.approx(np.log(10) / 4, rel=0.15)
    assert row["expected"] == "drift > 0"
    assert row["tau_drift_low"] > 0


def test_curves_collapse_in_tau_at_depth_three() -> None:
    [row] = collapse_of(*toy_runs(3), ANALYSIS).to_dicts()
    assert row["expected"] == "drift = 0"
    # Three decades of gamma^(1/3); 1 / (L (L - 2)) is reached from below, as gamma^(-1/3).
    assert row["spread_tau_log10"] < 0.2 < 0.9 < row["spread_step_log10"]
    assert abs(row["tau_slope"]) < 0.1
    assert row["distance_ratio"] < 0.25
    assert 0 < row["distance_ratio_error"] < row["distance_ratio"]


def test_the_scaled_steps_of_a_toy_follow_the_exponent_of_escape() -> None:
    table, _ = toy_runs(3)
    # eta is on the path: no offset from it.
    row = fit(table, "half_step", "rich")
    assert row["predicted_slope"] == pytest.approx(1 / 3)
    assert row["slope"] == pytest.approx(1 / 3, abs=0.08)


def falls(table: pl.DataFrame) -> dict[str, tuple[Floats, Floats]]:
    """Runs whose losses fall at once, each at its own step."""
    return {
        cell: (np.array([1.0, 10.0 + k]), np.array([1.0, 0.01]))
        for k, cell in enumerate(table["cell"])
    }


def test_curves_that_lie_on_each_other_have_no_ratio_of_distances() -> None:
    table, runs = toy_runs(3)
    same = dict.fromkeys(runs, runs["c0"])
    [row] = collapse_of(table, same, ANALYSIS).to_dicts()
    assert row["distance_step_log10"] is None
    # Nor do the others tell an error if one curve alone lies apart.
    [row] = collapse_of(table, same | {"c1": runs["c1"]}, ANALYSIS).to_dicts()
    assert row["distance_step_log10"] > 0


@pytest.mark.parametrize("depth", [2, 3, 4, 6])
def test_the_exact_toy_never_differs_from_its_laws(depth: int) -> None:
    for stop in (1.75, 2.5, 4.0):
        at = np.arange(1, stop + 0.1, 0.25)
        gamma = 10**at
        end, start = (
            np.abs(sharpness(gamma, depth, "mse"))
            for sharpness in (theory.sharpness, theory.initial_sharpness)
        )
        tau = theory.collapse_tau(gamma, depth, "mse")
        eta = gamma ** (2 / depth)
        table = rows(
            gamma_log10=at,
            eta_log10=np.log10(eta),
            depth_exponent=[depth] * len(at),
            sharpness_init=start,
            sharpness_end=end,
            sharpening_factor=end / start,
            relative_change=theory.minimum(gamma, depth) - 1,
            half_step=tau * gamma / eta,
            half_tau=tau,
            cell=[str(k) for k in range(len(at))],
        )
        names = ("sharpness_init", "sharpness_end", "sharpening_factor", "relative_change")
        found = [fit(table, name, "rich") for name in names]
        [collapse] = collapse_of(table, falls(table), ANALYSIS).to_dicts()
        for row in [*found, *([collapse] if depth > 2 else [])]:
            assert row["p_differs"] > 0.05, (row, stop)
            assert row["margin"] >= 0.03
        assert (collapse["p_differs"] is None) == (depth == 2)


def test_runs_that_do_not_reach_the_level_count_as_later() -> None:
    at = np.arange(1, 4.1, 0.5)
    eta = at * 2 / 3
    tau = np.array([30.0, 31.0, 30.5, 29.0, 30.0])
    known = [*tau, None, None]
    steps = [*(tau * 10 ** (at - eta)[:5]), None, None]
    table = rows(
        gamma_log10=at,
        eta_log10=eta,
        half_tau=pl.Series(known, dtype=pl.Float64),
        half_step=pl.Series(steps, dtype=pl.Float64),
        steps=[300] * len(at),
        cell=[str(k) for k in range(len(at))],
    )
    [row] = collapse_of(table, falls(table), ANALYSIS).to_dicts()
    half = fit(table, "half_step", "rich")
    assert (row["censored"], row["gammas"], row["points"]) == (2, 5, 5)
    assert (half["censored"], half["gammas"]) == (2, 5)
    # 300 steps are tau = 20 and 14 at the last two gammas: tau is more than that there, and 30 elsewhere.
    assert row["tau_slope"] == pytest.approx(0, abs=0.02)
    few = table.with_columns(steps=pl.lit(10**6))
    [late] = collapse_of(few, falls(few), ANALYSIS).to_dicts()
    assert late["tau_slope"] > 0.3


@pytest.mark.parametrize("seeds", [1, 3])
def test_planted_slopes_lie_in_their_intervals(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    gamma = np.tile(RICH, seeds)
    noise = 10 ** (0.03 * rng.standard_normal((3, len(gamma))))
    table = rows(
        gamma_log10=gamma,
        seed=np.repeat(range(seeds), len(RICH)),
        relative_change=10 ** (gamma / 3) * noise[0],
        sharpening_factor=10 ** (gamma / 3) * noise[1],
        sharpness_end=10 ** (-2 * gamma / 3) * noise[2],
    )
    for quantity in ("relative_change", "sharpening_factor", "sharpness_end"):
        row = fit(table, quantity, "rich")
        assert row["slope_low"] < row["predicted_slope"] < row["slope_high"], quantity
        assert (row["gammas"], row["points"]) == (4, 4 * seeds)
        assert row["reason"] is None


def test_times_are_carried_from_the_sampled_eta_to_that_of_the_path() -> None:
    offset = np.array([0.2, -0.2, 0.1, -0.1])
    steps = 10 ** (np.array(RICH) / 3 - offset)
    row = fit(
        rows(gamma_log10=RICH, trained_step=steps, offset_log10=offset), "trained_step", "rich"
    )
    assert row["slope"] == pytest.approx(1 / 3)


def test_a_seed_seen_at_one_gamma_does_not_bend_a_slope() -> None:
    table = rows(
        gamma_log10=[1.0, 2.0, 3.0, 1.0],
        seed=[0, 0, 0, 1],
        relative_change=[10 ** (1 / 3), 10 ** (2 / 3), 10.0, 99.0],
    )
    row = fit(table, "relative_change", "rich")
    assert (row["slope"], row["points"]) == (pytest.approx(1 / 3), 3)


def test_each_seed_has_a_prefactor_of_its_own() -> None:
    gamma = np.array([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0])
    seed = np.array([0, 0, 0, 0, 1, 1, 1])
    noise = 10 ** (0.02 * np.random.default_rng(0).standard_normal(len(gamma)))
    # The second seed is ten times higher and lacks the last gamma.
    change = 10 ** (gamma / 3 + seed) * noise
    row = fit(rows(gamma_log10=gamma, seed=seed, relative_change=change), "relative_change", "rich")
    assert row["slope"] == pytest.approx(1 / 3, abs=0.03)
    assert row["slope_high"] - row["slope_low"] < 0.2


def test_phenomena_are_shown_where_their_observable_was_measured() -> None:
    flown = rows(
        gamma_log10=[-3.0, -2.0],
        path="catapult",
        window="lazy",
        cell=["a", "b"],
        eta_times_sharpness_init=[3.0, None],
    )
    scaled = rows(gamma_log10=[1.0], cell=["c"], alignment_init=[0.1])
    best = rows(gamma_log10=[1.0], cell=["d"], path="best", alignment_init=[0.1])
    other = best.with_columns(slice=pl.lit("no L"), cell=pl.lit("e"))
    lazy = rows(gamma_log10=[-3.0], cell=["f"], window="lazy", alignment_init=[0.1])
    found = phenomenon_rows(pl.concat([flown, scaled, best, other, lazy]))
    assert dict(found.select("cell", "phenomenon").iter_rows()) == {
        "a": "catapult",
        "c": "silent alignment",
        "e": "silent alignment",
    }


def test_what_was_not_measured_has_a_reason_in_place_of_a_slope() -> None:
    table = rows(gamma_log10=[1.0, 2.0], relative_change=[2.0, 4.0])
    assert (
        fit(table, "sharpness_end", "rich")["reason"] == "sharpness_end is known at 0 of 2 gammas"
    )
    assert fit(table, "catapult_peak", "lazy")["reason"] == "no cell on the path catapult"
    two = fit(table, "relative_change", "rich")
    assert two["slope"] == pytest.approx(np.log10(2))
    assert two["slope_low"] is None
    assert "two gammas" in two["reason"]


def test_the_scaled_path_has_one_constant_for_most_gammas() -> None:
    # Trained are log10 eta / gamma^(2/3) of -0.5 and 0, of 0.1 and 0.6, and of -0.1.
    cells = pl.concat(
        [
            line("uTtr", 1.0, 0.5, 2 / 3 - 1),
            line("uTtr", 2.5, 0.5, 5 / 3 - 0.4),
            line("uTr", 4.0, 0.5, 8 / 3 - 0.6),
        ]
    )
    paths = path_table(cells, threshold_table(cells, 3), ANALYSIS).filter(path="scaled")
    assert paths["gamma_log10"].to_list() == [1.0, 2.5, 4.0]
    assert paths["constant_log10"].to_list() == pytest.approx([0.0] * 3, abs=1e-6)
    assert paths["offset_log10"].to_list() == pytest.approx([0.0, 0.1, -0.1], abs=1e-6)
    assert (paths["status"] == "trained").all()


def test_the_scaled_path_goes_where_sharpness_was_measured() -> None:
    at_one = pl.col("eta_log10").round(6) == (2 / 3 * pl.col("gamma_log10") + 1).round(6)
    cells = pl.concat([line("uTttr", g, 0.5, 2 * g / 3 - 0.5) for g in (1.5, 3.0, 4.5)])
    everywhere = cells.with_columns(sharpness_init=pl.when(at_one).then(1.0))
    # One gamma without a measurement: the law would have a hole there.
    partly = cells.with_columns(sharpness_init=pl.when(at_one, pl.col("gamma_log10") < 4).then(1.0))
    for table, constant in ((everywhere, 1.0), (partly, 0.5), (cells, 0.5)):
        paths = path_table(table, threshold_table(table, 3), ANALYSIS).filter(path="scaled")
        assert paths["constant_log10"].to_list() == pytest.approx([constant] * 3, abs=1e-6)


def test_catapults_of_all_gammas_have_one_ratio_of_eta_to_gamma_squared() -> None:
    cells = pl.concat(
        [line("tTccrx", g, 0.5, 2 * g) for g in (-4.0, -3.0)] + [line("tTrx", -2.0, 0.5, -4.0)]
    )
    paths = path_table(cells, threshold_table(cells, 3), ANALYSIS).filter(path="catapult")
    assert paths["gamma_log10"].to_list() == [-4.0, -3.0, -2.0]
    assert set((paths["eta_log10"] - 2 * paths["gamma_log10"]).round(6)) == {1.0}
    # A gamma between the windows and a slice without L are on no path of a law.
    between = line("uTr", 0.0)
    assert path_table(between, threshold_table(between, None), ANALYSIS)["path"].to_list() == [
        "best"
    ]


def test_alignment_is_silent_when_it_is_surely_ahead_of_the_loss() -> None:
    step = np.arange(1000.0)
    loss = np.where(step < 400, 1.0, 0.2)
    history = History(step, loss, np.ones(1000))
    facts = {"initial_loss": 1.0, "peak_loss": 1.0, "peak_step": 0}

    def silent(rises_at: int) -> Any:
        taken = [
            {"step": t, "kernel_alignment": 0.1 if t < rises_at else 0.9, "sharpness": 1.0 + t}
            for t in (0, 10, 20, 50, 100, 200, 500, 1000)
        ]
        summary = {"observables": taken, "relative_change": {"layer1": 0.5}}
        found = events(facts, history, summary, 0.5)
        return found["silent"], found["alignment_share"], found["sharpening_factor"]

    assert silent(100) == (True, 1.0, 1001.0)
    assert silent(1000)[:2] == (False, 0.0)
    # The rise is between 200 and 500, as is the drop.
    assert silent(500)[0] is None
    # No rise at all.
    assert silent(2000)[:2] == (False, None)


def test_an_alignment_that_hardly_rises_has_no_time() -> None:
    step = np.array([1.0, 11.0, 101.0])
    assert alignment_time(step, np.array([0.3, 0.32, 0.34])) == (None, None, None)
    at, low, high = alignment_time(step, np.array([0.0, 0.4, 0.8]))
    assert (at, low, high) == (pytest.approx(11), 1, 11)


def test_a_network_generalizes_late_where_its_test_accuracy_rises_late() -> None:
    history = History(np.arange(1000.0), np.linspace(1, 0.1, 1000), np.ones(1000))
    facts = {"initial_loss": 1.0, "peak_loss": 1.0, "peak_step": 0}

    def found(trained: list[float], tested: list[float | None]) -> dict[str, Any]:
        steps = (0, 9, 99, 999)
        observed = zip(steps, trained, strict=True)
        summary = {
            "observables": [{"step": s, "training_accuracy": value} for s, value in observed],
            "evaluations": [
                {"step": s, "accuracy": value} for s, value in zip(steps, tested, strict=True)
            ],
            "relative_change": {},
        }
        return events(facts, history, summary, 0.5)

    # 0.95 of their rise is made at 0.955 and 0.475: in the middle, in log step, of a factor of ten.
    row = found([0.1, 0.91, 1.0, 1.0], [0.0, 0.0, 0.45, 0.5])
    assert row["fit_step"] == pytest.approx(10 ** (1 + 8 / 9))
    assert (row["fit_step_low"], row["fit_step_high"]) == (10, 100)
    assert row["fit_test_accuracy"] == 0.45
    assert row["generalize_step"] == pytest.approx(10**2.5)
    assert row["delay_log10"] == pytest.approx(1.0)
    # A network that generalizes to few of the test data, but at once, is not late.
    assert found([0.1, 0.91, 1.0, 1.0], [0.1, 0.21, 0.22, 0.22])["delay_log10"] < 0
    never = found([0.1, 0.9, 0.95, 0.98], [0.1, 0.9, 0.9, 0.9])
    assert (never["fit_step"], never["fit_test_accuracy"]) == (None, None)
    assert never["delay_log10"] is not None
    chance = found([0.1, 0.9, 0.95, 1.0], [0.1, 0.1, 0.12, 0.1])
    assert (chance["generalize_step"], chance["delay_log10"]) == (None, None)
    assert found([0.1, 0.9, 0.95, 1.0], [None] * 4).get("fit_step") is None


def test_the_table_reads_the_runs_of_its_paths_alone(tmp_path: Path) -> None:
    cells = pl.concat([line("uTr", g, 0.5, 2 * g / 3) for g in (1.0, 2.0)])
    cells = cells.with_columns(
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in CELL_SCHEMA.items()
        if name not in cells.columns
    ).with_columns(peak_step=pl.lit(0))
    for name in cells.filter(status="trained")["cell"]:
        folder = tmp_path / name
        folder.mkdir()
        step = np.arange(100)
        loss = 0.1 * np.exp(-step / 20)
        np.savez(folder / "arrays.npz", step=step, loss=loss, zero_loss=np.full(100, 0.1))
        (folder / "summary.json").write_text(json.dumps({"relative_change": {"layer1": 0.3}}))
    priors = dict.fromkeys(cells["slice"], 0.85)
    table = dynamics_table(cells, threshold_table(cells, 3), priors, ANALYSIS, tmp_path)
    assert table["path"].to_list() == ["best", "best", "scaled", "scaled"]
    # The loss halves at 20 log 2 + 1.
    assert set(table["class_prior_level"]) == {0.85}
    assert table["half_step"].to_list() == pytest.approx([20 * np.log(2) + 1] * 4, rel=0.05)
    taus = table["half_step"] * 10 ** (table["eta_log10"] - table["gamma_log10"])
    assert table["half_tau"].to_list() == pytest.approx(taus.to_list())
