"""Compute the loss curves at the best eta of one slice of a toy."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.toy import toy_curve_table

with run_script(snakemake, "table"):
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    toy_curve_table(thresholds).write_parquet(snakemake.output[0])
