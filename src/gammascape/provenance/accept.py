"""`gammascape accept`: declare artifacts current after a change of code that does not alter results."""

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gammascape.origin import Manifest, fingerprint, read_manifest, utc_now, write_manifest
from gammascape.origin.code import MODULES
from gammascape.provenance.dryrun import Job, call_snakemake, dry_run, study_options
from gammascape.provenance.naming import find_manifest
from gammascape.provenance.project import (
    CELLS,
    add_study_option,
    cells_on_disk,
    code_changes,
    manifests_of_tables_and_figures,
    open_project,
)
from gammascape.study import StudyError
from gammascape.terminal import say
from gammascape.workflow import Plan

if TYPE_CHECKING:
    from gammascape.cli import Commands

SUMMARY = "declare artifacts current after a change that does not alter results"
DESCRIPTION = """\
Declare existing artifacts current although the code that made them has changed, because the change does not alter
results. The reason is written into their manifests, where gammascape audit and why show it. Snakemake then has
nothing to do for the tables and figures that are named, or for all of them with --all. A cell of another
NUMERICS_VERSION cannot be accepted: it is another cell."""


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("accept", help=SUMMARY, description=DESCRIPTION)
    parser.add_argument(
        "artifacts",
        nargs="*",
        metavar="ARTIFACT",
        help="files or folders below results, or hashes of cells",
    )
    parser.add_argument(
        "--all", action="store_true", help="all artifacts of the studies that are stale by code"
    )
    parser.add_argument("--reason", required=True, help="why the results are the same")
    add_study_option(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Accept, and print what was accepted."""
    if bool(chosen.artifacts) == chosen.all:
        raise StudyError("accept: name artifacts, or write --all for all that are stale by code")
    if not chosen.reason.strip():
        raise StudyError("accept: --reason is empty; say why the results are the same")
    plan = open_project(chosen.study)
    if chosen.all:
        cells = [CELLS / path / "manifest.json" for path in cells_on_disk() if path in plan.cells]
        others = [
            path for path, manifest in manifests_of_tables_and_figures() if of_plan(manifest, plan)
        ]
    else:
        named = [find_manifest(text) for text in chosen.artifacts]
        cells = [path for path in named if read_manifest(path).kind in ("cell", "data")]
        others = [path for path in named if path not in cells]
    jobs: list[Job] = []
    refused: dict[str, str] = {}
    options = study_options(chosen.study)
    if others:
        stale = dry_run(options)
        # Behind a newer file Snakemake looks for no other change; so it is asked once more as if code were old.
        changed = dry_run([*options, *_code_is_old(stale)]) if stale else []
        jobs, refused = acceptable(stale, changed, others)
    if refused and not chosen.all:
        raise StudyError(
            "\n".join(["cannot be accepted, because more than code has changed:", *_lines(refused)])
        )
    scripts = {file for job in jobs if "script" in job.causes for file in job.output}
    accepted = [path for path in cells if accept(path, chosen.reason)]
    accepted += [
        path
        for path in others
        if path.as_posix() not in refused
        and accept(path, chosen.reason, script_changed=path.as_posix() in scripts)
    ]
    if jobs:
        rules = sorted({job.rule for job in jobs})
        targets = [file for job in jobs for file in job.output]
        call_snakemake(
            "--touch", "--cores", "1", *options, "--allowed-rules", *rules, "--", *targets
        )
    say(f"{len(accepted):,} manifests say that their artifacts are current, and why")
    say(f"{len(jobs):,} jobs of tables and figures are not run again for the change of code")
    if refused:
        say("left to be made again, because more than code has changed:", *_lines(refused))
    return 0


def accept(path: Path, reason: str, *, script_changed: bool = False) -> bool:
    """Write the declaration into one manifest; False if the code that made the artifact is the same.

    A changed script of the rule is seen by Snakemake alone. The manifest's time stays: Snakemake would take a
    newer one for a new artifact.
    """
    manifest = read_manifest(path)
    if not code_changes(manifest) and not script_changed:
        return False
    entry = {
        "at": utc_now(),
        "reason": reason.strip(),
        "source_sha256": fingerprint(*MODULES[manifest.kind]),
    }
    before = path.stat()
    write_manifest(path, replace(manifest, accepted=(*manifest.accepted, entry)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return True


def acceptable(
    jobs: Sequence[Job], changed: Sequence[Job], manifests: Iterable[Path]
) -> tuple[list[Job], dict[str, str]]:
    """The jobs that would make artifacts again because of code alone.

    Args:
        jobs: what Snakemake would run.
        changed: what it would run if no code had changed.
        manifests: of the artifacts.

    Returns:
        these jobs, and for the others manifest -> what else has changed.
    """
    wanted = {path.as_posix() for path in manifests}
    others = {job.output: job for job in changed}
    accepted = [job for job in jobs if wanted & set(job.output)]
    refused: dict[str, str] = {}
    while True:
        current = {file for job in accepted for file in job.output}
        bad = {
            job.output: reason
            for job in accepted
            if (reason := _more_than_code(job, others.get(job.output), current))
        }
        if not bad:
            return accepted, refused
        refused |= {file: why for files, why in bad.items() for file in files if file in wanted}
        accepted = [job for job in accepted if job.output not in bad]


def _more_than_code(job: Job, changed: Job | None, current: set[str]) -> str:
    """What else than code has changed for a job; nothing if that is all, and its inputs are in `current`."""
    if changed is not None:
        return changed.reason
    others = sorted(set(_files(job.causes.get("follows", ""))) - current)
    return f"made from {others[0]}, which would be made again" if others else ""


def _code_is_old(jobs: Iterable[Job]) -> list[str]:
    """Options with which Snakemake sees every change but those of code."""
    rules = sorted(
        {job.rule for job in jobs if any(".fingerprints/" in path for path in job.input)}
    )
    triggers = ["--rerun-triggers", "mtime", "params", "input"]
    return [
        *triggers,
        *(["--consider-ancient", *(f"{rule}=code" for rule in rules)] if rules else []),
    ]


def of_plan(manifest: Manifest, plan: Plan) -> bool:
    """Whether a study of the plan asks for a table, figure or page."""
    wildcards = manifest.wildcards
    study = plan.studies.get(wildcards.get("study", ""))
    if study is None:
        return "study" not in wildcards
    key = wildcards.get("slice")
    return key is None or key in {part.key for part in study.slices}


def _lines(refused: dict[str, str]) -> list[str]:
    return [f"  {path.removesuffix('.manifest.json')}: {why}" for path, why in refused.items()]


def _files(text: str) -> list[str]:
    return [file for file in text.split(", ") if file]
