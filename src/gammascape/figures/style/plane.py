"""Geometry of the plane of gamma and eta: sides of tiles, and lines of the predicted exponents."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, cast

import polars as pl


def theory_lines(scaling: pl.DataFrame) -> pl.DataFrame:
    """One line log10 eta = prefactor_at_predicted_log10 + predicted_slope * log10 gamma per edge and window.

    Windows without a prediction or without a fit get no line. The largest finite eta gets one only
    where its predicted slope differs from the largest trained eta's: elsewhere the two lines
    would lie side by side.
    """
    edges = ["eta_min", "eta_max_trained", "eta_max_finite"]
    predicted = scaling.filter(pl.col("edge").is_in(edges))
    predicted = predicted.drop_nulls("prefactor_at_predicted_log10")
    trained, finite = (predicted.filter(edge=edge) for edge in edges[1:])
    alike = finite.join(trained, on=["slice", "window", "predicted_slope"], how="semi")
    lines = predicted.join(alike, on=["slice", "window", "edge"], how="anti")
    return lines.sort("edge", "window")


def with_sides(tiles: pl.DataFrame) -> pl.DataFrame:
    """Add x, x2, y and y2, the sides of tiles around pairs of log10 gamma and log10 eta that are sorted."""
    gammas = tiles["gamma_log10"].unique().sort().to_list()
    columns = dict(zip(gammas, tile_sides(gammas), strict=True))
    spacing = tiles.select(pl.col("eta_log10").diff().over("gamma_log10")).to_series().median()
    hole = max(1.0, 3 * cast(float, spacing or 0.0))
    rows: list[dict[str, Any]] = []
    for (gamma,), column in tiles.group_by("gamma_log10", maintain_order=True):
        left, right = columns[gamma]
        sides = tile_sides(column["eta_log10"].to_list(), hole)
        for row, (low, high) in zip(column.iter_rows(named=True), sides, strict=True):
            rows.append(row | {"x": left, "x2": right, "y": low, "y2": high})
    return pl.DataFrame(rows, infer_schema_length=None)


def tile_sides(points: Sequence[float], hole: float = math.inf) -> list[tuple[float, float]]:
    """Lower and upper side of the tile around each of the sorted, distinct `points`.

    Sides lie half way between neighbours, so that tiles meet whatever the spacing. A gap wider
    than `hole` was not sampled: tiles beside it, and at both ends, are as deep as on their other
    side. A lone point gets a tile of one half.
    """
    gaps = [b - a for a, b in itertools.pairwise(points)]
    before = [math.inf, *(g if g <= hole else math.inf for g in gaps)]
    after = [*before[1:], math.inf]

    def half(gap: float, other: float) -> float:
        known = [g for g in (gap, other) if math.isfinite(g)]
        return known[0] / 2 if known else 0.25

    return [
        (x - half(down, up), x + half(up, down))
        for x, down, up in zip(points, before, after, strict=True)
    ]
