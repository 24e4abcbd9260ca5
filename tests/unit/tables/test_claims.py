"""Verdicts on claims follow from intervals: holding a prediction is not enough, missing it is."""

from typing import Any

import polars as pl
import pytest

from gammascape.figures.page.claims import claims_html, claims_markdown
from gammascape.tables.cells import columns
from gammascape.tables.claims import CLAIM_SCHEMA, claim_table
from gammascape.tables.dynamics.collapse import COLLAPSE_SCHEMA
from gammascape.tables.dynamics.events import DYNAMICS_SCHEMA
from gammascape.tables.dynamics.exponents import DYNAMICS_SCALING_SCHEMA
from gammascape.tables.edges.exponents import SCALING_SCHEMA
from gammascape.tables.factors import TREND_SCHEMA
from gammascape.tables.performance.gain import GAIN_SCHEMA
from gammascape.tables.similarity.along_gamma import SUMMARY_SCHEMA

from ..planted import LABELS

JUDGED = columns("margin p_differs power")
SCHEMAS = {
    "scaling": SCALING_SCHEMA | JUDGED,
    "dynamics": DYNAMICS_SCHEMA,
    "dynamics_scaling": DYNAMICS_SCALING_SCHEMA | JUDGED,
    "collapse": COLLAPSE_SCHEMA | JUDGED,
    "gain": GAIN_SCHEMA,
    "similarity_summary": SUMMARY_SCHEMA,
    "trends": TREND_SCHEMA,
}


def claims(**rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The claims of tables that have these rows, all of one slice of depth 3."""
    tables = {}
    for name, schema in SCHEMAS.items():
        shared = (
            LABELS
            | {"confidence": 0.95, "margin": 0.03, "p_differs": 1e-6, "power": 0.4}
            | ({"depth_exponent": 3} if "depth_exponent" in schema else {})
        )
        known = [
            {k: v for k, v in (shared | row).items() if k in schema} for row in rows.get(name, [])
        ]
        tables[name] = pl.DataFrame(known, schema=dict(schema))
    return claim_table(**tables, optimum=None, confidence=0.95)


def edge(edge: str, window: str, predicted: float, low: float, high: float) -> dict[str, Any]:
    ends = {"slope": (low + high) / 2, "slope_low": low, "slope_high": high}
    place = {"edge": edge, "window": window, "predicted_slope": predicted}
    return place | ends | {"gammas": 4, "points": 8}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.6, 0.7, "agrees"),
        (0.55, 0.9, "agrees"),
        # Nearer to 1/2 than the margin.
        (0.52, 0.7, "undecided"),
        (0.45, 0.7, "undecided"),
        (0.4, 0.6, "differs"),
    ],
)
def test_the_upper_edge_must_tell_its_depth_from_the_next(
    low: float, high: float, verdict: str
) -> None:
    # 2/3 at depth 3; 2/4 and 2/2 at its neighbours.
    [row] = claims(scaling=[edge("eta_max_trained", "rich", 2 / 3, low, high)]).to_dicts()
    assert row["claim"] == "upper edge, ultra-rich"
    assert row["alternatives"] == [0.5, 1.0]
    assert row["verdict"] == verdict
    assert (row["margin"], row["power"]) == (0.03, 0.4)


@pytest.mark.parametrize(("p", "verdict"), [(0.004, "differs"), (0.006, "undecided")])
def test_a_claim_differs_only_if_that_is_rare_among_all_claims_of_the_study(
    p: float, verdict: str
) -> None:
    wrong = edge("eta_max_trained", "rich", 2 / 3, 0.4, 0.6) | {"p_differs": p}
    holds = edge("eta_min", "lazy", 2.0, 1.9, 2.1) | {"p_differs": 1.0}
    table = claims(scaling=[wrong, *(holds | {"slice": f"s{k}"} for k in range(9))])
    row = table.row(by_predicate=pl.col("predicted") < 1, named=True)
    # Ten claims: ten times the smallest.
    assert row["p_holm"] == pytest.approx(10 * p)
    assert row["verdict"] == verdict
    assert table.filter(predicted=2.0)["verdict"].unique().to_list() == ["agrees"]


def test_two_gammas_and_divergence_under_squared_loss_say_nothing() -> None:
    few = edge("eta_min", "lazy", 2.0, 1.9, 2.1) | {"gammas": 2, "slope_low": None}
    assert claims(scaling=[few, edge("eta_max_finite", "lazy", 2.0, 1.9, 2.1)]).is_empty()
    [row] = claims(
        scaling=[edge("eta_max_finite", "lazy", 1.0, 0.9, 1.1) | {"loss": "xent"}]
    ).to_dicts()
    assert row["claim"] == "divergence under cross-entropy"
    assert row["verdict"] == "agrees"


def test_a_collapse_is_told_from_curves_that_halve_at_one_step() -> None:
    # At depth 3 equal steps along eta = c gamma^(2/3) are tau ~ gamma^(-1/3).
    row = {"path": "scaled", "level": 0.5, "expected": "drift = 0", "points": 8}
    ends = [(-0.05, 0.05, "agrees"), (-0.4, 0.05, "undecided"), (-0.4, -0.3, "differs")]
    for low, high, verdict in ends:
        slope = {"tau_slope": (low + high) / 2, "tau_slope_low": low, "tau_slope_high": high}
        [found] = claims(collapse=[row | slope]).to_dicts()
        assert (found["predicted"], found["verdict"]) == (0.0, verdict)
    other = {"path": "best", "level": 0.5, "tau_slope_low": 0.0}
    assert claims(collapse=[row | other]).is_empty()


def runs(seeds: int, each: int, silent: bool | None) -> list[dict[str, Any]]:
    """Runs on the best path; of those whose loss falls, None cannot tell."""
    run = {"path": "best", "window": "rich", "data_seed": 0, "silent": silent}
    run |= {"fall_step": 100.0, "alignment_step": 100.0}
    return [run | {"seed": seed} for seed in range(seeds) for _ in range(each)]


def test_silent_alignment_is_judged_by_the_share_of_runs_whose_loss_falls() -> None:
    never = [run | {"fall_step": None} for run in runs(1, 9, None)]
    [row] = claims(dynamics=runs(6, 3, True) + never).to_dicts()
    assert (row["estimate"], row["points"], row["verdict"]) == (1.0, 18, "agrees")
    assert (row["power"], row["p_differs"]) == (None, 1.0)
    # Runs of one seed may be one and the same observation: nothing follows from many.
    assert claims(dynamics=runs(1, 30, True)).is_empty()
    [row] = claims(dynamics=runs(4, 15, True)).to_dicts()
    assert row["verdict"] == "undecided"
    assert claims_markdown(claims(dynamics=runs(4, 15, True))).endswith("| undecided |\n")
    [row] = claims(dynamics=runs(6, 3, False)).to_dicts()
    assert row["verdict"] == "differs"
    assert row["p_differs"] < 0.05
    # No rise of alignment is none ahead of the loss.
    [row] = claims(dynamics=runs(3, 4, True) + runs(3, 2, False)).to_dicts()
    assert row["estimate"] == pytest.approx(12 / 18)
    assert (row["points"], row["verdict"]) == (18, "undecided")


@pytest.mark.parametrize("known", [True, False])
def test_runs_that_cannot_tell_may_all_be_silent_or_none(known: bool) -> None:
    verdict = "agrees" if known else "differs"
    [few] = claims(dynamics=runs(6, 9, known) + runs(6, 1, None)).to_dicts()
    [many] = claims(dynamics=runs(6, 9, known) + runs(6, 9, None)).to_dicts()
    assert (few["verdict"], few["points"]) == (verdict, 60)
    assert (many["verdict"], many["points"]) == ("undecided", 108)
    assert (few["p_differs"] <= 0.05) == (verdict == "differs")
    assert many["low"] < 0.5 < many["high"]
    assert claims(dynamics=runs(6, 9, None)).is_empty()


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.4, 2.0, "agrees"), (-0.6, 2.0, "undecided"), (-3.0, -0.6, "differs")],
)
def test_large_gamma_is_as_good_where_more_than_a_margin_is_excluded(
    low: float, high: float, verdict: str
) -> None:
    row = {"measure": "accuracy", "budget": LABELS["steps"], "gammas": 5, "margin": 0.5}
    ends = {"gain_above_one": (low + high) / 2} | {
        "gain_above_one_low": low,
        "gain_above_one_high": high,
    }
    [found] = claims(gain=[row | ends]).to_dicts()
    assert found["verdict"] == verdict
    assert "loses at most 0.5 points" in found["statement"]
    assert claims(gain=[row | ends | {"budget": 0}]).is_empty()
    # One seed has no interval.
    assert claims(gain=[row | {"gain_above_one": 1.0}]).is_empty()


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.8, 1.1, "agrees"),
        (-0.1, 1.1, "undecided"),
        (0.8, 1.45, "undecided"),
        (0.2, 0.8, "differs"),
        (1.2, 1.8, "differs"),
    ],
)
def test_depths_together_must_follow_two_over_depth(low: float, high: float, verdict: str) -> None:
    row = {"factor": "depth", "quantity": "slope", "edge": "eta_max_trained", "window": "rich"}
    ends = {"group": "d-mse", "slope": (low + high) / 2, "slope_low": low, "slope_high": high}
    ends |= {"alternatives": [1.5, 0.55, 0.0], "margin": 0.1}
    [found] = claims(trends=[row | ends | {"values": 3}]).to_dicts()
    assert (found["slice"], found["verdict"]) == ("d-mse", verdict)
    # Two depths make a line whatever the law.
    assert claims(trends=[row | ends | {"values": 2}]).is_empty()


def test_likeness_is_told_at_equal_steps_and_at_the_lowest_loss_that_all_reach() -> None:
    shared = {
        "measure": "cka",
        "layers": "last",
        "compared": "architectures",
        "resampled": "architectures",
        "slope": 0.05,
        "networks": 8,
    }
    ends = {"slope_low": 0.02, "slope_high": 0.08, "verdict": "grows"}
    levels = [(0.8, 5), (0.5, 5), (0.3, 4)]
    rows = [
        shared | ends | {"at": "steps", "level": None, "gammas": 5},
        *(shared | ends | {"at": "loss", "level": level, "gammas": n} for level, n in levels),
        shared | ends | {"layers": "all", "at": "steps", "gammas": 5},
        # Too few networks for an interval.
        shared | {"compared": "seeds", "at": "steps", "gammas": 5, "verdict": "undecided"},
        shared
        | ends
        | {
            "measure": "correlation",
            "layers": None,
            "at": "steps",
            "gammas": 5,
            "verdict": "falls",
        },
    ]
    found = {row["claim"]: row for row in claims(similarity_summary=rows).to_dicts()}
    assert {name: row["verdict"] for name, row in found.items()} == {
        "cka of architectures at equal steps": "agrees",
        "cka of architectures at equal loss": "agrees",
        "correlation of architectures at equal steps": "differs",
    }
    assert (
        "at equal loss (0.5 of the loss of f = 0)"
        in found["cka of architectures at equal loss"]["statement"]
    )


def test_architectures_are_never_judged_by_leaving_out_seeds() -> None:
    shared = {"measure": "cka", "layers": "last", "at": "steps", "level": None, "gammas": 5}
    ends = {"slope": 0.05, "slope_low": 0.02, "slope_high": 0.08, "networks": 8}
    rows = [
        shared | ends | {"compared": compared, "resampled": "seeds", "verdict": "grows"}
        for compared in ("architectures", "models", "seeds")
    ]
    wide = {"resampled": "architectures", "slope_low": -0.1, "verdict": "undecided"}
    found = claims(similarity_summary=rows)
    assert found["claim"].to_list() == ["cka of seeds at equal steps"]
    found = claims(similarity_summary=[*rows, rows[0] | wide]).to_dicts()
    assert [row["verdict"] for row in found] == ["undecided", "agrees"]
    assert found[0]["low"] == -0.1


def test_a_study_that_can_judge_nothing_has_an_empty_table() -> None:
    table = claims()
    assert table.is_empty()
    assert table.schema == CLAIM_SCHEMA
    assert claims_html(table) == ""


def test_claims_are_shown_with_interval_prediction_verdict_and_power() -> None:
    table = claims(scaling=[edge("eta_max_trained", "rich", 2 / 3, -0.4, 0.7)])
    for text in (claims_html(table), claims_markdown(table)):
        assert "^" not in text
        assert "exponent of largest trained η 0.15 [−0.40, 0.70]" in text
        assert (
            "undecided; this study could have told 0.67 from 0.50 and 1.00 in 40 % of cases" in text
        )
    assert LABELS["slice"] in claims_html(table)
    assert "arXiv 2410.04642: 1 undecided</summary>" in claims_html(table)
    assert "1 claims were judged" not in claims_html(table)
    both = claims(scaling=[edge("eta_min", "lazy", 2.0, 1.9, 2.1)] * 2)
    assert "2 claims were judged. Were all of them true, at least one would" in claims_html(both)
    sign = table.with_columns(predicted=None, alternatives=pl.lit([]))
    assert "undecided; this study would have found it in 40 % of cases" in claims_html(sign)
