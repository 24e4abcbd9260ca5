"""Commands of `gammascape`: one module each, with `add` for its arguments and `run`, which returns the status.

The docstring of a module is the command's help; its first line appears in the list of commands.
"""

import argparse
from pathlib import Path
from typing import Any

from gammascape.study import StudyError
from gammascape.study.keys.config import CONFIG_FILE
from gammascape.study.reading.yaml_reader import STUDIES, study_name

STUDY_FILE = f"a study: its file, or its name in {STUDIES}"


def study_file(text: str) -> str:
    """File of a study, given as for `study_name`; a file that does not exist is left to who reads or writes it."""
    try:
        named = STUDIES / f"{study_name(text)}.yaml"
    except StudyError:
        return text
    return str(named) if not Path(text).is_file() and named.is_file() else text


_SHARED: dict[str, dict[str, Any]] = {
    "--study": {
        "nargs": "+",
        "type": study_file,
        "metavar": "STUDY",
        "help": f"studies, by name or file, to consider instead of the ones in {CONFIG_FILE}",
    },
    "--directory": {
        "type": Path,
        "help": "folder that contains results; found automatically for artifacts inside it",
    },
    "--json": {"action": "store_true", "help": "print JSON"},
}


def add_shared(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add options shared by several commands."""
    for name in names:
        parser.add_argument(name, **_SHARED[name])
