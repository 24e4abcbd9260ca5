"""Put the tables of all slices into one."""

import polars as pl

from gammascape.analysis.script import run_script

with run_script(snakemake, "table"):
    pl.concat([pl.read_parquet(path) for path in snakemake.input.slices]).write_parquet(
        snakemake.output[0]
    )
