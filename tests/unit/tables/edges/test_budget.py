"""Shorter budgets inside long runs, against runs that are as short; and thresholds moved."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gammascape.runs.history import final_window, thin
from gammascape.runs.outcome import Facts, Thresholds, judge
from gammascape.study import Analysis
from gammascape.tables.edges.apex import apex_table
from gammascape.tables.edges.budget import (
    budget_of_cells,
    budget_table,
    budgets,
    judge_history,
    read_histories,
)
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.edges.sensitivity import (
    judged,
    sensitivity_table,
    variations,
)
from gammascape.tables.toy import toy_cell_table, toy_histories
from gammascape.theory.toy import (
    descend,
    eta_critical,
    eta_min,
    initial_sharpness,
    loss_of,
    outputs,
)
from gammascape.theory.toy import gamma_max_log10 as toy_gamma_max

from ...planted import LABELS, line
from ...toys import window

DEPTH, STEPS = 3, 100
LIMITS = Thresholds()


def test_budgets_are_the_series_that_ends_at_the_run() -> None:
    assert budgets(100) == [10, 20, 50, 100]
    assert budgets(1234) == [10, 20, 50, 100, 200, 500, 1000, 1234]
    assert budgets(7) == [7]


def history_of(losses: np.ndarray, zero: float) -> dict[str, np.ndarray]:
    return thin(losses) | {"zero_loss": thin(np.full(len(losses), zero))["loss"]}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Path]:
    """Cells of the exact toy, their histories written as trained networks' are."""
    folder = tmp_path_factory.mktemp("cells")
    zero = float(loss_of(0.0, "mse"))
    rows = []
    for gamma in np.arange(0.0, 5.1, 0.5):
        low = np.log10(eta_min(10**gamma, DEPTH, "mse", STEPS)) - 0.6
        high = np.log10(eta_critical(10**gamma, DEPTH, "mse")) + 1.0
        for eta in np.arange(np.floor(4 * low), np.ceil(4 * max(high, low + 1)) + 1) / 4:
            runs = outputs(10**gamma, 10**eta, DEPTH, "mse", STEPS)
            with np.errstate(all="ignore"):
                losses = np.array([float(loss_of(f, "mse")) for f in runs])[:STEPS]
            finite = bool(np.isfinite(losses).all())
            done = STEPS if finite else int(np.argmin(np.isfinite(losses))) + 1
            last = final_window(STEPS)
            facts = Facts(
                finite=finite,
                seen_nan=False,
                initial_loss=zero,
                final_loss=float(losses[-last:].mean()) if finite else None,
                baseline_loss=zero,
                peak_loss=float(losses.max()) if finite else None,
                active_fraction=1.0,
            )
            outcome = judge(facts, LIMITS)
            name = f"toy/g{gamma:g}_e{eta:g}"
            (folder / name).mkdir(parents=True)
            np.savez(folder / name / "arrays.npz", **history_of(losses[:done], zero))
            rows.append(
                LABELS
                | {
                    "steps": STEPS,
                    "cell": name,
                    "gamma_log10": gamma,
                    "eta_log10": eta,
                    "seed": 0,
                    "data_seed": 0,
                    "status": outcome.status,
                    "catapulted": outcome.catapulted,
                    "relative_loss": outcome.relative_loss,
                    "initial_loss": zero,
                    "peak_loss": facts.peak_loss,
                    "active_fraction": 1.0,
                    "base_width": 1,
                    "sharpness_init": None,
                    "baseline_loss": zero,
                    "test_accuracy": None,
                    "validation_loss": None,
                    "validation_accuracy": None,
                    "data_digest": "d",
                    "steps_done": done,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None), folder


def test_a_long_run_judged_early_ends_as_the_short_run_does(
    toy: tuple[pl.DataFrame, Path],
) -> None:
    cells, folder = toy
    found = set()
    for row in cells.iter_rows(named=True):
        with np.load(folder / row["cell"] / "arrays.npz") as arrays:
            history = dict(arrays)
        for early in judge_history(history, row["steps_done"], budgets(STEPS), LIMITS):
            steps = early["budget"]
            run = descend(
                10.0 ** row["gamma_log10"],
                10.0 ** row["eta_log10"],
                DEPTH,
                "mse",
                steps,
                window=final_window(steps),
            )
            zero = float(loss_of(0.0, "mse"))
            expected = judge(
                Facts(
                    finite=bool(run.finite),
                    seen_nan=bool(run.seen_nan),
                    initial_loss=zero,
                    final_loss=float(run.final_loss) if run.finite else None,
                    baseline_loss=zero,
                    peak_loss=float(run.peak_loss),
                    active_fraction=None,
                ),
                LIMITS,
            )
            assert (early["status"], early["catapulted"]) == (expected.status, expected.catapulted)
            if expected.relative_loss is not None:
                assert early["relative_loss"] == pytest.approx(expected.relative_loss)
            found.add(early["status"])
    assert found == {"trained", "untrained", "diverged", "runaway"}


def test_the_last_budget_is_the_table_of_thresholds(toy: tuple[pl.DataFrame, Path]) -> None:
    cells, folder = toy
    table = budget_table(cells, read_histories(cells, folder), DEPTH, LIMITS).filter(budget=STEPS)
    edges = threshold_table(cells, DEPTH, LIMITS)
    for name, edge in (("eta_min", "eta_min"), ("eta_max", "eta_max_trained")):
        pair = table.join(edges.filter(edge=edge, bounded=True), on="gamma_log10")
        assert pair.height > 5
        assert (pair[f"{name}_log10"] - pair["estimate_log10"]).abs().max() == 0
        assert pair.height == table[f"{name}_log10"].count()


def test_eta_min_falls_as_one_over_the_budget(toy: tuple[pl.DataFrame, Path]) -> None:
    cells, folder = toy
    table = budget_table(cells, read_histories(cells, folder), DEPTH, LIMITS)
    lazy = table.filter(pl.col("gamma_log10") == 0, pl.col("eta_min_log10").is_not_null())
    # The final loss is a mean over the last steps, of which half are after their middle.
    middles = [steps - final_window(steps) / 2 for steps in lazy["budget"]]
    slope = np.polyfit(np.log10(middles), lazy["eta_min_log10"], 1)[0]
    # Edges are interpolated to a few hundredths of a decade over one decade of budgets.
    assert slope == pytest.approx(-1, abs=0.12)


def test_the_window_of_the_toy_closes_where_theory_says(toy: tuple[pl.DataFrame, Path]) -> None:
    cells, folder = toy
    table = apex_table(
        budget_table(cells, read_histories(cells, folder), DEPTH, LIMITS), Analysis(bootstrap=300)
    )
    assert table["budget"].to_list() == budgets(STEPS)
    early = table.filter(pl.col("budget") < 50)
    assert early["smallest_closed_log10"].null_count() == 0
    last = table.filter(budget=STEPS).to_dicts()[0]
    assert last["predicted_window_slope"] == pytest.approx(-1 / 3)
    # Power laws are limits; over the gammas that fitted, the exact window of the flow is a little steeper.
    gammas = 10.0 ** np.linspace(1, last["largest_open_log10"], 9)
    exact = np.polyfit(np.log10(gammas), np.log10(window(gammas, DEPTH, "mse", STEPS)), 1)[0]
    assert -0.45 < exact < -1 / 3
    assert last["window_slope"] == pytest.approx(exact, abs=0.08)
    assert last["window_slope_low"] < exact < last["window_slope_high"]
    assert last["predicted_gamma_max_log10"] == pytest.approx(float(toy_gamma_max(3, STEPS)))
    # The power laws of theory hold up to factors of the toy's own edges: half a decade in eta is 1.5 in gamma.
    assert last["gamma_max_log10"] == pytest.approx(last["predicted_gamma_max_log10"], abs=1.5)
    assert last["gamma_max_low_log10"] < last["gamma_max_log10"]
    assert last["gamma_best_least_log10"] <= last["gamma_best_log10"]
    assert last["gamma_best_log10"] <= last["gamma_best_largest_log10"]
    opened = table["largest_open_log10"].to_list()
    assert opened == sorted(opened)
    assert opened[0] < opened[-1]


def test_nothing_trained_leaves_a_row_that_says_so(tmp_path: Path) -> None:
    cells = line("xx").with_columns(steps=pl.lit(20), steps_done=pl.lit(5))
    for name in cells["cell"]:
        (tmp_path / name).mkdir()
        losses = np.array([0.1, 5.0, 1e9, 1e30, np.inf])
        np.savez(tmp_path / name / "arrays.npz", **history_of(losses, 0.1))
    table = budget_table(cells, read_histories(cells, tmp_path), None, LIMITS)
    assert table["trained"].to_list() == [0, 0]
    assert table["spanned"].to_list() == [False, False]
    [first, _] = apex_table(table, Analysis()).to_dicts()
    assert first["largest_open_log10"] is None
    assert first["gamma_max_log10"] is None
    assert first["gamma_best_log10"] is None


def test_windows_that_are_closed_are_not_left_out() -> None:
    """A window that narrows by half a decade per decade, which some seeds have where others have none."""
    rng, rows = np.random.default_rng(0), []
    for gamma, seed in product(np.arange(1, 5.1, 0.5), range(3)):
        width = 1.7 - 0.5 * (gamma - 1) + rng.normal(0, 0.25)
        lower = rng.uniform(0.5, 1)
        cells = np.arange(0, 4, 0.5)
        inside = (cells > lower) & (cells < lower + width)
        statuses = [
            "t" if good else "u" if eta <= lower else "x"
            for eta, good in zip(cells, inside, strict=True)
        ]
        rows.append(
            line("".join(statuses), float(gamma)).with_columns(
                seed=pl.lit(seed, pl.Int64), steps=pl.lit(10), steps_done=pl.lit(10)
            )
        )
    cells = pl.concat(rows)
    histories = [history_of(np.full(10, 0.1), 0.1)] * cells.height
    table = budget_table(cells, histories, 3, LIMITS)
    closed = table.filter(trained=0)
    assert closed.height > 5
    assert closed["window_high_log10"].to_list() == [0.5] * closed.height
    assert (
        closed["window_low_log10"].null_count()
        == closed["window_log10"].null_count()
        == closed.height
    )
    [row] = apex_table(table, Analysis()).to_dicts()
    assert row["censored"] == closed.height
    assert row["window_slope_low"] < -0.5 < row["window_slope_high"]
    # It closes at 10^(1 + 1.7 / 0.5).
    assert row["gamma_max_low_log10"] < 4.4 < row["gamma_max_high_log10"]
    assert row["gamma_max_log10"] == pytest.approx(4.4, abs=0.5)


def test_the_best_eta_has_the_lowest_loss_on_the_validation_split(tmp_path: Path) -> None:
    # Training losses 0.4, 0.2 and 0.4: the middle one is best, unless other samples say otherwise.
    cells = line("tTt").with_columns(steps=pl.lit(20), steps_done=pl.lit(20))
    for eta, name in enumerate(cells["cell"]):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "arrays.npz", **history_of(np.full(20, 0.1 - eta / 100), 1.0))
        taken = [
            {"step": 10, "validation_loss": 3.0 - eta, "validation_accuracy": 0.5},
            {"step": 20, "validation_loss": eta, "validation_accuracy": 0.5 - eta / 10},
        ]
        (tmp_path / name / "summary.json").write_text(json.dumps({"evaluations": taken}))
    split = cells.with_columns(validation_loss=pl.Series([0.0, 1.0, 2.0]))
    right = split.with_columns(validation_accuracy=pl.Series([0.3, 0.3, 0.4]))
    best = threshold_table(right, None, LIMITS).filter(edge="eta_best")
    assert best["eta_log10"].to_list() == [1.0], "wrong answers come before the loss"
    for table, etas, final in ((cells, [1.0, 0.5], 0.5), (split, [1.0, 0.0], 0.0)):
        found = budget_of_cells(table, tmp_path, None, LIMITS, 0.95)
        assert found["eta_best_log10"].to_list() == etas
        best = threshold_table(table, None, LIMITS).filter(edge="eta_best")
        assert best["eta_log10"].to_list() == [final]


def test_no_cells_give_empty_tables_with_columns() -> None:
    table = budget_table(line("uT").clear(), [], 3, LIMITS)
    assert table.is_empty()
    assert "budget" in apex_table(table, Analysis()).columns


def test_a_thinned_history_is_judged_as_the_whole_one() -> None:
    rng = np.random.default_rng(0)
    steps = 40_000
    losses = 0.1 * np.exp(-np.arange(steps) / 15_000) * np.exp(rng.normal(0, 0.1, steps))
    zero = np.full(steps, 0.1)
    history = thin(losses) | {"zero_loss": thin(zero)["loss"]}
    assert len(history["step"]) < steps
    for early in judge_history(history, steps, [5_000, 20_000, 33_333, 40_000], LIMITS):
        end = early["budget"]
        exact = losses[end - final_window(end) : end].mean() / 0.1
        # A bin across the window's end lends it the mean of at most 1/900 of its steps.
        assert early["relative_loss"] == pytest.approx(exact, rel=1e-3)


def test_a_run_that_diverges_late_was_trained_before() -> None:
    losses = np.full(40, 0.01)
    losses[0], losses[30] = 0.1, np.nan
    found = judge_history(history_of(losses, 0.1), 40, [20, 30, 31, 40], LIMITS)
    assert [row["status"] for row in found] == ["trained", "trained", "diverged", "diverged"]


def test_judging_a_table_again_is_judging_its_facts_again() -> None:
    losses, active, peaks = (0.01, 0.049, 0.07, 0.104, 0.2, None), (0.0, 0.5), (0.1, 0.35)
    rows = [
        {
            "status": "diverged" if loss is None else "dead" if share == 0 else "untrained",
            "relative_loss": None if loss is None else loss / 0.1,
            "active_fraction": share,
            "initial_loss": 0.1,
            "peak_loss": None if loss is None else max(peak, loss),
        }
        for loss, share, peak in product(losses, active, peaks)
    ]
    for _, _, limits in variations(LIMITS):
        table = judged(pl.DataFrame(rows, infer_schema_length=None), limits)
        for before, after in zip(rows, table.iter_rows(named=True), strict=True):
            relative, peak = before["relative_loss"], before["peak_loss"]
            facts = Facts(
                finite=relative is not None,
                seen_nan=False,
                initial_loss=0.1,
                final_loss=None if relative is None else 0.1 * relative,
                baseline_loss=0.1,
                peak_loss=peak,
                active_fraction=before["active_fraction"],
            )
            outcome = judge(facts, limits)
            assert (after["status"], after["catapulted"]) == (outcome.status, outcome.catapulted)


def test_each_threshold_is_halved_and_doubled_alone() -> None:
    changed = list(variations(Thresholds(0.2, 1.05, 3.0)))
    assert [(name, factor) for name, factor, _ in changed] == list(
        product(("trained_below", "runaway_above", "catapult_above"), (0.5, 1.0, 2.0))
    )
    values = [getattr(limits, name) for name, _, limits in changed]
    assert values == pytest.approx([0.1, 0.2, 0.4, 1.025, 1.05, 1.1, 2, 3, 5])
    assert max(limits.trained_below for _, _, limits in variations(Thresholds(0.9))) < 1


def test_no_threshold_is_moved_to_where_class_frequencies_count_as_trained() -> None:
    # 0.85 doubled is the square root of 0.85 * 0.9, and was 0.85's alone: 0.92.
    table = sensitivity_table(line("uTtx"), 3, 0.9, Thresholds(0.85), Analysis())
    values = table.filter(threshold="trained_below")["value"]
    assert values.max() == pytest.approx((0.85 * 0.9) ** 0.5)
    # A study that counts class frequencies as trained has only the loss of f = 0 above it.
    for value in (0.9, 0.95):
        above = [limits.trained_below for _, _, limits in variations(Thresholds(value), 0.9)]
        assert max(above) == pytest.approx(value**0.5)


def test_a_stricter_threshold_narrows_the_window_by_what_the_table_says(
    toy: tuple[pl.DataFrame, Path],
) -> None:
    cells, _ = toy
    table = sensitivity_table(cells, DEPTH, None, LIMITS, Analysis(bootstrap=100))
    lower = table.filter(threshold="trained_below", edge="eta_min", window="all").sort("factor")
    shifts = lower["shift_log10"].to_list()
    assert shifts[0] > 0 == shifts[1] > shifts[2]
    stricter = Thresholds(trained_below=0.25)
    edges = [threshold_table(judged(cells, t), DEPTH, t) for t in (LIMITS, stricter)]
    pair = (
        edges[0]
        .join(edges[1], on=["edge", "gamma_log10"])
        .filter(pl.col("edge") == "eta_min", "bounded", "bounded_right")
    )
    expected = (pair["estimate_log10_right"] - pair["estimate_log10"]).mean()
    assert shifts[0] == pytest.approx(expected)
    rich = table.filter(edge="eta_min", window="rich", factor=1.0)
    assert rich["change"].to_list() == [0.0, 0.0, 0.0]
    assert table.filter(window="all")["slope"].null_count() == table.filter(window="all").height
    counts = table.filter(factor=1.0)
    assert counts["lost"].sum() == counts["won"].sum() == 0


def test_a_threshold_that_decides_nothing_moves_nothing() -> None:
    table = sensitivity_table(line("uTtx"), 3, None, LIMITS, Analysis(bootstrap=100))
    assert table.filter(threshold="catapult_above")["shift_log10"].abs().max() == 0
    assert sensitivity_table(line("u").clear(), 3, None, LIMITS, Analysis()).is_empty()


def test_histories_of_toys_are_those_of_their_cells() -> None:
    labels = LABELS | {"steps": STEPS}
    points = [("0", f"{eta:g}", f"c{eta:g}") for eta in np.arange(-3, 1.1, 0.25)]
    cells = toy_cell_table(points, DEPTH, labels, LIMITS)
    histories = list(toy_histories(cells, DEPTH))
    for row, history in zip(cells.iter_rows(named=True), histories, strict=True):
        [end] = judge_history(history, STEPS, [STEPS], LIMITS)
        for name in ("status", "catapulted"):
            assert end[name] == row[name]
    edges = threshold_table(cells, DEPTH, LIMITS)
    table = budget_table(cells, histories, DEPTH, LIMITS).filter(budget=STEPS)
    [lowest] = edges.filter(edge="eta_min")["estimate_log10"]
    assert table["eta_min_log10"].to_list() == [lowest]
    # The toy's own sharpness gives its eta_crit, in its lazy half, where the start is like the end.
    [critical] = edges.filter(edge="eta_crit")["eta_log10"]
    assert critical == pytest.approx(np.log10(2 / initial_sharpness(1.0, DEPTH, "mse")))
