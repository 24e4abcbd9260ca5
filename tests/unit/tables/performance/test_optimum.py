"""The best gamma on finite data, on tables whose best gamma and exponents are known."""

from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest

from gammascape.study import load_study
from gammascape.study.finite import finite_slices
from gammascape.tables.claims import CLAIM_SCHEMA, _finite
from gammascape.tables.dynamics.events import DYNAMICS_SCHEMA
from gammascape.tables.performance.optimum import OPTIMUM_SCHEMA, optimum_table
from gammascape.tables.performance.scores import SCORE_SCHEMA

from ...planted import LABELS

NONE = pl.DataFrame(schema=DYNAMICS_SCHEMA)
GAMMAS = np.arange(-3, 3.1, 0.5)
PLACES = list(product((250, 1000, 4000), (32, 128)))


def planted(
    rng: np.random.Generator,
    slopes: tuple[float, float],
    at: float = 0.3,
    noise: float = 0.002,
    measure: str = "accuracy",
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Scores of slices whose best gamma follows samples and width; parabolas, steeper on the right."""
    rows, members = [], []
    for samples, width in PLACES:
        key = f"{samples}-{width}"
        members.append({"group": "all", "slice": key, "samples": samples, "width": width})
        best = at + slopes[0] * np.log10(samples / 1000) + slopes[1] * np.log10(width / 64)
        for seed, gamma in product(range(3), GAMMAS):
            lost = (0.03 if gamma > best else 0.02) * (gamma - best) ** 2 + noise * rng.normal()
            value = 0.9 - lost if measure == "accuracy" else 0.1 * 10**lost
            rows.append(
                LABELS
                | {"slice": key, "gamma_log10": gamma, "seed": seed, "data_seed": seed}
                | {"measure": measure, "budget": 1, "value": value, "chosen": True}
            )
    return pl.DataFrame(rows, schema=SCORE_SCHEMA), members


def rows(table: pl.DataFrame, quantity: str) -> list[dict[str, Any]]:
    return table.filter(quantity=quantity).to_dicts()


def test_the_best_gamma_and_its_exponents_lie_in_their_intervals() -> None:
    rng, confidence, tables = np.random.default_rng(0), 0.9, 12
    held = dict.fromkeys(("slope_samples", "slope_width", "best_gamma_log10"), 0)
    widths, misses = [], []
    for k in range(tables):
        slopes = ((2.0, 1.0), (0.5, 0.0), (0.0, -0.5))[k % 3]
        # Half a step of the grid, wherever the truth lies between its points.
        at = 0.3 + 0.5 * rng.random()
        table = optimum_table(*_args(planted(rng, slopes, at, (0.002, 0.01)[k % 2])), confidence)
        for name, truth in zip(("slope_samples", "slope_width"), slopes, strict=True):
            [row] = rows(table, name)
            held[name] += row["low"] <= truth <= row["high"]
            misses.append(abs(row["estimate"] - truth))
            widths += [row["high"] - row["low"]] if name == "slope_samples" else []
        for row in rows(table, "best_gamma_log10"):
            truth = at + slopes[0] * np.log10(row["samples"] / 1000)
            truth += slopes[1] * np.log10(row["width"] / 64)
            ends = ((row["low"], -np.inf), (row["high"], np.inf))
            low, high = (beyond if end is None else end for end, beyond in ends)
            held["best_gamma_log10"] += low <= truth <= high
    # Three standard deviations of the binomial below the stated rate.
    for name, count in held.items():
        asked = tables * (len(PLACES) if name == "best_gamma_log10" else 1)
        assert count >= 0.9 * asked - 3 * np.sqrt(0.09 * asked), (name, count)
    assert np.median(misses) < 0.2
    # Over 1.2 decades of samples, with best gammas known to half a step of the grid where noise is small.
    assert np.median(widths[::2]) < 1.6


def _args(made: tuple[pl.DataFrame, list[dict[str, Any]]]) -> tuple[Any, ...]:
    return made[0], NONE, made[1]


@pytest.mark.parametrize("measure", ["accuracy", "test_loss"])
def test_claims_on_finite_data_can_agree_and_differ(measure: str) -> None:
    verdicts = {}
    for name, slopes, at in (("theirs", (2.0, 1.0), 0.3), ("none", (0.0, 0.0), 0.3)):
        made = planted(np.random.default_rng(1), slopes, at, measure=measure)
        table = optimum_table(*_args(made), 0.95)
        claims = pl.DataFrame(list(_finite(table)), schema=CLAIM_SCHEMA)
        assert set(claims["source"]) == {"optimum"}
        found = claims.group_by("claim").agg("verdict")
        verdicts[name] = dict(found.iter_rows())
    between = "an intermediate gamma is best"
    assert set(verdicts["theirs"][between]) | set(verdicts["none"][between]) == {"agrees"}
    follows = "the best gamma follows the number of samples"
    assert verdicts["theirs"][follows] == ["agrees"]
    assert verdicts["none"][follows] == ["differs"]


def test_a_best_gamma_beyond_the_last_is_a_bound_and_none_between_is_best() -> None:
    made = planted(np.random.default_rng(2), (0.0, 0.0), at=9.0)
    table = optimum_table(*_args(made), 0.95)
    for row in rows(table, "best_gamma_log10"):
        assert (row["estimate"], row["high"], row["censored"]) == (3.0, None, 1)
        assert row["low"] > 2
        assert "a better one may lie beyond" in row["reason"]
    for row in rows(table, "intermediate"):
        assert row["high"] < 0
        assert row["p_differs"] < 0.001
    assert {row["reason"] is None for row in rows(table, "slope_samples")} == {False}
    claims = pl.DataFrame(list(_finite(table)), schema=CLAIM_SCHEMA)
    assert set(claims["verdict"]) == {"differs"}


def test_accuracy_at_fitted_data_is_a_measure_and_comes_first_in_claims() -> None:
    scores, members = planted(np.random.default_rng(3), (2.0, 1.0))
    fitted = scores.select(
        *LABELS, "gamma_log10", "seed", "data_seed", fit_test_accuracy="value", path=pl.lit("best")
    )
    dynamics = pl.concat([NONE, fitted], how="diagonal_relaxed")
    table = optimum_table(scores, dynamics, members, 0.95)
    assert set(table["measure"]) == {"accuracy", "fitted_accuracy"}
    claims = pl.DataFrame(list(_finite(table)), schema=CLAIM_SCHEMA)
    assert claims.height == len(PLACES) + 2
    assert all("at fitted data" in quantity for quantity in claims["quantity"])
    assert optimum_table(scores.clear(), NONE, members, 0.95).schema == pl.Schema(OPTIMUM_SCHEMA)


def test_slices_that_use_samples_again_are_grouped_by_all_but_samples_and_width(
    tmp_path: Any,
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("""\
models:
  narrow: {kind: mlp, depth: 3, width: 16}
  wide: {kind: mlp, depth: 3, width: 32}
  deep: {kind: mlp, depth: 4, width: 32}
datasets:
  few: {kind: mnist, training_samples: 100, validation: 0.1}
  more: {kind: mnist, training_samples: 200, validation: 0.1}
  all: {kind: mnist}
grids:
  - model: [narrow, wide, deep]
    dataset: [few, more, all]
    loss: mse
    gamma: {log10: [0]}
    eta: {log10: [0]}
    batch_size: 10
    steps: 100
""")
    found = finite_slices(load_study(path))
    assert [(row["samples"], row["width"]) for row in found] == [
        (90, 16),
        (180, 16),
        (90, 32),
        (180, 32),
    ]
    assert len({row["group"] for row in found}) == 1
