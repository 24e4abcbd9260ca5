"""Find what happens in the runs of a study: plateaus, drops, catapults, alignment, sharpening."""

from pathlib import Path

import polars as pl

from gammascape.analysis.dynamics import dynamics_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table") as script:
    # A toy's cells are no artifacts: only what is an input was a run.
    trained = {
        Path(path).parent.relative_to("results/cells").as_posix() for path in snakemake.input.arrays
    }
    cells, thresholds = (
        pl.read_parquet(path).filter(pl.col("cell").is_in(trained))
        for path in (snakemake.input.cells, snakemake.input.thresholds)
    )
    analysis = Analysis.model_validate(snakemake.params.analysis)
    table = dynamics_table(cells, thresholds, analysis, Path("results/cells"))
    script.cells = table["cell"].unique().to_list()
    table.write_parquet(snakemake.output[0])
