"""Say where the results of a study come from."""

from pathlib import Path

from gammascape.figures.page.provenance import write_provenance
from gammascape.workflow.script import run_script

with run_script(snakemake, "page") as script:
    write_provenance(
        script.manifest.record["wildcards"]["study"],
        script.inputs,
        Path(snakemake.output[0]),
        script.drawn_as and script.drawn_as.finished,
    )
