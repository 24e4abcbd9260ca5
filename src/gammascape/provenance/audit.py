"""The command `gammascape audit`: walk from an artifact down to its data and say what does not hold."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gammascape.provenance.across import across_findings
from gammascape.provenance.chain import Chain, Link, Progress, walk
from gammascape.provenance.findings import Finding
from gammascape.provenance.hashes import Hashes
from gammascape.provenance.locate import (
    Found,
    all_manifests,
    load_studies,
    locate,
    published_folders,
    strays,
)
from gammascape.provenance.project import add_study_option
from gammascape.provenance.unpacked import METADATA, tell_left_out
from gammascape.study import StudyError
from gammascape.terminal import say_json

if TYPE_CHECKING:
    from gammascape.cli import Commands

HOLDS, BROKEN = 0, 1
_LINE = 10_000


def add(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="check where figures, tables and cells come from, and whether they still are what was made",
        description=__doc__,
        epilog="Exit status: 0 all links hold; 1 one does not, or with --strict there are warnings; "
        "2 a mistake in the command or in a study.",
    )
    parser.add_argument(
        "artifacts",
        nargs="*",
        type=Path,
        metavar="ARTIFACT",
        help="a figure's file, also a copy of it; a table; a cell's folder; a manifest",
    )
    parser.add_argument("--all", action="store_true", help="everything in results")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--strict", action="store_true", help="exit with 1 after warnings too")
    parser.add_argument(
        "--trust-mtime",
        action="store_true",
        help="do not hash files again whose size and time are those of the last audit with this option",
    )
    add_study_option(parser)
    parser.add_argument(
        "--directory",
        type=Path,
        help="folder that holds results; found by itself for what is inside",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Audit and print; returns the exit status."""
    studies = [Path(path) for path in chosen.study or ()]
    if chosen.all == bool(chosen.artifacts):
        raise StudyError("gammascape audit: name the artifacts to audit, or write --all")
    with _progress(shown=sys.stderr.isatty()) as progress:
        if chosen.all:
            root = (chosen.directory or Path.cwd()).resolve()
            chains = [audit_all(root, studies, progress, trust_mtime=chosen.trust_mtime)]
        else:
            chains = audit(
                chosen.artifacts,
                chosen.directory,
                studies,
                progress,
                trust_mtime=chosen.trust_mtime,
            )
    _print(chains, as_json=chosen.json)
    severities = {link.worst for chain in chains for link in chain.links.values()}
    bad = {"error", "warning"} if chosen.strict else {"error"}
    return BROKEN if severities & bad else HOLDS


def audit(
    artifacts: Sequence[Path],
    directory: Path | None = None,
    studies: Sequence[Path] = (),
    progress: Progress = lambda done, known: None,
    *,
    trust_mtime: bool = False,
) -> list[Chain]:
    """The chains below some artifacts, one for each folder of results, with all that is found.

    Raises:
        StudyError: if an artifact is not there, or a study cannot be used.
    """
    founds: dict[Path, list[Found]] = {}
    chains = []
    for path in artifacts:
        try:
            found = locate(path, directory)
        except FileNotFoundError:
            raise StudyError(f"{path}: no such file or folder") from None
        if isinstance(found, Finding):
            link = Link(str(path), "file", None, findings=(found,))
            chains.append(Chain(directory or Path.cwd(), (link.path,), {link.path: link}))
        else:
            founds.setdefault(found.root, []).append(found)
    for root, members in founds.items():
        hashes = Hashes(root, trust_mtime=trust_mtime)
        tops = list(dict.fromkeys(found.manifest for found in members))
        chain = walk(tops, root, hashes, progress, published_folders(root))
        for found in members:
            chain = chain.adding({found.manifest: found.findings})
        hashes.keep()
        chains.append(_across(chain, studies, everything=False))
    return chains


def audit_all(
    root: Path,
    studies: Sequence[Path] = (),
    progress: Progress = lambda done, known: None,
    *,
    trust_mtime: bool = False,
) -> Chain:
    """The chain of everything in `root`/results; files that no manifest names are links of it.

    Raises:
        StudyError: if there are no results, or a study cannot be used.
    """
    if not (root / "results").is_dir():
        raise StudyError(
            f"{root}: no folder results; run this where Snakemake runs, or give --directory"
        )
    hashes = Hashes(root, trust_mtime=trust_mtime)
    chain = walk(all_manifests(root), root, hashes, progress, published_folders(root))
    hashes.keep()
    # The tree begins at what nothing else was made from.
    used = {path for link in chain.links.values() for path in link.made_from}
    tops = [path for path in chain.links if path not in used]
    named = {
        (root / link.path).parent / file.path
        for link in chain.links.values()
        for file in (link.manifest.outputs if link.manifest else ())
    }
    # What lies in the folder of a cell or of data is said at that link.
    folders = {
        (root / p).parent for p, link in chain.links.items() if link.kind in ("cell", "data")
    }
    found = Finding("unknown origin", "no manifest names it, so no rule made it")
    lost = {
        name: Link(name, "file", None, findings=(found,))
        for name in strays(root, named)
        if (root / name).parent not in folders
    }
    chain = replace(chain, tops=(*tops, *lost), links={**chain.links, **lost})
    return _across(chain, studies, everything=True)


def _across(chain: Chain, studies: Sequence[Path], *, everything: bool) -> Chain:
    try:
        plan = load_studies(chain.root, studies, _study_names(chain))
    except StudyError:
        # A crate without its data lacks the user's own modules, which its study needs.
        if studies or not (chain.root / METADATA).is_file():
            raise
        plan = None
    return tell_left_out(across_findings(chain, plan, everything=everything))


def _study_names(chain: Chain) -> set[str]:
    made = (link.manifest.wildcards for link in chain.links.values() if link.manifest)
    return {wildcards["study"] for wildcards in made if "study" in wildcards}


def _print(chains: Sequence[Chain], *, as_json: bool) -> None:
    from gammascape.provenance.report import audit_json, print_audit

    if as_json:
        say_json([audit_json(chain) for chain in chains])
        return
    from rich.console import Console

    # Lines that go into a file or a pipe are not broken.
    width = None if sys.stdout.isatty() else _LINE
    console = Console(highlight=False, markup=False, width=width)
    for chain in chains:
        print_audit(chain, console)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress]:
    if not shown:
        yield lambda done, known: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Display

    columns = (TextColumn("auditing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Display(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("auditing")
        advance: Callable[[int, int], None] = lambda done, known: display.update(  # noqa: E731
            task, completed=done, total=known
        )
        yield advance
