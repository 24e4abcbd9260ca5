"""How often intervals hold the truth, on simulated tables whose truth is known, as a Markdown table.

    python benchmarks/coverage.py [--quick] [--only slope] [--tables 200]

Each row is a model and a design. Covers: share of intervals that hold the truth, of nominal 95 %; its own error is
1.5 % for 200 tables. none: no interval is given. G gammas, S seeds, steps of eta in decades. Every row has
its own random numbers. On one core the whole takes about a quarter of an hour, --quick (20 tables) two minutes.
docs/explanation/intervals.md has the table, beside the intervals that were there before.
"""

import argparse
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

from gammascape.study import Analysis, Slice, load_study, predicted_slope
from gammascape.tables.advice.read import SliceTables, midway_bounds
from gammascape.tables.cells import ends_of
from gammascape.tables.edges.level import edge_levels
from gammascape.tables.performance.choice import choose_elsewhere, chosen_interval, mark_chosen
from gammascape.tables.performance.gain import gain_table
from gammascape.tables.performance.scores import JUDGED, SCORE_SCHEMA
from gammascape.tables.statistics.slopes import Posterior, fit_mean, fit_slope
from gammascape.tables.statistics.verdict import (
    holm,
    judge_value,
    p_differs,
    power,
    share_interval,
)
from gammascape.theory.laws import EDGES, LEAST_MARGIN, UNIT
from gammascape.theory.laws import Slope as Law

Floats = NDArray[np.float64]
Ends = tuple[float, float] | None
Trial = tuple[Ends, float]
"""Interval and truth."""

CONFIDENCE = 0.95
_GAMMAS = {
    2: np.array([1.0, 2.0]),
    3: np.array([1.0, 2.0, 3.0]),
    4: np.array([1.2, 1.8, 2.4, 3.0]),
    6: np.arange(1, 3.51, 0.5),
    10: np.arange(1, 5.51, 0.5),
}


@dataclass(frozen=True)
class Row:
    """A model, in words, and one simulated table of it."""

    quantity: str
    model: str
    design: str
    trial: Callable[[np.random.Generator], Trial]

    def line(self, tables: int) -> str:
        """The row of the table."""
        name = f"{self.quantity} {self.model} {self.design}"
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        trials = [self.trial(rng) for _ in range(tables)]
        return f"| {self.quantity} | {self.model} | {self.design} | {_summary(trials)} |"


def _summary(trials: list[Trial]) -> str:
    known = [(ends, truth) for ends, truth in trials if ends is not None]
    if not known:
        return "none | "
    covers = np.mean([low <= truth <= high for (low, high), truth in known])
    widths = [high - low for (low, high), _ in known]
    return f"{100 * covers:.0f} % | {np.mean(widths):.2g}"


Scatter = Callable[[np.random.Generator, Floats, int], Floats]
"""Of random numbers, log10 gammas and the number of seeds: (gammas, seeds) or what broadcasts to it."""


def _smooth(rng: np.random.Generator, gamma: Floats, columns: int) -> Floats:
    """Deviations of 0.15 decades that are correlated over a decade of gamma."""
    covariance = np.exp(-np.abs(gamma[:, None] - gamma))
    found: Floats = 0.15 * np.linalg.cholesky(covariance) @ rng.normal(size=(len(gamma), columns))
    return found


def _of_gammas(gamma: Floats) -> Floats:
    return np.geomspace(0.03, 0.4, len(gamma))[:, None]


def _curve(gamma: Floats) -> Floats:
    """A finite-gamma correction of 0.3 decades that dies off."""
    found: Floats = -0.3 * np.exp(-(gamma - gamma[0]) / 0.7)
    return found


SCATTERS: dict[str, Scatter] = {
    "no scatter": lambda rng, g, s: np.zeros((len(g), s)),
    "independent, 0.1": lambda rng, g, s: rng.normal(0, 0.1, (len(g), s)),
    "gammas 0.08, networks 0.12": lambda rng, g, s: (
        rng.normal(0, 0.08, (len(g), 1)) + rng.normal(0, 0.12, (len(g), s))
    ),
    "seeds offset by 0.25, networks 0.05": lambda rng, g, s: (
        rng.normal(0, 0.25, (1, s)) + rng.normal(0, 0.05, (len(g), s))
    ),
    "slopes of seeds 0.1, networks 0.05": lambda rng, g, s: (
        rng.normal(0, 0.1, (1, s)) * g[:, None] + rng.normal(0, 0.05, (len(g), s))
    ),
    "growing with gamma, 0.03 to 0.4": lambda rng, g, s: (
        _of_gammas(g) * rng.normal(size=(len(g), s))
    ),
    "growing, half of it shared": lambda rng, g, s: (
        0.7 * _of_gammas(g) * (rng.normal(size=(len(g), 1)) + rng.normal(size=(len(g), s)))
    ),
    "skewed": lambda rng, g, s: (
        -rng.exponential(0.15, (len(g), s)) - rng.exponential(0.1, (len(g), 1))
    ),
    "heavy tails": lambda rng, g, s: (
        0.06 * (rng.standard_t(2, (len(g), 1)) + rng.standard_t(2, (len(g), s)))
    ),
    "smooth, each seed its own": lambda rng, g, s: _smooth(rng, g, s),
    "smooth, of all seeds (not covered)": lambda rng, g, s: (
        _smooth(rng, g, 1) + rng.normal(0, 0.05, (len(g), s))
    ),
    "curve of 0.3 (not covered)": lambda rng, g, s: (
        _curve(g)[:, None] + rng.normal(0, 0.05, (len(g), s))
    ),
    "curve of 0.3, known": lambda rng, g, s: _curve(g)[:, None] + rng.normal(0, 0.05, (len(g), s)),
}


def slope_row(
    scatter: str, gammas: int, seeds: int, step: float, slope: float | None = None, top: float = 9
) -> Row:
    """A slope of edges on a grid (step 0: known exactly), those above `top` decades unknown."""
    gamma = _GAMMAS[gammas]
    x, of = np.repeat(gamma, seeds), np.tile(np.arange(seeds), gammas)
    shape = np.repeat(_curve(gamma), seeds) if scatter.endswith("known") else 0.0

    def trial(rng: np.random.Generator) -> Trial:
        truth = rng.uniform(0.4, 2.0) if slope is None else slope
        line = truth * gamma[:, None] + (rng.uniform() if top == 9 else 0)
        y = (line + SCATTERS[scatter](rng, gamma, seeds)).ravel()
        lower = np.floor(y / step) * step if step else y
        upper = lower + step
        inside = upper <= top
        lower, upper = np.where(inside, lower, top), np.where(inside, upper, np.inf)
        fit = fit_slope(x, of, lower, upper, CONFIDENCE, shape)
        after = None if fit is None or fit.low is None else (fit.low, float(fit.high or 0))
        return after, truth

    special = f", slope {slope:g}" if slope else ""
    special += f", etas up to 10^{top:g}" if top != 9 else ""
    grid = f"step {step:g}" if step else "exact"
    return Row("slope", scatter + special, f"G = {gammas}, S = {seeds}, {grid}", trial)


def mean_row(seeds: int) -> Row:
    """The mean of edges that scatter by a logistic distribution, step 1/8."""

    def trial(rng: np.random.Generator) -> Trial:
        truth = rng.uniform()
        y = rng.logistic(truth, 0.1, seeds)
        lower = np.floor(y * 8) / 8
        fit = fit_mean(lower, lower + 1 / 8, CONFIDENCE)
        assert fit is not None
        assert fit.low is not None
        return (fit.low, float(fit.high or 0)), truth

    return Row("pooled edge", "logistic, scale 0.1", f"S = {seeds}, step 0.125", trial)


def _accuracies(
    rng: np.random.Generator, etas: dict[float, int], seeds: int, samples: int
) -> pl.DataFrame:
    """Accuracies of 90 % at each gamma and its number of etas, networks scatter by a point."""
    at = [(gamma, 0.1 * k) for gamma, count in etas.items() for k in range(count)]
    size = (len(at), seeds)
    truth = 0.9 + rng.normal(0, 0.01, size)
    return pl.DataFrame(
        {
            "gamma_log10": np.repeat([gamma for gamma, _ in at], seeds),
            "eta_log10": np.repeat([eta for _, eta in at], seeds),
            "seed": np.tile(np.arange(seeds), len(at)),
            "data_seed": 0,
            "value": (rng.binomial(samples, np.minimum(truth, 1)) / samples).ravel(),
        }
    )


def gain_row(etas: dict[float, int], seeds: int, name: str = "gain") -> Row:
    """Gain over gamma = 1 where there is none, in points."""

    def trial(rng: np.random.Generator) -> Trial:
        scores = _accuracies(rng, etas, seeds, 10_000)
        marked = mark_chosen(scores, ["gamma_log10"], ["eta_log10"])
        labels = {label: None for label in SCORE_SCHEMA if label not in marked.columns}
        table = marked.with_columns(
            **{label: pl.lit(None) for label in labels} | {"measure": pl.lit("accuracy")}
        )
        row = gain_table(table, CONFIDENCE).row(0, named=True)
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return None if low is None else (low, high), 0.0

    counts = "/".join(str(count) for count in etas.values())
    model = f"{counts} equal etas at each gamma, networks 1 point"
    return Row(name.replace("_", " "), model, f"S = {seeds}, test set 10000", trial)


def performance_row(seeds: int) -> Row:
    """The accuracy of the best of six equal etas."""

    def trial(rng: np.random.Generator) -> Trial:
        scores = _accuracies(rng, {0.0: 6}, seeds, 10_000)
        held = choose_elsewhere(scores, ["gamma_log10"], ["eta_log10"])
        return chosen_interval(held["value"].to_numpy(), CONFIDENCE), 0.9

    return Row("accuracy", "best of 6 equal etas", f"S = {seeds}", trial)


def pooled_row(seeds: int, growth: float) -> Row:
    """The accuracy at each of seven gammas, whose scatter grows by a factor from the first to the last."""

    def trial(rng: np.random.Generator) -> Trial:
        scatter = 0.01 * growth ** (np.arange(7)[:, None] / 6)
        found = list(rng.normal(0.9, scatter, (7, seeds)))
        at = int(rng.integers(7))
        return chosen_interval(found[at], CONFIDENCE, found), 0.9

    model = (
        "at each of 7 gammas that scatter alike" if growth == 1 else f"scatter grows by {growth:g}"
    )
    return Row("accuracy", model, f"S = {seeds}", trial)


def eta_row(etas: int, gammas: int, seeds: int, network: float, split: float) -> Row:
    """The best eta of some within two decades around it, whose accuracy falls by 2 points at one decade.

    Scatter of networks, and of the validation split that chooses, in points; 0 for none, and a choice on the
    test set.
    """
    grid = np.linspace(-2, 2, etas)
    at = [(gamma, eta, seed) for gamma in range(gammas) for eta in grid for seed in range(seeds)]
    gamma, eta, seed = (np.array(values) for values in zip(*at, strict=True))
    cells = pl.DataFrame({"gamma_log10": gamma.astype(float), "eta_log10": eta, "seed": seed})
    cells = cells.with_columns(data_seed=0, steps=1, status=pl.lit("trained"))
    labels = {"measure": pl.lit("accuracy"), "budget": pl.lit(1)}

    def trial(rng: np.random.Generator) -> Trial:
        best = rng.uniform(-1, 1)
        told = 0.9 - 0.02 * (eta - best) ** 2 + rng.normal(0, network / 100, len(eta))
        judged = pl.Series(told + rng.normal(0, split / 100, len(eta))) if split else None
        scores = cells.with_columns(**labels, value=told, validation=pl.lit(judged, pl.Float64))
        marked = mark_chosen(
            scores.with_columns(value=JUDGED, told="value"), ["gamma_log10"], ["eta_log10"]
        ).with_columns(value="told")
        empty = pl.DataFrame()
        of = SliceTables(
            *(Analysis(), empty, empty, cells, empty, empty, empty),
            *(marked, marked.select("measure", "budget", "value"), empty),
        )
        low, high = midway_bounds(of.best_eta(0.0)[1], grid)
        return None if low is None or high is None else (low, high), best

    model = f"networks {network:g} points, " + (f"split {split:g}" if split else "no split")
    return Row("best eta", model, f"{etas} etas, G = {gammas}, S = {seeds}", trial)


def share_row(seeds: int, runs: int, share: float, correlation: float) -> Row:
    """The share of runs that are correlated within a seed."""

    def trial(rng: np.random.Generator) -> Trial:
        ratio = (1 - correlation) / correlation
        of_seed = rng.beta(share * ratio, (1 - share) * ratio, seeds)
        counts = rng.binomial(runs, of_seed)
        return share_interval(counts, np.full(seeds, runs), CONFIDENCE), share

    return Row(
        "share",
        f"{share:g}, runs of a seed correlated {correlation:g}",
        f"S = {seeds}, {runs} runs each",
        trial,
    )


def slope_rows() -> Iterator[Row]:
    """Slopes: the designs that the tables of exponents have."""
    offset = "seeds offset by 0.25, networks 0.05"
    for seeds in (2, 3, 5):
        yield slope_row(offset, 4, seeds, 1 / 8)
    for gammas, seeds, step in ((3, 1, 1 / 2), (4, 1, 1 / 4), (10, 1, 1 / 8), (6, 3, 1 / 4)):
        yield slope_row("independent, 0.1", gammas, seeds, step)
    yield slope_row("independent, 0.1", 2, 3, 1 / 8)
    for seeds in (1, 3):
        yield slope_row("no scatter", 3, seeds, 1 / 2, slope=1.2)
        yield slope_row("no scatter", 3, seeds, 1 / 2, slope=0.8)
    yield slope_row("no scatter", 6, 1, 1 / 2)
    yield slope_row("gammas 0.08, networks 0.12", 4, 3, 1 / 8)
    yield slope_row("gammas 0.08, networks 0.12", 3, 3, 1 / 2)
    yield slope_row("gammas 0.08, networks 0.12", 10, 2, 1 / 4)
    for name in list(SCATTERS)[5:11]:
        yield slope_row(name, 6, 2, 1 / 8)
    for gammas in (4, 6, 10):
        yield slope_row("slopes of seeds 0.1, networks 0.05", gammas, 3, 0.0)
    for name in list(SCATTERS)[11:]:
        for gammas in (4, 6, 10):
            yield slope_row(name, gammas, 3, 1 / 8)
    yield slope_row("independent, 0.1", 6, 3, 1 / 8, slope=0.82, top=2.125)
    yield slope_row("independent, 0.1", 6, 1, 1 / 8, slope=0.82, top=2.125)


def rows() -> Iterator[Row]:
    """All rows."""
    yield from slope_rows()
    for seeds in (2, 3, 5, 10):
        yield mean_row(seeds)
    yield gain_row({0.0: 1, 1.0: 1}, 1)
    for name in ("gain", "gain_above_one"):
        for seeds in (2, 3, 5, 10):
            yield gain_row({0.0: 2, 1.0: 8}, seeds, name)
    for seeds in (2, 3, 5):
        yield performance_row(seeds)
    for growth in (1.0, 4.0, 20.0):
        for seeds in (2, 3, 5):
            yield pooled_row(seeds, growth)
    for etas, gammas, seeds in ((9, 2, 2), (17, 5, 2), (17, 5, 5), (33, 5, 3)):
        for network, split in ((0.2, 2.0), (5.0, 0.0)):
            yield eta_row(etas, gammas, seeds, network, split)
    for seeds, share in ((3, 0.5), (3, 0.8), (5, 0.8), (10, 0.8)):
        yield share_row(seeds, 4, share, 0.5)
    yield share_row(3, 4, 0.5, 0.95)


def _grid(kind: str, rng: np.random.Generator) -> Floats:
    """Sampled etas around an edge at 0: of one step, or of 1/16 decade in one place and 1/2 elsewhere."""
    start, end, phase = -2.0, 2.0, rng.uniform()
    if kind.startswith("1/"):
        step = 1 / float(kind[2:])
        return np.arange(start + phase * step, end, step)
    turn = rng.uniform(-1, 1)
    fine = {"fine below": (start, turn), "fine above": (turn, end), "fine around": (-0.4, 0.4)}[
        kind
    ]
    coarse = np.arange(start + phase / 2, end, 1 / 2)
    inside = np.arange(fine[0] + rng.uniform() / 16, fine[1], 1 / 16)
    found: Floats = np.sort(
        np.concatenate((inside, coarse[(coarse < fine[0]) | (coarse >= fine[1])]))
    )
    return found


GRIDS = ("1/2", "1/4", "1/8", "1/16", "fine below", "fine above", "fine around")


def edge_lines(tables: int, blur: float = 0.2, lines: int = 6) -> Iterator[str]:
    """Bias of an upper edge at 0 that is blurred, of `lines` gammas, and what intervals of it hold."""
    for kind in GRIDS:
        rng = np.random.default_rng(zlib.crc32(kind.encode()))
        runs, after, held, seen, pooled = [], [], [], [], []
        for _ in range(max(3, tables // 2)):
            grids = [_grid(kind, rng) for _ in range(lines)]
            x, of = np.concatenate(grids), np.repeat(np.arange(lines), [len(g) for g in grids])
            good = rng.uniform(size=len(x)) < ndtr(-x / blur) * ndtr((x + 1.5) / blur)
            for own, edges in zip(range(lines), edge_levels(of, x, good, CONFIDENCE), strict=True):
                if edges is None or not np.isfinite(edges["upper"].estimate):
                    continue
                eta, trained = x[of == own], good[of == own]
                at = int(np.abs(eta + 0.75).argmin())
                while at + 2 < len(eta) and trained[at + 1]:
                    at += 1
                runs.append((eta[at] + eta[at + 1]) / 2)
                after.append(edges["upper"].estimate)
                held.append(edges["upper"].low <= 0 <= edges["upper"].high)
                seen.append(edges["upper"].zone)
            offset = rng.normal(0, 0.1, lines)[of]
            good = rng.uniform(size=len(x)) < ndtr((offset - x) / blur) * ndtr((x + 1.5) / blur)
            uppers = [
                one["upper"] for one in edge_levels(of, x, good, CONFIDENCE) if one is not None
            ]
            # As in tables: of mixed outcomes the estimate is what a mean is taken of.
            known = [edge.mixed and np.isfinite(edge.estimate) for edge in uppers]
            bounds = [
                (edge.estimate, edge.estimate) if told else (edge.low, edge.high)
                for edge, told in zip(uppers, known, strict=True)
            ]
            mean = fit_mean(*np.array(bounds).T, CONFIDENCE)
            if mean is not None and mean.low is not None and mean.high is not None:
                pooled.append(mean.low <= 0 <= mean.high)
        yield (
            f"| {kind} | {np.mean(runs):+.3f} | {np.mean(after):+.3f} |"
            f" {np.std(after) / np.sqrt(len(after)):.3f} | {100 * np.mean(held):.0f} % |"
            f" {np.mean(seen):.2f} | {100 * np.mean(pooled):.0f} % |"
        )


def verdict_lines(
    tables: int, claims: int = 26, depth: int = 3, gammas: int = 6, seeds: int = 3
) -> Iterator[str]:
    """False "differs" among claims that all hold, how many are agreed with, and the power that is stated."""
    gamma = _GAMMAS[gammas]
    predicted, others = 2 / depth, EDGES["eta_max_trained", "rich"].alternatives(depth)
    x, of = np.repeat(gamma, seeds), np.tile(np.arange(seeds), gammas)
    false: dict[str, list[bool]] = {"alone": [], "Holm": []}
    agree, said = [], []
    scatter = SCATTERS["seeds offset by 0.25, networks 0.05"]
    rng = np.random.default_rng(depth)
    for _ in range(max(1, tables // claims)):
        found, p_values = [], []
        for _ in range(claims):
            line = predicted * gamma[:, None] + rng.uniform()
            lower = np.floor((line + scatter(rng, gamma, seeds)).ravel() * 8) / 8
            fit = fit_slope(x, of, lower, lower + 1 / 8, CONFIDENCE)
            assert fit is not None
            assert fit.posterior is not None
            ends = fit.posterior.interval(CONFIDENCE)
            found.append(judge_value(predicted, others, *ends, LEAST_MARGIN))
            p_values.append(p_differs(fit.posterior, predicted, LEAST_MARGIN))
            said.append(power(fit.posterior, predicted, others, LEAST_MARGIN, CONFIDENCE))
        false["alone"].append("differs" in found)
        false["Holm"].append(bool(holm(p_values).min() <= 1 - CONFIDENCE))
        agree += [verdict == "agrees" for verdict in found]
    for way, hits in false.items():
        yield (
            f"| {way} | {100 * np.mean(hits):.0f} % | {100 * np.mean(agree):.0f} % |"
            f" {100 * np.mean(said):.0f} % |"
        )


STUDIES = ("depth-small",)
"""Studies with fixed etas; a map's are where edges are."""
UPPER, LOWER = (1.5, 2.0), (-0.6, -0.1)
"""log10 of the prefactors of the edges, as in the studies of this repository."""


def study_lines(tables: int) -> Iterator[str]:
    """What a study would say of the exponents of its edges if all laws hold: on its own gammas, etas and seeds.

    Edges scatter by 0.08 decades, and seeds are offset by 0.1. They lie on lines, or on the curves of the toy
    at gammas that are shifted by up to UNIT.
    """
    for name, curved in product(STUDIES, (False, True)):
        parts = load_study(f"config/studies/{name}.yaml").slices
        rng = np.random.default_rng(len(name))
        false, verdicts, stated, counts = [], [], [], []
        for _ in range(max(3, tables // 4)):
            p_values = []
            for part in parts:
                for (edge, window), law in EDGES.items():
                    if edge == "eta_max_finite" and part.loss != "xent":
                        continue
                    truth = predicted_slope(edge, part.loss, window, part.depth_exponent)
                    if not truth:
                        continue
                    curve = _line if not curved else _toy_curve(law, part, truth, rng)
                    posterior = _edge_posterior(rng, part, edge, window, truth, curve)
                    if not posterior:
                        continue
                    others = [o for o in law.alternatives(part.depth_exponent) if o != truth]
                    gamma = np.array(sorted({float(c.gamma) for c in part.cells}))
                    low, high = ends_of(getattr(Analysis(), window))
                    gamma = gamma[(low <= gamma) & (gamma <= high)]
                    margin = law.margin(gamma, truth, part.depth_exponent, part.loss, 0.5)
                    p_values.append(p_differs(posterior, truth, margin))
                    if (part.depth_exponent, edge, window) == (3, "eta_max_trained", "rich"):
                        ends = posterior.interval(CONFIDENCE)
                        verdicts.append(judge_value(truth, others, *ends, margin) == "agrees")
                        stated.append(power(posterior, truth, others, margin, CONFIDENCE))
            counts.append(len(p_values))
            false.append(bool(holm(p_values).min() <= 1 - CONFIDENCE))
        yield (
            f"| {name} | {'curves' if curved else 'lines'} | {np.mean(counts):.0f} |"
            f" {100 * np.mean(false):.0f} % | {100 * np.mean(verdicts):.0f} % | {100 * np.mean(stated):.0f} % |"
        )


def _line(gamma: Floats) -> Floats:
    return np.zeros_like(gamma)


def _toy_curve(
    law: Law, part: Slice, slope: float, rng: np.random.Generator
) -> Callable[[Floats], Floats]:
    shift = rng.uniform(-UNIT, UNIT)
    return lambda gamma: law.shape(gamma + shift, slope, part.depth_exponent, part.loss, 0.5)


def _edge_posterior(
    rng: np.random.Generator,
    part: Slice,
    edge: str,
    window: str,
    slope: float,
    curve: Callable[[Floats], Floats],
) -> Posterior | None:
    """An exponent as a slice would find it; None where its etas bracket too few edges for an interval."""
    low, high = ends_of(getattr(Analysis(), window))
    first = rng.uniform(*(LOWER if edge == "eta_min" else UPPER))
    lines: dict[tuple[int, float], list[float]] = {}
    for cell in part.cells:
        if low <= float(cell.gamma) <= high:
            lines.setdefault((cell.seed, float(cell.gamma)), []).append(float(cell.eta))
    offset = {seed: rng.normal(0, 0.1) for seed in sorted({seed for seed, _ in lines})}
    gammas = np.array(sorted({gamma for _, gamma in lines}))
    above = dict(zip(gammas, slope * gammas + curve(gammas), strict=True))
    cells = []
    for (seed, gamma), etas in lines.items():
        y = first + above[gamma] + offset[seed] + rng.normal(0, 0.08)
        at = int(np.searchsorted(etas, y))
        grid = [-np.inf, *etas, np.inf]
        cells.append((gamma, seed, grid[at], grid[at + 1]))
    fit = fit_slope(*map(np.array, zip(*cells, strict=True)), CONFIDENCE) if cells else None
    return None if fit is None else fit.posterior


def toy_lines(places: int) -> Iterator[str]:
    """How often the toy's exact edges are judged to differ from their laws, in windows from gamma = 10 on."""
    rng = np.random.default_rng(0)
    for depth in range(2, 7):
        for edge, predicted in (("eta_max_trained", 2 / depth), ("eta_min", 1.0)):
            law, differ = EDGES[edge, "rich"], []
            for step, count, _ in product((0.5, 0.25, 0.125), (4, 7, 13), range(places)):
                x = rng.choice((1.0, 1.5, 2.0)) + 0.25 * np.arange(count)
                shape = law.shape(x, predicted, depth, "mse", 0.5)
                margin = law.margin(x, predicted, depth, "mse", 0.5)
                lower = np.floor((predicted * x + shape + rng.uniform()) / step) * step
                fits = [
                    fit_slope(x, np.zeros(count), lower, lower + step, CONFIDENCE, known)
                    for known in (0.0, shape)
                ]
                differ.append(
                    [
                        p_differs(fit.posterior, predicted, margin) <= 1 - CONFIDENCE
                        for fit in fits
                        if fit is not None and fit.posterior is not None
                    ]
                )
            shares = " | ".join(f"{100 * share:.0f} %" for share in np.mean(differ, 0))
            yield f"| {depth} | {edge} | {shares} |"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", type=int, default=200, help="simulated tables of each row")
    parser.add_argument("--quick", action="store_true", help="20 tables")
    parser.add_argument(
        "--only", help="rows whose quantity or model has this in it; edge, verdict, study, toy"
    )
    chosen = parser.parse_args(arguments)
    tables, only = min(chosen.tables, 20) if chosen.quick else chosen.tables, chosen.only
    print("| interval | model | design | covers | width |")
    print("|---|---|---|---|---|")
    for row in rows():
        if only is None or only in f"{row.quantity} {row.model}":
            print(row.line(tables), flush=True)
    if only in (None, "edge"):
        print("\nAn upper edge at 0 under a blur of 0.2 decades (zone 0.51), six gammas:\n")
        print(
            "| grid | bias of runs | bias of levels | error | covers | zone | six seeds: covers |"
        )
        print("|---|---|---|---|---|---|---|")
        for line in edge_lines(tables):
            print(line, flush=True)
    if only in (None, "verdict"):
        print("\n26 claims of 2/L at L = 3 that hold, G = 6, S = 3, step 1/8:\n")
        print('| way | some claim "differs" | "agrees" | power that the study states |')
        print("|---|---|---|---|")
        for line in verdict_lines(3 * tables):
            print(line, flush=True)
    if only in (None, "study"):
        print("\nThe exponents of the edges in studies of this repository, all laws true:\n")
        print('| study | edges | claims | some "differs" (Holm) | L = 3 "agrees" | power stated |')
        print("|---|---|---|---|---|---|")
        for line in study_lines(tables):
            print(line, flush=True)
    if only in (None, "toy"):
        print(
            '\nThe exact toy, steps 1/2 to 1/8, 4 to 13 gammas from 10, 30 or 100 on: "differs"\n'
        )
        print("| L | edge | straight, as a network | shape known |")
        print("|---|---|---|---|")
        for line in toy_lines(max(1, tables // 20)):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
