"""Compare representations across models and gammas."""

from pathlib import Path

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.similarity import similarity_table
from gammascape.analysis.thresholds import best_cells

with run_script(snakemake, "table") as script:
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    script.cells = best_cells(thresholds)["cell"].to_list()
    similarity_table(thresholds, Path("results/cells")).write_parquet(snakemake.output[0])
