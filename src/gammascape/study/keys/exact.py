"""Exact log10 values: decimals with a unique text, on a grid that does not depend on a range."""

import re
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

DECIMALS = 6
_QUANTUM = Decimal(1).scaleb(-DECIMALS)
_TEXT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")

Exact = Decimal | Fraction
RANGE_SLACK = Fraction(1, 2 * 10**DECIMALS)
"""Half a unit in the last decimal: a bound such as 0.333333 includes the grid point 1/3."""


def decimal_text(value: Decimal) -> str:
    """Write a log10 value without exponent, trailing zeros or negative zero: `-2.5`, `1`."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def is_decimal_text(text: str) -> bool:
    """Return whether `text` is the `decimal_text` of some value with at most six decimals."""
    digits = len(text.partition(".")[2])
    return _TEXT.fullmatch(text) is not None and text != "-0" and digits <= DECIMALS


def has_too_many_decimals(value: Decimal) -> bool:
    """Return whether `value` has more than six decimals."""
    return value != value.quantize(_QUANTUM)


def grid_range(low: Exact, high: Exact, per_decade: int, slack: Fraction = RANGE_SLACK) -> range:
    """Integers k with low <= k/per_decade <= high.

    `slack` widens both bounds, so that a bound rounded to six decimals still includes the point that it stands
    for.
    """
    first, last = (Fraction(low) - slack) * per_decade, (Fraction(high) + slack) * per_decade
    return range(ceil(first), floor(last) + 1)


def grid_points(
    low: Exact, high: Exact, per_decade: int, slack: Fraction = RANGE_SLACK
) -> tuple[Decimal, ...]:
    """Points k/per_decade of `grid_range`, rounded to six decimals, ascending.

    All points belong to one absolute grid: moving `low` or `high` adds or removes points but never
    moves one.
    """
    return tuple(
        (Decimal(k) / Decimal(per_decade)).quantize(_QUANTUM)
        for k in grid_range(low, high, per_decade, slack)
    )
