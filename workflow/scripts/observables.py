"""Collect what was measured during the runs of one slice."""

from pathlib import Path

from gammascape.analysis.observables import observable_table
from gammascape.analysis.script import run_script

with run_script(snakemake, "table"):
    folders = [Path(path).parent for path in snakemake.input.summaries]
    observable_table(folders, snakemake.params.labels).write_parquet(snakemake.output[0])
