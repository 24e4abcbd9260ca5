"""Find where the window of one slice closes at each budget."""

import polars as pl

from gammascape.analysis.apex import apex_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    budget = pl.read_parquet(snakemake.input.budget)
    analysis = Analysis.model_validate(snakemake.params.analysis)
    apex_table(budget, analysis).write_parquet(snakemake.output[0])
