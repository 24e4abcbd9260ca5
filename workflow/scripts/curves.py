"""Take the loss curves at the best eta of one slice."""

from pathlib import Path

import polars as pl

from gammascape.analysis.curves import curve_table
from gammascape.analysis.script import run_script
from gammascape.analysis.thresholds import best_cells

with run_script(snakemake, "table") as script:
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    script.cells = best_cells(thresholds)["cell"].to_list()
    curve_table(thresholds, Path("results/cells")).write_parquet(snakemake.output[0])
