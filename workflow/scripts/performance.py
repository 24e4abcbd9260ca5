"""Put the scores of all seeds together."""

import polars as pl

from gammascape.analysis.performance import performance_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    scores = pl.read_parquet(snakemake.input.scores)
    analysis = Analysis.model_validate(snakemake.params.analysis)
    performance_table(scores, analysis.confidence).write_parquet(snakemake.output[0])
