"""Draw what each gamma reaches, what it costs, and what tuning gamma gains."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import performance, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.scores, snakemake.input.performance, snakemake.input.gain]
    save(performance(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
