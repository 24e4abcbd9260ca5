"""Draw the loss curves of one slice in rescaled time."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import collapse, save

with run_script(snakemake.log[0]):
    tables = [snakemake.input.curves]
    save(collapse(*map(pl.read_parquet, tables)), snakemake.output[0].removesuffix(".json"))
