"""Counts and times in words, and tables of text."""

from collections.abc import Sequence


def count_of(number: int, noun: str) -> str:
    """'1 seed', '2 seeds', '1,200 cells'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def aligned(rows: Sequence[Sequence[str]], right: bool = False) -> list[str]:
    """Lines of a table whose columns are as wide as their longest text; `right` aligns all but the first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if right and k else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.5 s, 45 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
