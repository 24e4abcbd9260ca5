"""The protocol of the published sweep: from the top down to the first eta without NaN, and three decades more."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from gammascape.study.keys.axes import LIMIT, Map
from gammascape.study.keys.exact import decimal_text, grid_points

_BELOW = 3
"""Decades sampled below the first eta without NaN."""


def walk_down(
    lines: Sequence[Mapping[Decimal, str]], spec: Map, reach: tuple[Decimal, Decimal]
) -> tuple[list[tuple[Decimal, str]], str]:
    """Further log10 etas with their reasons at one gamma, and why there is no first eta without NaN.

    The seeds of the gamma walk together: until each has a run without NaN, and three decades below the last that
    found one. Above a top that does not diverge the walk begins a decade higher. An infinite loss counts as NaN.

    Args:
        lines: for each seed the status by log10 eta.
        spec: its `finest` is the density of the walk.
        reach: lowest and highest log10 eta of the search.
    """
    known = sorted({eta for line in lines for eta in line})
    finite = [[eta for eta, status in line.items() if status != "diverged"] for line in lines]
    low, high = known[0], known[-1]
    none = ""

    def between(first: Decimal, last: Decimal, why: str) -> Iterator[tuple[Decimal, str]]:
        for eta in grid_points(first, last, spec.finest):
            if any(eta not in line for line in lines) and abs(eta) <= LIMIT:
                yield eta, why

    found: list[tuple[Decimal, str]] = []
    if any(high in etas for etas in finite):
        none = "it lies beyond the reach of the map"
        why = f"walk down from above {decimal_text(high)}, which stays finite"
        found += between(high, min(high + 1, reach[1]), why)
    if not all(finite):
        none = "all cells diverge"
        why = f"walk down below {decimal_text(low)} diverged"
        found += between(max(low - 1, reach[0]), low, why)
    if not none:
        tops = [max(etas) for etas in finite]
        first, last = min(tops), max(tops)
        # Cells of other grids may lie farther apart than the walk's, and be of some seeds only.
        above = min((eta for eta in known if eta > last), default=last)
        why = f"walk down three decades below {decimal_text(first)}, the first without NaN"
        found += between(first - _BELOW, above, why)
    return found, none
