"""Draw the loss curves of one slice in rescaled time."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import collapse, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.curves]
    save(collapse(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
