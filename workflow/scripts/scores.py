"""Take the best over eta of each gamma and seed."""

from pathlib import Path

import polars as pl

from gammascape.analysis.scores import score_table
from gammascape.analysis.script import run_script

with run_script(snakemake, "table") as script:
    # A toy's cells are no artifacts: only what is an input can be read.
    trained = {
        Path(path).parent.relative_to("results/cells").as_posix() for path in snakemake.input.arrays
    }
    cells = pl.read_parquet(snakemake.input.cells).filter(pl.col("cell").is_in(trained))
    score_table(cells, Path("results/cells")).write_parquet(snakemake.output[0])
