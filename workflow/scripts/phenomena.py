"""Take the curves of runs that catapult and of runs at large gamma."""

from pathlib import Path

import polars as pl

from gammascape.analysis.phenomena import phenomena_table, shown
from gammascape.analysis.script import run_script

with run_script(snakemake, "table") as script:
    dynamics = pl.read_parquet(snakemake.input.dynamics)
    script.cells = shown(dynamics)["cell"].unique().to_list()
    phenomena_table(dynamics, Path("results/cells")).write_parquet(snakemake.output[0])
