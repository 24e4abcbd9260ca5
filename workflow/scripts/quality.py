"""Draw how generated digits compare with MNIST."""

import json
from pathlib import Path

from gammascape.figures.quality import quality
from gammascape.figures.style.save import save
from gammascape.workflow.script import run_script

with run_script(snakemake, "figure") as script:
    measures = json.loads(Path(snakemake.input.measures).read_text())
    kind = snakemake.wildcards.generator.split("-")[0]
    save(quality(measures, kind), script.manifest.name, usermeta=script.mark)
