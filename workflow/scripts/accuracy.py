"""Draw the best test accuracy against gamma."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import accuracy, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.cells]
    save(accuracy(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
