"""Compare the best gamma with gamma = 1."""

import polars as pl

from gammascape.analysis.gain import gain_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    scores = pl.read_parquet(snakemake.input.scores)
    analysis = Analysis.model_validate(snakemake.params.analysis)
    gain_table(scores, analysis.confidence).write_parquet(snakemake.output[0])
