"""Declare artifacts current after a change of code that does not alter results.

The reason is written into their manifests, where gammascape audit and why show it. Snakemake then has nothing to
do for the named tables and figures, or for all of them with --all. A cell of another NUMERICS_VERSION cannot be
accepted, because it is another cell.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gammascape.commands import add_shared
from gammascape.manifests import fingerprint, read_manifest, utc_now, write_manifest
from gammascape.manifests.manifest import FILE_NAME, FOLDERS, SUFFIX
from gammascape.manifests.paths import CELLS
from gammascape.provenance.current import BY_CODE, Results, scripts_folder
from gammascape.provenance.locate import NAMES, find_here
from gammascape.provenance.project import (
    cells_on_disk,
    code_changes,
    manifests_of_tables_and_figures,
    of_plan,
    open_project,
)
from gammascape.study import StudyError
from gammascape.terminal import say
from gammascape.workflow.catalogue import modules_behind


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artifacts", nargs="*", metavar="ARTIFACT", help=NAMES)
    parser.add_argument(
        "--all", action="store_true", help="all artifacts of the studies that are stale by code"
    )
    parser.add_argument("--reason", required=True, help="why the results are the same")
    add_shared(parser, "--study")


def run(chosen: argparse.Namespace) -> int:
    """Accept artifacts, and print how many."""
    if bool(chosen.artifacts) == chosen.all:
        raise StudyError("accept: name artifacts, or write --all for all that are stale by code")
    if not chosen.reason.strip():
        raise StudyError("accept: --reason is empty; say why the results are the same")
    plan = open_project(chosen.study)
    if chosen.all:
        cells = [CELLS / path / FILE_NAME for path in cells_on_disk() if path in plan.cells]
        others = [
            path for path, manifest in manifests_of_tables_and_figures() if of_plan(manifest, plan)
        ]
    else:
        named = [find_here(text) for text in chosen.artifacts]
        cells = [path for path in named if read_manifest(path).kind in FOLDERS]
        others = [path for path in named if path not in cells]
    results = Results(plan, scripts_folder())
    refused = not_by_code(results, [path.as_posix() for path in others]) if others else {}
    if refused and not chosen.all:
        raise StudyError(
            "\n".join(["cannot be accepted, because more than code has changed:", *_lines(refused)])
        )
    accepted = [path for path in cells if accept(path, chosen.reason)]
    for path in others:
        item = results.catalogue.get(path.as_posix())
        script = None if item is None else results.script_of(item)
        if path.as_posix() not in refused and accept(path, chosen.reason, script):
            accepted.append(path)
    if accepted:
        say(f"{len(accepted):,} manifests say that their artifacts are current, and why")
    elif not refused:
        say("nothing to accept: no artifact was made by other code than the installed one")
    if refused:
        say("left to be made again, because more than code has changed:", *_lines(refused))
    return 0


def accept(path: Path, reason: str, script: str | None = None) -> bool:
    """Write the declaration into one manifest; return False if the code that made the artifact is unchanged.

    The manifest keeps its time, since Snakemake would take a newer manifest for a new artifact.

    Args:
        script: digest of the current script of its rule, if it has one.
    """
    manifest = read_manifest(path)
    known = {entry.get("script") for entry in (manifest.code, *manifest.accepted)}
    other_script = script is not None and script not in known and known != {None}
    if not code_changes(manifest) and not other_script:
        return False
    entry = {
        "at": utc_now(),
        "reason": reason.strip(),
        "source_sha256": fingerprint(*modules_behind(manifest)),
    }
    entry |= {"script": script} if script is not None else {}
    before = path.stat()
    write_manifest(path, replace(manifest, accepted=(*manifest.accepted, entry)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return True


def not_by_code(results: Results, wanted: Sequence[str]) -> dict[str, str]:
    """Map manifests of artifacts that will be made again for other reasons than changed code to the reason."""
    made_again: dict[str, str] = {}
    for path, item in results.catalogue.items():
        kinds = results.differing.get(path, {})
        more = [words for kind, words in kinds.items() if kind not in BY_CODE]
        below = [
            s
            for s in item.sources
            if s in made_again or (s not in wanted and s in results.differing)
        ]
        if more:
            made_again[path] = "; ".join(
                f"{kind}: {', '.join(words)}" for kind, words in kinds.items()
            )
        elif below:
            name = below[0].removesuffix(SUFFIX)
            made_again[path] = f"made from {name}, which would be made again"
    return {path: words for path, words in made_again.items() if path in wanted}


def _lines(refused: dict[str, str]) -> list[str]:
    return [f"  {path.removesuffix(SUFFIX)}: {why}" for path, why in refused.items()]
