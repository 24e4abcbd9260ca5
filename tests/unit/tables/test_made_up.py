"""Edges, exponents and similarity on made-up cells whose answers are known."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from gammascape.runs.outcome import Facts, Thresholds, judge
from gammascape.study import Analysis
from gammascape.tables.cells import richness
from gammascape.tables.dynamics.curves import History
from gammascape.tables.edges.exponents import scaling_table
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.similarity.cka import unpack_triangle

from ..planted import cka_matrix, line

FACTS = {
    "finite": True,
    "seen_nan": False,
    "initial_loss": 0.1,
    "final_loss": 0.01,
    "baseline_loss": 0.1,
    "peak_loss": 0.1,
    "active_fraction": 1.0,
}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    # eta_min, eta_best, eta_max_trained, eta_max_finite: sampled eta in grid steps, and whether it is bounded.
    [
        ("utTtrx", [(1, True), (2, True), (3, True), (4, True)]),
        ("Ttt", [(0, False), (0, False), (2, False), (2, False)]),
        ("uuurx", [None, (0, False), None, (3, True)]),
        ("xxx", [None, None, None, None]),
        # A trained island beyond a gap is not part of the run around the best cell.
        ("utTutx", [(1, True), (2, True), (2, True), (4, True)]),
        # Finite results above the first divergence do not count.
        ("uTxrd", [(1, True), (1, True), (1, True), (1, True)]),
    ],
)
def test_edges_of_one_line(statuses: str, expected: list[tuple[int, bool] | None]) -> None:
    table = threshold_table(line(statuses), 3)
    found = {
        row["edge"]: (round(row["eta_log10"] / 0.5), row["bounded"])
        for row in table.iter_rows(named=True)
    }
    names = ("eta_min", "eta_best", "eta_max_trained", "eta_max_finite")
    assert [found.get(name) for name in names] == expected


def planted(step: float) -> pl.DataFrame:
    """A slice whose eta_max is gamma^2 for gamma < 1 and gamma^(2/3) above, sampled at `step`."""
    lines = []
    for gamma in (-4.0, -3.0, -2.0, 1.0, 2.0, 3.0, 4.0):
        edge = 2 * gamma if gamma < 0 else 2 * gamma / 3
        start = np.floor(edge / step) * step - 4 * step
        count = int(np.floor((edge - start) / step))
        lines.append(line("u" + "T" * count + "rx", gamma, step, start))
    return pl.concat(lines)


def test_planted_exponents_are_found_within_their_intervals() -> None:
    fits = scaling_table(threshold_table(planted(0.25), 3), Analysis())
    upper = fits.filter(pl.col("edge") == "eta_max_trained")
    for window, slope in (("lazy", 2.0), ("rich", 2 / 3)):
        [row] = upper.filter(pl.col("window") == window).to_dicts()
        assert row["slope"] == pytest.approx(slope, abs=0.1)
        assert row["slope_low"] <= slope <= row["slope_high"]
        assert row["predicted_slope"] == pytest.approx(slope)


def test_the_prefactor_at_the_predicted_slope_is_the_planted_one() -> None:
    table = threshold_table(planted(0.25), 3)
    for window in ("lazy", "rich"):
        [row] = (
            scaling_table(table, Analysis())
            .filter(edge="eta_max_trained", window=window)
            .to_dicts()
        )
        # The planted edges have prefactor 1 and are known to half a grid step.
        assert row["prefactor_at_predicted_log10"] == pytest.approx(0, abs=0.13)
    unknown = scaling_table(table.with_columns(depth_exponent=pl.lit(None, pl.Int64)), Analysis())
    rich = unknown.filter(edge="eta_max_trained", window="rich")
    assert rich["prefactor_at_predicted_log10"].to_list() == [None]


def test_a_coarse_grid_widens_the_interval() -> None:
    widths = []
    for step in (0.125, 0.5):
        fits = scaling_table(threshold_table(planted(step), 3), Analysis())
        [row] = fits.filter(
            pl.col("edge") == "eta_max_trained", pl.col("window") == "rich"
        ).to_dicts()
        widths.append(row["slope_high"] - row["slope_low"])
    assert widths[1] > 1.5 * widths[0]


def song(k: np.ndarray, m: np.ndarray) -> float:
    """The unbiased HSIC of Song et al. (2012), written as in the paper."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    return float(
        np.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def test_debiased_cka_is_that_of_the_unbiased_hsic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 5)), rng.normal(size=(30, 8))
    b[:, :5] += a
    grams = [a @ a.T, b @ b.T]
    expected = song(*grams) / np.sqrt(song(grams[0], grams[0]) * song(grams[1], grams[1]))
    assert cka_matrix(grams)[0, 1] == pytest.approx(expected, rel=1e-10)


def test_unrelated_representations_have_cka_zero_on_average() -> None:
    rng = np.random.default_rng(1)
    values = []
    for _ in range(40):
        a, b = rng.normal(size=(2, 40, 400))
        values.append(cka_matrix([a @ a.T, b @ b.T])[0, 1])
    # The biased estimator would give about 0.9 here; the mean of 40 debiased ones is within 0.02 of 0.
    assert abs(np.mean(values)) < 0.02


def test_cka_does_not_see_rotation_scale_or_translation() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(25, 6))
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    b = 3.0 * a @ q + 5.0
    assert cka_matrix([a @ a.T, b @ b.T])[0, 1] == pytest.approx(1.0, abs=1e-9)


def test_a_packed_triangle_is_unpacked() -> None:
    gram = np.arange(16.0).reshape(4, 4)
    gram = gram + gram.T
    assert np.array_equal(unpack_triangle(gram[np.triu_indices(4)]), gram)


def test_smoothing_keeps_a_constant_loss() -> None:
    steps = np.arange(1.0, 1001)
    at, relative = History(steps - 1, np.full(1000, 0.05), np.full(1000, 0.1)).smooth()
    assert np.allclose(relative, 0.5)
    assert at[0] == 1
    assert len(at) < 80


def test_richness_goes_from_lazy_to_rich() -> None:
    def of(kernels: dict[str, float | None], *changes: float) -> float | None:
        taken = [{"step": 0, "initial_cka": {"a": 1.0}}, {"step": 9, "initial_cka": kernels}]
        weights = {f"layer{k}": change for k, change in enumerate(changes)}
        return richness({"observables": taken, "relative_change": weights})

    assert of({"a": 1.0, "b": 1.0}, 0.0, 0.0) == 0
    # Debiased CKA of unrelated kernels may be negative.
    assert of({"a": -0.1, "b": 0.0}, 0.1, 1e6) == pytest.approx(1)
    # A quarter of the kernels, and half of the weight that moved the most.
    assert of({"a": 0.5, "b": 1.0}, 1.0, 0.2) == pytest.approx(0.375)
    assert of({"a": None}, 1.0) is None
    assert of({"a": 0.5}) is None
    assert richness({"observables": [{"step": 9}], "relative_change": {"a": 1.0}}) is None
    assert richness({"relative_change": {"a": 1.0}}) is None


@pytest.mark.parametrize(
    ("changes", "status", "catapulted", "kept"),
    [
        ({}, "trained", False, True),
        ({"final_loss": 0.09}, "untrained", False, True),
        ({"final_loss": 0.2}, "runaway", False, True),
        ({"peak_loss": 5.0}, "trained", True, True),
        ({"active_fraction": 0.0, "final_loss": 8.0}, "dead", False, True),
        ({"finite": False, "seen_nan": True, "final_loss": None}, "diverged", False, False),
        ({"finite": False, "final_loss": None}, "diverged", False, True),
    ],
)
def test_status_follows_from_the_facts(
    changes: dict[str, Any], status: str, catapulted: bool, kept: bool
) -> None:
    outcome = judge(Facts(**(FACTS | changes)), Thresholds())
    assert (outcome.status, outcome.catapulted, outcome.kept_by_nan_rule) == (
        status,
        catapulted,
        kept,
    )
