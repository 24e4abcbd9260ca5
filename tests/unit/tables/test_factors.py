"""Which slices differ in one factor alone, and what is found along it, on tables whose answers are known."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gammascape.study import Analysis, load_study
from gammascape.study.factors import members
from gammascape.tables.edges.exponents import scaling_table
from gammascape.tables.factors import REGIME_SCHEMA, regime_table, trend_table
from gammascape.tables.performance.gain import GAIN_SCHEMA
from gammascape.workflow.catalogue import figures_of, tables_of
from gammascape.workflow.plan import load_plan

from ..planted import threshold_rows

ANALYSIS = Analysis(bootstrap=300)
DATASETS = {
    "clean": "{kind: mnist}",
    "noisy": "{kind: mnist, label_noise: 0.2}",
    "few": "{kind: mnist, training_samples: 500}",
    "mixed": "{kind: mnist, label_noise: 0.2, training_samples: 500}",
    "digits": "{kind: digits}",
    "fewdigits": "{kind: digits, training_samples: 200}",
    "manydigits": "{kind: digits, training_samples: 1500}",
}
MODELS = {
    "a": "{kind: mlp, depth: 2, width: 8}",
    "b": "{kind: mlp, depth: 3, width: 8}",
    "broad": "{kind: mlp, depth: 3, width: 32}",
    "wide": "{kind: mlp, depth: 4, width: 16}",
    "net": "{kind: cnn, width: 8}",
}


def study(folder: Path, *grids: dict[str, Any]) -> Any:
    lines = []
    for grid in grids:
        keys = {"loss": "mse", "gamma": "{log10: [0]}", "eta": "{log10: [0]}"}
        keys |= {"batch_size": 10, "steps": 100} | grid
        lines += ["  -", *(f"    {key}: {value}" for key, value in keys.items())]
    text = "\n".join(lines)
    for section, known in (("models", MODELS), ("datasets", DATASETS)):
        # A study may define nothing that it does not use.
        used = set(re.findall(r"\w+", " ".join(str(grid[section[:-1]]) for grid in grids)))
        entries = [f"  {name}: {spec}" for name, spec in known.items() if name in used]
        text = "\n".join([f"{section}:", *entries, "grids:" if section == "models" else "", text])
    (folder / "s.yaml").write_text(text + "\n")
    return load_study(folder / "s.yaml")


def values(found: Any) -> list[tuple[str, float]]:
    return [(member.factor, member.value) for member in found]


def test_slices_that_differ_in_one_factor_alone_are_compared(tmp_path: Path) -> None:
    found = members(
        study(
            tmp_path,
            {"model": "[a, b, wide, net]", "dataset": "clean"},
            {"model": "net", "dataset": "clean", "batch_size": "[10, 20]", "steps": 50},
        )
    )
    # wide has another width, and net no depth to vary.
    by_steps = [("steps", 50), ("steps", 100)]
    of_size = [("batch_size", 10), ("batch_size", 20)]
    assert values(found) == [("depth", 2), ("depth", 3), *of_size, *by_steps]
    assert found[0].group == "mlp on clean mse B = 10 T = 100"
    assert found[2].group == "net on clean mse T = 50"
    assert found[3].slice == "net-clean-mse-B20-T50"
    assert found[4].group == "net on clean mse B = 10"


def test_networks_of_one_kind_that_differ_in_width_alone_are_compared(tmp_path: Path) -> None:
    found = members(study(tmp_path, {"model": "[b, broad, net]", "dataset": "clean"}))
    assert values(found) == [("width", 8), ("width", 32)]
    assert found[0].group == "mlp on clean mse B = 10 T = 100"


def test_options_of_data_are_compared_one_at_a_time(tmp_path: Path) -> None:
    found = members(study(tmp_path, {"model": "a", "dataset": "[clean, noisy, few, mixed]"}))
    # Of 60,000 samples 100 steps see 1,000.
    assert values(found) == [
        *[("label_noise", 0.0), ("label_noise", 0.2)] * 2,
        *[("training_samples", 500), ("training_samples", 1000)] * 2,
    ]
    groups = {member.group for member in found if member.factor == "label_noise"}
    assert groups == {"a on mnist mse B = 10 T = 100", "a on mnist mse B = 10 T = 100 (2)"}


def test_an_endless_stream_has_as_many_samples_as_are_drawn(tmp_path: Path) -> None:
    found = members(study(tmp_path, {"model": "a", "dataset": "[digits, fewdigits, manydigits]"}))
    # 1,500 samples are more than 100 steps see, and equal a stream.
    assert values(found) == [("training_samples", 200), ("training_samples", 1000)]


def test_a_study_without_such_slices_has_no_tables_and_figures_for_them(tmp_path: Path) -> None:
    study(tmp_path, {"model": "[a, net]", "dataset": "clean"})
    plan = load_plan({"study": str(tmp_path / "s.yaml")})
    assert not {"regimes", "trends"} & set(tables_of(plan, "s"))
    study(tmp_path, {"model": "[a, b]", "dataset": "[clean, noisy]"})
    plan = load_plan({"study": str(tmp_path / "s.yaml")})
    assert tables_of(plan, "s")[-5:] == ["regimes", "trends", "transfer", "claims", "advice"]
    stems = [stem.rsplit("/", 1)[1] for stem in figures_of(plan, "s")]
    assert {"depth", "label_noise"} < set(stems)
    assert not {"batch_size", "training_samples"} & set(stems)
    assert {type(value) for member in plan.members("s") for value in member.values()} == {
        str,
        float,
    }


def planted(
    factor: str,
    edges: dict[float, tuple[float, float]],
    step: float = 0.1,
    depth: int | None = None,
) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Members, and thresholds of eta = 10^prefactor gamma^exponent at large gamma, for each value."""
    compared, tables = [], []
    gammas = np.arange(1.0, 5.0)
    for value, (exponent, prefactor) in edges.items():
        key = f"s{value:g}"
        depth_of = int(value) if factor == "depth" else depth or 3
        rows = threshold_rows(gammas, (prefactor + exponent * gammas)[:, None], step, depth_of)
        size = int(value) if factor == "batch_size" else 1
        tables.append(rows.with_columns(slice=pl.lit(key), batch_size=pl.lit(size, pl.Int64)))
        compared.append({"factor": factor, "group": "g", "value": value, "slice": key})
    return compared, pl.concat(tables)


def regimes_of(compared: list[dict[str, Any]], thresholds: pl.DataFrame) -> pl.DataFrame:
    scaling = pl.concat(
        scaling_table(part, ANALYSIS)
        for part in thresholds.partition_by("slice", maintain_order=True)
    )
    return regime_table(of_data(compared), thresholds, scaling, None, compared, ANALYSIS)


def of_data(compared: list[dict[str, Any]], digests: dict[str, str] | None = None) -> pl.DataFrame:
    """Slices and digests of their data, the same if none are given."""
    slices = [member["slice"] for member in compared]
    return pl.DataFrame(
        {"slice": slices, "data_digest": [(digests or {}).get(s, "") for s in slices]}
    )


@pytest.mark.parametrize(
    ("digests", "others"),
    [
        ({"s8": "one", "s32": "two", "s128": "two"}, ["s8"]),
        ({"s8": "one", "s32": "two", "s128": "three"}, ["s32", "s128"]),
        ({"s8": "law a", "s32": "law b", "s128": "law c"}, []),
    ],
)
def test_slices_of_other_data_than_most_are_left_out(
    digests: dict[str, str], others: list[str]
) -> None:
    compared, thresholds = planted("batch_size", dict.fromkeys((8.0, 32.0, 128.0), (2 / 3, 0.0)))
    scaling = pl.concat(
        scaling_table(part, ANALYSIS)
        for part in thresholds.partition_by("slice", maintain_order=True)
    )
    cells = of_data(compared, digests)
    table = regime_table(cells, thresholds, scaling, None, compared, ANALYSIS)
    left = table.filter(pl.col("slice").is_in(others))
    assert left["quantity"].to_list() == ["left_out"] * len(others)
    assert left["slice"].to_list() == others
    stay = table.filter(quantity="slope")["slice"].unique().sort().to_list()
    assert stay == sorted({"s8", "s32", "s128"} - {*others})


def test_planted_prefactors_and_their_power_of_the_batch_size_are_found() -> None:
    # eta = 0.3 B^0.5 gamma^(2/3)
    edges = {b: (2 / 3, np.log10(0.3) + 0.5 * np.log10(b)) for b in (8.0, 32.0, 128.0)}
    table = regimes_of(*planted("batch_size", edges))
    for value, (exponent, prefactor) in edges.items():
        for quantity, truth in (
            ("slope", exponent),
            ("prefactor_log10", prefactor),
            ("prefactor_per_sample_log10", prefactor - np.log10(value)),
        ):
            row = table.filter(quantity=quantity, factor_value=value).row(0, named=True)
            assert row["low"] <= truth <= row["high"]
            # Half a grid step, and for slopes twice that over three decades.
            assert row["estimate"] == pytest.approx(truth, abs=0.05)
    assert table.filter(quantity="slope")["predicted"].to_list() == pytest.approx([2 / 3] * 3)
    trends = trend_table(table)
    row = trends.filter(quantity="prefactor_log10").row(0, named=True)
    assert row["against"] == "log10 B"
    assert row["slope"] == pytest.approx(0.5, abs=0.08)
    assert row["slope_low"] <= 0.5 <= row["slope_high"]
    exponents = trends.filter(quantity="slope").row(0, named=True)
    assert exponents["slope_low"] <= 0 <= exponents["slope_high"]
    assert exponents["predicted"] == 0
    assert "prefactor_per_sample_log10" not in trends["quantity"], "it is the other less one"


@pytest.mark.parametrize(
    ("law", "slope"),
    [(lambda depth: 2 / depth, 1.0), (lambda depth: 3 / depth, 1.5), (lambda depth: 0.5, 0.0)],
)
def test_exponents_have_the_slope_1_against_2_over_l_only_if_they_follow_it(
    law: Any, slope: float
) -> None:
    compared, thresholds = planted("depth", {d: (law(d), 0.7) for d in (2.0, 3.0, 4.0, 5.0)})
    row = trend_table(regimes_of(compared, thresholds)).filter(quantity="slope").row(0, named=True)
    assert (row["against"], row["predicted"], row["values"]) == ("2/L", 1.0, 4)
    assert row["slope"] == pytest.approx(slope, abs=0.1)
    assert row["slope_low"] <= slope <= row["slope_high"]
    assert (row["slope_low"] <= 1 <= row["slope_high"]) == (slope == 1)


def test_intervals_of_prefactors_and_of_their_trend_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    tables, held, trend = 24, 0, 0
    gammas = np.arange(1.0, 6.0)
    for _ in range(tables):
        compared, parts, truth = [], [], {}
        power, start = rng.uniform(0, 1), rng.uniform(0, 1)
        for size in (8, 32, 128):
            truth[float(size)] = start + power * np.log10(size)
            y = truth[float(size)] + 2 / 3 * gammas[:, None] + rng.normal(0, 0.1, (5, 2))
            rows = threshold_rows(gammas, y, 0.25)
            parts.append(
                rows.with_columns(slice=pl.lit(f"s{size}"), batch_size=pl.lit(size, pl.Int64))
            )
            member = {"factor": "batch_size", "group": "g", "value": float(size)}
            compared.append(member | {"slice": f"s{size}"})
        table = regimes_of(compared, pl.concat(parts))
        found = table.filter(quantity="prefactor_log10")
        for row in found.iter_rows(named=True):
            held += row["low"] <= truth[row["factor_value"]] <= row["high"]
        row = trend_table(table).filter(quantity="prefactor_log10").row(0, named=True)
        trend += row["slope_low"] <= power <= row["slope_high"]
    # Three standard deviations of the binomial below 95 %.
    assert held >= 3 * tables * 0.95 - 3 * np.sqrt(3 * tables * 0.0475)
    assert trend >= tables * 0.95 - 3 * np.sqrt(tables * 0.0475)


def test_the_best_gamma_and_its_gain_are_those_of_the_full_budget() -> None:
    compared, thresholds = planted("label_noise", {0.0: (2 / 3, 0.0), 0.2: (2 / 3, 0.1)})
    shared = thresholds.row(0, named=True)
    rows = []
    for key, best, equal in (("s0", 1.0, [0.0, 1.0, 2.0]), ("s0.2", 3.0, None)):
        for budget in (10, shared["steps"]):
            rows.append(
                {name: shared[name] for name in GAIN_SCHEMA if name in shared}
                | {"slice": key, "measure": "accuracy", "budget": budget, "gain": 1.5}
                | {"best_gamma_log10": best if budget == shared["steps"] else 0.0}
                | {"best_gammas_log10": equal, "gain_low": 0.0, "gain_high": 3.0}
                | {"gammas": 7, "seeds": 1}
            )
    gains = pl.DataFrame(rows, schema=GAIN_SCHEMA)
    scaling = pl.concat(
        scaling_table(part, ANALYSIS)
        for part in thresholds.partition_by("slice", maintain_order=True)
    )
    table = regime_table(of_data(compared), thresholds, scaling, gains, compared, ANALYSIS)
    best = table.filter(quantity="best_gamma_log10").select(
        "factor_value", "estimate", "low", "high"
    )
    assert best.rows() == [(0.0, 1.0, 0.0, 2.0), (0.2, 3.0, None, None)]
    gain = table.filter(quantity="gain").select("estimate", "low", "high")
    assert gain.rows() == [(1.5, 0.0, 3.0)] * 2


def test_nothing_to_compare_gives_empty_tables() -> None:
    _, thresholds = planted("depth", {2.0: (1.0, 0.0)})
    table = regimes_of([], thresholds)
    assert table.is_empty()
    assert dict(table.schema) == REGIME_SCHEMA
    assert trend_table(table).is_empty()
