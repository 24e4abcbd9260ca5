import os
import sys
from pathlib import Path

from snakemake.logging import logger

from gammascape.execution.devices import find_devices
from gammascape.execution.kept import unmark
from gammascape.execution.tasks import TRAIN_RULE, TRAIN_RULES
from gammascape.origin import fingerprint
from gammascape.origin.code import FIGURE_MODULES, TABLE_MODULES
from gammascape.origin.machine import HIDE_HOST
from gammascape.provenance.current import Results
from gammascape.study import StudyError
from gammascape.study.factors import FACTORS
from gammascape.workflow import FINGERPRINTS, load_plan, write_if_changed


def stop(message):
    # After an exception Snakemake would print where in this file it was raised.
    logger.error(message)
    sys.exit(1)


try:
    PLAN = load_plan(config)
except StudyError as error:
    stop(str(error))

if not PLAN.config.record_host:
    os.environ[HIDE_HOST] = "1"

PLAN.copy_sources()

# The interpreter that runs Snakemake has the locked environment; PATH may name another one.
PYTHON = sys.executable

# As a module of another workflow: lines of shell see the names of that one, which may also rename the rules.
OUTSIDE = workflow.modifier_stack[0].globals
if OUTSIDE.setdefault("PYTHON", PYTHON) != PYTHON:
    stop(
        "PYTHON: the rules of gammascape need this name; rename yours in the Snakefile"
    )
if workflow.modifier.modify_path("results") != "results":
    stop("module: gammascape works below results; remove prefix and replace_prefix")
TRAIN_RULES.add(workflow.modifier.modify_rulename(TRAIN_RULE))

# Snakemake does not see imported modules. What tables and figures depend on is put into a file that changes
# only when the meaning of the code does.
write_if_changed(Path(FINGERPRINTS["table"]), fingerprint(*TABLE_MODULES))
write_if_changed(Path(FINGERPRINTS["figure"]), fingerprint(*FIGURE_MODULES))

# What is current is decided by manifests, before Snakemake looks at file times; in its jobs it is decided already.
RESULTS = Results(
    PLAN, Path(str(workflow.current_basedir.get_path_or_uri(True))).parent / "scripts"
)
FORCED, MISSING = set(), []
if workflow.is_main_process:
    unmark(PLAN.cells)
    RESULTS.settle()
    FORCED, MISSING = RESULTS.forced, RESULTS.missing()


def code_of(kind):
    """The fingerprint as an input of rules; Snakemake asks for it while it resolves jobs, before it decides."""

    def path(wildcards):
        workflow.dag.forcefiles.update(FORCED)
        return FINGERPRINTS[kind]

    return path


ANALYSIS_CODE = code_of("table")
FIGURES_CODE = code_of("figure")


# How the slices that are trained, and those that theory computes, are named; (?!) matches nothing.
TRAINED = "|".join(PLAN.keys(toy=False)) or "(?!)"
TOYS = "|".join(PLAN.keys(toy=True)) or "(?!)"


wildcard_constraints:
    study="|".join(PLAN.studies),
    slice="|".join(part.key for study in PLAN.studies.values() for part in study.slices),
    cell=r"[a-z0-9]+_[a-z0-9]+_(mse|xent)/g[^/]+-[0-9a-f]{12}",


def all_cores(wildcards):
    """Cores of this machine that Snakemake may use; one where it only submits jobs."""
    return workflow.resource_settings.cores or 1


def one_for_each_gpu(wildcards):
    """Threads of a job that keeps a GPU, or all cores, busy: as many run at a time as there are GPUs."""
    gpus = sum(device.kind == "cuda" for device in find_devices("auto", 1))
    return max(1, all_cores(wildcards) // max(1, gpus))


def slice_cells(wildcards, name):
    cells = PLAN.slice(wildcards.study, wildcards.slice).cells
    return [f"results/cells/{cell.path}/{name}" for cell in cells]


def study_cells(wildcards, name):
    return [f"results/cells/{c.path}/{name}" for c in PLAN.trained(wildcards.study)]


def slice_tables(wildcards, table):
    slices = PLAN.studies[wildcards.study].slices
    return [
        f"results/{wildcards.study}/tables/{table}/{part.key}.parquet"
        for part in slices
        if part.observables or table != "observables"
    ]


def trained_table(study, table):
    return [f"results/{study}/tables/{table}.parquet"] if PLAN.trained(study) else []


def table_files(studies):
    return [
        f"results/{study}/tables/{table}.parquet"
        for study in studies
        for table in PLAN.tables(study)
    ]


def figure_files(studies):
    stems = [stem for study in studies for stem in PLAN.figures(study)]
    return [
        f"{stem}.{kind}" for stem in stems for kind in ("json", "html", "svg", "png")
    ]
