"""Advice on planes whose best gamma, best eta, edges and gain are known."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from gammascape.study import Analysis
from gammascape.study.keys.file import StudyFile
from gammascape.tables.advice.read import SliceTables, midway_bounds
from gammascape.tables.advice.table import ADVICE_SCHEMA, advice_table, gain_verdict
from gammascape.tables.advice.words import gamma_cells, head
from gammascape.tables.cells import CELL_SCHEMA
from gammascape.tables.edges.budget import BUDGET_SCHEMA
from gammascape.tables.edges.exponents import scaling_table
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.edges.pooled import pooled_table
from gammascape.tables.factors import REGIME_SCHEMA, TREND_SCHEMA
from gammascape.tables.performance.gain import gain_table
from gammascape.tables.performance.performance import performance_table
from gammascape.tables.transfer import TRANSFER_SCHEMA

from ..figures.synthetic import scores_table

GAMMAS = (-1.0, 0.0, 0.5, 1.0, 2.0)
STEPS = 600


def upper(gamma: float) -> float:
    """log10 of the eta at which training ends: gamma^2, and gamma^(2/3) for depth 3."""
    return 1.25 + min(2 * gamma, 2 / 3 * gamma)


def peak(gamma: float) -> float:
    """Accuracy at the best eta: best at gamma = 10, three points above gamma = 1 there."""
    return 0.9 - 0.03 * (gamma - 1) ** 2


def plane(
    gammas: tuple[float, ...] = GAMMAS,
    seeds: int = 3,
    accuracy: Callable[[float], float] = peak,
    noise: float = 0.002,
    upper: Callable[[float], float] = upper,
    width: float = 2.5,
    etas: Callable[[float], list[float]] | None = None,
    **changed: Any,
) -> pl.DataFrame:
    """Cells of a slice: trained in a window below `upper`, and most accurate in its middle."""
    rows = []
    rng = np.random.default_rng(changed.pop("rng", 0))
    for gamma in gammas:
        grid = etas(gamma) if etas else _grid(upper(gamma) - width - 1, upper(gamma) + 1)
        for seed in range(seeds):
            for eta in grid:
                inside = upper(gamma) - width < eta < upper(gamma)
                status = "trained" if inside else "untrained" if eta < upper(gamma) else "diverged"
                off = eta - (upper(gamma) - width / 2)
                loss = None if status == "diverged" else 0.1 + 0.2 * off**2 if inside else 0.95
                score = accuracy(gamma) - 0.02 * off**2 + noise * rng.normal()
                rows.append(
                    dict.fromkeys(CELL_SCHEMA)
                    | {"slice": "a", "model": "mlp3", "dataset": "digits", "loss": "mse"}
                    | {"batch_size": 32, "steps": STEPS, "cell": f"{gamma}/{eta}/{seed}"}
                    | {"gamma_log10": gamma, "eta_log10": eta, "seed": seed, "data_seed": 0}
                    | {"status": status, "catapulted": False, "relative_loss": loss}
                    | {"test_loss": loss, "test_accuracy": None if loss is None else score}
                    | {"steps_done": STEPS, "seconds": 2.0, "base_width": 64, "data_digest": "d"}
                    | changed
                )
    return pl.DataFrame(rows, schema=CELL_SCHEMA)


def _grid(low: float, high: float) -> list[float]:
    return [k / 2 for k in range(math.ceil(2 * low), math.floor(2 * high) + 1)]


def in_narrow(gamma: float) -> list[float]:
    """Etas around a window of 0.4 decades, two of them in it."""
    return [upper(gamma) - 0.2 + (2 * k + 1) / 10 for k in range(-4, 5)]


def scored(cells: pl.DataFrame) -> pl.DataFrame:
    """Scores, with steps that all gammas make in a part of the budget."""
    value = pl.col("value")
    value = pl.when(measure="steps").then(value / 4).otherwise(value)
    return scores_table(cells).with_columns(value=value)


FIXED = {"edges", "scaling"}
"""Tables that scores do not change."""


def advise(cells: pl.DataFrame, **given: pl.DataFrame) -> pl.DataFrame:
    """Advice from cells, and from tables that take the place of those that follow from them."""
    analysis = Analysis()
    if not given.keys() >= FIXED:
        thresholds = threshold_table(cells, 3)
        followed = {
            "edges": pooled_table(cells, thresholds, 0.95),
            "scaling": scaling_table(thresholds, analysis),
        }
        given = followed | given
    scores = given.pop("scores") if "scores" in given else scored(cells)
    tables = {
        "cells": cells,
        "budget": pl.DataFrame(
            [{"slice": "a", "depth_exponent": 3, "gamma_log10": 99.0}], schema=BUDGET_SCHEMA
        ),
        "scores": scores,
        "performance": performance_table(scores, 0.95),
        "gain": gain_table(scores, 0.95),
        "regimes": None,
        "trends": None,
        "transfer": None,
    }
    with warnings.catch_warnings(action="error"):
        table = advice_table(**(tables | given), analysis=analysis)
    assert table.schema == pl.Schema(ADVICE_SCHEMA)
    return table


def named(table: pl.DataFrame, kind: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in table.filter(kind=kind).iter_rows(named=True)}


@pytest.fixture(scope="module")
def many() -> Callable[..., list[pl.DataFrame]]:
    """Advice on twelve planes that differ in the scatter of seeds alone."""
    cells = plane()
    thresholds = threshold_table(cells, 3)
    edges = pooled_table(cells, thresholds, 0.95)
    given = {"edges": edges, "scaling": scaling_table(thresholds, Analysis())}
    return lambda **how: [advise(plane(rng=k, **how), **given) for k in range(12)]


def test_the_best_gamma_its_eta_the_margin_and_the_gain_are_found(
    many: Callable[..., list[pl.DataFrame]],
) -> None:
    held: Counter[str] = Counter()
    # Three points, and two tenths of a point that are half of the scatter.
    for accuracy, truth in ((peak, 3.0), (lambda g: 0.9 - 0.002 * (g - 1) ** 2, 0.2)):
        for table in many(accuracy=accuracy):
            [choice] = table.filter(kind="choice").to_dicts()
            gamma, eta = choice["gamma_log10"], choice["eta_log10"]
            held["gamma"] += choice["gamma_low_log10"] <= 1 <= choice["gamma_high_log10"]
            best = upper(gamma) - 1.25
            held["eta"] += choice["eta_low_log10"] <= best <= choice["eta_high_log10"]
            gain = named(table, "gain")["accuracy"]
            held["gain"] += gain["low"] <= truth <= gain["high"]
            # The edge lies in the middle of two etas, half a decade apart.
            assert choice["margin_log10"] == pytest.approx(upper(gamma) - eta, abs=0.25)
            assert choice["divergence_log10"] >= choice["margin_log10"]
            if accuracy is peak:
                assert gain["verdict"] == choice["verdict"] == "surely"
                assert abs(gamma - 1) <= 0.5
                assert gain["held_out"] <= gain["estimate"] + 1e-9
                assert re.match(
                    r"Use gamma = \S+ \[.*\] and eta = \S+ \[.*\], \S+ decades below the edge",
                    choice["text"],
                )
    # If they held it in 95 % of planes, it would be fewer than 20 of 24 once in 100 times.
    assert min(held.values()) >= 20


def test_a_plane_without_gain_says_so(many: Callable[..., list[pl.DataFrame]]) -> None:
    verdicts: Counter[str] = Counter()
    for table in many(accuracy=lambda _: 0.9):
        [choice] = table.filter(kind="choice").to_dicts()
        verdicts[choice["verdict"]] += 1
        if choice["verdict"] == "not seen":
            assert choice["gamma_log10"] == 0
            assert named(table, "gain")["accuracy"]["text"].startswith(
                "Gain over gamma = 1, not seen: "
            )
        assert "gain below its error" in named(table, "warning")
    assert verdicts["surely"] == 0
    assert verdicts["not seen"] >= 8


def test_what_rounding_leaves_of_equal_accuracies_is_no_gain() -> None:
    cells = plane()
    ends = {"gain": -4.44e-14, "gain_low": 0.0, "gain_high": 3.71, "gain_held_out": 3.7e-15}
    gain = gain_table(scored(cells), 0.95).with_columns(**{k: pl.lit(v) for k, v in ends.items()})
    text = named(advise(cells, gain=gain), "gain")["accuracy"]["text"]
    assert text == (
        "Gain over gamma = 1, not seen: 0 points of test accuracy [0, 3.71]; "
        "0 in seeds that did not choose it."
    )


GAIN = ("estimate", "low", "high", "held_out")


@pytest.mark.parametrize(
    ("measure", "gain", "verdict"),
    [
        ("accuracy", (None, None, None, None), "unknown"),
        ("accuracy", (1.0, 0.2, 1.8, 0.9), "surely"),
        ("steps", (2.0, 1.5, 2.6, None), "surely"),
        # An interval that excludes nothing, against seeds that gain nothing.
        ("accuracy", (1.0, 0.2, 1.8, -0.1), "not seen"),
        ("accuracy", (1.0, 0.0, 2.5, 0.6), "perhaps"),
        ("accuracy", (1.0, 0.0, 2.5, 0.4), "not seen"),
        ("test_loss", (1.5, 1.0, 2.1, 1.3), "perhaps"),
        ("test_loss", (1.5, 1.0, 2.1, 1.1), "not seen"),
        ("accuracy", (1.0, None, None, None), "perhaps"),
        ("accuracy", (0.0, None, None, 0.0), "not seen"),
        ("accuracy", (1.0, None, None, -0.3), "not seen"),
    ],
)
def test_what_is_gained_in_words(measure: str, gain: tuple[Any, ...], verdict: str) -> None:
    assert gain_verdict(measure, dict(zip(GAIN, gain, strict=True))) == verdict


@pytest.mark.parametrize(("networks", "split"), [(0.002, 0.02), (0.05, 0.0)])
def test_the_interval_of_eta_holds_the_best_of_many_that_noise_ranks(
    networks: float, split: float
) -> None:
    etas = np.arange(-2, 2.01, 0.125)
    at = [(float(g), eta, seed) for g in range(3) for eta in etas for seed in range(3)]
    columns = ("gamma_log10", "eta_log10", "seed")
    cells = pl.DataFrame(at, columns, orient="row").with_columns(
        data_seed=0, steps=1, status=pl.lit("trained")
    )
    eta, none, rng = cells["eta_log10"].to_numpy(), pl.DataFrame(), np.random.default_rng(0)
    held = 0
    for _ in range(60):
        best = rng.uniform(-1, 1)
        told = 0.9 - 0.02 * (eta - best) ** 2 + networks * rng.normal(size=len(eta))
        judged = pl.Series(told + split * rng.normal(size=len(eta))) if split else None
        scores = cells.with_columns(
            measure=pl.lit("accuracy"), budget=1, value=told, validation=pl.lit(judged, pl.Float64)
        )
        reached = scores.select("measure", "budget", "value")
        of = SliceTables(Analysis(), none, none, cells, none, none, none, scores, reached, none)
        low, high = midway_bounds(of.best_eta(0.0)[1], etas)
        assert low is not None
        assert high is not None
        held += low <= best <= high
    # If they held it in 95 % of tables, it would be fewer than 51 of 60 once in 500 times.
    assert held >= 51


def test_of_etas_that_tie_the_middle_is_advised() -> None:
    cells = plane().with_columns(test_accuracy=pl.when(status="trained").then(1.0))
    table = advise(cells)
    for row in table.filter(kind="gamma").to_dicts():
        assert abs(row["eta_log10"] - (upper(row["gamma_log10"]) - 1.25)) <= 0.5
    assert "border of eta" not in named(table, "warning")


def test_each_gamma_has_its_window_steps_score_time_and_mark() -> None:
    cells = plane(gammas=(-2.0, 0.0, 1.0, 2.0), width=2.5)
    narrow = plane(gammas=(3.0,), width=0.4, etas=in_narrow)
    cells = pl.concat([cells, narrow])
    scores = scored(cells)
    # At gamma = 100 half of the loss takes most of the steps, and at 10 one seed does not get there.
    steps = pl.col("measure") == "steps"
    scores = scores.with_columns(
        value=pl.when(steps & (pl.col("gamma_log10") == 2))
        .then(400.0)
        .when(~steps | (pl.col("gamma_log10") != 1) | (pl.col("seed") != 0))
        .then("value")
    )
    rows = {
        row["gamma_log10"]: row
        for row in advise(cells, scores=scores).filter(kind="gamma").to_dicts()
    }
    assert {gamma: row["verdict"] for gamma, row in rows.items()} == {
        -2.0: "lazy",
        0.0: "safe",
        1.0: "out of steps",
        2.0: "out of steps",
        3.0: "narrow window",
    }
    one = rows[0.0]
    assert one["window_log10"] == pytest.approx(2.5, abs=0.5)
    assert one["estimate"] == pytest.approx(peak(0), abs=0.01)
    assert one["low"] < one["estimate"] < one["high"]
    assert one["half_steps"] == pytest.approx(50 * 10**0.2)
    assert one["seconds"] == 2 * cells.filter(gamma_log10=0).height
    assert len(head(one)) == len(gamma_cells(one))
    assert gamma_cells(one)[-1] == "safe"
    assert rows[1.0]["half_steps"] is None


def test_a_window_that_is_not_bracketed_is_not_said_to_be_narrow() -> None:
    one = plane(gammas=(0.0,), etas=lambda gamma: [upper(gamma) - 1.25])
    mark = advise(one).filter(kind="gamma")["verdict"].to_list()
    assert mark == ["unknown"]


def test_richness_says_which_gammas_are_lazy_where_it_was_measured() -> None:
    gamma = pl.col("gamma_log10")
    moved = {-2.0: 0.5, -1.0: 0.02, 0.0: 0.06, 1.0: 0.8}
    cells = plane(gammas=tuple(moved)).with_columns(
        richness=gamma.replace_strict(moved) + 0.001 * pl.col("seed") * (gamma != 0)
        + pl.when(gamma == 0).then(0.03 * pl.col("seed")).otherwise(0.0)
    )  # fmt: skip
    rows = {row["gamma_log10"]: row for row in advise(cells).filter(kind="gamma").to_dicts()}
    # The window of lazy gammas does not count, and at gamma = 1 seeds do not tell.
    assert {gamma: row["verdict"] for gamma, row in rows.items()} == {
        -2.0: "safe",
        -1.0: "lazy",
        0.0: "safe",
        1.0: "safe",
    }
    row = rows[-1.0]
    # Student's 4.30 times 0.001 / sqrt(3).
    assert row["richness"] == pytest.approx(0.021)
    assert row["richness_high"] - row["richness"] == pytest.approx(0.00248, abs=1e-5)
    assert gamma_cells(rows[1.0])[head(row).index("richness")] == "0.8 [0.8, 0.8]"


def laws(cells: pl.DataFrame, **given: pl.DataFrame) -> dict[str, tuple[str, str]]:
    return {
        name: (row["verdict"], row["text"])
        for name, row in named(advise(cells, **given), "carry").items()
    }


def test_a_law_is_said_to_be_measured_predicted_contradicted_or_unknown() -> None:
    found = laws(plane(gammas=(-3.0, -2.5, -2.0, 0.0, 1.0, 2.0, 3.0)))
    assert found["gamma, lazy"][0] == found["gamma, rich"][0] == "measured"
    assert re.search(
        r"gamma\^2 \[.*\] \(gamma = 0.001 to 0.01\), as by theory gamma\^2; largest ratio",
        found["gamma, lazy"][1],
    )
    assert found["steps"][0] == found["batch_size"][0] == "unknown"
    assert found["depth"][0] == "predicted"
    found = laws(plane(gammas=(0.0, 0.5)))
    assert found["gamma, lazy"][0] == found["gamma, rich"][0] == "predicted"
    # Training ends at the same eta at all gammas.
    found = laws(plane(gammas=(-3.0, -2.0, 1.0, 2.0, 3.0, 4.0), upper=lambda _: 0.25))
    assert found["gamma, rich"][0] == found["gamma, lazy"][0] == "contradicted"
    assert re.search(
        r"gamma\^0 .*, not as by theory .*Use the measured exponent", found["gamma, rich"][1]
    )
    # Two lazy gammas have no interval, and miss the law by decades.
    assert "[" not in found["gamma, lazy"][1]
    assert found["depth"][0] == "unknown"
    assert "does not go as gamma^(2/L) here" in found["depth"][1]
    # A user's network has no depth: nothing contradicts a law that is not known.
    no_law = pl.DataFrame([{"slice": "a", "gamma_log10": 99.0}], schema=BUDGET_SCHEMA)
    assert laws(plane(gammas=(0.0, 0.5)), budget=no_law)["depth"] == (
        "unknown",
        "Not measured: map another depth anew.",
    )
    # Through two gammas a line goes whatever they are.
    for gammas, verdict in (((1.0, 2.0), "from two gammas"), ((1.0, 2.0, 3.0), "measured")):
        found = laws(plane(gammas=gammas), budget=no_law)
        assert found["gamma, rich"][0] == verdict
        assert ("[" in found["gamma, rich"][1]) == (verdict == "measured")


def test_what_other_slices_and_shorter_budgets_measured_is_said() -> None:
    cells = plane(gammas=(0.0, 1.0, 2.0))
    shared = {"slice": "a", "depth_exponent": 3, "gamma_log10": 1.0, "data_seed": 0}
    rows = [
        shared
        | {"budget": budget, "seed": seed, "eta_max_log10": at}
        | {"eta_max_low_log10": at - 0.05, "eta_max_high_log10": at + 0.05}
        for budget, at in ((50, 1.5), (200, 5.0), (600, 1.5 - math.log10(12)))
        for seed in range(3)
    ]
    line = {
        "factor": "batch_size",
        "group": "g",
        "quantity": "prefactor_log10",
        "edge": "eta_max_trained",
    }
    line |= {
        "against": "log10 B",
        "slope": 0.9,
        "slope_low": 0.8,
        "slope_high": 1.0,
        "confidence": 0.95,
    }
    trends = [
        line | {"window": "rich"},
        line | {"window": "lazy", "slope": 0.1},
        line | {"group": "h", "slope": 7.0},
    ]
    carried = {"factor": "width", "group": "g", "factor_value": 64.0, "measure": "accuracy"}
    carried |= {"slope": -0.1, "slope_low": -0.2, "slope_high": 0.0}
    lost = {"lost": 0.1, "lost_low": -0.2, "lost_high": 0.4, "verdict": "holds"}
    found = laws(
        cells,
        budget=pl.DataFrame(rows, schema=BUDGET_SCHEMA),
        regimes=pl.DataFrame(
            [{"factor": f, "group": "g", "slice": "a"} for f in ("batch_size", "width")],
            schema=REGIME_SCHEMA,
        ),
        trends=pl.DataFrame(trends, schema=TREND_SCHEMA),
        transfer=pl.DataFrame(
            [carried, carried | {"factor_value": 512.0, **lost}], schema=TRANSFER_SCHEMA
        ),
    )
    assert found["steps"][0] == "measured"
    # The longest budget up to T/8 is 50.
    assert re.match(r"From 50 to 600 steps T the edge goes as T\^-1 \[", found["steps"][1])
    assert found["batch_size"] == ("measured", "At equal gamma the edge goes as B^0.9 [0.8, 1].")
    text = "From width 64 to 512 the best eta goes as width^-0.1 [-0.2, 0]; gamma and eta of 64, used at 512: "
    assert found["width"] == ("measured", f"{text}holds, at 0.1 [-0.2, 0.4] points less accuracy.")


PLAIN: dict[str, Any] = {"gammas": (0.0, 1.0, 2.0)}


@cache
def plain_advice() -> pl.DataFrame:
    return advise(plane(**PLAIN))


MIXED = pl.when((pl.col("gamma_log10") == 1) & (pl.col("eta_log10") == 1.0)).then(
    pl.lit("untrained")
)


def short_runs(cells: pl.DataFrame) -> pl.DataFrame:
    """Scores of runs of 50 steps beside the scores of all: the higher eta, the better."""
    scores = scored(cells)
    early = scores.filter(measure="accuracy").with_columns(
        budget=pl.lit(50, pl.Int64), value=0.5 - 0.01 * pl.col("eta_log10")
    )
    return pl.concat([scores, early])


WARNED: dict[str, tuple[dict[str, Any], Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "border of gamma": ({"gammas": (-1.0, 0.0, 1.0)}, lambda cells: cells),
    "border of eta": (
        {"etas": lambda g: [round(2 * upper(g) - 2.5) / 2 + k / 2 for k in range(5)]},
        lambda cells: cells,
    ),
    "mixed edge": ({}, lambda cells: cells.with_columns(status=MIXED.otherwise("status"))),
    "narrow window": (
        {"width": 0.4, "etas": in_narrow},
        lambda cells: cells,
    ),
    # Scores that rise with eta, into runs that do not train any more.
    "beyond the edge": (
        {},
        lambda cells: cells.with_columns(
            status=pl.col("status").replace("diverged", "untrained"),
            relative_loss=pl.col("relative_loss").fill_null(0.95),
            test_accuracy=0.9
            - 0.03 * (pl.col("gamma_log10") - 1) ** 2
            - 0.02 * (pl.col("eta_log10") - 1.5 - 2 / 3 * pl.col("gamma_log10")) ** 2,
        ),
    ),
    "few seeds": ({"seeds": 2}, lambda cells: cells),
    "gain below its error": ({"noise": 0.03}, lambda cells: cells),
}


@pytest.mark.parametrize("name", WARNED)
def test_each_warning_has_a_plane_of_its_own(name: str) -> None:
    plain = named(plain_advice(), "warning")
    assert set(plain) == {"chosen on the test set"}
    how, change = WARNED[name]
    found = named(advise(change(plane(**(PLAIN | how)))), "warning")
    assert name in found, list(found)
    assert all(row["text"].endswith(".") and row["todo"].endswith(".") for row in found.values())
    # Nothing else is warned of, but what seeds that scatter bring with them.
    assert set(found) - {name} == set(plain)


def test_a_choice_that_is_out_of_steps_is_a_warning() -> None:
    cells = plane(**PLAIN)
    for steps, more in ((0.4, set()), (0.9, {"out of steps"})):
        late = pl.when(measure="steps").then(steps * STEPS).otherwise("value")
        found = named(advise(cells, scores=scored(cells).with_columns(value=late)), "warning")
        assert set(found) == {"chosen on the test set"} | more


def test_short_runs_that_rank_etas_otherwise_are_a_warning() -> None:
    cells = plane(**PLAIN)
    found = named(advise(cells, scores=short_runs(cells)), "warning")
    assert re.match(
        r"After 50 steps etas rank otherwise .*correlation -?0\.\d",
        found["short runs rank otherwise"]["text"],
    )
    same = scored(cells)
    early = same.filter(measure="accuracy").with_columns(budget=pl.lit(50, pl.Int64))
    found = named(advise(cells, scores=pl.concat([same, early])), "warning")
    assert "short runs rank otherwise" not in found


@pytest.mark.parametrize(
    ("eta", "edge", "words"),
    [
        ((-0.9, -1.3, -0.5), None, "the best eta goes as width^-0.9 [-1.3, -0.5]"),
        (None, (0.5, 0.3, 0.7), "the edge of training at large gamma goes as width^0.5 [0.3, 0.7]"),
        ((0.4, 0.1, 0.7), (0.5, 0.3, 0.7), "[0.1, 0.7] and the edge of"),
        # Finite widths move it a little, and scatter may.
        ((0.2, 0.1, 0.3), None, ""),
        ((-0.9, -1.9, 0.1), (0.5, None, None), ""),
    ],
)
def test_networks_whose_eta_moves_with_the_width_are_a_warning(
    eta: tuple[float, ...] | None, edge: tuple[float | None, ...] | None, words: str
) -> None:
    shared = {"factor": "width", "group": "g"}
    names = ("slope", "slope_low", "slope_high")
    line = {"quantity": "prefactor_log10", "edge": "eta_max_trained", "window": "rich"}
    line |= {"against": "log10 N"}
    lost = {"lost": 0.1, "verdict": "unknown", "measure": "accuracy"}
    moved = [dict(zip(names, eta, strict=True)) for eta in (eta,) if eta]
    edges = [dict(zip(names, edge, strict=True)) for edge in (edge,) if edge]
    given = {
        "regimes": pl.DataFrame([shared | {"slice": "a"}], schema=REGIME_SCHEMA),
        "trends": pl.DataFrame([shared | line | own for own in edges], schema=TREND_SCHEMA),
        "transfer": pl.DataFrame(
            [shared | lost | own | {"factor_value": n} for own in moved for n in (64.0, 256.0)],
            schema=TRANSFER_SCHEMA,
        ),
    }
    found = named(advise(plane(**PLAIN), **given), "warning")
    assert set(found) - {"chosen on the test set"} == ({"width scaling"} if words else set())
    if words:
        assert words in found["width scaling"]["text"]
        assert "gammascape check-model" in found["width scaling"]["todo"]


def test_a_gain_that_one_seed_alone_saw_is_no_reason_to_leave_gamma_1() -> None:
    for seeds, verdict, gamma in ((1, "perhaps", 0.0), (2, "surely", 1.0)):
        table = advise(plane(**{**PLAIN, "seeds": seeds}))
        assert table.filter(kind="gain")["verdict"][0] == verdict
        assert table.filter(kind="choice")["gamma_log10"][0] == gamma


def test_a_study_without_test_scores_is_advised_by_its_steps() -> None:
    cells = plane(**PLAIN).with_columns(test_accuracy=None, test_loss=None)
    cells = cells.cast({"test_accuracy": pl.Float64, "test_loss": pl.Float64})
    table = advise(cells)
    [choice] = table.filter(kind="choice").to_dicts()
    assert choice["measure"] == "steps"
    assert choice["gamma_log10"] == 1
    assert "chosen on the test set" not in named(table, "warning")
    split = scored(plane(**PLAIN)).with_columns(validation=0.9 - 0.1 * pl.col("gamma_log10").abs())
    table = advise(plane(**PLAIN), scores=split)
    assert table.filter(kind="gain", measure="accuracy")["gamma_log10"][0] == 0
    assert "chosen on the test set" not in named(table, "warning")
    none = scored(cells).with_columns(value=pl.lit(None, pl.Float64))
    [choice] = advise(cells, scores=none).filter(kind="choice").to_dicts()
    assert (choice["verdict"], choice["eta_log10"], choice["target"]) == ("unknown", None, None)
    loss = advise(plane(**PLAIN).with_columns(test_accuracy=pl.lit(None, pl.Float64)))
    assert loss.filter(kind="choice")["measure"][0] == "test_loss"


HEAD = """\
models:
  mlp3: {kind: mlp, depth: 3, width: 64}
datasets:
  digits: {kind: digits}
grids:
"""


def grids(row: dict[str, Any]) -> list[Any]:
    """The entries of `grids`, which a study file takes, and whose cells and device time are the row's."""
    if row["name"] == "next width":
        assert row["todo"] == "gammascape scale STUDY --width 2x"
        return []
    read = yaml.safe_load(HEAD + row["todo"])
    study = StudyFile.model_validate(read)
    counted = [len(list(g.points("mse", 3))) * len(g.seeds) * g.steps[0] for g in study.grids]
    steps = study.grids[0].steps[0]
    assert sum(counted) // steps == row["cells"]
    assert row["seconds"] == pytest.approx(2 * sum(counted) / STEPS)
    return [*study.grids]


def test_what_comes_next_can_be_pasted_into_the_study() -> None:
    [wider] = named(plain_advice(), "next").values()
    assert wider["name"] == "next width"
    # Three gammas and seeds, each with three points at first, three for the edge and four around the best eta.
    assert wider["cells"] == 3 * 3 * 10
    assert wider["seconds"] == pytest.approx(4 * wider["cells"] * 2.0)
    few = named(advise(plane(**(PLAIN | {"seeds": 2}))), "next")
    assert set(few) == {"more seeds", "next width"}
    made = grids(few["more seeds"])
    assert {grid.seed for grid in made} == {(2,)}
    assert {grid.gamma.points()[0] for grid in made} == {0, 1}
    # At gamma = 1 there is one seed of two: the second is asked for there, and a third one everywhere.
    cells = plane(**(PLAIN | {"seeds": 2}))
    cells = cells.filter((pl.col("gamma_log10") != 0) | (pl.col("seed") == 0))
    third = named(advise(cells), "next")["more seeds"]
    assert third["todo"].count(" seed: [1, 2]") == 3
    assert third["cells"] == 2 * 3 + 3 + 3
    beyond = named(advise(plane(gammas=(-1.0, 0.0, 1.0))), "next")["further points"]
    [grid] = grids(beyond)
    assert [float(gamma) for gamma in grid.gamma.points()] == [2]
    # The edge went up by 2/3 of a decade from gamma = 1 to 10.
    etas = [float(eta) for eta in grid.eta.points(2, "mse", 3)]
    assert etas[1] == pytest.approx(upper(2.0) - 1.25, abs=0.5)
    assert grid.seed == (0, 1, 2)
    without = named(advise(plane(gammas=(-1.0, 0.5, 1.0, 1.5))), "next")["further points"]
    assert [float(grid.gamma.points()[0]) for grid in grids(without)] == [0]
    cells = plane(**PLAIN)
    late = scored(cells).with_columns(value=pl.when(measure="steps").then(500.0).otherwise("value"))
    longer = grids(named(advise(cells, scores=late), "next")["more steps"])
    assert {grid.steps for grid in longer} == {(4 * STEPS,)}
    streams = plane(**(PLAIN | {"seeds": 2})).with_columns(data_seed="seed")
    assert {g.data_seed for g in grids(named(advise(streams), "next")["more seeds"])} == {"seed"}


SHAPES: dict[str, tuple[dict[str, Any], Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "nothing trains": ({}, lambda cells: cells.with_columns(status=pl.lit("untrained"))),
    "all diverges": (
        {},
        lambda cells: cells.with_columns(
            pl.lit("diverged").alias("status"),
            *(
                pl.lit(None, pl.Float64).alias(n)
                for n in ("relative_loss", "test_accuracy", "test_loss")
            ),
        ),
    ),
    "one gamma": ({"gammas": (0.0,)}, lambda cells: cells),
    "one gamma that is not 1": ({"gammas": (1.0,)}, lambda cells: cells),
    "one eta": ({"etas": lambda g: [0.5]}, lambda cells: cells),
    "one seed": ({"seeds": 1}, lambda cells: cells),
    "ties": ({"noise": 0.0, "accuracy": lambda _: 0.9}, lambda cells: cells),
    "ties and a gain": ({"noise": 0.0}, lambda cells: cells),
    "no gamma = 1": ({"gammas": (-1.0, 1.0)}, lambda cells: cells),
    "one cell": ({"gammas": (0.0,), "seeds": 1, "etas": lambda g: [0.0]}, lambda cells: cells),
}
_ODD = re.compile(r"\b(nan|None|inf)\b|  |\[\s*-,|\b1 seeds|(?<!\d)[2-9] (seed|cell)\b")


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_advised_in_words_follows_from_planes_of_every_shape(shape: str) -> None:
    how, change = SHAPES[shape]
    table = advise(change(plane(**(PLAIN | how))))
    for row in table.iter_rows(named=True):
        for text in (row["text"], row["todo"] if row["kind"] != "next" else None):
            assert text is None or (text.endswith(".") and not _ODD.search(text)), text
    [choice] = table.filter(kind="choice").to_dicts()
    verdicts = {
        "nothing trains": "unknown",
        "all diverges": "unknown",
        "one gamma": "not seen",
        "one gamma that is not 1": "unknown",
        "no gamma = 1": "unknown",
        "one seed": "perhaps",
        "ties": "not seen",
        "ties and a gain": "perhaps",
        "one cell": "not seen",
    }
    assert choice["verdict"] == verdicts.get(shape, choice["verdict"])
    if shape in ("nothing trains", "all diverges"):
        assert choice["text"].startswith("No network trains within 600 steps")
        assert ("The lowest loss is " in choice["todo"]) == (shape == "nothing trains")
        assert table.height == 1
        return
    if shape in ("one seed", "ties", "ties and a gain", "one cell"):
        assert choice["gamma_low_log10"] is None
        assert choice["eta_low_log10"] is None
    if shape == "ties":
        assert choice["gamma_log10"] == 0
    for row in named(table, "next").values():
        grids(row)
