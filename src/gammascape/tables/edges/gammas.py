"""Further gammas of a map: beside bends of edges, where the window closes, and at the best accuracy.

They follow from the cells of a slice alone, once its edges are found at the gammas that it has. The gap to a
neighbouring gamma is halved, until it is one of the finest grid.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

import polars as pl

from gammascape.runs.outcome import Thresholds
from gammascape.study.keys.axes import LIMIT, MapEdge
from gammascape.study.keys.exact import decimal_text
from gammascape.study.points import NEW_GAMMA, Mapped
from gammascape.tables.edges.find import threshold_table
from gammascape.tables.edges.refine import Wanted, grid_below, points_between

Gap = tuple[Decimal, Decimal]
"""Two neighbouring gammas."""
_Edges = Mapping[tuple[MapEdge, Decimal], tuple[float, float, int]]
"""Edge and gamma -> mean place, half of its interval (infinite if not bracketed), number of seeds with it."""


def further_gammas(
    cells: pl.DataFrame, maps: Mapping[Decimal, Mapped], trained_below: float
) -> list[Wanted]:
    """First etas of the gammas that the map of gamma of one slice needs beyond its own; none without such a map.

    An edge bends where it lies farther from the line between its two neighbours than their brackets, and the
    scatter of seeds, can explain; the largest change of slope comes first. A gamma has the best accuracy if none
    is better by twice the error of a difference. First etas surround edges interpolated from both neighbours.

    Args:
        cells: the table of `tables.cells.cell_table`.
        maps: by log10 gamma.
        trained_below: relative loss at or below which a cell is trained.
    """
    own = {gamma: mapped for gamma, mapped in maps.items() if mapped.gammas}
    keys = [(float(gamma), *seeds) for gamma, mapped in own.items() for seeds in mapped.seeds]
    columns = {name: cells.schema[name] for name in ("gamma_log10", "seed", "data_seed")}
    lines = pl.DataFrame(keys, columns, orient="row")
    table = cells.join(lines, on=[*columns], how="semi").sort(*columns, "eta_log10")
    gammas = sorted(own.keys() & {Decimal(str(value)) for value in table["gamma_log10"].unique()})
    # Gammas of one map have one map of eta.
    mapped = own[gammas[0]] if gammas else None
    if mapped is None or mapped.gammas is None:
        return []
    gaps: dict[Gap, Decimal] = {}
    for gap in pairwise(gammas):
        if found := next(filter(None, points_between(*gap, mapped.gammas.densities)), []):
            gaps[gap] = found[len(found) // 2]
    asked = ("eta_max_finite",) if mapped.map.protocol == "walk-down" else mapped.map.edges
    edges = _edges(table, trained_below)
    # The window is open where at least half of the seeds train.
    trained = {
        gamma: seeds for (edge, gamma), (*_, seeds) in edges.items() if edge == "eta_max_trained"
    }
    opened = {gamma for gamma, seeds in trained.items() if 2 * seeds >= len(own[gamma].seeds)}
    closing = [gap for gap in gaps if len(opened & {*gap}) == 1]
    reasons: dict[Gap, str] = {}
    for gap, why in (
        *_bends(edges, gammas, gaps, asked),
        *((gap, "where the window closes") for gap in closing),
        *_best(table, gaps),
    ):
        ends = " and ".join(map(decimal_text, gap))
        reasons.setdefault(gap, f"{NEW_GAMMA} between {ends}, {why}")
    return [
        Wanted(gaps[gap], eta, why, float(gap[1] - gap[0]))
        for gap, why in sorted(reasons.items())
        for eta in _first_etas(gaps[gap], gap, edges, asked, mapped.map.finest)
    ]


def _edges(table: pl.DataFrame, trained_below: float) -> _Edges:
    thresholds = threshold_table(table, None, Thresholds(trained_below=trained_below))
    at = pl.col("estimate_log10")
    half = (pl.col("estimate_high_log10") - pl.col("estimate_low_log10")).mean() / 2
    known = pl.all_horizontal(pl.col("^estimate.*_log10$").is_not_null().all())
    rows = thresholds.group_by("edge", "gamma_log10").agg(
        at=pl.coalesce("estimate_log10", "eta_log10").mean(),
        half=pl.when(known)
        .then(pl.max_horizontal(half, (at.max() - at.min()) / 2))
        .otherwise(math.inf),
        seeds=pl.len(),
    )
    return {(row[0], Decimal(str(row[1]))): row[2:] for row in rows.iter_rows()}


def _bends(
    edges: _Edges, gammas: Sequence[Decimal], gaps: Collection[Gap], asked: Sequence[MapEdge]
) -> Iterator[tuple[Gap, str]]:
    """Gaps beside the largest change of slope of each edge."""
    for edge in asked:
        # The best eta of a flat loss lies anywhere.
        known = [g for g in gammas if (edge, g) in edges and edge != "eta_best"]
        bends: list[tuple[float, Decimal, list[Gap], str]] = []
        for three in zip(known, known[1:], known[2:], strict=False):
            (low, below, _), (here, half, _), (high, above, _) = (
                edges[edge, gamma] for gamma in three
            )
            before, after = (float(b - a) for a, b in pairwise(three))
            share = before / (before + after)
            slopes = (here - low) / before, (high - here) / after
            beside = [gap for gap in pairwise(three) if gap in gaps]
            hidden = half + (1 - share) * below + share * above
            if beside and abs(here - low - share * (high - low)) > hidden:
                why = f"where the slope of {edge} changes from {slopes[0]:.2g} to {slopes[1]:.2g}"
                bends.append((-abs(slopes[1] - slopes[0]), three[1], beside, why))
        for _, _, beside, why in sorted(bends)[:1]:
            yield from ((gap, why) for gap in beside)


def _best(table: pl.DataFrame, gaps: Collection[Gap]) -> Iterator[tuple[Gap, str]]:
    """Gaps beside the gamma of the best accuracy, or of one as good that has none left."""
    on = "validation" if table["validation_accuracy"].count() else "test"
    score = pl.col(f"{on}_accuracy")
    seeds = pl.struct("seed", "data_seed").n_unique()
    scored = (
        table.with_columns(seeds=seeds.over("gamma_log10"))
        .group_by("gamma_log10", "eta_log10")
        .agg(score.mean(), pl.col("seeds").first(), known=score.count(), scatter=score.var())
        .filter(known=pl.col("seeds"))
        .sort(-score, "eta_log10", "gamma_log10")
        .group_by("gamma_log10", maintain_order=True)
        .first()
    )
    if scored.is_empty():
        return
    error = scored.select((pl.col("scatter").mean() / pl.col("seeds").min()).sqrt()).item() or 0.0
    top = scored[f"{on}_accuracy"].max()
    assert isinstance(top, float)
    alike = scored.filter(score >= top - 2 * math.sqrt(2) * error)["gamma_log10"]
    left = [[gap for gap in gaps if gamma in map(float, gap)] for gamma in alike]
    if all(left):
        yield from ((gap, f"beside the best {on} accuracy") for gap in left[0])


def _first_etas(
    gamma: Decimal, gap: Gap, edges: _Edges, asked: Sequence[MapEdge], density: int
) -> list[Decimal]:
    """Points on both sides of each edge, interpolated; of an edge that one neighbour has, of its own."""
    share = float((gamma - gap[0]) / (gap[1] - gap[0]))
    found = set[Decimal]()
    for edge in asked:
        ends = zip((1 - share, share), gap, strict=True)
        known = [(weight, edges[edge, end][0]) for weight, end in ends if (edge, end) in edges]
        if known:
            at = sum(weight * place for weight, place in known) / sum(weight for weight, _ in known)
            found |= {grid_below(place, density) for place in (at, at + 1 / density)}
    return sorted(eta for eta in found if abs(eta) <= LIMIT)
