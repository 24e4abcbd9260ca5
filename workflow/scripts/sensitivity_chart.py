"""Draw how thresholds move the edges of training."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import save, sensitivity

with run_script(snakemake, "figure") as script:
    table = pl.read_parquet(snakemake.input.sensitivity)
    save(sensitivity(table), script.manifest.name, usermeta=script.mark)
