"""Write the explorer of a study."""

from pathlib import Path

import polars as pl

from gammascape.figures.explorer.page import write_explorer
from gammascape.manifests.paths import CELLS
from gammascape.runs.outcome import Thresholds
from gammascape.workflow.script import run_script

with run_script(snakemake, "page") as script:
    tables = (Path(path) for path in script.inputs if Path(path).suffix == ".parquet")
    write_explorer(
        script.manifest.record["wildcards"]["study"],
        {path.stem: pl.read_parquet(path) for path in tables},
        CELLS,
        Thresholds(**snakemake.params.thresholds),
        Path(snakemake.output[0]),
        planned=snakemake.params.planned,
        mark=script.mark,
    )
