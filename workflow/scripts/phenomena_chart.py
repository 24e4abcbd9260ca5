"""Draw catapults and silent alignment, a column for each pair of model and data."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import phenomena, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.phenomena, snakemake.input.dynamics]
    save(phenomena(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
