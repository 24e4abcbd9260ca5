"""Commands of `gammascape`, a module for each, with `add` for its arguments and `run`, which returns the status.

The docstring of a module is the command's help; its first line stands in the list of commands.
"""

import argparse
from pathlib import Path
from typing import Any

from gammascape.study.keys.config import CONFIG_FILE

_SHARED: dict[str, dict[str, Any]] = {
    "--study": {
        "nargs": "+",
        "metavar": "FILE",
        "help": f"study files to consider instead of those that {CONFIG_FILE} names",
    },
    "--directory": {
        "type": Path,
        "help": "folder that holds results; found by itself for what is inside",
    },
    "--json": {"action": "store_true", "help": "print JSON"},
}


def add_shared(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add options that several commands have."""
    for name in names:
        parser.add_argument(name, **_SHARED[name])
