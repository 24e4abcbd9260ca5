"""Follow the similarity of networks of equal gamma along gamma."""

from pathlib import Path

from gammascape.analysis.script import run_script
from gammascape.analysis.similarity import best_of_trained, trend_tables
from gammascape.study import Analysis

with run_script(snakemake, "table") as script:
    thresholds = best_of_trained(snakemake.input.thresholds, snakemake.input.arrays)
    script.cells = thresholds["cell"].to_list()
    analysis = Analysis.model_validate(snakemake.params.analysis)
    table = trend_tables(thresholds, Path("results/cells"), analysis)[0]
    table.write_parquet(snakemake.output[0])
