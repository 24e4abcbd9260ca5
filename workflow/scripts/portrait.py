"""Draw the phase portrait of one slice."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import portrait, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.cells, snakemake.input.thresholds, snakemake.input.scaling]
    save(portrait(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
