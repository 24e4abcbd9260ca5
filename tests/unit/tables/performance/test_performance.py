"""The best over eta, its means over seeds, and gains over gamma = 1, on tables whose answers are known."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gammascape.runs.history import thin
from gammascape.runs.outcome import Thresholds
from gammascape.tables.edges.budget import judge_history
from gammascape.tables.performance.choice import mark_chosen
from gammascape.tables.performance.gain import gain_table
from gammascape.tables.performance.performance import performance_table
from gammascape.tables.performance.scores import (
    SCORE_SCHEMA,
    TARGETS,
    score_table,
    steps_until,
    test_set_size,
)
from gammascape.tables.statistics.intervals import fit_levels, student
from gammascape.tables.statistics.verdict import judge_above

from ...planted import LABELS

test_set_size.__test__ = False  # type: ignore[attr-defined]


def scores(
    values: np.ndarray[Any, Any], measure: str = "accuracy", samples: int | None = None
) -> pl.DataFrame:
    """The table `scores` of values (gammas, seeds) at log10 gamma = -1, 0, 1, ...; NaN has no value."""
    rows = [
        LABELS
        | {
            "gamma_log10": float(i - 1),
            "seed": seed,
            "data_seed": 0,
            "measure": measure,
            "budget": None if measure == "steps" else 100,
            "target": 0.5 if measure == "steps" else None,
            "value": None if np.isnan(value) else float(value),
            "eta_log10": 0.0,
            "cell": "c",
            "chosen": True,
            "chosen_by": values.shape[1] - 1,
            "reached": 0 if np.isnan(value) else 1,
            "cells": 1,
            "test_samples": samples,
        }
        for i, line in enumerate(values)
        for seed, value in enumerate(line)
    ]
    return pl.DataFrame(rows, schema=SCORE_SCHEMA)


def gains(tables: Iterable[pl.DataFrame], confidence: float) -> list[dict[str, Any]]:
    """Rows of `gain` of many tables, which are slices of one."""
    named = [table.with_columns(slice=pl.lit(f"{k:03}")) for k, table in enumerate(tables)]
    return gain_table(pl.concat(named), confidence).to_dicts()


def gain(values: np.ndarray[Any, Any], confidence: float = 0.95, **more: Any) -> dict[str, Any]:
    (row,) = gain_table(scores(values, **more), confidence).rows(named=True)
    return row


def write_cell(
    folder: Path,
    losses: list[float],
    evaluations: list[tuple[int, float, float | None]],
    validation: float | None = None,
) -> None:
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(
        json.dumps(
            {
                "cell": {"steps": len(losses)},
                "evaluations": [
                    {"step": step, "loss": loss, "accuracy": accuracy}
                    | ({"validation_accuracy": validation} if validation is not None else {})
                    for step, loss, accuracy in evaluations
                ],
            }
        )
    )
    steps = np.arange(len(losses))
    np.savez(folder / "arrays.npz", step=steps, loss=losses, zero_loss=np.ones(len(losses)))


def test_each_budget_has_its_own_learning_rate(tmp_path: Path) -> None:
    found = {
        "fast": [(0, 1.0, 0.1), (10, 0.6, 0.5), (20, 0.4, 0.8), (50, 0.3, 0.85)],
        "slow": [(0, 1.0, 0.1), (10, 0.9, 0.2), (20, 0.9, 0.3), (50, 0.2, 0.9)],
        # A diverged cell counts up to where it was finite.
        "wild": [(0, 1.0, 0.1), (10, 0.5, 0.6), (20, 0.5, 0.7)],
    }
    cells = []
    for eta, (name, evaluations) in enumerate(found.items()):
        losses = [1.0] * 20 + [0.04] * 30 if name == "slow" else [0.4] * 50
        write_cell(tmp_path / name, losses, evaluations)
        cells.append(
            LABELS
            | {"gamma_log10": 0.0, "seed": 0, "data_seed": 0, "eta_log10": float(eta)}
            | {"cell": name, "steps_done": 50}
        )
    table = score_table(pl.DataFrame(cells, infer_schema_length=None), tmp_path)

    def at(measure: str, **where: Any) -> tuple[Any, ...]:
        row = table.filter("chosen", pl.col("measure") == measure, **where).row(0, named=True)
        assert row["chosen_by"] == 0
        return row["value"], row["cell"], row["reached"], row["cells"]

    assert at("accuracy", budget=20) == (0.8, "fast", 3, 3)
    assert at("accuracy", budget=50) == (0.9, "slow", 2, 2)
    assert at("test_loss", budget=50) == (0.2, "slow", 2, 2)
    assert set(table["budget"].drop_nulls()) == {10, 20, 50}
    # Runs are judged by their last ten steps: at 1 step by that one alone, and the slow one after its drop.
    assert at("steps", target=0.5) == (1.0, "fast", 3, 3)
    assert at("steps", target=0.05) == (30.0, "slow", 1, 3)
    # (10 - k + 0.04 k) / 10 <= 0.3 from k = 8 steps after the drop on.
    assert at("steps", target=0.3) == (28.0, "slow", 1, 3)
    assert set(table.filter(measure="steps")["target"]) == set(TARGETS)


def test_a_target_that_nobody_reaches_has_a_row_without_a_value(tmp_path: Path) -> None:
    write_cell(tmp_path / "flat", [1.0] * 10, [(0, 1.0, None), (10, 1.0, None)])
    cell = LABELS | {"gamma_log10": 0.0, "seed": 0, "data_seed": 0, "eta_log10": 0.0}
    cells = pl.DataFrame([cell | {"cell": "flat", "steps_done": 10}], infer_schema_length=None)
    table = score_table(cells, tmp_path)
    steps = table.filter(measure="steps")
    assert steps.height == len(TARGETS)
    assert steps["value"].null_count() == len(TARGETS)
    assert set(table["measure"]) == {"steps", "test_loss"}
    pooled = performance_table(table, 0.95).filter(measure="steps").row(0, named=True)
    assert (pooled["value"], pooled["seeds"], pooled["seeds_without"]) == (None, 0, 1)
    gains = gain_table(table, 0.95).filter(measure="steps")
    assert gains.select("gammas", "gammas_without", "gain", "seeds").unique().row(0) == (
        0,
        1,
        None,
        0,
    )
    assert gains.height == len(TARGETS)


@pytest.mark.parametrize("spike", [1.0, 30.0, 1e25])
@pytest.mark.parametrize("steps", [300, 30_000])
def test_the_steps_to_a_target_are_the_shortest_run_that_is_judged_to_reach_it(
    steps: int, spike: float
) -> None:
    rng = np.random.default_rng(steps)
    time = np.arange(steps) / steps
    losses = np.where(time < 0.3, 1.0, np.exp(-8 * (time - 0.3))) * rng.uniform(0.8, 1.2, steps)
    losses[steps // 3] *= spike
    history = thin(losses) | {"zero_loss": np.ones(len(thin(losses)["step"]))}
    history["loss_max"] = history["loss"]
    reached = [found for found in steps_until(history, steps, TARGETS) if found is not None]
    ends = sorted({*reached, *history["step"][1:].tolist()})
    judged = judge_history(history, steps, ends, Thresholds())
    relative = np.array([row["relative_loss"] for row in judged])
    for target, found in zip(TARGETS, reached, strict=True):
        at = ends.index(found)
        assert relative[at] <= target * (1 + 1e-9)
        assert relative[:at].min() > target
        assert found > 0.3 * steps, "the plateau counts"


def test_a_spike_leaves_the_losses_after_it_as_they_are() -> None:
    losses = np.array([1.0] * 20 + [1e25] + [0.6] * 79)
    history = {"step": np.arange(100), "loss": losses, "zero_loss": np.ones(100)}
    assert steps_until(history, 100, (0.7, 0.5)) == [31, None]


def test_a_loss_that_is_not_finite_reaches_nothing_more() -> None:
    losses = np.array([1.0] * 20 + [0.6] * 20 + [np.inf, np.nan] + [0.0] * 58)
    history = {"step": np.arange(100), "loss": losses, "zero_loss": np.ones(100)}
    assert steps_until(history, 100, (0.7, 0.5)) == [28, None]


@pytest.mark.parametrize("size", [359, 1000, 10_000])
def test_the_size_of_the_test_set_is_read_from_accuracies_in_float32(size: int) -> None:
    counts = np.random.default_rng(0).integers(0, size, 300)
    shares = (counts / size).astype(np.float32).astype(float)
    assert test_set_size(shares) == size


def test_accuracies_of_no_common_test_set_have_no_size() -> None:
    assert test_set_size(np.random.default_rng(0).random(50)) is None
    assert test_set_size(np.array([])) is None


def test_quantiles_of_student_are_those_of_tables() -> None:
    known = {(1, 0.95): 12.706, (2, 0.95): 4.3027, (4, 0.99): 4.6041, (30, 0.9): 1.6973}
    for (freedom, confidence), quantile in known.items():
        # The tables' own rounding.
        assert student(freedom, confidence) == pytest.approx(quantile, abs=6e-4)


def many(
    tmp_path: Path, values: dict[tuple[float, float, int], float | None], steps: int = 10
) -> pl.DataFrame:
    """The table `scores` of accuracies at (log10 gamma, log10 eta, seed); None has diverged."""
    cells = []
    for (gamma, eta, seed), accuracy in values.items():
        name = f"{gamma}_{eta}_{seed}"
        evaluations = [] if accuracy is None else [(steps, 1 - accuracy, accuracy)]
        write_cell(tmp_path / name, [1.0] * steps, [(0, 1.0, 0.1), *evaluations])
        cells.append(
            LABELS
            | {"gamma_log10": gamma, "eta_log10": eta, "seed": seed, "data_seed": seed}
            | {"cell": name, "steps_done": steps}
        )
    return score_table(pl.DataFrame(cells, infer_schema_length=None), tmp_path)


def test_the_other_seed_chooses_eta(tmp_path: Path) -> None:
    values = {(0.0, 0.0, 0): 0.9, (0.0, 1.0, 0): 0.7, (0.0, 0.0, 1): 0.6, (0.0, 1.0, 1): 0.8}
    table = many(tmp_path, values)
    chosen = table.filter("chosen", measure="accuracy")
    assert chosen.select("seed", "eta_log10", "value", "chosen_by", "reached", "cells").rows() == [
        (0, 1.0, 0.7, 1, 2, 2),
        (1, 0.0, 0.6, 1, 2, 2),
    ]
    assert table.filter(measure="accuracy").height == 4
    # Of losses the least.
    assert table.filter("chosen", measure="test_loss")["eta_log10"].to_list() == [1.0, 0.0]
    (row,) = performance_table(table, 0.95).filter(measure="accuracy").rows(named=True)
    assert row["value"] == pytest.approx(0.65)
    assert (row["chosen_by"], row["seeds"], row["interval"]) == (1, 2, "seeds")


def test_a_validation_split_chooses_and_the_test_set_tells(tmp_path: Path) -> None:
    # On the test set another eta and gamma are better, by chance.
    both = {
        (0.0, 0.0): (0.80, 0.7), (0.0, 1.0): (0.84, 0.6),
        (1.0, 0.0): (0.85, 0.9), (1.0, 1.0): (0.95, 0.8),
        (2.0, 0.0): (0.99, 0.5),
    }  # fmt: skip
    for seeds in (1, 3):
        cells = []
        for (gamma, eta), (test, held_out) in both.items():
            for seed in range(seeds):
                name = f"{seeds}/{gamma}_{eta}_{seed}"
                told = [(0, 1.0, 0.1), (10, 1 - test, test + seed / 1000)]
                write_cell(tmp_path / name, [1.0] * 10, told, held_out + seed / 500)
                cells.append(
                    LABELS
                    | {"gamma_log10": gamma, "eta_log10": eta, "seed": seed, "data_seed": seed}
                    | {"cell": name, "steps_done": 10}
                )
        table = score_table(pl.DataFrame(cells, infer_schema_length=None), tmp_path)
        accuracies = table.filter(measure="accuracy")
        assert accuracies["validation"].null_count() == 0
        assert set(accuracies.filter("chosen")["eta_log10"]) == {0.0}
        pooled = performance_table(table, 0.95).filter(measure="accuracy")
        mean = 0.001 * (seeds - 1) / 2
        assert pooled["value"].to_list() == pytest.approx([0.80 + mean, 0.85 + mean, 0.99 + mean])
        [row] = gain_table(table, 0.95).filter(measure="accuracy").to_dicts()
        assert row["best_gamma_log10"] == 1.0
        assert row["best_value"] == pytest.approx(0.85 + mean)
        assert (row["gain"], row["gain_above_one"]) == (pytest.approx(5), pytest.approx(5))
        held = row["gain_held_out"]
        assert held is None if seeds == 1 else held == pytest.approx(5)
        # Losses were measured on the test set alone, which chooses by them.
        losses = table.filter("chosen", measure="test_loss", gamma_log10=1.0)
        assert set(losses["eta_log10"]) == {1.0}


def test_a_run_that_diverged_is_not_chosen(tmp_path: Path) -> None:
    values = {(0.0, 0.0, 0): 0.5, (0.0, 1.0, 0): None, (0.0, 0.0, 1): 0.6, (0.0, 1.0, 1): 0.9}
    chosen = many(tmp_path, values).filter("chosen", measure="accuracy")
    assert chosen["eta_log10"].to_list() == [0.0, 0.0]


def test_one_seed_has_no_interval() -> None:
    for measure in ("accuracy", "test_loss"):
        (row,) = performance_table(scores(np.array([[0.9]]), measure, 100), 0.95).rows(named=True)
        assert (row["value"], row["interval"], row["low"]) == (pytest.approx(0.9), None, None)
        assert row["chosen_by"] == 0


def test_seeds_have_a_mean_with_an_interval_and_losses_a_geometric_one() -> None:
    table = performance_table(scores(np.array([[0.84, 0.86]]), samples=100), 0.95)
    (row,) = table.rows(named=True)
    assert row["interval"] == "seeds"
    assert row["value"] == pytest.approx(0.85)
    # Student's 12.7 standard errors, widened by the root of 1 + 0.8 sqrt(2).
    assert row["low"] == pytest.approx(0.85 - 12.706 * 0.01 * 1.4602, abs=1e-3)
    assert row["high"] == 1.0, "no accuracy is above 1"
    (loss,) = performance_table(scores(np.array([[1.0, 4.0]]), "test_loss"), 0.95).rows(named=True)
    assert loss["value"] == pytest.approx(2.0)


def test_a_mean_of_steps_is_not_known_where_a_seed_misses_the_target() -> None:
    (steps,) = performance_table(scores(np.array([[10, np.nan]]), "steps"), 0.95).rows(named=True)
    assert (steps["value"], steps["seeds"], steps["seeds_without"]) == (None, 1, 1)


def test_a_seed_whose_every_run_diverged_at_a_gamma_is_missed_there(tmp_path: Path) -> None:
    at_one = {(0.0, eta, seed): 0.9 + seed / 1000 for seed in range(3) for eta in (0.0, 1.0)}
    at_ten = {(1.0, eta, seed): 0.92 + seed / 1000 for seed in range(2) for eta in (0.0, 1.0)}
    diverged = {(1.0, eta, 2): None for eta in (0.0, 1.0)}
    table = many(tmp_path, at_one | at_ten | diverged).filter(measure="accuracy")
    missed = table.filter(seed=2, gamma_log10=1.0)
    assert missed.select("value", "reached", "cells").rows() == [(None, 0, 2)] * 2
    one, ten = performance_table(table, 0.95).rows(named=True)
    assert (one["value"], one["seeds_without"]) == (pytest.approx(0.901), 0)
    assert (ten["value"], ten["low"], ten["seeds"], ten["seeds_without"]) == (None, None, 2, 1)
    (row,) = gain_table(table, 0.95).rows(named=True)
    assert (row["gammas"], row["gammas_without"], row["gain"]) == (1, 1, 0.0)
    assert row["best_gamma_log10"] == 0.0
    nothing = ("gain_above_one", "gain_above_one_low", "p_differs", "gain_held_out")
    assert [row[name] for name in nothing] == [None] * 4
    # The others choose as if it were not there, and of two seeds the one that is left for itself.
    of_both = table.filter("chosen", pl.col("seed") < 2, gamma_log10=1.0)
    assert of_both["chosen_by"].to_list() == [1, 1]
    lone = {key: value for key, value in at_ten.items() if key[2] == 0}
    pair = many(tmp_path / "pair", lone | diverged | {(1.0, 2.0, 0): 0.95, (1.0, 2.0, 2): None})
    best = pair.filter("chosen", measure="accuracy", seed=0)
    assert best.select("value", "chosen_by").rows() == [(0.95, 0)]
    # Without a seed in common nothing is compared.
    apart = table.filter((pl.col("gamma_log10") == 0) == (pl.col("seed") == 2))
    assert apart["gamma_log10"].n_unique() == 2
    assert gain_table(apart, 0.95).select("gammas", "gammas_without", "gain").rows() == [
        (0, 2, None)
    ]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_gamma_at_which_all_seeds_diverged_has_a_row_that_says_so(
    tmp_path: Path, seeds: int
) -> None:
    of, etas = range(seeds), (0.0, 1.0)
    at_one = {(0.0, eta, seed): 0.9 + seed / 1000 for seed in of for eta in etas}
    at_ten = {(1.0, eta, seed): None for seed in of for eta in etas}
    for name, reference, values in (("ten", 0.9, at_one | at_ten), ("all", None, at_ten)):
        table = many(tmp_path / name, values)
        rows = performance_table(table, 0.95).filter(gamma_log10=1.0, budget=10)
        assert rows["measure"].to_list() == ["accuracy", "test_loss"]
        for row in rows.iter_rows(named=True):
            nothing = ("value", "low", "high", "interval", "eta_log10")
            assert [row[column] for column in nothing] == [None] * 5
            counts = [row[column] for column in ("seeds", "seeds_without", "reached", "cells")]
            assert counts == [0, seeds, 0, 2 * seeds]
        (row,) = gain_table(table, 0.95).filter(measure="accuracy").rows(named=True)
        assert (row["gammas"], row["gammas_without"]) == (int(reference is not None), 1)
        assert row["value_at_one"] == (reference and pytest.approx(0.9, abs=2e-3))
        assert (row["gain"], row["gain_above_one"]) == (reference and 0.0, None)


def test_the_effect_of_a_seed_drops_out_of_differences() -> None:
    # Seeds differ by 10, gammas by 1; one point is missing.
    levels = fit_levels(
        np.array([0.0, 1, 0, 1, 2]), np.array([0.0, 0, 1, 1, 1]), np.array([1.0, 2, 11, 12, 13])
    )
    assert np.diff(levels.mean) == pytest.approx([1, 1])
    assert levels.error == pytest.approx(np.zeros((3, 3)), abs=1e-9)
    assert levels.freedom == 1


def test_gammas_that_share_no_seed_are_not_compared() -> None:
    levels = fit_levels(
        np.array([0.0, 0, 1, 1, 2, 2]),
        np.array([0.0, 1, 0, 1, 2, 3]),
        np.array([1.0, 2, 2, 3.1, 9, 9]),
    )
    assert np.isnan(levels.error[0, 2])
    assert levels.error[0, 1] > 0


def equal_etas(
    rng: np.random.Generator, etas: dict[float, int], seeds: int, measure: str, tables: int
) -> pl.DataFrame:
    """The table `scores` of networks that are equally good at all gammas and etas, as the seeds choose.

    Slices are so many independent studies.
    """
    at = [(gamma, 0.1 * k) for gamma, count in etas.items() for k in range(count)]
    noise = [
        rng.normal(0, 0.01, (len(at), seeds)) + rng.normal(0, 0.05, seeds) for _ in range(tables)
    ]
    value = 0.7 + np.array(noise) if measure == "accuracy" else 10 ** np.array(noise)
    table = pl.DataFrame(
        {
            **{name: pl.repeat(None, value.size, eager=True) for name in SCORE_SCHEMA},
            "slice": np.repeat([f"{k:03}" for k in range(tables)], len(at) * seeds),
            "measure": measure,
            "gamma_log10": np.tile(np.repeat([gamma for gamma, _ in at], seeds), tables),
            "eta_log10": np.tile(np.repeat([eta for _, eta in at], seeds), tables),
            "seed": np.tile(np.arange(seeds), len(at) * tables),
            "data_seed": 0,
            "value": value.ravel(),
        },
        schema_overrides=SCORE_SCHEMA,
    )
    linear = pl.col("value") if measure == "accuracy" else -pl.col("value").log10()
    given = table.drop("chosen", "chosen_by").with_columns(value=linear, measured="value")
    marked = mark_chosen(given, ["slice", "gamma_log10"], ["eta_log10"])
    return marked.with_columns(value="measured").select(*SCORE_SCHEMA)


@pytest.mark.parametrize(
    ("etas", "seeds", "measure"),
    [
        ({0.0: 2, 1.0: 8}, 3, "accuracy"),
        ({0.0: 2, 1.0: 8}, 10, "test_loss"),
        *(
            (dict.fromkeys((-1.0, 0.0, 1.0, 2.0), 4), 2, m)
            for m in ("accuracy", "test_loss", "steps")
        ),
        (dict.fromkeys(map(float, range(-10, 11)), 3), 3, "steps"),
    ],
)
def test_the_gain_among_equal_gammas_and_etas_is_not_told_from_nothing(
    etas: dict[float, int], seeds: int, measure: str
) -> None:
    rng = np.random.default_rng(len(etas) + seeds)
    confidence, tables, false, below, biased, held_out = 0.9, 100, 0, 0, [], []
    none = 0.0 if measure == "accuracy" else 1.0
    scale = (lambda x: x) if measure == "accuracy" else np.log10
    rows = gain_table(equal_etas(rng, etas, seeds, measure, tables), confidence).to_dicts()
    assert len(rows) == tables
    for row in rows:
        assert row["gain_low"] >= none
        false += row["gain_low"] > none
        below += not row["gain_above_one_low"] <= none <= row["gain_above_one_high"]
        biased.append(scale(row["gain"]))
        held_out.append(scale(row["gain_held_out"]))
    # Three standard deviations of the binomial above the stated rate of errors.
    assert max(false, below) <= tables * 0.1 + 3 * np.sqrt(tables * 0.09)
    assert np.mean(biased) > 3 * np.std(biased) / np.sqrt(tables), "the best looks too good"
    assert abs(np.mean(held_out)) < 3.5 * np.std(held_out) / np.sqrt(tables)


@pytest.mark.parametrize(("lost", "agrees", "differs"), [(0.0, 0.9, 0.02), (2.0, 0.02, 0.9)])
def test_a_gamma_above_one_that_loses_two_points_is_not_as_good(
    lost: float, agrees: float, differs: float
) -> None:
    rng = np.random.default_rng(int(lost))
    tables, found, powers = 100, [], []
    # Three of four gammas above 1 lose more.
    truth = 0.9 - np.array([0.03, 0, lost / 100, 0.03, 0.04, 0.05])
    planted = (
        scores(truth[:, None] + rng.normal(0, 0.001, (6, 5)) + rng.normal(0, 0.05, 5))
        for _ in range(tables)
    )
    for row in gains(planted, 0.95):
        ends = row["gain_above_one_low"], row["gain_above_one_high"]
        found.append(judge_above(*ends, -row["margin"]))
        assert (row["p_differs"] <= 0.05) == (found[-1] == "differs")
        powers.append(row["power"])
    assert np.mean([verdict == "agrees" for verdict in found]) == pytest.approx(agrees, abs=0.1)
    assert np.mean([verdict == "differs" for verdict in found]) == pytest.approx(differs, abs=0.1)
    assert np.mean(powers) > 0.8


def test_a_gamma_that_some_seed_does_not_reach_is_worse_than_all_that_do() -> None:
    rng = np.random.default_rng(5)
    tables = []
    for _ in range(200):
        # log10 gamma = 1 needs 1.4 times the steps, and is not seen to need more than 100.
        steps = 90 * np.array([[1.0], [1.4]]) * 10 ** rng.normal(0, 0.1, (2, 3))
        values = np.vstack((np.full(3, np.nan), np.where(steps > 100, np.nan, steps)))
        tables.append(scores(values, "steps"))
    rows = gains(tables, 0.95)
    assert all(row["gammas_without"] >= 1 for row in rows)
    best = [row["best_gamma_log10"] for row in rows]
    assert len(best) > 20
    assert np.mean(np.equal(best, 1.0)) < 0.2


@pytest.mark.parametrize("apart", [1.0, 3.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_of_the_gain_hold_the_true_gain(seeds: int, apart: float) -> None:
    rng = np.random.default_rng(seeds)
    true = np.array([-0.06, 0.0, 0.02, 0.03, 0.03, 0.01, -0.2])
    # The gamma that barely trains scatters much more than the others; these by up to a factor of `apart`.
    spread = 0.01 * apart ** np.linspace(-1, 1, 7)[rng.permutation(7)]
    spread[-1] = 0.3
    tables, held, kept = 100, 0, 0
    noise = (
        rng.normal(0, 1, (7, seeds)) * spread[:, None] + rng.normal(0, 0.05, seeds)
        for _ in range(tables)
    )
    for row in gains((scores(0.5 + true[:, None] + one) for one in noise), 0.9):
        held += row["gain_low"] <= 3.0 <= row["gain_high"]
        kept += bool({2.0, 3.0} & set(row["best_gammas_log10"]))
    assert held >= tables * 0.9 - 3 * np.sqrt(tables * 0.09)
    assert kept >= tables * 0.9 - 3 * np.sqrt(tables * 0.09)


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_best_of_almost_equal_gammas_is_among_those_that_cannot_be_told_apart(
    seeds: int,
) -> None:
    rng = np.random.default_rng(seeds)
    # By a hundredth of the scatter.
    true = np.array([0.5001, 0.5, 0.5, 0.5, 0.5, 0.5])
    tables, kept = 60, 0
    noise = (rng.normal(0, 0.01, (6, seeds)) for _ in range(tables))
    for row in gains((scores(true[:, None] + one) for one in noise), 0.95):
        kept += -1.0 in row["best_gammas_log10"]
    assert kept >= tables * 0.95 - 3 * np.sqrt(tables * 0.95 * 0.05)


def test_a_gain_far_above_the_scatter_is_found_with_its_gamma() -> None:
    rng = np.random.default_rng(3)
    true = np.array([0.6, 0.7, 0.72, 0.8, 0.7])
    row = gain(true[:, None] + rng.normal(0, 0.001, (5, 3)) + np.array([0.0, 0.1, -0.1]))
    assert row["best_gamma_log10"] == 2.0
    assert row["best_gammas_log10"] == [2.0]
    assert 9 < row["gain_low"] < 10.2
    assert row["gain_high"] < 12
    assert row["gain_held_out"] == pytest.approx(row["gain"])


def test_gains_of_losses_and_steps_are_ratios() -> None:
    values = np.array([[8.0, 4.0], [4.0, 2.0], [2.0, 1.0], [4.0, 2.0]])
    for measure in ("test_loss", "steps"):
        row = gain(values, measure=measure)
        assert row["gain"] == pytest.approx(2.0)
        assert row["best_gamma_log10"] == 1.0
        assert row["value_at_one"] == pytest.approx(np.sqrt(8))


def test_one_seed_has_a_gain_without_interval() -> None:
    for measure, better, worse in (("accuracy", 0.95, 0.9), ("test_loss", 0.2, 0.4)):
        row = gain(np.array([[worse], [worse], [better]]), measure=measure, samples=1000)
        assert row["gain"] == pytest.approx(5.0 if measure == "accuracy" else 2.0)
        assert row["best_gamma_log10"] == 1.0
        nothing = (
            "interval",
            "gain_low",
            "gain_held_out",
            "best_gammas_log10",
            "gain_above_one_low",
        )
        assert [row[name] for name in nothing] == [None] * 5


def test_without_gamma_1_there_is_a_best_gamma_and_no_gain() -> None:
    table = scores(np.array([[0.5, 0.5], [0.9, 0.8]])).filter(pl.col("gamma_log10") != 0)
    (row,) = gain_table(table, 0.95).rows(named=True)
    assert (row["best_gamma_log10"], row["gain"], row["gain_high"]) == (-1.0, None, None)


def test_no_gain_exceeds_what_is_missing_to_an_accuracy_of_one() -> None:
    row = gain(np.array([[0.5, 0.9], [0.97, 0.99], [0.7, 0.99]]))
    assert row["gain_high"] == pytest.approx(2.0)


def test_seeds_that_tie_tell_no_scatter() -> None:
    for values in (np.full((3, 2), 1.0), np.array([[0.9, 0.9], [0.95, 0.95], [0.7, 0.7]])):
        row = gain(values)
        ends = [row["gain_low"], row["gain_above_one_high"], row["p_differs"], row["interval"]]
        assert ends == [None] * 4
        means = performance_table(scores(values), 0.95)
        assert means["low"].null_count() == means["interval"].null_count() == 3
    assert gain(np.full((3, 2), 1.0))["gain_above_one"] == pytest.approx(0.0)


def test_a_gain_and_its_interval_are_possible_and_in_order() -> None:
    row = gain(np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.5]]))
    assert row["gain_low"] == row["gain"] == row["gain_high"] == 0.0
    ends = row["gain_above_one_low"], row["gain_above_one"], row["gain_above_one_high"]
    assert ends == pytest.approx((-100.0, -25.0, 0.0))


def test_of_equal_gammas_the_one_nearest_to_one_is_the_best() -> None:
    assert gain(np.array([[0.9], [0.9], [0.9]]), samples=100)["best_gamma_log10"] == 0.0
