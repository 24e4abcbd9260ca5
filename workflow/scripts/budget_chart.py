"""Draw what a larger budget of steps opens in one slice."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import budget, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.budget, snakemake.input.apex]
    save(budget(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
