"""Judge the claims of the paper by the tables of a study."""

import polars as pl

from gammascape.analysis.claims import claim_table
from gammascape.analysis.script import run_script

with run_script(snakemake, "table"):
    names = ("scaling", "dynamics", "dynamics_scaling", "collapse", "gain", "similarity_summary")
    tables = {name: pl.read_parquet(getattr(snakemake.input, name)) for name in names}
    trends = pl.read_parquet(snakemake.input.trends) if snakemake.input.get("trends") else None
    claims = claim_table(
        **tables, trends=trends, confidence=snakemake.params.analysis["confidence"]
    )
    claims.write_parquet(snakemake.output[0])
