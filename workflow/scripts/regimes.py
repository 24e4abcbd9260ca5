"""Put together what of slices may depend on the factor in which they differ."""

import polars as pl

from gammascape.analysis.regimes import regime_table
from gammascape.analysis.script import run_script
from gammascape.study import Analysis

with run_script(snakemake, "table"):
    compared = snakemake.params.compared
    digests = pl.read_parquet(snakemake.input.cells, columns=["slice", "data_digest"]).unique()
    gains = [pl.read_parquet(path) for path in snakemake.input.gain]
    regime_table(
        compared["members"],
        pl.read_parquet(snakemake.input.thresholds),
        pl.read_parquet(snakemake.input.scaling),
        gains[0] if gains else None,
        Analysis.model_validate(compared["analysis"]),
        dict(digests.iter_rows()),
    ).write_parquet(snakemake.output[0])
