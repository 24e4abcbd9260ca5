"""Compute all cells of one slice of a toy."""

from gammascape.analysis.script import run_script
from gammascape.analysis.toy import toy_cell_table
from gammascape.measure.outcome import Thresholds

with run_script(snakemake, "table"):
    given, toy = snakemake.params.slice, snakemake.params.toy
    points = [tuple(line.split()) for line in toy["points"].splitlines()]
    thresholds = Thresholds(**given["thresholds"])
    toy_cell_table(points, toy["depth"], given["labels"], thresholds).write_parquet(
        snakemake.output[0]
    )
