"""Printing for people: show characters that would control a terminal, or hide text, as escapes."""

import json
import re
import sys
from typing import Any

_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Control characters, line separators, marks that reorder or hide text, and UTF-16 surrogates."""


def visible(text: object) -> str:
    """Text on one line, with an escape such as \\x1b in place of each character that controls a terminal."""
    return _ACTING.sub(lambda match: ascii(match.group())[1:-1], str(text))


def visible_lines(text: object) -> str:
    """Make text visible line by line."""
    return "\n".join(map(visible, str(text).split("\n")))


def say(*lines: object) -> None:
    """Print each argument on one line of standard output, whatever it contains."""
    print(*map(visible, lines), sep="\n", flush=True)


def complain(message: object) -> None:
    """Print a message of one or more lines on standard error."""
    print(visible_lines(message), file=sys.stderr, flush=True)


def say_json(content: Any) -> None:
    """Print JSON with its strings escaped."""
    print(json.dumps(content, indent=1).replace("\x7f", "\\u007f"))
