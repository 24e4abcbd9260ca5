"""Compare representations across models and gammas."""

from pathlib import Path

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.similarity import similarity_table
from gammascape.analysis.thresholds import best_cells

with run_script(snakemake, "table") as script:
    # A toy's cells are no artifacts: only what is an input can be compared.
    trained = {
        Path(path).parent.relative_to("results/cells").as_posix() for path in snakemake.input.arrays
    }
    thresholds = pl.read_parquet(snakemake.input.thresholds)
    thresholds = thresholds.filter(pl.col("cell").is_in(trained))
    script.cells = best_cells(thresholds)["cell"].to_list()
    similarity_table(thresholds, Path("results/cells")).write_parquet(snakemake.output[0])
