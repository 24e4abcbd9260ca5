"""Synthetic tables with the columns of real ones: power laws with a little noise, no training."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl

from gammascape.tables.dynamics.events import DYNAMICS_SCHEMA
from gammascape.tables.dynamics.phenomena import PHENOMENA_SCHEMA
from gammascape.tables.performance.choice import mark_chosen
from gammascape.tables.performance.gain import gain_table
from gammascape.tables.performance.performance import performance_table
from gammascape.tables.performance.scores import SCORE_SCHEMA

CELLS_SCHEMA = {
    "slice": pl.String,
    "model": pl.String,
    "dataset": pl.String,
    "loss": pl.String,
    "batch_size": pl.Int64,
    "steps": pl.Int64,
    "passes": pl.Float64,
    "cell": pl.String,
    "dtype": pl.String,
    "gamma_log10": pl.Float64,
    "gamma": pl.Float64,
    "eta_log10": pl.Float64,
    "eta": pl.Float64,
    "seed": pl.Int64,
    "data_seed": pl.Int64,
    "status": pl.String,
    "catapulted": pl.Boolean,
    "kept_by_nan_rule": pl.Boolean,
    "initial_loss": pl.Float64,
    "baseline_loss": pl.Float64,
    "final_loss": pl.Float64,
    "relative_loss": pl.Float64,
    "peak_loss": pl.Float64,
    "peak_step": pl.Int64,
    "test_loss": pl.Float64,
    "test_accuracy": pl.Float64,
    "validation_loss": pl.Float64,
    "validation_accuracy": pl.Float64,
    "active_fraction": pl.Float64,
    "base_width": pl.Int64,
    "sharpness_init": pl.Float64,
    "steps_done": pl.Int64,
    "seconds": pl.Float64,
    "device": pl.String,
    "data_digest": pl.String,
}
SLICE_SCHEMA = {name: CELLS_SCHEMA[name] for name in list(CELLS_SCHEMA)[:7]}
THRESHOLDS_SCHEMA = {
    **SLICE_SCHEMA,
    "depth_exponent": pl.Int64,
    "seed": pl.Int64,
    "data_seed": pl.Int64,
    "gamma_log10": pl.Float64,
    "edge": pl.String,
    "eta_log10": pl.Float64,
    "lower_log10": pl.Float64,
    "upper_log10": pl.Float64,
    "bounded": pl.Boolean,
    "zone_log10": pl.Float64,
    "cell": pl.String,
}
SCALING_SCHEMA = {
    **SLICE_SCHEMA,
    "depth_exponent": pl.Int64,
    "edge": pl.String,
    "window": pl.String,
    "from_log10": pl.Float64,
    "to_log10": pl.Float64,
    "slope": pl.Float64,
    "slope_low": pl.Float64,
    "slope_high": pl.Float64,
    "prefactor_log10": pl.Float64,
    "predicted_slope": pl.Float64,
    "margin": pl.Float64,
    "prefactor_at_predicted_log10": pl.Float64,
    "points": pl.Int64,
    "seeds": pl.Int64,
    "confidence": pl.Float64,
}
CURVES_SCHEMA = {
    **SLICE_SCHEMA,
    "seed": pl.Int64,
    "data_seed": pl.Int64,
    "gamma_log10": pl.Float64,
    "eta_log10": pl.Float64,
    "eta": pl.Float64,
    "step": pl.Int64,
    "tau": pl.Float64,
    "relative_loss": pl.Float64,
}
SIMILARITY_SCHEMA = {
    "dataset": pl.String,
    "loss": pl.String,
    "batch_size": pl.Int64,
    "steps": pl.Int64,
    "passes": pl.Float64,
    "at": pl.String,
    "level": pl.Float64,
    "model_a": pl.String,
    "gamma_a_log10": pl.Float64,
    "layer_a": pl.String,
    "depth_a": pl.Float64,
    "model_b": pl.String,
    "gamma_b_log10": pl.Float64,
    "layer_b": pl.String,
    "depth_b": pl.Float64,
    "cka": pl.Float64,
    "cka_low": pl.Float64,
    "cka_high": pl.Float64,
    "shuffled_mean": pl.Float64,
    "shuffled_high": pl.Float64,
    "p_value": pl.Float64,
    "seed_pairs": pl.Int64,
    "seeds_a": pl.Int64,
    "seeds_b": pl.Int64,
    "relative_loss_a": pl.Float64,
    "relative_loss_b": pl.Float64,
    "probes": pl.Int64,
    "confidence": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one synthetic slice looks like."""

    model: str
    depth: int | None
    exponent: float
    seeds: tuple[int, ...] = (0,)
    below_upper: float | None = None  # sample only a band of this many decades under the edge
    dataset: str = "digits"
    loss: str = "mse"
    classes: bool = True
    gammas: tuple[float, ...] = tuple(float(g) for g in range(-4, 5))
    batch_size: int = 32

    def common(self) -> dict[str, object]:
        """The columns that every table of a slice shares."""
        return {
            "slice": f"{self.model}-{self.dataset}-{self.loss}-B{self.batch_size}-T600",
            "model": self.model,
            "dataset": self.dataset,
            "loss": self.loss,
            "batch_size": self.batch_size,
            "steps": 600,
            "passes": None,
        }

    def upper(self, gamma: float) -> float:
        """log10 of the largest eta that trains."""
        return float(np.log10(30) + min(2 * gamma, self.exponent * gamma))

    def lower(self, gamma: float) -> float:
        """log10 of the smallest eta that trains."""
        return float(np.log10(0.02) + min(2 * gamma, gamma))


MLP3 = Recipe("mlp3", 3, 2 / 3, seeds=(0, 1))
ALL = (
    MLP3,
    Recipe("mlp2", 2, 1.0, below_upper=1.0),
    Recipe("mlp4", 4, 0.5, below_upper=1.0),
    Recipe("cnn", 4, 0.5),
    Recipe("resnet", None, 0.8),
    Recipe("vit", None, 0.7),
)


def _outcome(recipe: Recipe, gamma: float, eta: float, noise: float) -> dict[str, object]:
    over = eta - recipe.upper(gamma) - 0.05 * noise
    floor = 0.02 + 0.06 / (1 + 10 ** (gamma + 1)) + (0.01 * max(gamma - 2, 0))
    learned = floor + (1 - floor) / (1 + 10 ** (1.3 * (eta - recipe.lower(gamma))))
    relative: float | None = float(learned * 10 ** (0.03 * noise))
    status = "trained" if relative is not None and relative <= 0.5 else "untrained"
    if over > 1 or (over > 0.5 and gamma > 0):
        status, relative = "diverged", None
    elif over > 0.5 or (over > 0 and gamma > 1):
        status = "dead"
        relative = 1.0 if gamma > 0 else float(10.0 ** (-2 * gamma))
    elif over > 0:
        status, relative = "runaway", float(1.5 * 10 ** (1 + 0.3 * noise))
    accuracy = None
    if relative is not None and recipe.classes:
        accuracy = float(min(0.1 + 0.89 * max(1 - relative, 0) - 0.01 * abs(gamma - 1), 1))
    return {"status": status, "relative_loss": relative, "test_accuracy": accuracy}


def cells_table(*recipes: Recipe) -> pl.DataFrame:
    """The `cells` table of these slices."""
    rows = []
    for recipe in recipes:
        for gamma, seed in product(recipe.gammas, recipe.seeds):
            rng = np.random.default_rng([seed, int(100 * gamma) + 1000, len(recipe.model)])
            top = recipe.upper(gamma) + 1.6
            bottom = recipe.lower(gamma) - 1
            if recipe.below_upper is not None:
                bottom = recipe.upper(gamma) - recipe.below_upper
            for half_decades in range(int(np.ceil(2 * bottom)), int(np.floor(2 * top)) + 1):
                eta = half_decades / 2
                outcome = _outcome(recipe, gamma, eta, float(rng.normal()))
                relative = outcome["relative_loss"]
                rows.append(
                    recipe.common()
                    | outcome
                    | {
                        "cell": f"mlp_digits_mse/g{gamma:g}_e{eta:g}_s{seed}-{recipe.model}",
                        "dtype": "float32",
                        "gamma_log10": gamma,
                        "gamma": 10.0**gamma,
                        "eta_log10": eta,
                        "eta": 10.0**eta,
                        "seed": seed,
                        "data_seed": 0,
                        "catapulted": False,
                        "kept_by_nan_rule": relative is not None,
                        "initial_loss": 0.1,
                        "baseline_loss": 0.1,
                        "final_loss": relative,
                        "peak_loss": 0.1,
                        "peak_step": 0,
                        "test_loss": relative,
                        "validation_loss": None,
                        "validation_accuracy": None,
                        "active_fraction": 0.5,
                        "base_width": 64,
                        "sharpness_init": None,
                        "steps_done": 600,
                        "seconds": 0.25,
                        "device": "cpu",
                        "data_digest": "5e1f",
                    }
                )
    return pl.DataFrame(rows, schema=CELLS_SCHEMA)


def thresholds_table(cells: pl.DataFrame, *recipes: Recipe) -> pl.DataFrame:
    """The `thresholds` table that goes with `cells_table` of the same slices."""
    depths = {recipe.model: recipe.depth for recipe in recipes}
    rows = []
    keys = [*SLICE_SCHEMA, "seed", "data_seed", "gamma_log10"]
    for key, column in cells.sort("eta_log10").group_by(keys, maintain_order=True):
        etas = column["eta_log10"].to_list()
        trained = column.filter(pl.col("status") == "trained").sort("relative_loss")
        finite = column.filter(pl.col("relative_loss").is_not_null())
        if trained.is_empty():
            continue
        found = {
            "eta_min": trained["eta_log10"].min(),
            "eta_max_trained": trained["eta_log10"].max(),
            "eta_max_finite": finite["eta_log10"].max(),
            "eta_best": trained["eta_log10"][0],
        }
        for edge, eta in found.items():
            place = etas.index(eta)
            lower = etas[place - 1] if place > 0 else None
            upper = etas[place + 1] if place + 1 < len(etas) else None
            outside = {"eta_min": lower, "eta_best": lower and upper}.get(edge, upper)
            rows.append(
                dict(zip(keys, key, strict=True))
                | {
                    "depth_exponent": depths[str(column["model"][0])],
                    "edge": edge,
                    "eta_log10": eta,
                    "lower_log10": lower,
                    "upper_log10": upper,
                    "bounded": outside is not None,
                    "zone_log10": 0.0,
                    "cell": column["cell"][place],
                }
            )
    return pl.DataFrame(rows, schema=THRESHOLDS_SCHEMA)


def scaling_table(thresholds: pl.DataFrame) -> pl.DataFrame:
    """The `scaling` table: straight lines through the bounded edges of each window."""
    rows = []
    windows = {"lazy": pl.col("gamma_log10") <= -1.5, "rich": pl.col("gamma_log10") >= 1}
    keys = [*SLICE_SCHEMA, "depth_exponent", "edge"]
    bounded = thresholds.filter("bounded")
    for key, edge in bounded.group_by(keys, maintain_order=True):
        record = dict(zip(keys, key, strict=True))
        depth = record["depth_exponent"]
        for window, inside in windows.items():
            points = edge.filter(inside)
            if points["gamma_log10"].n_unique() < 3:
                continue
            gammas = points["gamma_log10"].to_numpy()
            slope, prefactor = np.polyfit(gammas, points["eta_log10"].to_numpy(), 1)
            predicted = 2.0 if window == "lazy" else 1.0
            if record["edge"] == "eta_best":
                predicted = None
            elif window == "rich" and record["edge"] != "eta_min":
                predicted = 2 / int(depth) if depth is not None else None
            elif record["edge"] == "eta_max_finite" and record["loss"] == "xent":
                predicted = 1.0
            rows.append(
                record
                | {
                    "window": window,
                    "from_log10": gammas.min(),
                    "to_log10": gammas.max(),
                    "slope": slope,
                    "slope_low": slope - 0.04,
                    "slope_high": slope + 0.05,
                    "prefactor_log10": prefactor,
                    "predicted_slope": predicted,
                    "margin": 0.02,
                    "prefactor_at_predicted_log10": (
                        None
                        if predicted is None
                        else float(np.mean(points["eta_log10"].to_numpy() - predicted * gammas))
                    ),
                    "points": points.height,
                    "seeds": points["seed"].n_unique(),
                    "confidence": 0.95,
                }
            )
    return pl.DataFrame(rows, schema=SCALING_SCHEMA)


def curves_table(recipe: Recipe, points: int = 120) -> pl.DataFrame:
    """The `curves` table: exponentials when lazy, a plateau and a drop at fixed tau when rich."""
    rows = []
    steps = np.unique(np.round(np.geomspace(1, 600, points)).astype(int))
    steps = np.concatenate([[0], steps])
    for gamma, seed in product(recipe.gammas, recipe.seeds):
        eta = np.round(2 * (recipe.upper(gamma) - 0.8)) / 2
        tau = 10 ** (eta - gamma) * steps
        rng = np.random.default_rng([seed, int(100 * gamma) + 1000])
        if gamma <= 0:
            loss = 0.05 + 0.95 / (1 + 0.3 * 10 ** (eta - 2 * gamma) * steps) ** 0.7
        else:
            loss = 0.02 + 0.98 / (1 + (tau / 6) ** (1.5 + 1.5 * gamma))
        loss = loss * 10 ** (0.01 * rng.normal(size=loss.size))
        rows += [
            recipe.common()
            | {
                "seed": seed,
                "data_seed": 0,
                "gamma_log10": gamma,
                "eta_log10": eta,
                "eta": 10**eta,
                "step": int(step),
                "tau": float(time),
                "relative_loss": float(value),
            }
            for step, time, value in zip(steps, tau, loss, strict=True)
        ]
    return pl.DataFrame(rows, schema=CURVES_SCHEMA)


def similarity_table(*recipes: Recipe) -> pl.DataFrame:
    """The `similarity` table: networks of equal gamma are alike, and more so at large gamma."""
    rows = []
    for a, b in product(recipes, recipes):
        pairs = len(a.seeds) * len(b.seeds)
        if a == b:
            pairs -= len(a.seeds)
        for gamma_a, gamma_b in product(a.gammas, b.gammas):
            itself = a == b and gamma_a == gamma_b
            n = len(a.seeds) * (len(a.seeds) - 1) // 2 if itself else pairs or 1
            alike = 0.55 + 0.04 * (gamma_a + gamma_b) / 2 - 0.03 * abs(gamma_a - gamma_b)
            alike += 0.1 if a == b else 0.01 * (len(a.model) - len(b.model)) ** 2
            cka = float(np.clip(alike, 0.05, 0.99)) if n else None
            rows.append(
                {
                    "dataset": a.dataset,
                    "loss": a.loss,
                    "batch_size": 32,
                    "steps": 600,
                    "passes": None,
                    "at": "steps",
                    "layer_a": "last",
                    "depth_a": 1.0,
                    "layer_b": "last",
                    "depth_b": 1.0,
                    "model_a": a.model,
                    "gamma_a_log10": gamma_a,
                    "model_b": b.model,
                    "gamma_b_log10": gamma_b,
                    "cka": cka,
                    "cka_low": cka and cka - 0.01,
                    "cka_high": cka and cka + 0.01,
                    "seed_pairs": n,
                    "probes": 1024,
                }
            )
    return pl.DataFrame(rows, schema=SIMILARITY_SCHEMA)


def budget_table(recipe: Recipe, budgets: tuple[int, ...] = (10, 20, 50, 100, 600)) -> pl.DataFrame:
    """The `budget` table: eta_min falls as 1/T until it meets the upper edge."""
    rows = []
    for steps, gamma, seed in product(budgets, recipe.gammas, recipe.seeds):
        low = recipe.lower(gamma) + 1 + float(np.log10(600 / steps))
        high = recipe.upper(gamma)
        ends = {
            f"{name}{side}_log10": value + width if high > low else None
            for name, value in (("eta_min", low), ("eta_max", high))
            for side, width in (("", 0.0), ("_low", -0.1), ("_high", 0.1))
        }
        rows.append(
            recipe.common()
            | ends
            | {
                "depth_exponent": recipe.depth,
                "budget": steps,
                "gamma_log10": gamma,
                "seed": seed,
                "data_seed": 0,
                "trained": int(max(0, 2 * (high - low))) + (high > low),
                "cells": 12,
                "spanned": True,
                "window_log10": high - low if high > low else None,
                "window_low_log10": high - low - 0.2 if high > low else None,
                "window_high_log10": high - low + 0.2 if high > low else 0.5,
                "eta_best_log10": high - 0.5,
                "best_relative_loss": 0.02 + 0.1 / steps + 0.01 * abs(gamma - np.log10(steps)),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def dynamics_table(*recipes: Recipe, silent: bool = True) -> pl.DataFrame:
    """The `dynamics` table: catapults as gamma^-2 at small gamma, steps as gamma^(1 - exponent) at large gamma."""
    rows = []
    for recipe in recipes:
        for gamma, seed in product(recipe.gammas, recipe.seeds):
            shared = recipe.common() | {
                "depth_exponent": recipe.depth,
                "gamma_log10": gamma,
                "seed": seed,
                "data_seed": 0,
                "status": "trained",
            }
            if gamma <= -2:
                eta = 2 * gamma + 1
                rows.append(
                    shared
                    | {
                        "path": "catapult",
                        "window": "lazy",
                        "cell": f"{recipe.model}/g{gamma:g}_e{eta:g}_s{seed}",
                        "eta_log10": eta,
                        "peak_ratio": 10 ** (-2 * gamma - 3 + 0.1 * seed),
                        "peak_step": int(10 - 2 * gamma),
                        "eta_times_sharpness_init": 3.0,
                    }
                )
            if gamma >= 1:
                eta = recipe.exponent * gamma + 1
                fall = 20 * 10 ** ((1 - recipe.exponent) * gamma)
                rows.append(
                    shared
                    | {
                        "path": "scaled",
                        "window": "rich",
                        "cell": f"{recipe.model}/g{gamma:g}_e{eta:g}_s{seed}",
                        "eta_log10": eta,
                        "half_step": fall,
                        "half_tau": fall * 10 ** (eta - gamma),
                        "trained_step": fall / 2,
                        "trained_tau": fall / 2 * 10 ** (eta - gamma),
                        "fall_step": fall,
                        "sharpening_factor": 3 * 10 ** ((1 - recipe.exponent) * gamma),
                        "alignment_init": 0.1,
                        "alignment_step": (0.5 if silent else 2.0) * fall,
                        "alignment_step_low": (0.4 if silent else 1.6) * fall,
                        "alignment_step_high": (0.6 if silent else 2.5) * fall,
                        "alignment_ratio": 0.5 if silent else 2.0,
                    }
                )
    return pl.DataFrame(rows, schema=DYNAMICS_SCHEMA)


def phenomena_table(dynamics: pl.DataFrame) -> pl.DataFrame:
    """The `phenomena` table of these runs: a loss that climbs or falls, and an observable."""
    rows = []
    for run in dynamics.iter_rows(named=True):
        flies = run["path"] == "catapult"
        observable = "eta_times_sharpness" if flies else "kernel_alignment"
        shared = {name: run[name] for name in PHENOMENA_SCHEMA if name in run}
        shared["phenomenon"] = "catapult" if flies else "silent alignment"
        for step in (1, 2, 3, 6, 11, 101, 601):
            loss = run["peak_ratio"] / step if flies else 1 / (1 + step / run["fall_step"])
            value = 3 / step if flies else step / 601
            rows += [
                shared | {"quantity": name, "step": step, "value": found}
                for name, found in (("relative_loss", loss), (observable, value))
            ]
    return pl.DataFrame(rows, schema=PHENOMENA_SCHEMA)


def scores_table(cells: pl.DataFrame) -> pl.DataFrame:
    """The `scores` table of these cells at the full budget, with steps that grow away from gamma = 10."""
    key = [*SLICE_SCHEMA, "gamma_log10"]
    row = [*key, "seed", "data_seed", "eta_log10"]
    full = {"budget": pl.col("steps"), "target": pl.lit(None, pl.Float64)}
    parts = []
    for measure, column in (("accuracy", "test_accuracy"), ("test_loss", "test_loss")):
        known = cells.filter(pl.col(column).is_not_null())
        measured = known.select(*row, value=column, measure=pl.lit(measure), **full)
        sign = 1 if measure == "accuracy" else -1
        better = measured.with_columns(measured="value", value=sign * pl.col("value"))
        marked = mark_chosen(better, key, ["eta_log10"]).with_columns(value="measured")
        parts.append(marked.drop("measured"))
    for target in (0.5, 0.1):
        steps = 100 * 10 ** (0.2 * (pl.col("gamma_log10") - 1).abs()) / target
        # The low target is reached at large gamma alone.
        reached = (pl.col("gamma_log10") >= 0) | (target == 0.5)
        best = cells.select(row).unique(row[:-1], keep="first", maintain_order=True)
        parts.append(
            best.with_columns(
                value=pl.when(reached).then(steps),
                measure=pl.lit("steps"),
                budget=pl.lit(None, pl.Int64),
                target=pl.lit(target),
                chosen=True,
                chosen_by=pl.struct("seed", "data_seed").n_unique().over(key).cast(pl.Int64) - 1,
            )
        )
    group = [*row[:-1], "measure", "target"]
    table = pl.concat(parts, how="diagonal").with_columns(
        cell=pl.lit("c"),
        validation=None,
        reached=pl.col("value").count().over(group),
        cells=pl.len().over(group),
        test_samples=pl.when(pl.col("measure") == "accuracy").then(1000),
    )
    return table.select(pl.col(name).cast(kind) for name, kind in SCORE_SCHEMA.items()).sort(row)


def performance_tables(cells: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """scores, performance and gain of these cells."""
    scores = scores_table(cells)
    return scores, performance_table(scores, 0.95), gain_table(scores, 0.95)
