"""Put the edges of all seeds of one slice together."""

import polars as pl

from gammascape.analysis.pooled import pooled_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    analysis = Analysis.model_validate(snakemake.params.analysis)
    pooled_table(thresholds, analysis.confidence).write_parquet(snakemake.output[0])
