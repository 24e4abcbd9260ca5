"""Draw the loss curves of one slice."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import loss_curves, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.curves]
    save(loss_curves(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
