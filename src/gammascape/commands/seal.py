"""Print one short digest over all cells, tables and figures of a study.

Print it in a paper: `gammascape audit --seal` compares results with it.
"""

import argparse
from pathlib import Path

from gammascape.commands import add_shared
from gammascape.provenance.seal import seal_of


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its file")
    add_shared(parser, "--directory")


def run(chosen: argparse.Namespace) -> int:
    """Print the seal."""
    print(seal_of(chosen.study, (chosen.directory or Path.cwd()).resolve()))
    return 0
