"""Compare functions across models and gammas."""

from pathlib import Path

from gammascape.analysis.script import run_script
from gammascape.analysis.similarity import best_of_trained, function_table
from gammascape.study import Analysis

with run_script(snakemake, "table") as script:
    thresholds = best_of_trained(snakemake.input.thresholds, snakemake.input.arrays)
    script.cells = thresholds["cell"].to_list()
    analysis = Analysis.model_validate(snakemake.params.analysis)
    table = function_table(thresholds, Path("results/cells"), analysis)
    table.write_parquet(snakemake.output[0])
