"""Draw the similarity of representations."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import save, similarity

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.similarity]
    save(similarity(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
