"""Measure how well the loss curves of different gamma collapse in rescaled time."""

from pathlib import Path

import polars as pl

from gammascape.analysis.collapse import collapse_table, compared
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table") as script:
    dynamics = pl.read_parquet(snakemake.input.dynamics)
    script.cells = compared(dynamics)["cell"].unique().to_list()
    analysis = Analysis.model_validate(snakemake.params.analysis)
    table = collapse_table(dynamics, analysis, Path("results/cells"))
    table.write_parquet(snakemake.output[0])
