"""Edges of a map against the edges of the full grid at 8 points per decade, and the cells that each needs.

    python benchmarks/map.py [results/STUDY/tables/cells/SLICE.parquet ...]

The toy is computed for both losses and several depths: exactly, with noise of the edges of several sizes, and with
fates that alternate there. Mixed edges are those at which outcomes alternate on the full grid. A table of cells of
a fine grid is played back: a map takes the cells that it asks for from the table; beyond its etas the outermost
ones, which are not counted. Nothing is trained.
"""

import argparse
import math
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import polars as pl

from gammascape.runs.outcome import Thresholds
from gammascape.study.keys.axes import GammaMap, Map
from gammascape.study.keys.exact import decimal_text, grid_points
from gammascape.study.points import Mapped
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.edges.gammas import further_gammas
from gammascape.tables.edges.refine import MapState, refine
from gammascape.tables.toy import toy_cell_table
from gammascape.theory import toy
from gammascape.theory.edges import Loss, predicted_edges

Point = tuple[Decimal, Decimal]
Fates = Callable[[Sequence[Point]], pl.DataFrame]
EDGES = ("eta_min", "eta_max_trained", "eta_no_spike", "eta_max_finite")
GAMMAS = [Decimal(k) / 2 for k in range(-8, 9)]
NEAR = 0.125 + 1e-6
"""One step of the full grid."""
BLURS = (("none", 0.0), ("noise", 0.05), ("noise", 0.1), ("noise", 0.2), ("alternating", 0.0))
"""Kinds of fates, and the noise of edges in decades."""


class Agreement(NamedTuple):
    """A map beside the full grid."""

    cells: int
    """Cells of the map within the etas of the full grid."""
    rounds: int
    table: pl.DataFrame
    """Its cells."""
    edges: int
    """Edges that the full grid brackets."""
    near: int
    """Those that the map has within an eighth of a decade, by their cells or by their estimates."""
    alike: int
    """Those whose interval on the map and on the full grid overlap."""
    mixed: int
    """Those at which outcomes alternate on the full grid."""
    states: list[MapState]

    def __str__(self) -> str:
        edges = f"{self.near:4} of {self.edges:4} edges, {self.alike:4} alike, {self.mixed:4} mixed"
        return f"{self.cells:6,} cells  {self.rounds} rounds  {edges}"


def toy_fates(
    depth: int,
    loss: Loss,
    steps: int,
    seeds: Sequence[int] = (0,),
    blur: str = "none",
    noise: float = 0.2,
) -> Fates:
    """Fates of the toy; with `blur`, each cell has the fate of an eta 0.1 or at most `noise` decades away."""

    def shift(seed: int, gamma: Decimal, eta: Decimal) -> float:
        if blur == "alternating":
            return 0.1 if round(eta * 8) % 2 else -0.1
        draw = zlib.crc32(f"{seed} {gamma:f} {eta:f}".encode()) / 2**32
        return (draw - 0.5) * 2 * noise if blur == "noise" else 0.0

    labels = {"slice": "toy", "model": "toy", "dataset": "one", "loss": loss}
    labels |= {"batch_size": 1, "steps": steps, "passes": None}

    def fates(points: Sequence[Point]) -> pl.DataFrame:
        parts = []
        for seed in seeds:
            texts = [
                (decimal_text(g), str(float(e) + shift(seed, g, e)), f"{g:f} {e:f}")
                for g, e in points
            ]
            table = toy_cell_table(texts, depth, labels, Thresholds())
            own = pl.col("cell").str.split(" ").list.get(1).cast(pl.Float64)
            parts.append(table.with_columns(eta_log10=own, seed=pl.lit(seed, pl.Int64)))
        return pl.concat(parts)

    return fates


def played_back(table: pl.DataFrame) -> Fates:
    """Fates in a table of cells."""
    lines = table.sort("eta_log10").partition_by("gamma_log10", "seed", "data_seed")

    def fates(points: Sequence[Point]) -> pl.DataFrame:
        parts = []
        for line in lines:
            etas, gamma = line["eta_log10"], line["gamma_log10"][0]
            wanted = [float(e) for g, e in points if math.isclose(float(g), gamma, abs_tol=1e-9)]
            places = [int((etas - eta).abs().arg_min() or 0) for eta in wanted]
            parts.append(line[places].with_columns(eta_log10=pl.Series(wanted, dtype=pl.Float64)))
        return pl.concat(parts)

    return fates


def mapped(
    fates: Fates,
    spec: Map,
    begun: dict[Decimal, tuple[Decimal, ...]],
    seeds: Sequence[tuple[int, int]],
    spread: GammaMap | None = None,
) -> tuple[pl.DataFrame, int, list[MapState]]:
    """Cells of a map, the number of its rounds, and what it found; cells of further gammas join `begun`."""
    gammas = {*begun, *(spread.points(spread.finest) if spread else ())}
    maps = {gamma: Mapped(spec, tuple(seeds), spread) for gamma in gammas}
    points = [(gamma, eta) for gamma, etas in begun.items() for eta in etas]
    rounds = 0
    while True:
        cells = fates(points)
        wanted, states = refine(cells, maps, begun, 0.5)
        if not wanted:
            wanted = further_gammas(cells, maps, 0.5)
            for one in wanted:
                begun[one.gamma] = (*begun.get(one.gamma, ()), one.eta)
        if not wanted:
            return cells, rounds, states
        new = {(one.gamma, one.eta) for one in wanted}
        assert new.isdisjoint(points), "a map asks for what it has"
        points += sorted(new)
        rounds += 1


def agreement(
    fates: Fates, full: pl.DataFrame, spec: Map, begun: dict[Decimal, tuple[Decimal, ...]]
) -> Agreement:
    """Map the gammas and seeds of a full grid, and compare the edges."""
    seeds = sorted(full.select("seed", "data_seed").unique().iter_rows())
    cells, rounds, states = mapped(fates, spec, begun, seeds)
    of = ["gamma_log10", "seed", "data_seed", "edge"]
    whole, own = (
        threshold_table(table, None).filter(pl.col("edge").is_in(EDGES)) for table in (full, cells)
    )
    bracketed = whole.filter("bounded", pl.col("estimate_log10").is_not_null())
    both = bracketed.join(own, on=of, suffix="_own", how="left")
    # Where outcomes are mixed and cells are few, a line may have the edge of its cells alone.
    near = pl.any_horizontal(
        (pl.col(f"{column}_own") - pl.col(column)).abs() <= NEAR
        for column in ("estimate_log10", "eta_log10")
    )
    span = full.group_by("gamma_log10").agg(
        low=pl.col("eta_log10").min(), high=pl.col("eta_log10").max()
    )
    within = pl.col("eta_log10").is_between("low", "high")
    count = cells.join(span, on="gamma_log10").filter(within).height
    overlap = (pl.col("estimate_low_log10") <= pl.col("estimate_high_log10_own")) & (
        pl.col("estimate_low_log10_own") <= pl.col("estimate_high_log10")
    )
    kinds = (near, overlap, pl.col("method") == "level")
    close, alike, mixed = (both.filter(part).height for part in kinds)
    return Agreement(count, rounds, cells, both.height, close, alike, mixed, states)


def beside_exact(table: pl.DataFrame, exact: pl.DataFrame) -> str:
    """How many edges of each seed are near those without noise, and how many intervals hold these."""
    own, sharp = (
        threshold_table(part, None).filter(
            pl.col("edge").is_in(EDGES), pl.col("seed").is_not_null()
        )
        for part in (table, exact)
    )
    sharp = sharp.filter("bounded").select("gamma_log10", "edge", exact="estimate_log10")
    both = own.join(sharp.drop_nulls(), on=["gamma_log10", "edge"])
    near = (pl.col("estimate_log10") - pl.col("exact")).abs() <= NEAR
    held = pl.col("exact").is_between("estimate_low_log10", "estimate_high_log10")
    counts = both.select(near.sum(), held.sum().alias("held")).row(0)
    return f"{counts[0]} of {both.height} near the exact edge, {counts[1]} intervals hold it"


def toy_begun(
    spec: Map, depth: int, loss: Loss, gammas: Sequence[Decimal] = GAMMAS
) -> dict[Decimal, tuple[Decimal, ...]]:
    """First points of the toy at each gamma."""
    critical = {
        gamma: Fraction(math.log10(2 / toy.initial_scale(10.0 ** float(gamma), depth, loss)))
        for gamma in gammas
    }
    return {g: spec.start(g, loss, depth, (eta, eta)) for g, eta in critical.items()}


def toy_full(fates: Fates, depth: int, loss: Loss, low: int = -5, high: int = 3) -> pl.DataFrame:
    """The full grid at 8 points per decade."""
    points = []
    for gamma in GAMMAS:
        lower, upper = predicted_edges(Fraction(gamma), loss, Fraction(2, depth))
        ends = min(lower, upper) + low, max(lower, upper) + high
        points += [(gamma, eta) for eta in grid_points(*ends, 8)]
    return fates(points)


def window_cells(loss: Loss, decades: float) -> int:
    """Cells of one seed in a window at 8 points per decade, wider by the decades between the predicted edges."""
    edges = [predicted_edges(Fraction(gamma), loss, Fraction(1)) for gamma in GAMMAS]
    return sum(int(8 * (decades + float(upper - lower))) + 1 for lower, upper in edges)


def main() -> None:
    """Print cells and agreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", type=Path)
    chosen = parser.parse_args()
    spec = Map()
    for blur, noise in BLURS:
        for loss in ("mse", "xent"):
            for depth in range(2, 7):
                seeds = (0,) if blur == "none" else (0, 1)
                fates = toy_fates(depth, loss, 300, seeds, blur, noise)
                full = toy_full(fates, depth, loss)
                found = agreement(fates, full, spec, toy_begun(spec, depth, loss))
                shares = "  ".join(
                    f"{found.cells / len(seeds) / window_cells(loss, decades):4.0%} of {decades:g} decades"
                    for decades in (3.5, 6)
                )
                print(f"toy L={depth} {loss:4} {blur:11} {noise:4}  {found}  {shares}", flush=True)
                if blur == "noise":
                    exact = toy_full(toy_fates(depth, loss, 300), depth, loss)
                    for name, table in (("full grid", full), ("map", found.table)):
                        print(f"  {name}: {beside_exact(table, exact)}", flush=True)
                spread = GammaMap(finest=4)
                coarse = toy_begun(spec, depth, loss, spread.points(1))
                cells, _, _ = mapped(fates, spec, coarse, [(s, 0) for s in seeds], spread)
                added = ", ".join(decimal_text(g) for g in sorted({*coarse} - {*spread.points(1)}))
                print(
                    f"  with gamma {{map: {{}}}}: {cells.height:,} cells, added gammas {added or 'none'}"
                )
    for path in chosen.tables:
        full = pl.read_parquet(path)
        gammas = [Decimal(str(value)) for value in sorted(full["gamma_log10"].unique())]
        begun = {}
        for gamma in gammas:
            rows = full.filter(gamma_log10=float(gamma))
            sharpness = (rows["base_width"] * rows["sharpness_init"]).drop_nulls()
            etas = [Fraction(math.log10(2 / value)) for value in sharpness if value > 0]
            loss = full["loss"][0]
            begun[gamma] = spec.start(gamma, loss, None, (min(etas), max(etas)) if etas else None)
        found = agreement(played_back(full), full, spec, begun)
        print(f"{path.stem}  {found}  {found.cells / full.height:4.0%} of {full.height:,} cells")


if __name__ == "__main__":
    main()
