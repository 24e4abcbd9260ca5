"""Draw the loss curves of one slice."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import loss_curves, save

with run_script(snakemake.log[0]):
    tables = [snakemake.input.curves]
    save(loss_curves(*map(pl.read_parquet, tables)), snakemake.output[0].removesuffix(".json"))
