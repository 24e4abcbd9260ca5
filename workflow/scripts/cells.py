"""Collect the cells of one slice into a table."""

from pathlib import Path

from gammascape.analysis.cells import cell_table
from gammascape.analysis.script import run_script
from gammascape.measure.outcome import Thresholds

with run_script(snakemake, "table"):
    given = snakemake.params.slice
    folders = [Path(path).parent for path in snakemake.input.summaries]
    cell_table(folders, given["labels"], Thresholds(**given["thresholds"])).write_parquet(
        snakemake.output[0]
    )
