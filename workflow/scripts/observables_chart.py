"""Draw what was measured during the runs of one slice."""

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.figures import observables, save

with run_script(snakemake, "figure") as script:
    given = snakemake.input
    tables = [given.observables, given.thresholds, given.curves]
    save(observables(*map(pl.read_parquet, tables)), script.manifest.name, usermeta=script.mark)
