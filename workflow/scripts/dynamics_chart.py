"""Draw what happens during training against gamma."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import dynamics, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.dynamics, snakemake.input.scaling]
    save(dynamics(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
