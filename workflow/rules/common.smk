import os
import sys
from pathlib import Path

from snakemake.logging import logger

from gammascape.workflow.script import AGAIN
from gammascape.workflow.catalogue import (
    FIGURES,
    fingerprint_file,
    fingerprints,
    jobs_of,
    write_captions,
)
from gammascape.execution.board import BOARD
from gammascape.execution.devices import find_devices
from gammascape.execution.leftovers import unmark
from gammascape.execution.runs import show_working
from gammascape.execution.scripts import SCRIPTS
from gammascape.execution.so_far import CONFIG, OFF
from gammascape.execution.tasks import TRAIN_RULE, TRAIN_RULES
from gammascape.layout import write_if_changed
from gammascape.manifests.code import REMEMBERED, remember
from gammascape.manifests.machine import HIDE_HOST
from gammascape.manifests.mark import FORMATS
from gammascape.manifests.paths import CELLS
from gammascape.provenance.current import Results, write_scripts_folder
from gammascape.study import StudyError
from gammascape.study.factors import FACTORS
from gammascape.workflow.plan import load_plan
from gammascape.workflow.trial import check_inputs


def stop(message):
    # After an exception Snakemake would print where in this file it was raised.
    logger.error(message)
    sys.exit(1)


try:
    PLAN = load_plan(config, [*map(os.path.relpath, workflow.overwrite_configfiles)])
except StudyError as error:
    stop(str(error))

if not PLAN.config.record_host:
    os.environ[HIDE_HOST] = "1"

# What `fix_hashes` would start each process of training anew for.
os.environ["PYTHONHASHSEED"] = "0"

show_working()
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

# Snakemake does not see imported modules. What a stage depends on is put into a file that changes only when the
# meaning of its code does.
os.environ[REMEMBERED] = os.path.abspath(".snakemake/modules.json")
for path, content in fingerprints().items():
    write_if_changed(Path(path), content)

# What is current is decided by manifests, before Snakemake looks at file times; in its jobs it is decided already.
RESULTS = Results(
    PLAN, Path(str(workflow.current_basedir.get_path_or_uri(True))).parent / "scripts"
)
SCRIPTS.add(RESULTS.scripts.resolve())
write_scripts_folder(RESULTS.scripts)
write_captions(
    item.stem for item in RESULTS.catalogue.values() if item.kind == "figure"
)
JOBS = jobs_of(RESULTS.catalogue.values())
FORCED, MISSING = set(), []
if workflow.is_main_process:
    try:
        check_inputs(PLAN)
    except StudyError as error:
        stop(str(error))
    unmark(PLAN.cells)
    RESULTS.settle()
    FORCED, MISSING = RESULTS.forced, RESULTS.missing()
    os.environ.pop(AGAIN, None)
    remember()
    BOARD.thresholds = PLAN.thresholds
    if OFF not in os.environ:
        CONFIG.update(PLAN.config.model_dump(mode="json"))


def code_of(stage):
    """The fingerprint as an input of rules; Snakemake asks for it while it resolves jobs, before it decides."""

    def path(wildcards):
        dag = workflow.dag
        if workflow.is_main_process and AGAIN not in os.environ:
            # A stage's name stands for its variants, too.
            for name in [one.name for one in dag.forcerules]:
                endings = f"{name}_and_", f"{name}_with_"
                dag.forcerules.update(
                    one for one in workflow.rules if one.name.startswith(endings)
                )
            # What a person forces, its script makes again although it is current.
            named = [
                str(file) for file in dag.forcefiles if str(CELLS) not in str(file)
            ]
            os.environ[AGAIN] = " ".join(
                [*(rule.name for rule in dag.forcerules), *named]
            )
        dag.forcefiles.update(FORCED)
        return fingerprint_file(stage)

    return path


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


def job_of(stage, wildcards):
    """What a stage makes for a study or a slice, as the catalogue says."""
    return JOBS[
        stage, frozenset((name, str(value)) for name, value in wildcards.items())
    ]


def inputs_of(stage):
    """What a stage reads, by the names of tables and of files of cells, without what it makes itself."""

    def inputs(wildcards):
        items = job_of(stage, wildcards)
        made = {path for item in items for path in item.outputs}
        read = {name: paths for item in items for name, paths in item.inputs.items()}
        return {
            name: paths
            for name, paths in read.items()
            if isinstance(paths, list) or paths not in made
        }

    return inputs


def params_of(stage):
    """What a stage reads of the study; each table's manifest names its own part of it."""

    def params(wildcards):
        given = {}
        for item in job_of(stage, wildcards):
            for name, value in item.params.items():
                given[name] = (
                    given.get(name, {}) | value if isinstance(value, dict) else value
                )
        return given

    return params


def tables(*names, of_slice=False):
    """Files of tables. They stay while the job runs: its script keeps those that are current."""
    return [
        update(f"{stem_of('tables', name, of_slice)}.{kind}")
        for name in names
        for kind in ("parquet", "manifest.json")
    ]


def figures(*names, of_slice=False):
    """Files of figures, as `tables`; the SVG is shown in Snakemake's report."""
    return [file for name in names for file in files_of_figure(name, of_slice)]


def files_of_figure(name, of_slice):
    stem, known = stem_of("figures", name, of_slice), (
        FACTORS[0] if "{" in name else name
    )
    shown = report(
        f"{stem}.svg",
        caption=os.path.abspath(f"results/.captions/{known}.rst"),
        category="{study}",
        subcategory="{slice}" if of_slice else "Across slices",
        labels={
            "figure": FIGURES[known].label,
            "slice": "{slice}" if of_slice else "all",
        },
    )
    others = [f"{stem}.{kind}" for kind in ("json", "html", "png", "manifest.json")]
    return [update(file) for file in (*others, shown)]


def stem_of(folder, name, of_slice):
    return f"results/{{study}}/{folder}/{name}{'/{slice}' if of_slice else ''}"


def having(path):
    """Studies that have a table or a figure, as a pattern of the wildcard `study`.

    Of a path that ends in a slash they are followed by the slices that have one.
    """
    slices = path.endswith("/")
    found = {}
    for item in RESULTS.catalogue.values():
        study, _, rest = item.stem.removeprefix("results/").partition("/")
        if rest == path or (slices and rest.startswith(path)):
            found.setdefault(study, []).append(rest.removeprefix(path))
    patterns = [
        f"{study}(?=/{'[a-z_]+/' * 2}({'|'.join(keys)})[.])" if slices else study
        for study, keys in found.items()
    ]
    return "|".join(patterns) or "(?!)"
