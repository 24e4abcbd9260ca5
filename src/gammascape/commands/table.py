"""Print a table of the results, as text or as CSV for other programs.

Lists in a column are written as JSON in CSV.
"""

import argparse
import json
import sys

import polars as pl

from gammascape.provenance.locate import STUDY, output_of
from gammascape.terminal import visible_lines


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("table", help="gain, quickstart/tables/gain, or the path of its file")
    parser.add_argument("--study", help=STUDY)
    parser.add_argument("--csv", action="store_true", help="print CSV, with all rows and columns")


def run(chosen: argparse.Namespace) -> int:
    """Print a table."""
    _, file = output_of("table", chosen.table, "parquet", chosen.study)
    frame = pl.read_parquet(file)
    if chosen.csv:
        lists = [name for name, kind in frame.schema.items() if kind.is_nested()]
        plain = [
            pl.Series(name, [None if v is None else json.dumps(v.to_list()) for v in frame[name]])
            for name in lists
        ]
        sys.stdout.write(frame.with_columns(plain).write_csv())
        return 0
    with pl.Config(tbl_rows=50, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_width_chars=10**4):
        print(visible_lines(f"{file}\n{frame}"))
    return 0
