"""Find where the edges of one slice bend."""

import polars as pl

from gammascape.analysis.crossover import crossover_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    analysis = Analysis.model_validate(snakemake.params.analysis)
    crossover_table(thresholds, analysis).write_parquet(snakemake.output[0])
