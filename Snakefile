# study.yaml -> cells -> tables -> figures -> results/index.html
# The studies to run are named in config/config.yaml; config/README.md explains every key.

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

# Snakemake would read from a pipe or a device without end.
if (given := Path("config/config.yaml")).exists() and not given.is_file():
    sys.exit(f"{given}: not a file; put a configuration there")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        "results/index.html",
        # With what is made for the page, whatever a study has and is not there.
        MISSING,
