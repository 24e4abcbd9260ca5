"""Explain what the next call of `snakemake` would make, and why, from Snakemake's jobs and the manifests."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gammascape.manifests import Manifest
from gammascape.numerics import NUMERICS_VERSION
from gammascape.provenance.changes import Why, explain
from gammascape.provenance.current import Results, scripts_folder
from gammascape.provenance.dryrun import Job
from gammascape.provenance.estimate import Clock, Estimate, estimate
from gammascape.provenance.project import (
    cells_on_disk,
    code_changes,
    manifests_of_tables_and_figures,
    of_plan,
    previous_cells,
)
from gammascape.study.keys.factories import Factory
from gammascape.workflow.plan import Plan


@dataclass(frozen=True)
class SliceNews:
    """Cells to be trained in one slice."""

    study: str
    slice: str
    cells: int
    """Number of cells in the slice."""
    reasons: tuple[Why, ...]


@dataclass(frozen=True)
class NextRun:
    """Summary of the next call."""

    jobs: tuple[Job, ...]
    slices: tuple[SliceNews, ...]
    """Slices with cells to be trained."""
    cells: int
    """Number of cells of all studies."""
    training: int
    """Number of cells that will be trained."""
    time: Estimate
    removed: Mapping[str, int]
    """Study -> number of cells of its last tables that no considered study asks for, if any."""
    gone_tables: tuple[str, ...]
    """Tables and figures on disk that belong to removed slices."""
    other_code: Mapping[str, int]
    """Differing modules of the training code -> number of cells that they trained and that stay."""
    made: Mapping[str, Counter[str]]
    """Cause of making tables, figures, pages or prepared data -> rules and their numbers of jobs."""
    unseen: Mapping[tuple[str, str], int]
    """Family and function of a user's data, whose files are not examined -> number of cells that stay."""


def next_run(plan: Plan, jobs: Sequence[Job], clock: Clock | None = None) -> NextRun:
    """Explain Snakemake's jobs; `clock` as in `estimate`."""
    found = cells_on_disk()
    # Another workflow may rename the rule, but no other rule has this wildcard.
    training = {job.wildcards["cell"]: job for job in jobs if "cell" in job.wildcards}
    kept = {path: found[path] for path in plan.cells if path in found and path not in training}
    before = {study: previous_cells(study) for study in plan.studies}
    removed = {
        study: sum(path in found and path not in plan.cells for path in paths)
        for study, paths in before.items()
    }
    results, made = Results(plan, scripts_folder()), defaultdict[str, Counter[str]](Counter)
    for job in jobs:
        if "cell" not in job.wildcards:
            made[_cause(results, job)][job.rule] += 1
    return NextRun(
        jobs=tuple(jobs),
        slices=tuple(_slices(plan, training, found, before)),
        cells=len(plan.cells),
        training=len(training),
        time=estimate([plan.cells[path] for path in training], found.values(), clock),
        removed={study: count for study, count in removed.items() if count},
        gone_tables=tuple(
            manifest.name
            for _, manifest in manifests_of_tables_and_figures()
            if manifest.wildcards.get("study") in plan.studies and not of_plan(manifest, plan)
        ),
        other_code=_other_code(kept.values()),
        made=made,
        unseen=Counter(
            (cell.family, cell.dataset.factory)
            for cell in map(plan.cells.__getitem__, kept)
            if isinstance(cell.dataset, Factory)
        ),
    )


def _slices(
    plan: Plan,
    training: Mapping[str, Job],
    manifests: Mapping[str, Manifest],
    before: Mapping[str, set[str]],
) -> Iterable[SliceNews]:
    for name, study in plan.studies.items():
        missing = {
            path: cell.record()
            for path, cell in study.by_path.items()
            if path in training and path not in manifests
        }
        present = [manifests[path].record for path in study.by_path if path in manifests]
        removed = [
            manifests[path].record
            for path in sorted(before[name])
            if path in manifests and path not in study.by_path
        ]
        reasons = explain(missing, present, removed)
        # For existing cells that are trained again, Snakemake gives the reason.
        again: dict[str, list[str]] = defaultdict(list)
        for path in study.by_path:
            if path in training and path in manifests:
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
            # With rerun-incomplete, Snakemake gives the same reason for both.
            "forced": "it was left half-made, or is forced",
            "script": "the rule has changed",
            "params": "the rule's parameters have changed",
            "inputs": "the rule's inputs have changed",
            "updated": "its data are newer",
            "follows": "its data are prepared again",
        }[cause]
        for cause in job.causes
    ) or (job.reason or "asked for")


def _other_code(manifests: Iterable[Manifest]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for manifest in manifests:
        modules = code_changes(manifest)
        if modules and manifest.record.get("numerics") == NUMERICS_VERSION:
            counts[", ".join(modules)] += 1
    return dict(counts)


def _cause(results: Results, job: Job) -> str:
    """Cause of making the tables or figures of a stage, or a page, as close to the user's action as possible."""
    causes = job.causes
    items = [item for path in job.output if (item := results.catalogue.get(path))]
    if "missing" in causes:
        lacking = [file for file in causes["missing"].split(", ") if file]
        gone = [item for item in items if not {*item.outputs}.isdisjoint(lacking)]
        known = not gone or any(Path(item.manifest).is_file() for item in gone)
        whole = known and len(lacking) < len(job.output)
        return "files are missing" if whole else "not there yet"
    # If a job follows another, Snakemake looks for no further reason; the manifests show it.
    kinds: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for kind, words in results.differing.get(item.manifest, {}).items():
            kinds[kind] += [word for word in words if word not in kinds[kind]]
    if "damaged" in kinds:
        return f"not what was made: {', '.join(kinds['damaged'])}"
    if "params" in kinds:
        return f"parameters changed: {', '.join(kinds['params'])}"
    if "code" in kinds:
        return f"code of {items[0].kind}s changed: {', '.join(sorted(kinds['code']))}"
    rest = (
        ("inputs" in kinds and "follows" not in causes, ", ".join(kinds["inputs"])),
        ("params" in causes, "parameters changed: see `snakemake -n`"),
        ("rule" in kinds, ", ".join(kinds["rule"])),
        ("script" in causes or "script" in kinds, "its script changed"),
        ("inputs" in causes, "cells or tables are added or removed"),
        ("follows" in causes, "made from what changes"),
        ("updated" in causes, f"inputs changed: {causes.get('updated')}"),
        ("forced" in causes, "left half-made, or forced"),
    )
    return next((words for applies, words in rest if applies), job.reason or "asked for")
