"""Draw the fitted exponents against those of the laws."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import exponents, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.scaling, snakemake.input.models]
    save(exponents(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
