# study.yaml -> cells -> tables -> figures -> results/index.html
# The studies to run are named in config/config.yaml; config/README.md explains every key.

import sys

from snakemake.utils import min_version

from gammascape.study.keys.config import check_file

min_version("9.27")

# Snakemake would read from a pipe without end, and names no line of a mistake.
if not workflow.modifier.skip_configfile and (
    problem := check_file("config/config.yaml")
):
    sys.exit(problem)


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
        # Also request all other outputs that are missing.
        MISSING,
