"""What the next call of `snakemake` would make, and why, as data: Snakemake's jobs seen beside the manifests."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gammascape.numerics import NUMERICS_VERSION
from gammascape.origin import Manifest, ManifestError, manifest_path, read_manifest
from gammascape.provenance.changes import Why, differences, explain, flatten
from gammascape.provenance.dryrun import Job
from gammascape.provenance.estimate import Estimate, estimate
from gammascape.provenance.project import (
    cells_on_disk,
    code_changes,
    manifests_of_tables_and_figures,
    previous_cells,
)
from gammascape.workflow import Plan

TRAIN_RULE = "train"


@dataclass(frozen=True)
class SliceNews:
    """What is to be trained in one slice."""

    study: str
    slice: str
    cells: int
    """Cells of the slice."""
    reasons: tuple[Why, ...]


@dataclass(frozen=True)
class NextRun:
    """All that there is to say about the next call."""

    jobs: tuple[Job, ...]
    slices: tuple[SliceNews, ...]
    """Slices with cells to be trained."""
    cells: int
    """Cells of all studies."""
    training: int
    """Those of them that will be trained."""
    time: Estimate
    removed: Mapping[str, int]
    """Study -> cells that it had when its tables were last made and that no considered study asks for; if any."""
    gone_tables: tuple[str, ...]
    """Tables and figures on disk of slices that a study has no more."""
    other_code: Mapping[str, int]
    """Modules of the training code that differ -> cells that stay as they are, whose modules they were."""
    made: Mapping[str, Counter[str]]
    """Why tables, figures and pages are made -> rules and their numbers of jobs; prepared data too."""


def next_run(plan: Plan, jobs: Sequence[Job]) -> NextRun:
    """Explain Snakemake's jobs."""
    found = cells_on_disk()
    training = {job.wildcards["cell"]: job for job in jobs if job.rule == TRAIN_RULE}
    kept = {path: found[path] for path in plan.cells if path in found and path not in training}
    before = {study: previous_cells(study) for study in plan.studies}
    removed = {
        study: sum(path in found and path not in plan.cells for path in paths)
        for study, paths in before.items()
    }
    return NextRun(
        jobs=tuple(jobs),
        slices=tuple(_slices(plan, training, found, before)),
        cells=len(plan.cells),
        training=len(training),
        time=estimate([plan.cells[path] for path in training], found.values()),
        removed={study: count for study, count in removed.items() if count},
        gone_tables=tuple(_gone(plan)),
        other_code=_other_code(kept.values()),
        made=_made(plan, [job for job in jobs if job.rule != TRAIN_RULE]),
    )


def _slices(
    plan: Plan,
    training: Mapping[str, Job],
    found: Mapping[str, Manifest],
    before: Mapping[str, set[str]],
) -> Iterable[SliceNews]:
    for name, study in plan.studies.items():
        missing = {
            path: cell.record()
            for path, cell in study.by_path.items()
            if path in training and path not in found
        }
        present = [found[path].record for path in study.by_path if path in found]
        removed = [
            found[path].record
            for path in sorted(before[name])
            if path in found and path not in study.by_path
        ]
        reasons = explain(missing, present, removed)
        # Cells that are there and are trained again: Snakemake's own words say why.
        again: dict[str, list[str]] = defaultdict(list)
        for path in study.by_path:
            if path in training and path in found:
                again[_words(training[path])].append(path)
        reasons += [Why(tuple(paths), "again", text) for text, paths in again.items()]
        for part in study.slices:
            paths = {cell.path for cell in part.cells}
            here = [
                Why(cells, why.kind, why.text)
                for why in reasons
                if (cells := tuple(path for path in why.cells if path in paths))
            ]
            if here:
                yield SliceNews(name, part.key, len(part.cells), tuple(here))


def _words(job: Job) -> str:
    return ", ".join(
        {
            "missing": "a file is missing",
            "incomplete": "it was left half-made",
            "script": "the rule has changed",
            "params": "the rule's parameters have changed",
            "inputs": "the rule's inputs have changed",
            "updated": "its data are newer",
            "follows": "its data are prepared again",
        }[cause]
        for cause in job.causes
    ) or (job.reason or "asked for")


def _gone(plan: Plan) -> Iterable[str]:
    """Tables and figures of slices that a considered study has no more."""
    for _, manifest in manifests_of_tables_and_figures():
        wildcards = manifest.wildcards
        study, key = plan.studies.get(wildcards.get("study", "")), wildcards.get("slice")
        if study and key and key not in {part.key for part in study.slices}:
            yield manifest.name


def _other_code(kept: Iterable[Manifest]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for manifest in kept:
        modules = code_changes(manifest)
        if modules and manifest.record.get("numerics") == NUMERICS_VERSION:
            counts[", ".join(modules)] += 1
    return dict(counts)


def _made(plan: Plan, jobs: Iterable[Job]) -> dict[str, Counter[str]]:
    made: dict[str, Counter[str]] = defaultdict(Counter)
    for job in jobs:
        made[_cause(plan, job)][job.rule] += 1
    return dict(made)


def _cause(plan: Plan, job: Job) -> str:
    """Why one table, figure or page is made: the cause nearest to the user's doing."""
    causes = job.causes
    try:
        manifest = read_manifest(manifest_path(Path(job.output[0])))
    except ManifestError:
        manifest = None
    if "missing" in causes and manifest is None:
        return "not there yet"
    if "missing" in causes:
        return "files are missing"
    if "incomplete" in causes:
        return "left half-made"
    # Once a job follows another one, Snakemake looks for no further reason; the manifest shows it.
    changes = _params_changed(plan, job, manifest)
    if "params" in causes or changes:
        return f"parameters changed: {changes or 'see `snakemake -n`'}"
    modules = code_changes(manifest) if manifest else []
    if ".fingerprints/" in causes.get("updated", "") or modules:
        kind = "tables" if manifest is None or manifest.kind == "table" else "figures"
        return f"code of {kind} changed: {', '.join(modules) or 'since it was last recorded'}"
    if "script" in causes:
        return "its script changed"
    if "inputs" in causes:
        return "cells or tables are added or removed"
    if "follows" in causes:
        return "made from what changes"
    if "updated" in causes:
        return f"inputs changed: {causes['updated']}"
    return job.reason or "asked for"


def _params_changed(plan: Plan, job: Job, manifest: Manifest | None) -> str:
    current = rule_params(plan, job.rule, job.wildcards)
    if manifest is None or current is None:
        return ""
    changes = differences(flatten(manifest.params), flatten(current))
    # The points of a toy are a long text.
    return ", ".join(
        name if name == "toy.points" else f"{name} {was} -> {now}"
        for name, (was, now) in changes.items()
    )


def rule_params(plan: Plan, rule: str, wildcards: Mapping[str, str]) -> dict[str, object] | None:
    """The parameters that the workflow gives a rule of tables; None for others."""
    study, key = wildcards.get("study", ""), wildcards.get("slice", "")
    if rule == "cells":
        return {"slice": plan.cells_params(study, key)}
    if rule == "toy_cells":
        return {"slice": plan.cells_params(study, key), "toy": plan.toy_params(study, key)}
    if rule == "observables":
        return {"labels": plan.labels(study, key)}
    params: dict[str, object] = {}
    if rule in ("thresholds", "sensitivity", "budget", "toy_budget"):
        params["model"] = plan.judged_params(study, key)
    fitted = {*plan.slice_tables, *plan.likeness_tables} - {"thresholds", "budget"}
    if rule in fitted:
        params["analysis"] = plan.scaling_params(study)
    return params or None
