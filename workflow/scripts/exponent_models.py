"""Compare exponents of the upper edges of one slice."""

import polars as pl

from gammascape.analysis.comparison import exponent_model_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    analysis = Analysis.model_validate(snakemake.params.analysis)
    exponent_model_table(thresholds, analysis).write_parquet(snakemake.output[0])
