"""CKA against its definition, shuffled probes, intervals that leave out networks, and the tables of similarity."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import t

from gammascape.measure.kernels import debiased_similarity
from gammascape.study import Analysis
from gammascape.tables.similarity.along_gamma import EqualGamma, trends
from gammascape.tables.similarity.baseline import (
    SHUFFLES,
    SimilarityWithBaseline,
    compare_outputs,
    compare_pairs,
)
from gammascape.tables.similarity.cka import pair_vector
from gammascape.tables.similarity.networks import Network, common_classes, read_network
from gammascape.tables.similarity.similarity import (
    FUNCTION_SCHEMA,
    SIMILARITY_SCHEMA,
    function_table,
    similarity_table,
    trend_tables,
)
from gammascape.tables.statistics.intervals import jackknife, seed_interval

from ...planted import LABELS, cka_matrix

Floats = np.ndarray[Any, np.dtype[np.float64]]
CONFIDENCE = 0.95


def hsic(k: Floats, m: Floats) -> float:
    """The unbiased estimator of HSIC as what it is: means over all pairs, triples and quadruples of samples.

    HSIC = E[k(x,x') m(y,y')] + E[k(x,x')] E[m(y,y')] - 2 E[k(x,x') m(y,y'')] (Gretton et al. 2005).
    """
    n = range(len(k))
    two = [k[i, j] * m[i, j] for i, j in itertools.permutations(n, 2)]
    three = [k[i, j] * m[i, q] for i, j, q in itertools.permutations(n, 3)]
    four = [k[i, j] * m[q, r] for i, j, q, r in itertools.permutations(n, 4)]
    return (
        math.fsum(two) / len(two) + math.fsum(four) / len(four) - 2 * math.fsum(three) / len(three)
    )


def features(seed: int, probes: int = 12, units: int = 5) -> Floats:
    return np.random.default_rng(seed).normal(size=(probes, units)) + seed


def cka_of(a: Floats, b: Floats) -> float:
    return float(cka_matrix([a @ a.T, b @ b.T])[0, 1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cka_is_that_of_its_definition(seed: int) -> None:
    a, b = features(seed), features(seed + 10, units=7)
    b[:, :5] += a
    k, m = a @ a.T, b @ b.T
    expected = hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))
    assert abs(cka_of(a, b) - expected) < 1e-10
    twin = debiased_similarity(torch.tensor(k)[None], torch.tensor(m)[None]).item()
    assert abs(twin - expected) < 1e-10


def test_cka_does_not_see_orthogonal_maps_scales_and_translations() -> None:
    a, b = features(3), features(4)
    b[:, :3] += a[:, :3]
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))
    for changed in (b @ turn, 7 * b, b + np.arange(5.0), 0.1 * b @ turn - 2):
        assert abs(cka_of(a, changed) - cka_of(a, b)) < 1e-10


def test_cka_sees_invertible_linear_maps_that_are_not_orthogonal() -> None:
    a, b = features(3, probes=60), features(4, probes=60)
    b[:, :3] += a[:, :3]
    assert abs(cka_of(a, b @ np.diag([10, 1, 1, 1, 0.1])) - cka_of(a, b)) > 0.05


def test_cka_of_a_constant_representation_is_not_a_number() -> None:
    assert np.isnan(pair_vector(np.ones((8, 8)))).all()


def test_shuffled_probes_have_mean_zero_and_a_variance_that_depends_on_their_number_alone() -> None:
    n = 6
    a, b = features(1, n), features(2, n)
    k, m = a @ a.T, b @ b.T
    orders = [list(order) for order in itertools.permutations(range(n))]
    values = [float(cka_matrix([k, m[order][:, order]])[0, 1]) for order in orders]
    assert np.mean(values) == pytest.approx(0.0, abs=1e-12)
    assert np.var(values) == pytest.approx(2 / (n * (n - 3)), rel=1e-10)


def test_the_baseline_shuffles_the_probes_of_one_side() -> None:
    a, b = features(1, 20), features(2, 20)
    b[:, :3] += a[:, :3]
    grams = [a @ a.T, b @ b.T]
    alike = compare_pairs(np.stack([pair_vector(gram) for gram in grams]), 20)
    order = np.random.default_rng(2410_04642).permutation(20)
    expected = cka_matrix([grams[0], grams[1][order][:, order]])[0, 1]
    # Products are summed in float32.
    assert alike.shuffled[0, 0, 1] == pytest.approx(expected, abs=1e-5)
    assert alike.shuffled[0, 1, 0] == alike.shuffled[0, 0, 1]
    assert alike.values[0, 1] == pytest.approx(cka_matrix(grams)[0, 1], abs=1e-12)


def test_networks_that_share_no_more_than_classes_lie_in_the_baseline_of_classes() -> None:
    rng = np.random.default_rng(1)
    probes = 60
    classes = np.repeat(np.arange(4), probes // 4)[rng.permutation(probes)]
    # Class means, and what each network has within classes: its own, or one of all.
    centres, common = rng.normal(size=(30, 4, 8)), rng.normal(size=(probes, 8))

    def share(same: bool) -> tuple[float, float]:
        each = common if same else rng.normal(size=(30, probes, 8))
        vectors = np.stack([pair_vector(one @ one.T) for one in centres[:, classes] + each])
        alike = compare_pairs(vectors, probes, tuple(classes.tolist()))
        pairs = np.triu_indices(30, 1)
        assert alike.within is not None
        values, baselines = alike.values[pairs], (alike.shuffled, alike.within)
        whole, within = (
            np.mean(values > np.quantile(part[:, *pairs], 0.95, axis=0)) for part in baselines
        )
        return float(whole), float(within)

    # 435 pairs of 30 networks; their share has an error of some 0.015.
    whole, within = share(same=False)
    assert whole > 0.95, "any two that know the classes are told from shuffled probes"
    assert within == pytest.approx(0.05, abs=0.045)
    assert share(same=True)[1] > 0.8


def test_classes_are_those_that_networks_answer_together() -> None:
    one, other = np.eye(3)[[0, 1, 2, 2]], 2 * np.eye(3)[[0, 1, 2, 1]]
    networks = [replace(network("m", 0.0), outputs=values) for values in (one, one, other)]
    assert common_classes(networks) == (0, 1, 2, 2)
    assert common_classes([network("m", 0.0)]) is None


def test_unrelated_representations_lie_in_their_baseline() -> None:
    rng = np.random.default_rng(0)
    representations = rng.normal(size=(40, 64, 10))
    vectors = np.stack([pair_vector(one @ one.T) for one in representations])
    alike = compare_pairs(vectors, 64)
    pairs = np.triu_indices(40, 1)
    values, shuffled = alike.values[pairs], alike.shuffled[:, *pairs]
    # 780 pairs of 40 networks: the mean has an error of some 0.0008, the share of some 0.01.
    assert np.mean(values) == pytest.approx(0.0, abs=0.004)
    assert np.mean(shuffled) == pytest.approx(0.0, abs=0.004)
    above = np.mean(values > np.quantile(shuffled, 0.95, axis=0))
    assert above == pytest.approx(0.05, abs=0.035)


def test_functions_are_shuffled_probe_by_probe() -> None:
    f = np.random.default_rng(3).normal(size=(2, 10, 4))
    unit = f.reshape(2, -1) / np.linalg.norm(f.reshape(2, -1), axis=1, keepdims=True)
    alike = compare_outputs(unit, 10)
    order = np.random.default_rng(2410_04642).permutation(10)
    expected = unit[0] @ unit.reshape(2, 10, 4)[1][order].ravel()
    assert alike.shuffled[0, 0, 1] == pytest.approx(expected, abs=1e-6)


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(4).normal(size=7)
    left = np.array([np.delete(values, k).mean() for k in range(7)])
    found = jackknife(float(values.mean()), [left], CONFIDENCE)
    expected = t.interval(CONFIDENCE, 6, values.mean(), values.std(ddof=1) / np.sqrt(7))
    assert found == pytest.approx((*expected, 6))


@pytest.mark.parametrize("value", [-0.3, -0.1, 0.2])
def test_a_p_value_is_the_level_at_which_the_interval_ends_at_zero(value: float) -> None:
    left = value + np.random.default_rng(4).normal(0, 0.05, 7)
    p = jackknife(value, [left], CONFIDENCE).p_above(value, CONFIDENCE)
    if value > 0:
        assert p == 1.0
    else:
        high = jackknife(value, [left], 1 - p).high
        # The tails of Student's distribution are known to some 1e-12.
        assert high == pytest.approx(0.0, abs=1e-9)


def test_too_few_seeds_have_no_interval() -> None:
    assert seed_interval(np.ones((1, 3)), [0], [0, 1, 2], False, CONFIDENCE).low is None
    itself = np.where(np.eye(2), np.nan, 0.5)
    assert seed_interval(itself, [0, 1], [0, 1], True, CONFIDENCE).low is None


def planted(rng: np.random.Generator, mean: float, seeds: int, probes: int = 24) -> Floats:
    """Unit vectors of the CKA of networks whose expected CKA is the product of their means.

    Each network has its own share of one common representation, and something of its own that is orthogonal to
    it and independent of others'.
    """
    size = probes * (probes - 1) // 2
    share = np.clip(mean + 0.1 * rng.uniform(-1, 1, seeds), 0, 1)
    own = rng.normal(size=(seeds, size - 1))
    own *= (np.sqrt(1 - share**2) / np.linalg.norm(own, axis=1))[:, None]
    return np.hstack((share[:, None], own))


@pytest.mark.parametrize("seeds", [(2, 2), (3, 3), (2, 5)])
def test_intervals_cover_the_known_cka_of_two_models(seeds: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(400):
        a, b = planted(rng, 0.8, seeds[0]), planted(rng, 0.6, seeds[1])
        ids = [list(range(n)) for n in seeds]
        low, high, _ = seed_interval(a @ b.T, *ids, False, CONFIDENCE)
        assert low is not None
        assert high is not None
        hits.append(low <= 0.48 <= high)
    # 400 draws know a share of 0.95 to 0.011; two seeds have one degree of freedom and cover more.
    assert np.mean(hits) >= 0.95 - 3 * 0.011


def test_intervals_cover_the_known_cka_of_seeds_of_one_model() -> None:
    rng = np.random.default_rng(6)
    hits = []
    for _ in range(400):
        a = planted(rng, 0.7, 5)
        values = a @ a.T
        np.fill_diagonal(values, np.nan)
        low, high, _ = seed_interval(values, list(range(5)), list(range(5)), True, CONFIDENCE)
        assert low is not None
        assert high is not None
        hits.append(low <= 0.49 <= high)
    assert np.mean(hits) >= 0.95 - 3 * 0.011


def network(model: str, gamma: float, seed: int = 0) -> Network:
    return Network(model, model, gamma, (seed, 0), None, (), {}, np.zeros((1, 1)))


def growing(
    rng: np.random.Generator, models: int, seeds: int, slope: float = 0.05
) -> list[EqualGamma]:
    """Networks whose expected similarity is 0.5 + slope log10 gamma; each has an effect on all of its pairs."""
    names = [(f"m{m}", s) for m in range(models) for s in range(seeds)]
    effect = np.repeat(rng.normal(0, 0.03, models), seeds) + rng.normal(0, 0.03, len(names))
    tilt = np.repeat(rng.normal(0, 0.01, models), seeds) + rng.normal(0, 0.01, len(names))
    points = []
    for gamma in (-3.0, -2.0, 0.0, 2.0, 3.0):
        mine = effect + tilt * gamma + rng.normal(0, 0.01, len(names))
        values = 0.5 + slope * gamma + mine[:, None] + mine[None]
        networks = tuple(network(model, gamma, seed) for model, seed in names)
        shuffled = np.zeros((SHUFFLES, len(names), len(names)), dtype=np.float32)
        points.append(EqualGamma(gamma, networks, SimilarityWithBaseline(values, shuffled)))
    return points


@pytest.mark.parametrize("resampled", ["seeds", "architectures"])
def test_intervals_of_slopes_cover_the_known_one(resampled: str) -> None:
    rng = np.random.default_rng(7)
    hits, draws = [], 80
    for _ in range(draws):
        # Seeds hold for these models alone: their own effects are part of the truth, and left out here.
        points = growing(rng, 4, 1) if resampled == "architectures" else growing_seeds(rng)
        [row] = [
            row
            for row in trends(points, Analysis()).slopes
            if (row["compared"], row["resampled"]) == ("architectures", resampled)
        ]
        hits.append(row["slope_low"] <= 0.05 <= row["slope_high"])
    # The jackknife of a mean over pairs is wider than need be, never narrower on average.
    assert np.mean(hits) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / draws)


def growing_seeds(rng: np.random.Generator) -> list[EqualGamma]:
    """Three models without effects of their own, with three seeds each."""
    names = [(f"m{m}", s) for m in range(3) for s in range(3)]
    tilt = rng.normal(0, 0.01, len(names))
    points = []
    for gamma in (-3.0, -2.0, 0.0, 2.0, 3.0):
        mine = tilt * gamma + rng.normal(0, 0.02, len(names))
        values = 0.5 + 0.05 * gamma + mine[:, None] + mine[None]
        networks = tuple(network(model, gamma, seed) for model, seed in names)
        shuffled = np.zeros((SHUFFLES, len(names), len(names)), dtype=np.float32)
        points.append(EqualGamma(gamma, networks, SimilarityWithBaseline(values, shuffled)))
    return points


@pytest.mark.parametrize(
    ("slope", "verdict"), [(0.05, "grows"), (-0.05, "falls"), (0.0, "undecided")]
)
def test_the_verdict_is_that_of_the_intervals(slope: float, verdict: str) -> None:
    rng = np.random.default_rng(8)
    found = trends(growing(rng, 6, 2, slope), Analysis()).slopes
    across = [row for row in found if row["compared"] == "architectures"]
    assert [row["resampled"] for row in across] == ["seeds", "architectures"]
    assert across[1]["verdict"] == verdict
    # Both intervals have to lie below 0.
    assert (across[1]["p_differs"] <= 0.05) == (verdict == "falls")
    assert across[1]["model_pairs"] == 15
    # The windows hold -3, -2 and 2, 3: five decades between their means.
    assert across[1]["difference"] == pytest.approx(5 * across[1]["slope"], abs=0.02)


def test_a_pair_that_is_missing_at_one_gamma_does_not_bend_the_slope() -> None:
    values = np.array([[1.0, 0.2, 0.8], [0.2, 1.0, 0.5], [0.8, 0.5, 1.0]])
    shuffled = np.zeros((SHUFFLES, 3, 3), dtype=np.float32)
    points = []
    for gamma in (0.0, 1.0, 2.0):
        models = ["a", "b"] if gamma == 2 else ["a", "b", "c"]
        n = len(models)
        networks = tuple(network(model, gamma) for model in models)
        alike = SimilarityWithBaseline(values[:n, :n] + 0.1 * gamma, shuffled[:, :n, :n])
        points.append(EqualGamma(gamma, networks, alike))
    [row] = trends(points, Analysis()).slopes
    assert row["slope"] == pytest.approx(0.1)


def plant_cell(folder: Path, row: dict[str, Any], signal: Floats, share: float, kind: str) -> None:
    """An artifact whose two layers and outputs have a share of one signal."""
    rng = np.random.default_rng(row["draw"])
    probes = len(signal)

    def packed(common: float) -> Floats:
        x = common * signal + (1 - common) * rng.normal(size=signal.shape)
        x = x - x.mean(0)
        gram = x @ x.T
        return (gram / np.diag(gram).mean())[np.triu_indices(probes)].astype(np.float32)

    def outputs(common: float) -> Floats:
        return (common * signal[:, :3] + (1 - common) * rng.normal(size=(probes, 3))).astype(
            np.float32
        )

    arrays = {"probe_outputs": outputs(share)}
    arrays |= {"gram.one": packed(share / 2), "gram.two": packed(share)}
    reached = []
    if row["reaches"]:
        reached = [{"level": 0.5, "step": 3, "relative_loss": 0.45}]
        arrays["equal.0.5.probe_outputs"] = outputs(0.5)
        arrays |= {f"equal.0.5.gram.{layer}": packed(0.5) for layer in ("one", "two")}
    path = folder / row["cell"]
    path.mkdir(parents=True)
    summary = {
        "cell": {"model": {"kind": kind}, "loss": row["loss"]},
        "hidden_layers": ["one", "two"],
        "equal_loss": reached,
        "data": {"digest": row.get("data", "one")},
    }
    (path / "summary.json").write_text(json.dumps(summary))
    np.savez(path / "arrays.npz", **arrays)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Path]:
    """Three kinds and two depths of one, two seeds; networks of larger gamma have more in common."""
    folder = tmp_path_factory.mktemp("cells")
    signal = np.random.default_rng(9).normal(size=(40, 6))
    kinds = {"deep": "mlp", "flat": "mlp", "conv": "cnn", "attention": "vit"}
    rows = []
    for model, gamma, seed in itertools.product(kinds, (-3.0, 0.0, 3.0), (0, 1)):
        row: dict[str, Any] = LABELS | {
            "model": model,
            "gamma_log10": gamma,
            "seed": seed,
            "data_seed": 0,
            "edge": "eta_best",
            "cell": f"f/{model}-{gamma:g}-{seed}",
            "loss": "mse",
        }
        rows.append(row)
        more = {"draw": len(rows), "reaches": gamma >= 0}
        plant_cell(folder, row | more, signal, 0.5 + 0.1 * gamma, kinds[model])
    return pl.DataFrame(rows, schema_overrides={"passes": pl.Float64}), folder


def test_all_layers_of_different_models_are_compared_at_equal_gamma(
    study: tuple[pl.DataFrame, Path],
) -> None:
    table = similarity_table(*study, Analysis())
    assert dict(table.schema) == SIMILARITY_SCHEMA
    ends = table.filter(at="steps", depth_a=1.0, depth_b=1.0)
    assert ends.height == (4 * 3) ** 2
    inner = table.filter(at="steps", layer_a="one", layer_b="one")
    # The first layer of one model at all pairs of gamma; of different models at equal gamma.
    same = inner.filter(pl.col("model_a") == pl.col("model_b"))
    other = inner.filter(pl.col("model_a") != pl.col("model_b"))
    assert (same.height, other.height) == (4 * 9, 3 * 4 * 3)
    assert (other["gamma_a_log10"] == other["gamma_b_log10"]).all()
    mixed = table.filter(at="steps", layer_a="one", layer_b="two")
    assert mixed.height == 3 * 4 * 3
    assert set(mixed["depth_a"]) == {0.5}
    keys = [
        "at",
        "level",
        "model_a",
        "gamma_a_log10",
        "layer_a",
        "model_b",
        "gamma_b_log10",
        "layer_b",
    ]
    assert table.select(keys).is_duplicated().sum() == 0


def test_values_are_means_over_pairs_of_seeds(study: tuple[pl.DataFrame, Path]) -> None:
    thresholds, folder = study
    table = similarity_table(*study, Analysis()).filter(at="steps", layer_a="two", layer_b="two")
    grams: dict[tuple[str, int], Floats] = {}
    for row in thresholds.filter(gamma_log10=0.0).iter_rows(named=True):
        with np.load(folder / row["cell"] / "arrays.npz") as arrays:
            gram = np.zeros((40, 40))
            gram[np.triu_indices(40)] = arrays["gram.two"]
        grams[row["model"], row["seed"]] = gram + np.triu(gram, 1).T
    pairs = [cka_matrix([grams["deep", i], grams["conv", j]])[0, 1] for i in (0, 1) for j in (0, 1)]
    at = {"gamma_a_log10": 0.0, "gamma_b_log10": 0.0}
    [row] = table.filter(model_a="deep", model_b="conv", **at).to_dicts()
    assert row["cka"] == pytest.approx(np.mean(pairs), abs=1e-12)
    assert (row["seed_pairs"], row["seeds_a"], row["probes"]) == (4, 2, 40)
    assert row["cka_low"] < row["cka"] < row["cka_high"]
    assert row["shuffled_mean"] < row["shuffled_high"] < row["cka"]
    assert row["p_value"] == pytest.approx(1 / 201)
    [back] = table.filter(model_a="conv", model_b="deep", **at).to_dicts()
    assert (back["cka"], back["p_value"]) == (pytest.approx(row["cka"]), row["p_value"])
    # A network is not compared with itself: two seeds are one pair, counted in both orders.
    [itself] = table.filter(model_a="deep", model_b="deep", **at).to_dicts()
    expected = cka_matrix([grams["deep", 0], grams["deep", 1]])[0, 1]
    assert itself["cka"] == pytest.approx(expected, abs=1e-12)
    assert itself["cka_low"] is None


def test_at_equal_loss_there_are_the_networks_that_reached_it(
    study: tuple[pl.DataFrame, Path],
) -> None:
    table = similarity_table(*study, Analysis()).filter(at="loss")
    assert table["level"].unique().to_list() == [0.5]
    assert set(table["gamma_a_log10"]) == {0.0, 3.0}
    assert table["relative_loss_a"].unique().to_list() == [0.45]
    assert (
        similarity_table(*study, Analysis()).filter(at="steps")["relative_loss_a"].null_count() > 0
    )


def test_functions_are_compared_by_correlation_and_by_what_one_says_of_the_other(
    study: tuple[pl.DataFrame, Path],
) -> None:
    thresholds, folder = study
    single = thresholds.filter(seed=0)
    table = function_table(single, folder, Analysis())
    assert dict(table.schema) == FUNCTION_SCHEMA
    outputs = {}
    for row in single.filter(gamma_log10=3.0).iter_rows(named=True):
        with np.load(folder / row["cell"] / "arrays.npz") as arrays:
            f = arrays["probe_outputs"].astype(np.float64)
        outputs[row["model"]] = f - f.mean(0)
    a, b = outputs["deep"], outputs["conv"]
    at = {"gamma_a_log10": 3.0, "gamma_b_log10": 3.0, "at": "steps"}
    [row] = table.filter(model_a="deep", model_b="conv", **at).to_dicts()
    assert row["correlation"] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-10)
    assert row["r2"] == pytest.approx(1 - ((b - a) ** 2).sum() / (b**2).sum(), abs=1e-10)
    [back] = table.filter(model_a="conv", model_b="deep", **at).to_dicts()
    assert back["r2"] == pytest.approx(1 - ((b - a) ** 2).sum() / (a**2).sum(), abs=1e-10)
    # One seed has no other one to be compared with.
    [itself] = table.filter(model_a="deep", model_b="deep", **at).to_dicts()
    assert (itself["correlation"], itself["r2"], itself["seed_pairs"]) == (None, None, 0)


def test_networks_of_different_data_are_not_compared(
    study: tuple[pl.DataFrame, Path], tmp_path: Path
) -> None:
    thresholds, folder = study
    other = np.random.default_rng(11).normal(size=(30, 6))
    rows = []
    for model, gamma in itertools.product(("late", "later"), (-3.0, 0.0, 3.0)):
        row = LABELS | {
            "model": model,
            "gamma_log10": gamma,
            "seed": 0,
            "data_seed": 0,
            "edge": "eta_best",
            "cell": f"f/{model}-{gamma:g}-0",
            "loss": "mse",
        }
        rows.append(row)
        more = {"draw": len(rows), "reaches": False, "data": "two"}
        plant_cell(tmp_path, row | more, other, 0.5 + 0.1 * gamma, "mlp")
    for row in thresholds.iter_rows(named=True):
        (tmp_path / row["cell"]).symlink_to(folder / row["cell"])
    both = pl.concat([thresholds, pl.DataFrame(rows, schema=thresholds.schema)])
    keys = {"similarity": similarity_table, "function": function_table}
    for make in keys.values():
        apart, alone = make(both, tmp_path, Analysis()), make(thresholds, folder, Analysis())
        late = apart.filter(pl.col("model_a").str.starts_with("late"))
        assert set(late.select("model_b", "probes").rows()) == {("late", 30), ("later", 30)}
        assert apart.filter(~pl.col("model_a").str.starts_with("late")).equals(alone)
    levels, slopes = trend_tables(both, tmp_path, Analysis())
    counts = {
        compared: slopes.filter(at="steps", measure="cka", layers="last", compared=compared)
        for compared in ("architectures", "models")
    }
    # Of the two late ones there is one pair more, of one architecture; none with the other data.
    assert set(counts["architectures"]["model_pairs"]) == {5}
    assert set(counts["models"]["model_pairs"]) == {2}
    keys_of_level = ["at", "level", "measure", "layers", "compared", "resampled", "gamma_log10"]
    assert not levels.select(keys_of_level).is_duplicated().any()


def test_a_number_added_to_all_outputs_is_seen_under_mse_alone(tmp_path: Path) -> None:
    signal = np.random.default_rng(10).normal(size=(40, 6))
    for loss in ("mse", "xent"):
        rows = []
        for model in ("a", "b"):
            row: dict[str, Any] = LABELS | {
                "model": model,
                "gamma_log10": 0.0,
                "seed": 0,
                "data_seed": 0,
                "edge": "eta_best",
                "cell": f"{loss}/{model}",
                "loss": loss,
            }
            rows.append(row)
            plant_cell(tmp_path, row | {"draw": 0, "reaches": False}, signal, 0.9, model)
        path = tmp_path / f"{loss}/b/arrays.npz"
        with np.load(path) as stored:
            arrays = dict(stored)
        arrays["probe_outputs"] += np.linspace(-3, 3, 40, dtype=np.float32)[:, None]
        np.savez(path, **arrays)
        table = function_table(
            pl.DataFrame(rows, schema_overrides={"passes": pl.Float64}), tmp_path, Analysis()
        )
        correlation = table.filter(model_a="a", model_b="b")["correlation"][0]
        # Outputs are kept in float32.
        assert (correlation == pytest.approx(1.0, abs=1e-5)) == (loss == "xent")


def test_an_interval_over_seeds_is_that_of_leaving_out_each_of_either_side() -> None:
    values = np.random.default_rng(0).normal(size=(3, 5))
    left = [
        np.array([np.delete(values, k, axis).mean() for k in range(size)])
        for axis, size in enumerate(values.shape)
    ]
    wanted = jackknife(float(values.mean()), left, CONFIDENCE)
    found = seed_interval(values, range(3), range(5), False, CONFIDENCE)
    # Sums of fifteen numbers in another order.
    assert found == pytest.approx(wanted, rel=1e-12)


class KeepingFolder:
    """Stands in for the folder of cells of a stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared: dict[Any, Any] = {}

    def __truediv__(self, cell: str) -> Path:
        return self.folder / cell


def test_tables_of_a_stage_read_each_network_once_for_each_confidence(
    study: tuple[pl.DataFrame, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(folder: Path, *given: Any) -> Network | None:
        read.append(folder)
        return read_network(folder, *given)

    monkeypatch.setattr("gammascape.tables.similarity.similarity.read_network", reading)
    thresholds, folder = study
    keeping: Any = KeepingFolder(folder)
    found = [
        table
        for make in (similarity_table, function_table, trend_tables)
        for table in as_tables(make(thresholds, keeping, Analysis()))
    ]
    once = len(read)
    alone = [
        table
        for make in (similarity_table, function_table, trend_tables)
        for table in as_tables(make(*study, Analysis()))
    ]
    assert len(read) == 4 * once
    assert [one.equals(other) for one, other in zip(found, alone, strict=True)] == [True] * 4
    wide = similarity_table(thresholds, keeping, Analysis(confidence=0.99))
    assert wide["confidence"].unique().to_list() == [0.99]


def as_tables(made: Any) -> tuple[pl.DataFrame, ...]:
    return made if isinstance(made, tuple) else (made,)


def test_the_summary_says_that_planted_similarity_grows(study: tuple[pl.DataFrame, Path]) -> None:
    levels, slopes = trend_tables(*study, Analysis())
    last = slopes.filter(at="steps", measure="cka", layers="last")
    assert set(last.select("compared", "resampled").rows()) == {
        ("architectures", "seeds"),
        ("architectures", "architectures"),
        ("models", "seeds"),
        ("seeds", "models"),
    }
    [across] = last.filter(compared="architectures", resampled="architectures").to_dicts()
    assert across["verdict"] == "grows"
    # conv and attention with each other, and each with the two MLPs.
    assert (across["model_pairs"], across["networks"], across["gammas"]) == (5, 8, 3)
    ends = levels.filter(
        at="steps", measure="cka", layers="last", compared="architectures", resampled="seeds"
    ).sort("gamma_log10")
    assert across["difference"] == pytest.approx(ends["value"][2] - ends["value"][0])
    table = similarity_table(*study, Analysis()).filter(
        at="steps", layer_a="two", layer_b="two", gamma_a_log10=3.0, gamma_b_log10=3.0
    )
    kinds = {"deep": "mlp", "flat": "mlp", "conv": "cnn", "attention": "vit"}
    other = table.filter(
        pl.col("model_a").replace_strict(kinds) != pl.col("model_b").replace_strict(kinds)
    )
    assert ends["value"][2] == pytest.approx(other["cka"].mean())
    # At the smallest gamma nothing in common was planted that 40 probes could tell from chance.
    assert (ends["shuffled_high"] < ends["value"]).to_list() == [False, True, True]
    assert (ends["p_value"] < 0.05).to_list() == [False, True, True]
    functions = slopes.filter(at="steps", measure="correlation", compared="architectures")
    assert set(functions["verdict"]) == {"grows"}
