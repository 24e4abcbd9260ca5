"""Fit exponents to what happens in the runs of a study."""

import polars as pl

from gammascape.analysis.dynamics_scaling import dynamics_scaling_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    dynamics = pl.read_parquet(snakemake.input.dynamics)
    analysis = Analysis.model_validate(snakemake.params.analysis)
    dynamics_scaling_table(dynamics, analysis).write_parquet(snakemake.output[0])
