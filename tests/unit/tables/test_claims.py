"""Verdicts on claims follow from intervals: holding a prediction is not enough, missing it is."""

from typing import Any

import polars as pl
import pytest

from gammascape.figures.page.claims import claims_html, claims_markdown
from gammascape.tables.claims import CLAIM_SCHEMA, claim_table, judge_sign, judge_value
from gammascape.tables.dynamics.collapse import COLLAPSE_SCHEMA
from gammascape.tables.dynamics.events import DYNAMICS_SCHEMA
from gammascape.tables.dynamics.exponents import DYNAMICS_SCALING_SCHEMA
from gammascape.tables.edges.exponents import SCALING_SCHEMA
from gammascape.tables.factors import TREND_SCHEMA
from gammascape.tables.performance.gain import GAIN_SCHEMA
from gammascape.tables.similarity.along_gamma import SUMMARY_SCHEMA

from ..planted import LABELS

SCHEMAS = {
    "scaling": SCALING_SCHEMA,
    "dynamics": DYNAMICS_SCHEMA,
    "dynamics_scaling": DYNAMICS_SCALING_SCHEMA,
    "collapse": COLLAPSE_SCHEMA,
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
            | {"confidence": 0.95}
            | ({"depth_exponent": 3} if "depth_exponent" in schema else {})
        )
        known = [
            {k: v for k, v in (shared | row).items() if k in schema} for row in rows.get(name, [])
        ]
        tables[name] = pl.DataFrame(known, schema=dict(schema))
    return claim_table(**tables, confidence=0.95)


def edge(edge: str, window: str, predicted: float, low: float, high: float) -> dict[str, Any]:
    ends = {"slope": (low + high) / 2, "slope_low": low, "slope_high": high}
    place = {"edge": edge, "window": window, "predicted_slope": predicted}
    return place | ends | {"gammas": 4, "points": 8}


def test_an_interval_decides_only_where_it_tells_a_prediction_from_its_alternatives() -> None:
    assert judge_value(2.0, [1.0], 1.9, 2.1) == "agrees"
    assert judge_value(2.0, [1.0], 0.9, 2.1) == "undecided"
    assert judge_value(2.0, [1.0], 0.9, 1.9) == "differs"
    # A factor of 1.1 over one and a half decades is below what a law of leading order says.
    assert judge_value(0.5, [0.4], 0.51, 0.53) == "agrees"
    assert judge_value(0.5, [0.4], 0.54, 0.56) == "differs"


def test_a_sign_is_decided_by_the_end_towards_zero() -> None:
    assert judge_sign(0.1, 0.3) == "agrees"
    assert judge_sign(-0.1, 0.3) == "undecided"
    assert judge_sign(-0.3, -0.1) == "differs"
    assert judge_sign(None, None) == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.6, 0.7, "agrees"), (0.55, 0.9, "agrees"), (0.45, 0.7, "undecided"), (0.4, 0.6, "differs")],
)
def test_the_upper_edge_must_tell_its_depth_from_the_next(
    low: float, high: float, verdict: str
) -> None:
    # 2/3 at depth 3; 2/4 and 2/2 at its neighbours.
    [row] = claims(scaling=[edge("eta_max_trained", "rich", 2 / 3, low, high)]).to_dicts()
    assert row["claim"] == "upper edge, ultra-rich"
    assert row["alternatives"] == [0.5, 1.0]
    assert row["verdict"] == verdict


def test_two_gammas_and_divergence_under_squared_loss_say_nothing() -> None:
    few = edge("eta_min", "lazy", 2.0, 1.9, 2.1) | {"gammas": 2}
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


def test_silent_alignment_is_judged_by_the_share_of_runs_that_can_tell() -> None:
    run = {"path": "best", "window": "rich"}
    told = [run | {"silent": True}] * 6 + [run | {"silent": None}] * 9
    [row] = claims(dynamics=told).to_dicts()
    assert (row["estimate"], row["points"], row["verdict"]) == (1.0, 6, "agrees")
    [row] = claims(dynamics=told[:2] + [run | {"silent": False}] * 2).to_dicts()
    assert row["verdict"] == "undecided"


def test_large_gamma_is_as_good_where_one_cannot_be_told_from_the_best() -> None:
    row = {
        "measure": "accuracy",
        "budget": LABELS["steps"],
        "gain": 0.5,
        "gain_low": 0.0,
        "gain_high": 2.0,
    }
    alike = [([0.0, 1.0], "agrees"), ([-1.0, 0.0], "differs")]
    for gammas, verdict in alike:
        [found] = claims(gain=[row | {"best_gammas_log10": gammas, "gammas": 5}]).to_dicts()
        assert found["verdict"] == verdict
    assert claims(gain=[row | {"budget": 0, "best_gammas_log10": [0.0]}]).is_empty()


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.8, 1.1, "agrees"), (-0.1, 1.1, "undecided"), (0.2, 0.8, "differs")],
)
def test_depths_together_must_follow_two_over_depth(low: float, high: float, verdict: str) -> None:
    row = {"factor": "depth", "quantity": "slope", "edge": "eta_max_trained", "window": "rich"}
    ends = {"group": "d-mse", "slope": (low + high) / 2, "slope_low": low, "slope_high": high}
    [found] = claims(trends=[row | ends | {"values": 3}]).to_dicts()
    assert (found["slice"], found["verdict"]) == ("d-mse", verdict)
    # Two depths make a line whatever the law.
    assert claims(trends=[row | ends | {"values": 2}]).is_empty()


def test_likeness_is_told_at_equal_steps_and_at_the_lowest_loss_that_all_reach() -> None:
    shared = {
        "measure": "cka",
        "layers": "last",
        "compared": "architectures",
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
        "at equal loss (0.5 of that of f = 0)"
        in found["cka of architectures at equal loss"]["statement"]
    )


def test_a_study_that_can_judge_nothing_has_an_empty_table() -> None:
    table = claims()
    assert table.is_empty()
    assert table.schema == CLAIM_SCHEMA
    assert claims_html(table) == ""


def test_claims_are_shown_with_interval_prediction_and_verdict() -> None:
    table = claims(scaling=[edge("eta_max_trained", "rich", 2 / 3, -0.4, 0.7)])
    for text in (claims_html(table), claims_markdown(table)):
        assert "exponent of eta_max_trained 0.15 [−0.40, 0.70]" in text
        assert "0.67" in text
        assert "not decided" in text
    assert LABELS["slice"] in claims_html(table)
    assert "arXiv 2410.04642: 1 not decided</summary>" in claims_html(table)
