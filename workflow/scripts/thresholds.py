"""Find the edges of training of one slice."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.thresholds import threshold_table

with run_script(snakemake, "table"):
    cells = pl.read_parquet(snakemake.input.cells)
    threshold_table(cells, snakemake.params.model["depth_exponent"]).write_parquet(
        snakemake.output[0]
    )
