"""Fit lines along the factor in which slices differ."""

import polars as pl

from gammascape.analysis.regimes import trend_table
from gammascape.analysis.script import run_script

with run_script(snakemake, "table"):
    trend_table(pl.read_parquet(snakemake.input.regimes)).write_parquet(snakemake.output[0])
