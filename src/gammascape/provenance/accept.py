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
from gammascape.workflow import Plan

if TYPE_CHECKING:
    from gammascape.cli import Commands

SUMMARY = "declare artifacts current after a change that does not alter results"
DESCRIPTION = """\
Declare existing artifacts current although the code that made them has changed, because the change does not alter
results. The reason is written into their manifests, where gammascape audit and why show it. Snakemake then has
nothing to do for the tables and figures that are named, or for all of them with --all. A cell of another
NUMERICS_VERSION cannot be accepted: it is another cell."""
_CODE_CAUSES = {"updated", "script", "follows"}
"""Snakemake's reasons that a change of code can have; any other is a change of what was asked for."""


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
    accepted = [path for path in cells if accept(path, chosen.reason)]
    if others:
        options = study_options(chosen.study)
        jobs = acceptable(dry_run(options), others)
        scripts = {file for job in jobs if "script" in job.causes for file in job.output}
        accepted += [
            path
            for path in others
            if accept(path, chosen.reason, script_changed=path.as_posix() in scripts)
        ]
        targets = [file for job in jobs for file in job.output]
        if targets:
            rules = sorted({job.rule for job in jobs})
            call_snakemake(
                "--touch", "--cores", "1", *options, "--allowed-rules", *rules, "--", *targets
            )
        print(f"{len(jobs):,} jobs of tables and figures have nothing to do")
    print(f"{len(accepted):,} manifests say so")
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


def acceptable(jobs: Sequence[Job], manifests: Iterable[Path]) -> list[Job]:
    """The jobs that would make these artifacts again because of code.

    Raises:
        StudyError: if something else than code has changed for one of them, or for what it is made from.
    """
    wanted = {path.as_posix() for path in manifests}
    concerned = [job for job in jobs if wanted & set(job.output)]
    current = {file for job in concerned for file in job.output}
    refused = []
    for job in concerned:
        causes = job.causes
        updated = _files(causes.get("updated", ""))
        by_code = all(".fingerprints/" in file for file in updated)
        others = sorted(set(_files(causes.get("follows", ""))) - current)
        if not set(causes) <= _CODE_CAUSES or not by_code:
            refused.append(f"{job.output[0]}: {job.reason}")
        elif others:
            refused.append(f"{job.output[0]}: made from {others[0]}, which would be made again")
    if refused:
        raise StudyError(
            "cannot be accepted, because more than code has changed:\n  " + "\n  ".join(refused)
        )
    return concerned


def of_plan(manifest: Manifest, plan: Plan) -> bool:
    """Whether a study of the plan asks for a table, figure or page."""
    wildcards = manifest.record.get("wildcards", {})
    study = plan.studies.get(wildcards.get("study", ""))
    if study is None:
        return "study" not in wildcards
    key = wildcards.get("slice")
    return key is None or key in {part.key for part in study.slices}


def _files(text: str) -> list[str]:
    return [file for file in text.split(", ") if file]
