"""Draw those figures of a stage that are not what the study asks for."""

from gammascape.figures.style.lean import build_lean
from gammascape.figures.style.save import save
from gammascape.provenance.current import Results
from gammascape.workflow.script import run_stage

build_lean()
with run_stage(snakemake) as stage:
    for script, chart in stage.due(Results(None, stage.file.parent).differences):
        save(chart, script.manifest.name, usermeta=script.mark)
