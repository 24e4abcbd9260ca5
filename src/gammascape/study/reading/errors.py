"""Messages about an invalid study or configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from gammascape.command import UserError
from gammascape.durations import count_of
from gammascape.terminal import visible

MOST_PROBLEMS = 20
"""Largest number of problems listed for one file."""
_MOST_LETTERS = 500
"""Largest number of letters shown for a key and for its problem."""

KeyPath = tuple[str | int, ...]
"""Place of a value in a file: `("grids", 0, "eta")` is `grids[0].eta`."""


BOOLEANS = "YAML reads on, off, yes, no, true and false as booleans"
"""Hint for values where one of these words was meant as text."""


class StudyError(UserError):
    """A mistake in a user's file; `str(error)` is the whole message, ready to print."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: its key, its line if known, and what to write."""

    path: KeyPath
    text: str
    line: int | None = None
    column: int | None = None


def key_path(path: KeyPath) -> str:
    """Write a key path for a person: `grids[0].eta.window`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def study_error(source: str, problems: Sequence[Problem]) -> StudyError:
    """Collect the problems of the file `source` in one error, in the order of the file."""
    count = count_of(len(problems), "problem")
    if len(problems) > MOST_PROBLEMS:
        count = f"more than {MOST_PROBLEMS} problems, of which these come first"
    ordered = sorted(problems[:MOST_PROBLEMS], key=lambda problem: problem.line or 0)
    return StudyError("\n".join([f"{source}: {count}", *(f"  {_item(p)}" for p in ordered)]))


def _item(problem: Problem) -> str:
    where, said = _shown(key_path(problem.path)), _shown(problem.text)
    text = f"{where}: {said}" if where else said
    if problem.line is None:
        return text
    column = "" if problem.column is None else f", column {problem.column}"
    return f"{text} (line {problem.line}{column})"


def _shown(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
