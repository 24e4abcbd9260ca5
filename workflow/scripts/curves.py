"""Take the loss curves at the best eta of one slice."""

from pathlib import Path

import polars as pl

from gammascape.analysis.curves import curve_table
from gammascape.analysis.script import run_script

with run_script(snakemake.log[0]):
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    curve_table(thresholds, Path("results/cells")).write_parquet(snakemake.output[0])
