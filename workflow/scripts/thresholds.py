"""Find the edges of training of one slice."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.thresholds import threshold_table
from gammascape.measure.outcome import Thresholds

with run_script(snakemake, "table"):
    cells, model = pl.read_parquet(snakemake.input.cells), snakemake.params.model
    limits = Thresholds(**model["thresholds"])
    threshold_table(cells, model["depth_exponent"], limits).write_parquet(snakemake.output[0])
