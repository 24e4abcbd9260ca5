"""Draw the edges of training against gamma."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import edges, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.thresholds, snakemake.input.scaling]
    save(edges(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
