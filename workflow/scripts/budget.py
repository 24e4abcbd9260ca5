"""Judge the cells of one slice at every shorter budget."""

from pathlib import Path

import polars as pl

from gammascape.analysis.budget import budget_table, read_histories
from gammascape.analysis.script import run_script
from gammascape.measure.outcome import Thresholds

with run_script(snakemake, "table"):
    cells, model = pl.read_parquet(snakemake.input.cells), snakemake.params.model
    limits = Thresholds(**model["thresholds"])
    histories = read_histories(cells, Path("results/cells"))
    table = budget_table(cells, histories, model["depth_exponent"], limits)
    table.write_parquet(snakemake.output[0])
