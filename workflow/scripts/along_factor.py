"""Draw what changes along the factor in which slices differ."""

import polars as pl

from gammascape.analysis.performance import PERFORMANCE_SCHEMA
from gammascape.analysis.script import run_script
from gammascape.figures import along_factor, save

with run_script(snakemake, "figure") as script:
    tables = [snakemake.input.regimes, snakemake.input.trends]
    # A study of toys has no performance.
    reached = [pl.read_parquet(path) for path in snakemake.input.performance]
    performance = reached[0] if reached else pl.DataFrame(schema=PERFORMANCE_SCHEMA)
    chart = along_factor(snakemake.wildcards["factor"], *map(pl.read_parquet, tables), performance)
    save(chart, script.manifest.name, usermeta=script.mark)
