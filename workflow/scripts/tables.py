"""Make those tables of a stage that are not what the study asks for."""

from pathlib import Path

from gammascape.layout import whole
from gammascape.provenance.current import Results
from gammascape.workflow.script import run_stage

with run_stage(snakemake) as stage:
    for script, table in stage.due(Results(None, stage.file.parent).differences):
        with whole(Path(f"{script.manifest.name}.parquet")) as partial:
            table.write_parquet(partial)
