"""The command `gammascape seal`: one short digest over the cells, tables and figures of a study."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gammascape.provenance.seal import seal_of

if TYPE_CHECKING:
    from gammascape.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "seal",
        help="print one short digest over all cells, tables and figures of a study",
        description=f"{__doc__} Print it in a paper: `gammascape audit --seal` holds results against it.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its file")
    parser.add_argument("--directory", type=Path, help="folder that holds results")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print the seal."""
    name = Path(chosen.study).stem if chosen.study.endswith((".yaml", ".yml")) else chosen.study
    print(seal_of(name, (chosen.directory or Path.cwd()).resolve()))
    return 0
