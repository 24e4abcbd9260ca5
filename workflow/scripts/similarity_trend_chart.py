"""Draw the similarity of networks of equal gamma against gamma."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import save, similarity_trend

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.trend, snakemake.input.summary]
    save(
        similarity_trend(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark
    )
