"""Judge the cells of one slice of a toy at every shorter budget."""

import polars as pl

from gammascape.analysis.budget import budget_table
from gammascape.analysis.script import run_script
from gammascape.analysis.toy import toy_histories
from gammascape.measure.outcome import Thresholds

with run_script(snakemake, "table"):
    cells, model = pl.read_parquet(snakemake.input.cells), snakemake.params.model
    limits, depth = Thresholds(**model["thresholds"]), model["depth_exponent"]
    table = budget_table(cells, toy_histories(cells, depth), depth, limits)
    table.write_parquet(snakemake.output[0])
