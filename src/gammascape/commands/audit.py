"""Check where figures, tables and cells come from, and whether they are unchanged since they were made.

Walk from an artifact down to its data and report broken links. Exit status: 0 all links hold; 1 one does not, or
with --strict there are warnings; 2 a mistake in the command or in a study.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from gammascape.commands import add_shared
from gammascape.manifests import ManifestError
from gammascape.manifests.manifest import FOLDERS
from gammascape.manifests.paths import RESULTS
from gammascape.provenance.across import across_findings
from gammascape.provenance.chain import Chain, Link, Progress, walk
from gammascape.provenance.findings import Finding
from gammascape.provenance.hashes import Hashes
from gammascape.provenance.locate import (
    NAMES,
    NO_RESULTS,
    Found,
    all_manifests,
    load_studies,
    locate,
    published_folders,
    strays,
)
from gammascape.provenance.remake import remake
from gammascape.provenance.unpacked import METADATA, tell_left_out
from gammascape.study import StudyError
from gammascape.tables.cells import TableError
from gammascape.tables.seal import SealTree, same_seal
from gammascape.terminal import say_json
from gammascape.workflow.catalogue import everything
from gammascape.workflow.plan import Plan

_LINE = 10_000


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artifacts", nargs="*", metavar="ARTIFACT", help=NAMES)
    parser.add_argument("--all", action="store_true", help="everything in results")
    parser.add_argument("--strict", action="store_true", help="exit with 1 after warnings too")
    parser.add_argument(
        "--trust-mtime",
        action="store_true",
        help="do not rehash files whose size and time are unchanged since the last audit with this option",
    )
    parser.add_argument(
        "--seal",
        metavar="DIGEST",
        help="compare the results with a seal from `gammascape seal`, or from a figure's mark, printed elsewhere",
    )
    add_shared(parser, "--json", "--study", "--directory")


def run(chosen: argparse.Namespace) -> int:
    """Audit, print the findings, and return the exit status."""
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
                redraw=True,
            )
    if chosen.seal is not None:
        chains = [chain.adding(_against_seal(chain, chosen.seal)) for chain in chains]
    _print(chains, as_json=chosen.json)
    severities = {link.worst for chain in chains for link in chain.links.values()}
    bad = {"error", "warning"} if chosen.strict else {"error"}
    return int(not severities.isdisjoint(bad))


def audit(
    artifacts: Sequence[str | Path],
    directory: Path | None = None,
    studies: Sequence[Path] = (),
    progress: Progress = lambda done, total: None,
    *,
    trust_mtime: bool = False,
    redraw: bool = False,
) -> list[Chain]:
    """Chains below some artifacts, one for each folder of results, with all findings.

    `redraw` makes tables, figures and explorers among the artifacts again from their direct inputs: nothing else
    can detect that a file was edited together with its manifest.

    Raises:
        StudyError: if an artifact does not exist, or a study is invalid.
    """
    founds: dict[Path, list[Found]] = {}
    chains = []
    for path in artifacts:
        found = locate(path, directory)
        if isinstance(found, Finding):
            link = Link(str(path), "file", None, findings=(found,))
            chains.append(Chain(directory or Path.cwd(), (link.path,), {link.path: link}))
        else:
            founds.setdefault(found.root, []).append(found)
    for root, members in founds.items():
        hashes = Hashes(root, trust_mtime=trust_mtime)
        tops = list(dict.fromkeys(p for found in members for p in (found.manifest, *found.others)))
        chain = walk(tops, root, hashes, progress, published_folders(root))
        for found in members:
            chain = chain.adding({found.manifest: found.findings})
        hashes.keep()
        chain, plan = _across(chain, studies, everything=False)
        if redraw and plan is not None:
            chain = chain.adding(_made_otherwise(chain, plan))
        chains.append(chain)
    return chains


def _made_otherwise(chain: Chain, plan: Plan) -> dict[str, list[Finding]]:
    """Make tables and figures at the top of a chain again, if their inputs hold, and compare them."""
    catalogue = everything(plan)
    found = {}
    for top in chain.tops:
        links = [chain.links[top], *(chain.links[path] for path in chain.links[top].made_from)]
        worst = {link.worst for link in links}
        summed = links[0].kind == "page" and not top.endswith("/explorer.manifest.json")
        if summed or top not in catalogue or "error" in worst:
            continue
        if any(finding.kind == "study changed" for finding in links[0].findings):
            # It would be made by the study as it is now.
            found[top] = [Finding("not compared", "its study has changed since it was made")]
            continue
        with tempfile.TemporaryDirectory(prefix="gammascape-audit-") as folder:
            (again,) = remake([catalogue[top]], chain.root, Path(folder))
        if again.agrees is False:
            found[top] = [Finding("altered", f"made again from its inputs: {again.text}")]
        # Other code is a separate finding.
        elif again.agrees is None and not any(f.kind == "code changed" for f in links[0].findings):
            found[top] = [Finding("not compared", again.text)]
    return found


def _against_seal(chain: Chain, seal: str) -> dict[str, list[Finding]]:
    """Report the artifact as altered unless the seal is its own or belongs to a study behind it."""
    tree, seals = SealTree(chain.root), {}
    names = sorted(_study_names(chain))
    of = {name: partial(tree.of_study, name) for name in names}
    of |= {top: partial(tree.seal_of, chain.links[top].inputs) for top in chain.tops}
    for name, compute in of.items():
        with suppress(ManifestError, TableError, OSError, ValueError):
            seals[name] = compute()
    if any(same_seal(seal, other) for other in seals.values()):
        return {}
    said = ", ".join(f"{name} {seals[name]}" for name in names if name in seals)
    text = f"the seal is not {seal}; here it is {said or 'none, because no study is finished'}"
    return {chain.tops[0]: [Finding("altered", text)]} if chain.tops else {}


def audit_all(
    root: Path,
    studies: Sequence[Path] = (),
    progress: Progress = lambda done, total: None,
    *,
    trust_mtime: bool = False,
) -> Chain:
    """Chain of everything in `root`/results, including files that no manifest names.

    Raises:
        StudyError: if there are no results, or a study is invalid.
    """
    if not (root / RESULTS).is_dir():
        raise StudyError(f"{NO_RESULTS.format(root)}, or give --directory")
    hashes = Hashes(root, trust_mtime=trust_mtime)
    chain = walk(all_manifests(root), root, hashes, progress, published_folders(root))
    hashes.keep()
    # The tree begins at artifacts that nothing else was made from.
    used = {path for link in chain.links.values() for path in link.made_from}
    tops = [path for path in chain.links if path not in used]
    named = {
        (root / link.path).parent / file.path
        for link in chain.links.values()
        for file in (link.manifest.outputs if link.manifest else ())
    }
    # Other files in the folder of a cell or of data are reported at that link.
    folders = {(root / p).parent for p, link in chain.links.items() if link.kind in FOLDERS}
    found = Finding("unknown origin", "no manifest names it, so no rule made it")
    lost = {
        name: Link(name, "file", None, findings=(found,))
        for name in strays(root, named)
        if (root / name).parent not in folders
    }
    chain = replace(chain, tops=(*tops, *lost), links={**chain.links, **lost})
    return _across(chain, studies, everything=True)[0]


def _across(
    chain: Chain, studies: Sequence[Path], *, everything: bool
) -> tuple[Chain, Plan | None]:
    plan: Plan | None = None
    try:
        plan = load_studies(chain.root, studies, _study_names(chain))
    except StudyError:
        # A crate without its data lacks the user's own modules, which the study needs.
        if studies or not (chain.root / METADATA).is_file():
            raise
    return tell_left_out(across_findings(chain, plan, everything=everything)), plan


def _study_names(chain: Chain) -> set[str]:
    made = (link.manifest.wildcards for link in chain.links.values() if link.manifest)
    return {wildcards["study"] for wildcards in made if "study" in wildcards}


def _print(chains: Sequence[Chain], *, as_json: bool) -> None:
    from gammascape.provenance.report import audit_json, print_audit

    if as_json:
        say_json([audit_json(chain) for chain in chains])
        return
    from rich.console import Console

    # Do not break lines written to a file or a pipe.
    width = None if sys.stdout.isatty() else _LINE
    console = Console(highlight=False, markup=False, width=width)
    for chain in chains:
        print_audit(chain, console)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress]:
    if not shown:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Display

    columns = (TextColumn("auditing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Display(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("auditing")
        yield lambda done, total: display.update(task, completed=done, total=total)
