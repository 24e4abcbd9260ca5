"""Say where the results of a study come from."""

from pathlib import Path

from gammascape.analysis.script import run_script
from gammascape.figures import write_provenance

with run_script(snakemake, "page") as script:
    write_provenance(
        script.manifest.record["wildcards"]["study"], script.inputs, Path(snakemake.output[0])
    )
