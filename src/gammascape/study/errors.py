"""What is said to a person when a study or a configuration cannot be used."""

from collections.abc import Sequence
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Where a value stands in a file: `("grids", 0, "eta")` is `grids[0].eta`."""


BOOLEANS = "YAML reads on, off, yes, no, true and false as booleans"
"""Said wherever one of these words was meant as text."""


class StudyError(Exception):
    """A mistake in a user's file; `str(error)` is the whole message, ready to be printed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its key, the line it stands on if known, and what to write."""

    path: KeyPath
    text: str
    line: int | None = None
    column: int | None = None


def key_path(path: KeyPath) -> str:
    """Write a key path the way a person reads it: `grids[0].eta.window`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def study_error(source: str, problems: Sequence[Problem]) -> StudyError:
    """Gather all problems of the file `source` in one error, in the order of the file."""
    count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    return StudyError("\n".join([f"{source}: {count}", *(f"  {_item(p)}" for p in ordered)]))


def _item(problem: Problem) -> str:
    where = key_path(problem.path)
    text = f"{where}: {problem.text}" if where else problem.text
    if problem.line is None:
        return text
    column = "" if problem.column is None else f", column {problem.column}"
    return f"{text} (line {problem.line}{column})"
