"""Judge the cells of one slice with other thresholds."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.sensitivity import sensitivity_table
from gammascape.measure.outcome import Thresholds
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    cells, model = pl.read_parquet(snakemake.input.cells), snakemake.params.model
    limits = Thresholds(**model["thresholds"])
    analysis = Analysis.model_validate(snakemake.params.analysis)
    table = sensitivity_table(cells, model["depth_exponent"], limits, analysis)
    table.write_parquet(snakemake.output[0])
