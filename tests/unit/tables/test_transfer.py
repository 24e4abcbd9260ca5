"""Transfer of gamma and eta along a factor, on planes whose best points are known."""

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from gammascape.study import Analysis
from gammascape.tables.cells import CELL_SCHEMA
from gammascape.tables.factors import REGIME_SCHEMA
from gammascape.tables.transfer import TRANSFER_SCHEMA, transfer_table

from ..figures.synthetic import scores_table

WIDTHS = (64, 128, 256, 512)


def planes(
    slope: float, seeds: int = 3, noise: float = 0.01, last: float = 0.0, rng: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cells whose test loss is a parabola in log eta around (N / 64)^slope, at 512 moved by `last`; regimes."""
    random, rows, regimes = np.random.default_rng(rng), [], []
    for width in WIDTHS:
        best = 0.1 + slope * np.log10(width / 64) + last * (width == WIDTHS[-1])
        shared = {"slice": f"w{width}", "model": f"w{width}", "dataset": "digits", "loss": "mse"}
        shared |= {"batch_size": 32, "steps": 600}
        for gamma in (-1.0, 0.0, 1.0):
            for seed in range(seeds):
                for eta in np.arange(-8, 9) / 4:
                    off = eta - best
                    diverged = off > 1.2
                    loss = 0.1 * 10 ** (0.5 * off**2 + 0.05 * gamma**2 + noise * random.normal())
                    rows.append(
                        dict.fromkeys(CELL_SCHEMA)
                        | shared
                        | {"gamma_log10": gamma, "eta_log10": float(eta), "cell": f"{eta}"}
                        | {"seed": seed, "data_seed": 0, "steps_done": 600, "data_digest": "d"}
                        | {"status": "diverged" if diverged else "trained"}
                        | {"relative_loss": None if diverged else loss}
                        | {"test_loss": None if diverged else loss, "base_width": width}
                    )
        regimes.append(
            shared
            | {"factor": "width", "group": "g", "factor_value": float(width), "seeds": seeds}
            | {"quantity": "best_gamma_log10", "measure": "test_loss", "estimate": 0.0}
            | {"low": -1.0, "high": 1.0, "confidence": 0.95}
        )
    cells = pl.DataFrame(rows, schema=CELL_SCHEMA)
    return cells, pl.DataFrame(regimes, schema=REGIME_SCHEMA)


def transfer(*args: Any, **changed: Any) -> pl.DataFrame:
    cells, regimes = planes(*args, **changed)
    table = transfer_table(cells, scores_table(cells), regimes, Analysis())
    assert table.schema == pl.Schema(TRANSFER_SCHEMA)
    return table


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_the_slope_the_best_etas_and_what_is_lost_are_found(slope: float) -> None:
    held: Counter[str] = Counter()
    for rng in range(4):
        first, *_, last = transfer(slope, rng=rng).iter_rows(named=True)
        assert first["gamma_log10"] == first["best_gamma_log10"] == 0.0
        assert first["carried_log10"] == pytest.approx(0.1, abs=0.25)
        assert first["lost"] is None
        best = 0.1 + slope * np.log10(8)
        held["slope"] += last["slope_low"] <= slope <= last["slope_high"]
        held["eta"] += last["eta_low_log10"] <= best <= last["eta_high_log10"]
        held["predicted"] += last["predicted_low_log10"] <= best <= last["predicted_high_log10"]
        # One grid step: a best eta is known no better.
        assert abs(last["extrapolation_error"]) < 0.25
        assert last["fit_error"] < 0.25
        if slope:
            # eta is 0.9 decades too high.
            assert last["lost"] == pytest.approx(10 ** (0.5 * 0.9**2), rel=0.5)
            assert last["verdict"] == "loses"
            assert last["lost_low"] > 1
        else:
            assert last["verdict"] in ("holds", "unknown")
            held["lost"] += last["lost_low"] <= 1 <= last["lost_high"]
    # If they held it in 95 % of planes, it would be fewer than 3 of 4 once in 70 times.
    assert min(held.values()) >= 3


def test_a_last_width_off_the_line_is_an_error_of_extrapolation() -> None:
    *_, last = transfer(0.0, last=-0.75).iter_rows(named=True)
    assert last["extrapolation_error"] == pytest.approx(-0.75, abs=0.25)
    assert last["fit_error"] > 0.1
    assert last["verdict"] == "loses"


def test_a_carried_eta_at_which_the_larger_network_diverges_says_so() -> None:
    *_, last = transfer(-2.0).iter_rows(named=True)
    assert (last["verdict"], last["lost"]) == ("diverges", None)


def test_one_seed_has_no_interval_and_no_verdict() -> None:
    first, *_, last = transfer(0.0, seeds=1).iter_rows(named=True)
    assert first["eta_low_log10"] is None
    assert last["lost"] is not None
    assert (last["lost_low"], last["verdict"]) == (None, "unknown")


def test_between_two_sampled_etas_the_loss_is_on_a_line_through_logarithms() -> None:
    cells, regimes = planes(0.0, noise=0.0)
    # The small network has eta = 1, which the large one lacks.
    cells = cells.filter((pl.col("slice") == "w64") | (pl.col("eta_log10") != 0))
    table = transfer_table(cells, scores_table(cells), regimes, Analysis())
    assert table["carried_log10"].to_list() == [0.0] * 4
    between = (0.5 * 0.35**2 + 0.5 * 0.15**2) / 2
    assert table["lost"][-1] == pytest.approx(10 ** (between - 0.5 * 0.15**2))
    # Three seeds that lose the same do not tell how sure that is.
    assert (table["lost_low"][-1], table["verdict"][-1]) == (None, "unknown")


def test_a_validation_split_chooses_what_is_carried_and_the_test_set_tells_what_is_lost() -> None:
    cells, regimes = planes(0.0)
    scores = scores_table(cells)
    # By the split gamma = 1 is best, and eta = 10^0.75 in the smallest network.
    off = (pl.col("eta_log10") - 0.75 * (pl.col("slice") == "w64")).abs()
    split = scores.with_columns(validation=0.1 + off + pl.col("gamma_log10").abs())
    table = transfer_table(cells, split, regimes, Analysis())
    assert table["carried_log10"].to_list() == [0.75] * 4
    # The split of the others chooses 1, and the test set knows that 10^0.1 is best.
    assert table["lost"][-1] == pytest.approx(10 ** (0.5 * (0.65**2 - 0.1**2)), rel=0.05)


def test_toys_and_a_single_slice_have_no_rows() -> None:
    cells, regimes = planes(0.0, seeds=1)
    assert transfer_table(cells, None, regimes, Analysis()).is_empty()
    one = regimes.filter(slice="w64")
    assert transfer_table(cells, scores_table(cells), one, Analysis()).is_empty()
