"""Every table, figure and page as data: its stage, its function, its inputs, and a sentence about it.

A stage is a rule of the workflow that makes its tables or figures in one process. Rules, `plan`, `audit`, the page
and the tests read this catalogue. A new table needs a function, an entry here, a section in
docs/reference/tables.md, and a test.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gammascape.layout import write_if_changed
from gammascape.manifests import Kind, Manifest, ManifestError, read_manifest
from gammascape.manifests.code import MODULES, closure, fingerprint
from gammascape.manifests.manifest import FILE_NAME, FOLDERS, SUFFIX
from gammascape.manifests.mark import FORMATS
from gammascape.manifests.paths import CELLS, RESULTS, cell_of
from gammascape.manifests.whole import ARRAYS, SUMMARY
from gammascape.runs.outcome import Thresholds
from gammascape.study.factors import FACTORS

if TYPE_CHECKING:
    from gammascape.study import Cell
    from gammascape.workflow.plan import Plan

Inputs = Mapping[str, str | list[str]]
Job = tuple[str, frozenset[tuple[str, str]]]
"""Job, by stage and wildcards."""

CELL_FILES = {"summaries": SUMMARY, "arrays": ARRAYS, "manifests": FILE_NAME}
"""Inputs that consist of one file for each cell of the slice or study."""
FACTOR = "factor"
"""Parameter of a function that is a wildcard of the figure, not a parameter of its rule."""

_WORDS_ALONE = 10_000
"""Largest size in bytes of a figure's JSON that has no data."""


@dataclass(frozen=True)
class Entry:
    """Recipe for a table, a figure or a page."""

    stage: str
    """Rule that makes it."""
    function: str
    """`module:name`, within the library unless it is polars; its parameters are `reads` and `params`."""
    reads: str
    """Tables of the same slice or study, and CELL_FILES: `parameter=table` if the two have different names,
    `table?` if a study may lack it. Instead of files of cells, a function gets folders: `cells_folder`, which
    contains all cells, if it reads arrays, and otherwise `folders`, one for each of its cells. `itself` means the
    table of this name of each slice."""
    params: str = ""
    """Values that it reads from the study, see `_value`; only the named keys of `analysis`."""
    sentence: str = ""
    of_slices: bool = False
    """True if each slice has one."""
    when: str = "always"
    """Condition on a study or slice for having it: a property of `Plan` or of a slice."""
    label: str = ""
    """Label of a figure in Snakemake's report."""
    part: int | None = None
    """Index among several tables returned by the function."""
    chooses: bool = False
    """True if its function reads, and its manifest names, only some of the cells."""
    toy: "Entry | None" = None
    """Recipe for a slice of a toy."""

    @property
    def words(self) -> Iterator[tuple[str, str, bool]]:
        """Parameter of the function, its input, and whether a study may lack it."""
        for word in self.reads.split():
            name, _, source = word.removesuffix("?").rpartition("=")
            yield name or source, source, word.endswith("?")

    @property
    def follows_study(self) -> bool:
        """True if its set of input tables, not only its cells, depends on the study."""
        return any(optional or source == "itself" for _, source, optional in self.words) or (
            self.stage in ("provenance", "index")
        )


_EDGE_FIT = "analysis.lazy analysis.rich analysis.trained_below analysis.confidence"

# In the order of the page; each comes after its inputs.
# fmt: off
TABLES: Mapping[str, Entry] = {
    "cells": Entry("cells", "tables.cells:cell_table", "summaries manifests", "labels thresholds",
        of_slices=True, toy=Entry("cells", "tables.toy:toy_cell_table", "", "points depth labels thresholds"),
        sentence="One row for each cell: parameters, status, losses, accuracy."),
    "thresholds": Entry("edges", "tables.edges.find:threshold_table", "cells",
        "depth_exponent thresholds confidence", of_slices=True,
        sentence="Edges of training, eta_min to eta_max, and the best eta, for each gamma and seed."),
    "pooled_edges": Entry("edges", "tables.edges.pooled:pooled_table", "cells thresholds", "confidence",
        of_slices=True,
        sentence="The edges for each gamma, seeds together."),
    "scaling": Entry("edges", "tables.edges.exponents:scaling_table", "thresholds", _EDGE_FIT, of_slices=True,
        sentence="Fitted exponents of the edges with intervals, and the predicted ones."),
    "exponent_models": Entry("edges", "tables.edges.exponent_models:exponent_model_table", "thresholds",
        _EDGE_FIT, of_slices=True,
        sentence="Fits of the laws 2/L, 3/L, 2/(L+1) and of a free exponent to the upper edges."),
    "crossover": Entry("edges", "tables.edges.crossover:crossover_table", "thresholds",
        "analysis.bootstrap analysis.confidence", of_slices=True,
        sentence="The gamma at which each edge bends, and its slopes before and after."),
    "sensitivity": Entry("edges", "tables.edges.sensitivity:sensitivity_table", "cells",
        f"depth_exponent class_prior thresholds {_EDGE_FIT}", of_slices=True,
        sentence="Movement of edges and exponents when a threshold is halved or doubled."),
    "budget": Entry("edges", "tables.edges.budget:budget_of_cells", "cells arrays summaries",
        "depth_exponent thresholds confidence", of_slices=True,
        toy=Entry("edges", "tables.toy:toy_budget_table", "cells", "depth_exponent thresholds confidence"),
        sentence="The edges at every shorter budget of steps that the runs contain."),
    "apex": Entry("edges", "tables.edges.apex:apex_table", "budget",
        "analysis.rich analysis.confidence", of_slices=True,
        sentence="The gamma at which the window of learning rates closes, and the best gamma, at each "
        "budget."),
    "curves": Entry("edges", "tables.dynamics.curves:curve_table", "thresholds arrays", of_slices=True,
        chooses=True,
        toy=Entry("edges", "tables.toy:toy_curve_table", "thresholds"),
        sentence="The loss curves at the best eta of each gamma and seed."),
    "scores": Entry("performance", "tables.performance.scores:score_table", "cells summaries arrays",
        when="trained",
        sentence="Test accuracy and loss, steps until a loss: of all cells, with those that other seeds choose."),
    "performance": Entry("performance", "tables.performance.performance:performance_table", "scores", "confidence",
        when="trained",
        sentence="The same for each gamma, seeds together, with intervals."),
    "gain": Entry("performance", "tables.performance.gain:gain_table", "scores", "confidence", when="trained",
        sentence="Gain of the best gamma over gamma = 1, at equal steps and at equal loss, with "
        "intervals."),
    "dynamics": Entry("dynamics", "tables.dynamics.events:dynamics_table", "cells thresholds arrays summaries",
        "class_priors analysis.trained_below analysis.lazy analysis.rich", when="trained", chooses=True,
        sentence="Events in each run: plateaus, drops, catapults, alignment, sharpening."),
    "dynamics_scaling": Entry("dynamics", "tables.dynamics.exponents:dynamics_scaling_table", "dynamics",
        "analysis.trained_below analysis.confidence", when="trained",
        sentence="Exponents of these against gamma, and the predicted ones."),
    "collapse": Entry("dynamics", "tables.dynamics.collapse:collapse_table", "dynamics arrays",
        "analysis.trained_below analysis.confidence", when="trained", chooses=True,
        sentence="Collapse of loss curves of different gamma in tau = eta t / gamma, and its drift."),
    "phenomena": Entry("dynamics", "tables.dynamics.phenomena:phenomena_table", "dynamics arrays summaries",
        when="shows_phenomena", chooses=True,
        sentence="Loss, sharpness and alignment over time, in catapults and in runs at large gamma."),
    "similarity": Entry("similarity", "tables.similarity.similarity:similarity_table",
        "thresholds arrays summaries", "analysis.confidence", when="trained", chooses=True,
        sentence="Debiased linear CKA of hidden layers, at equal steps and at equal loss."),
    "function_similarity": Entry("similarity", "tables.similarity.similarity:function_table",
        "thresholds arrays summaries", "analysis.confidence", when="trained", chooses=True,
        sentence="Correlation and R² of outputs, at equal steps and at equal loss."),
    "similarity_trend": Entry("similarity", "tables.similarity.similarity:trend_tables",
        "thresholds arrays summaries", "analysis.lazy analysis.rich analysis.confidence", when="trained", part=0,
        chooses=True,
        sentence="Similarity of networks with equal gamma against gamma, and its level for shuffled probes."),
    "similarity_summary": Entry("similarity", "tables.similarity.similarity:trend_tables",
        "thresholds arrays summaries", "analysis.lazy analysis.rich analysis.confidence", when="trained", part=1,
        chooses=True,
        sentence="Tests whether networks with equal gamma become more similar as gamma grows."),
    "regimes": Entry("factors", "tables.factors:regime_table", "cells thresholds scaling gain?",
        "members analysis.confidence", when="factors",
        sentence="Exponents, prefactors, best gamma and gain of slices that differ in one factor."),
    "trends": Entry("factors", "tables.factors:trend_table", "regimes", when="factors",
        sentence="Lines fitted to these along the factor."),
    "optimum": Entry("optimum", "tables.performance.optimum:optimum_table", "scores dynamics", "finite confidence",
        when="finite",
        sentence="The gamma that is best on data used again and again, for each number of samples and width."),
    "transfer": Entry("factors", "tables.transfer:transfer_table", "cells scores? regimes", "analysis.confidence",
        when="factors",
        sentence="Transfer of the gamma and eta that are best at the smallest depth, width, batch size or number "
        "of steps to larger ones."),
    "claims": Entry("claims", "tables.claims:claim_table",
        "scaling dynamics dynamics_scaling collapse gain similarity_summary trends? optimum?", "confidence",
        when="trained",
        sentence="Result of the study for each claim of the paper: estimate, interval, prediction, "
        "verdict."),
    "advice": Entry("advice", "tables.advice.table:advice_table",
        "cells edges=pooled_edges scaling budget scores performance gain regimes? trends? transfer?",
        "analysis.lazy analysis.confidence analysis.carried", when="trained",
        sentence="Gamma and eta to use, what that gains, how to carry it, warnings, and what to train next."),
    "observables": Entry("cells", "tables.dynamics.observables:observable_table", "summaries", "labels",
        of_slices=True, when="observables",
        sentence="Measurements during the runs: one row for each cell, step, observable and layer."),
}
# fmt: on
_NOT_COMBINED = "curves"
_COMBINE = Entry("combine", "polars:concat", "items=itself")
"""Recipe for combining the tables of all slices."""

# fmt: off
_OF_FACTOR = Entry("draw_factors", "figures.factors:along_factor", "regimes trends performance? scores? transfer "
    "observables?", FACTOR,
    when="factors", label="along {factor}",
    sentence="Changes with a factor between slices that are otherwise equal.")
FIGURES: Mapping[str, Entry] = {
    "portrait": Entry("draw_slice", "figures.edges.portrait:portrait", "cells thresholds scaling", of_slices=True,
        label="phase portrait",
        sentence="The phase portrait of a slice: each tile is the best seed at one gamma and eta. The lines "
        "are the measured and the predicted edges of training. The HTML file beside it has values "
        "to point at."),
    "edges": Entry("draw_edges", "figures.edges.against_gamma:edges", "thresholds scaling",
        label="edges of training",
        sentence="The edges of training against gamma, with the fitted and the predicted exponents."),
    "exponents": Entry("draw_edges", "figures.edges.exponents:exponents", "scaling models=exponent_models",
        label="exponents",
        sentence="The fitted exponents of the largest learning rates with their intervals, against the laws "
        "2/L, 3/L and 2/(L+1)."),
    "sensitivity": Entry("draw_edges", "figures.edges.sensitivity:sensitivity", "table=sensitivity",
        label="sensitivity to thresholds",
        sentence="How far the edges of training move when a threshold is halved or doubled."),
    "budget": Entry("draw_slice", "figures.edges.budget:budget", "table=budget apex", of_slices=True,
        label="budget of steps",
        sentence="Gains from more steps in a slice: the window of learning rates, and the largest and the "
        "best gamma."),
    "performance": Entry("draw_performance", "figures.performance:performance",
        "scores pooled=performance gain", when="trained", label="performance and cost",
        sentence="Test accuracy, and steps until a training loss, at the eta that other seeds choose, against "
        "gamma, and what the best gamma gains over gamma = 1."),
    "dynamics": Entry("draw_dynamics", "figures.dynamics.against_gamma:dynamics",
        "dynamics scaling=dynamics_scaling",
        when="trained", label="dynamics",
        sentence="Events in the runs against gamma: time at which the loss falls, peaks of catapults, "
        "sharpening, and alignment against the fall of the loss."),
    "phenomena": Entry("draw_dynamics", "figures.dynamics.phenomena:phenomena", "curves=phenomena dynamics",
        when="shows_phenomena", label="catapults and silent alignment",
        sentence="Catapults at small gamma and silent alignment at large gamma, a column for each pair of "
        "model and data."),
    "similarity": Entry("draw_similarity", "figures.similarity.map:similarity", "pairs=similarity", when="trained",
        label="similarity of representations",
        sentence="Debiased linear CKA between the representations of all pairs of model and gamma, each at "
        "its best eta."),
    "similarity_trend": Entry("draw_similarity", "figures.similarity.along_gamma:similarity_trend",
        "trend=similarity_trend summary=similarity_summary", when="has_equal_gammas",
        label="similarity against gamma",
        sentence="Similarity of the last hidden layers and the functions of networks with equal gamma, at "
        "equal steps and at equal loss, with intervals and the level of shuffled inputs."),
    **dict.fromkeys(FACTORS, _OF_FACTOR),
    "loss_curves": Entry("draw_slice", "figures.dynamics.curves:loss_curves", "curves", of_slices=True,
        label="loss in steps",
        sentence="Training loss against the step at the best eta of every gamma."),
    "collapse": Entry("draw_slice", "figures.dynamics.curves:collapse", "curves", of_slices=True,
        label="loss in rescaled time",
        sentence="The loss against tau = eta t / gamma: where the curves fall on one another, gamma and eta "
        "act only through their ratio."),
    "observables": Entry("draw_slice", "figures.dynamics.observables:observables", "observables thresholds curves",
        of_slices=True, when="has_observables_figure", label="observables",
        sentence="Measurements during the runs at the best eta of every gamma."),
}
_QUALITY = Entry("quality", "figures.quality:quality", "measures", "kind")
_PAGES = {
    "explorer": Entry("explorer", "figures.explorer.page:write_explorer",
        "cells thresholds scaling budget similarity? summaries arrays manifests", "planned thresholds",
        sentence="The interactive plane of gamma and eta: point at networks, compare their curves and cost."),
    "provenance": Entry("provenance", "figures.page.provenance:write_provenance", "",
        sentence="Origin of all results: code, versions, machines, times and cost."),
    "index": Entry("index", "figures.page.index:write_index", ""),
}
# fmt: on
PROVENANCE, EXPLORER = (_PAGES[name].sentence for name in ("provenance", "explorer"))


@dataclass(frozen=True)
class Artifact:
    """A table, a figure or a page, as seen by its stage; paths as in Snakemake."""

    entry: Entry
    kind: Kind
    stem: str
    """Path without suffix."""
    wildcards: Mapping[str, str]
    inputs: Inputs
    """Input name -> paths, without the fingerprint of the code."""
    params: Mapping[str, Any]

    @property
    def rule(self) -> str:
        """Stage that makes it."""
        return self.entry.stage

    @property
    def script(self) -> str:
        """File in workflow/scripts that makes it."""
        own = self.kind == "page" or self.entry is _QUALITY
        return f"{self.rule if own else f'{self.kind}s'}.py"

    @property
    def job(self) -> Job:
        """Job that makes it, along with other artifacts of the stage."""
        return self.rule, frozenset(item for item in self.wildcards.items() if item[0] != "table")

    @property
    def manifest(self) -> str:
        """Path of its manifest."""
        return f"{self.stem}{SUFFIX}"

    @property
    def outputs(self) -> list[str]:
        """Paths of its files, without the manifest."""
        return outputs_of(self.kind, self.stem)

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Modules of the library that decide its content, relative to the library."""
        return _modules_of(self.kind, self.entry)

    @property
    def sources(self) -> dict[str, None]:
        """Paths of the inputs in its manifest, in order: manifests, or files without one."""
        return dict.fromkeys(_source(path) for path in self.files)

    @property
    def files(self) -> list[str]:
        """Paths of all inputs."""
        return paths_of(self.inputs)


def paths_of(inputs: Inputs) -> list[str]:
    """All paths of named inputs, in order."""
    return [path for p in inputs.values() for path in ([p] if isinstance(p, str) else p)]


def artifacts(plan: "Plan", study: str) -> list[Artifact]:
    """All tables and figures of a study and its page of provenance, each after its inputs."""
    return list(_Study(plan, study).artifacts())


def everything(plan: "Plan", root: Path | None = None) -> dict[str, Artifact]:
    """All tables, figures and pages of all studies by manifest, each after its inputs.

    With `root`, the folder of results, the page of all studies also shows others.
    """
    made = [item for study in plan.studies for item in artifacts(plan, study)]
    others = {} if root is None else other_studies(plan.studies, root)
    return {item.manifest: item for item in [*made, index_page(plan, others)]}


def jobs_of(items: Iterable[Artifact]) -> dict[Job, list[Artifact]]:
    """Artifacts by the job that makes them."""
    found: dict[Job, list[Artifact]] = {}
    for item in items:
        found.setdefault(item.job, []).append(item)
    return found


def artifacts_of_job(
    output: Iterable[str], given: Inputs, params: Mapping[str, Any]
) -> list[Artifact]:
    """Tables or figures made by a job, from its outputs, inputs and parameters alone."""
    stems = [path.removesuffix(SUFFIX) for path in output if path.endswith(SUFFIX)]
    paths = {f"{stem}.parquet" for stem in stems}
    items = []
    for stem in stems:
        place = place_of(stem)
        if place is None:
            raise ValueError(f"{stem}: the catalogue has no artifact of this name")
        kind, entry = place
        cells = any(given.get(name) for name in CELL_FILES)
        entry = entry if cells or entry.toy is None else entry.toy
        path_of = partial(_stage_input, stem, own=paths, given=given)
        items.append(_artifact(kind, entry, stem, path_of, params.__getitem__))
    return items


def place_of(stem: str) -> tuple[Kind, Entry] | None:
    """Kind and entry of the artifact at this path; None if no study has one there."""
    match stem.split("/")[1:]:
        case ["index"]:
            return "page", _PAGES["index"]
        case [_, "provenance" | "explorer" as name]:
            return "page", _PAGES[name]
        case ["generated", _, "quality"]:
            return "figure", _QUALITY
        case [_, "figures", name, *key] if name in FIGURES:
            return ("figure", FIGURES[name]) if len(key) == FIGURES[name].of_slices else None
        case [_, "tables", name] if name in TABLES and not TABLES[name].of_slices:
            return "table", TABLES[name]
        case [_, "tables", name] if name in TABLES and name != _NOT_COMBINED:
            return "table", _COMBINE
        case [_, "tables", name, _] if name in TABLES and TABLES[name].of_slices:
            return "table", TABLES[name]
    return None


def modules_behind(manifest: Manifest) -> tuple[str, ...]:
    """Packages and modules of the library that decide the content of an artifact."""
    place = place_of(manifest.name)
    if manifest.kind in FOLDERS or place is None:
        return MODULES[manifest.kind]
    kind, entry = place
    read = any(cell_of(source.path) for source in manifest.inputs)
    return _modules_of(kind, entry if read or entry.toy is None else entry.toy)


def fingerprint_file(stage: str) -> str:
    """File that changes with the meaning of a stage's code."""
    return f"results/.fingerprints/{stage}.sha256"


def fingerprints() -> dict[str, str]:
    """Path of `fingerprint_file` -> its content, for each stage."""
    parts: dict[str, dict[str, None]] = {}
    some: Mapping[Kind, list[Entry]] = {
        "table": [*TABLES.values(), *(entry.toy for entry in TABLES.values() if entry.toy)],
        "figure": [*FIGURES.values(), _QUALITY],
        "page": [*_PAGES.values()],
    }
    for kind, entry in ((kind, entry) for kind, entries in some.items() for entry in entries):
        parts.setdefault(entry.stage, {}).update(dict.fromkeys(_modules_of(kind, entry)))
    return {
        fingerprint_file(stage): fingerprint(*sorted(modules)) for stage, modules in parts.items()
    }


def write_captions(stems: Iterable[str]) -> None:
    """Write the captions in Snakemake's report: a template for each kind of figure, from the stems of all figures.

    The caption of a figure that is not drawn says why.
    """
    reasons: dict[Entry, dict[str, str]] = {}
    for stem in stems:
        place, file = place_of(stem), Path(f"{stem}.json")
        if place is None or not file.is_file() or file.stat().st_size > _WORDS_ALONE:
            continue
        with suppress(ValueError, LookupError):
            words = json.loads(file.read_bytes())["usermeta"]["gammascape"]
            if not words.get("drawn", True):
                plain = re.sub(r"([*`|_\\])", r"\\\1", words["title"])
                reasons.setdefault(place[1], {})[f"{stem}.svg"] = f"Not drawn: {plain}."
    for name, entry in FIGURES.items():
        why = json.dumps(reasons.get(entry, {}), ensure_ascii=False)
        text = (
            f"{{% set reasons = {why} %}}\n"
            "{% for file in snakemake.output if file in reasons %}\n{{ reasons[file] }}\n"
            f"{{% else %}}\n{entry.sentence}\n{{% endfor %}}\n"
        )
        write_if_changed(Path(f"results/.captions/{name}.rst"), text)


def tables_of(plan: "Plan", study: str) -> list[str]:
    """Names of a study's tables in the order of the page; a toy has no test set, runs or representations."""
    return [
        name
        for name, entry in TABLES.items()
        if name != _NOT_COMBINED
        and (any(_slices_with(plan, study, entry)) if entry.of_slices else _has(plan, study, entry))
    ]


def figures_of(plan: "Plan", study: str) -> list[str]:
    """Stems of a study's figures in the order of the page."""
    names: list[str] = []
    for of_slices, some in groupby(FIGURES.items(), lambda item: item[1].of_slices):
        group = list(some)
        if of_slices:
            keys = [part.key for part in plan.studies[study].slices]
            found = {name: _slices_with(plan, study, entry) for name, entry in group}
            names += [f"{name}/{key}" for key in keys for name, _ in group if key in found[name]]
        else:
            names += [name for name, entry in group if _has(plan, study, entry, name)]
    generated = [f"results/generated/mnist1m-{key}/quality" for key in plan.generators_of(study)]
    return [f"results/{study}/figures/{name}" for name in names] + generated


def outputs_of(kind: Kind, stem: str) -> list[str]:
    """Paths of the files of a table, a figure or a page, without the manifest."""
    suffixes = {"table": ("parquet",), "figure": FORMATS, "page": ("html",)}[kind]
    return [f"{stem}.{suffix}" for suffix in suffixes]


def other_studies(names: Iterable[str], root: Path) -> dict[str, Any]:
    """Entries of the page for other studies that have been run in `root`; none that lacks a file."""
    shown: dict[str, Any] = {}
    with suppress(ManifestError, AttributeError):
        shown = read_manifest(root / "results/index.manifest.json").params["studies"]
    found = {}
    for path in sorted(root.glob("results/*/provenance.manifest.json")):
        name, folder = path.parent.name, f"results/{path.parent.name}"
        if name in names:
            continue
        try:
            inputs = [source.path for source in read_manifest(path).inputs]
        except ManifestError:
            continue
        stems = [path.removesuffix(SUFFIX) for path in inputs]
        # Another version may have made what this one does not know.
        stems = [stem for stem in stems if place_of(stem) is not None]
        figures = [stem for stem in stems if stem.startswith(f"{folder}/figures/")]
        tables = [stem for stem in stems if stem.startswith(f"{folder}/tables/")]
        files = [path for stem in figures for path in outputs_of("figure", stem)]
        files += [f"{folder}/provenance.html", *(f"{stem}.parquet" for stem in tables)]
        if all((root / file).is_file() for file in files):
            about = shown.get(name, {})
            explorer = [root / folder / f"explorer{end}" for end in (".html", SUFFIX)]
            found[name] = {
                "description": str(about.get("description", "")),
                "figures": figures,
                "tables": [stem.rpartition("/")[2] for stem in tables],
                # An older version made none.
                "explorer": all(path.is_file() for path in explorer),
                "planned": int(about.get("planned", 0)),
            }
    return found


def index_page(plan: "Plan", others: Mapping[str, Any] | None = None) -> Artifact:
    """Page of all studies, the plan's before others."""
    studies = {
        name: {
            "description": study.description,
            "figures": figures_of(plan, name),
            "tables": tables_of(plan, name),
            "explorer": True,
            "planned": _value(plan, name, "", "planned"),
        }
        for name, study in plan.studies.items()
    } | dict(others or {})
    figures = [stem for about in studies.values() for stem in about["figures"]]
    tables = [f"{name}/tables/{t}" for name, about in studies.items() for t in about["tables"]]
    inputs: Inputs = {
        "figures": [path for stem in figures for path in outputs_of("figure", stem)],
        "tables": [f"results/{table}.parquet" for table in tables],
        "provenance": [f"results/{name}/provenance.html" for name in studies],
        "explorers": [
            f"results/{name}/explorer.html" for name, about in studies.items() if about["explorer"]
        ],
    }
    return Artifact(_PAGES["index"], "page", "results/index", {}, inputs, {"studies": studies})


@dataclass(frozen=True)
class _Study:
    plan: "Plan"
    name: str

    @cached_property
    def tables(self) -> list[str]:
        return tables_of(self.plan, self.name)

    @cached_property
    def having(self) -> dict[str, list[str]]:
        """Table of slices -> slices that have it."""
        some = {name: entry for name, entry in TABLES.items() if entry.of_slices}
        return {name: _slices_with(self.plan, self.name, entry) for name, entry in some.items()}

    def artifacts(self) -> Iterator[Artifact]:
        plan, name = self.plan, self.name
        for part in plan.studies[name].slices:
            for table, keys in self.having.items():
                if part.key in keys:
                    yield self._table_or_figure(f"tables/{table}/{part.key}", TABLES[table])
        # Tables of the study are made from combined ones.
        for table in sorted(self.tables, key=lambda table: table not in self.having):
            entry = _COMBINE if table in self.having else TABLES[table]
            yield self._table_or_figure(f"tables/{table}", entry)
        folder, figures = f"results/{name}/", figures_of(plan, name)
        for stem in figures:
            figure = stem.removeprefix(f"{folder}figures/").split("/")[0]
            if stem.startswith(folder):
                yield self._table_or_figure(stem.removeprefix(folder), FIGURES[figure])
            else:
                measured = PurePosixPath(stem).parent
                generator = measured.name.partition("-")[2]
                inputs: Inputs = {"measures": f"{measured}/measures.json"}
                yield Artifact(_QUALITY, "figure", stem, {"generator": generator}, inputs, {})
        page, cells = _PAGES["explorer"], plan.trained(name)
        shown = {word: _value(plan, name, "", word) for word in page.params.split()}
        inputs = {
            source: _files_of(cells, CELL_FILES[source])
            if source in CELL_FILES
            else f"{folder}tables/{source}.parquet"
            for _, source, _ in page.words
            if source in CELL_FILES or source in self.tables
        }
        yield Artifact(page, "page", f"{folder}explorer", {"study": name}, inputs, shown)
        inputs = {
            "figures": [f"{stem}.svg" for stem in figures],
            "tables": [f"{folder}tables/{table}.parquet" for table in self.tables],
            "cells": _files_of(cells, FILE_NAME),
        }
        page = _PAGES["provenance"]
        yield Artifact(page, "page", f"{folder}provenance", {"study": name}, inputs, {})

    def _table_or_figure(self, path: str, entry: Entry) -> Artifact:
        kind: Kind = "table" if path.startswith("tables") else "figure"
        key = path.split("/")[2] if path.count("/") == 2 else ""
        part = self.plan.slice(self.name, key) if key else None
        if part is not None and part.is_toy and entry.toy is not None:
            entry = entry.toy
        cells = self.plan.trained(self.name) if part is None else part.cells
        stem, tables = f"results/{self.name}/{path}", f"results/{self.name}/tables"

        def path_of(name: str) -> str | list[str]:
            if name in CELL_FILES:
                return _files_of(cells, CELL_FILES[name])
            if name == "itself":
                table = path.rpartition("/")[2]
                return [f"{tables}/{table}/{key}.parquet" for key in self.having[table]]
            if not key and name not in self.tables:
                return []
            return f"{tables}/{name}{'/' if key else ''}{key}.parquet"

        return _artifact(kind, entry, stem, path_of, lambda n: _value(self.plan, self.name, key, n))


def _artifact(
    kind: Kind,
    entry: Entry,
    stem: str,
    path_of: Callable[[str], str | list[str]],
    value_of: Callable[[str], Any],
) -> Artifact:
    study, _, name, *key = stem.split("/")[1:]
    wildcards = {"study": study} | ({"slice": key[0]} if key else {})
    if entry is _COMBINE:
        wildcards["table"] = name
    if entry is _OF_FACTOR:
        wildcards[FACTOR] = name
    inputs = {name if s == "itself" else s: path_of(s) for _, s, _ in entry.words}
    params: dict[str, Any] = {}
    for word in entry.params.split():
        first, _, second = word.partition(".")
        if second:
            params.setdefault(first, {})[second] = value_of(first)[second]
        elif first != FACTOR:
            params[first] = value_of(first)
    return Artifact(entry, kind, stem, wildcards, inputs, params)


def _value(plan: "Plan", study: str, key: str, name: str) -> Any:
    """Value of a parameter in a study, as plain data.

    analysis              windows, resamples and confidence level
    confidence            the confidence level alone
    thresholds            criteria for judging cells
    labels                first columns of every table about a slice
    depth, depth_exponent L of a slice; None if theory has none
    class_prior           relative loss of the best constant output in a slice; None if f = 0 is as good
    class_priors          the same for each slice
    points                a toy's cells, one line each: log10 gamma, log10 eta, name
    members               slices compared along each factor
    finite                slices that use their samples again and again
    planned               number of different cells that a study asks for, toys' included
    """
    match name:
        case "analysis" | "members" | "finite":
            return getattr(plan, name)(study)
        case "confidence":
            return plan.analysis(study)["confidence"]
        case "thresholds":
            return asdict(Thresholds.from_analysis(plan.analysis(study)))
        case "labels" | "points":
            return getattr(plan, name)(study, key)
        case "depth" | "depth_exponent":
            return plan.slice(study, key).depth_exponent
        case "class_prior":
            return plan.slice(study, key).class_prior
        case "planned":
            return len(plan.studies[study].by_path)
        case "class_priors":
            return {part.key: part.class_prior for part in plan.studies[study].slices}
    raise KeyError(name)


def _has(plan: "Plan", study: str, entry: Entry, name: str = "") -> bool:
    if entry is _OF_FACTOR:
        return name in plan.factors(study)
    return entry.when == "always" or bool(getattr(plan, entry.when)(study))


def _slices_with(plan: "Plan", study: str, entry: Entry) -> list[str]:
    slices = plan.studies[study].slices
    return [part.key for part in slices if entry.when == "always" or getattr(part, entry.when)]


def _modules_of(kind: Kind, entry: Entry) -> tuple[str, ...]:
    package, _, name = entry.function.partition(":")[0].partition(".")
    given = [] if kind == "page" else ["gammascape.workflow.arguments"]
    drawing = ["gammascape.figures.style.save"] if kind == "figure" else []
    own = [f"gammascape.{package}.{name}"] if name else []
    return closure(*own, *given, *drawing)


def _stage_input(stem: str, name: str, own: set[str], given: Inputs) -> str | list[str]:
    """Path of an input of a table or figure, made by the same job or read by it."""
    study, _, table, *key = stem.split("/")[1:]
    path = "/".join([RESULTS.name, study, "tables", name, *key])
    if f"{path}.parquet" in own:
        return f"{path}.parquet"
    return given[table if name == "itself" else name]


def _files_of(cells: "Iterable[Cell]", name: str) -> list[str]:
    return [f"{CELLS}/{cell.path}/{name}" for cell in cells]


def _source(path: str) -> str:
    if path.startswith(f"{CELLS}/"):
        return f"{path.rpartition('/')[0]}/{FILE_NAME}"
    if path.endswith("/measures.json"):
        return path
    return f"{path.rpartition('.')[0]}{SUFFIX}"
