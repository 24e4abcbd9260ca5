"""Say which gamma and eta to use, what that gains over gamma = 1, how to carry it, and what to train next.

Reads the table advice of a study that has been run. For each slice: what to use, what tuning gamma gains, each
gamma, the way to other gammas, steps, batch sizes and depths, warnings, entries of grids for the study, and the
next width.
"""

import argparse

from gammascape.commands import add_shared
from gammascape.durations import aligned
from gammascape.provenance.locate import output_of, with_results
from gammascape.tables.advice.words import by_slice, gamma_cells, head, what, where
from gammascape.tables.cells import read_table
from gammascape.terminal import say, say_json, visible_lines


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("study", metavar="STUDY", help="a study with results: its name or its file")
    add_shared(parser, "--json")


def run(chosen: argparse.Namespace) -> int:
    """Print the advice."""
    study = with_results(chosen.study, "tables/advice")
    slices = by_slice(read_table(output_of("table", "advice", "parquet", study)[1]))
    if chosen.json:
        say_json(slices)
        return 0
    for name, kinds in slices.items():
        say(name)
        for row in kinds["choice"] + kinds["gain"]:
            say(f"  {row['text']} {row['todo'] or ''}".rstrip())
        if kinds["gamma"]:
            table = [head(kinds["gamma"][0]), *map(gamma_cells, kinds["gamma"])]
            say(*(f"  {line}" for line in aligned(table)))
        for row in kinds["carry"]:
            say(f"  {row['verdict']}: {row['text']}")
        for row in kinds["warning"]:
            say(f"  warning: {row['text']} {row['todo']}")
        for row in kinds["next"]:
            say(f"  next: {row['text']} {where(row)}")
            print(visible_lines(what(row, study)))
    return 0
