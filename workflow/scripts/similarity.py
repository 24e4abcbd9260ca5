"""Compare representations across models and gammas."""

from pathlib import Path

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.similarity import similarity_table

with run_script(snakemake.log[0]):
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    similarity_table(thresholds, Path("results/cells")).write_parquet(snakemake.output[0])
