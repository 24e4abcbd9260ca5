"""Chain below an artifact: from manifest to manifest down to cells, data and published files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from gammascape.manifests import Manifest, ManifestError, Source, read_manifest
from gammascape.manifests.manifest import FILE_NAME, SUFFIX
from gammascape.manifests.paths import CELLS, GENERATED, RESULTS, OutsideError, inside_project
from gammascape.provenance.artifact import artifact_findings, check_file
from gammascape.provenance.findings import Finding, FindingKind, Severity, worst
from gammascape.provenance.hashes import Hashes

"""Folder of generated digits, which have no manifests; the manifest of data made from them has their hashes.

Copies of a user's source files, in a folder that begins with a dot, have no manifests either."""
_SHOWN = 12
"""Number of digits shown of a digest."""

Progress = Callable[[int, int], None]
"""Function called with the number of links done and the number known so far."""


def paths_from(start: Iterable[str], below: Callable[[str], Iterable[str]]) -> list[str]:
    """All paths that lead from some paths to those below them, each once."""
    seen: dict[str, None] = {}
    pending = list(start)
    while pending:
        path = pending.pop()
        if path not in seen:
            seen[path] = None
            pending += below(path)
    return list(seen)


@dataclass(frozen=True)
class Link:
    """One artifact or file of a chain; its path is relative to the folder where Snakemake runs."""

    path: str
    """Path of the manifest, or of a file without one."""
    kind: str
    """Kind of the artifact, or `file`."""
    manifest: Manifest | None
    seal: str = ""
    content: str = ""
    made_from: tuple[str, ...] = ()
    """Paths of links."""
    findings: tuple[Finding, ...] = ()

    @property
    def inputs(self) -> tuple[Source, ...]:
        """Inputs named in its manifest."""
        return () if self.manifest is None else self.manifest.inputs

    @property
    def worst(self) -> Severity:
        """Severity of the worst finding; `note` if there is none."""
        return worst(self.findings)

    @property
    def name(self) -> str:
        """Name of the artifact in a report."""
        return self.path.removesuffix(f"/{FILE_NAME}").removesuffix(SUFFIX)


@dataclass(frozen=True)
class Chain:
    """All links below some artifacts, in the order of the walk: from the artifacts down."""

    root: Path
    """Folder where Snakemake runs."""
    tops: tuple[str, ...]
    links: Mapping[str, Link]

    def adding(self, more_findings: Mapping[str, Iterable[Finding]]) -> "Chain":
        """Chain with more findings at some of its links."""
        links = dict(self.links)
        for path, findings in more_findings.items():
            link = links[path]
            links[path] = replace(link, findings=(*link.findings, *findings))
        return replace(self, links=links)

    def below(self, path: str) -> list[str]:
        """Paths of all links below a link, each once."""
        return paths_from(self.links[path].made_from, lambda name: self.links[name].made_from)


@dataclass
class _Claims:
    """Claims about an artifact or a file in the manifests of artifacts made from it."""

    altered: dict[str, list[str]] = field(default_factory=dict)
    """Contents that it does not have -> artifacts made from them."""
    remade: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    """Artifacts that read another manifest of it, although the present one claims to be older."""
    files: dict[Source, bool] = field(default_factory=dict)
    """File that no rule made -> whether data were prepared from it."""


def walk(
    tops: Sequence[str],
    root: Path,
    hashes: Hashes,
    progress: Progress = lambda done, total: None,
    published: Sequence[str] = (),
) -> Chain:
    """Read and check all artifacts from the manifests `tops` down, each once.

    Args:
        tops: paths of manifests, relative to `root`.
        published: folders with published files that data may be prepared from, wherever they are.
    """
    links: dict[str, Link] = {}
    known = set(tops)
    shared: dict[tuple[str, ...], Mapping[str, Any]] = {}
    todo: list[tuple[str, bool]] = [(path, True) for path in reversed(tops)]
    while todo:
        path, has_manifest = todo.pop()
        if path in links:
            continue
        if has_manifest:
            link = links[path] = _artifact_link(path, root, hashes, shared)
            known |= set(link.made_from)
            todo += [(item.path, item.seal is not None) for item in reversed(link.inputs)]
        else:
            links[path] = Link(path, "file", None)
        progress(len(links), len(known))
    claims: dict[str, _Claims] = {}
    for link in links.values():
        for source in link.inputs:
            _claim(link, source, links[source.path], claims.setdefault(source.path, _Claims()))
    find = partial(inside_project, root, also=published)
    found = {path: _mismatches(links[path], claim, find, hashes) for path, claim in claims.items()}
    return Chain(root, tuple(tops), links).adding(found)


def _artifact_link(
    path: str, root: Path, hashes: Hashes, shared: dict[tuple[str, ...], Mapping[str, Any]]
) -> Link:
    try:
        manifest = read_manifest(inside_project(root, path))
    except (OSError, ManifestError) as error:
        kind: FindingKind = "altered" if isinstance(error, ManifestError) else "outside"
        text = str(error).removeprefix(f"{root / path}: ")
        if isinstance(error, OSError) and not isinstance(error, OutsideError):
            gone = isinstance(error, FileNotFoundError)
            kind, text = "missing", "no manifest" if gone else f"{error.strerror}"
        return Link(path, _kind_by_place(path), None, findings=(Finding(kind, text),))
    findings = artifact_findings(path, manifest, root, hashes)
    seal, content = manifest.seal, manifest.content
    # Ten thousand cells of one run share the same list of modules.
    key = tuple(str(manifest.code.get(name)) for name in ("source_sha256", "commit", "diff_sha256"))
    if manifest.code == shared.setdefault(key, manifest.code):
        manifest = replace(manifest, code=shared[key])
    made_from = tuple(dict.fromkeys(source.path for source in manifest.inputs))
    return Link(path, manifest.kind, manifest, seal, content, made_from, findings)


def _kind_by_place(path: str) -> str:
    parts = Path(path).parts
    if parts[:2] in (CELLS.parts, (RESULTS / "data").parts):
        return "cell" if parts[1] == "cells" else "data"
    return next((part.removesuffix("s") for part in parts if part in ("tables", "figures")), "page")


def _claim(parent: Link, source: Source, child: Link, claims: _Claims) -> None:
    """Compare an input's description in a manifest with the input on disk."""
    if source.seal is None:
        claims.files[source] = parent.kind == "data"
    elif child.manifest is not None and child.seal != source.seal:
        if child.content != source.content:
            claims.altered.setdefault(str(source.content), []).append(parent.name)
        elif parent.manifest is not None and child.manifest.finished <= parent.manifest.started:
            claims.edited.append(parent.name)
        else:
            claims.remade.append(parent.name)


def _mismatches(
    link: Link, claims: _Claims, find: Callable[[str], Path], hashes: Hashes
) -> list[Finding]:
    found = []
    for content, parents in claims.altered.items():
        text = (
            f"{_counted(parents)} made from content {content[:_SHOWN]} of it, "
            f"it now has content {link.content[:_SHOWN]}"
        )
        found.append(Finding("altered", text))
    if claims.edited:
        text = (
            f"its manifest was edited: {_counted(claims.edited)} made later, and read another one"
        )
        found.append(Finding("altered", text))
    if claims.remade:
        found.append(Finding("remade", f"to the same content since {_counted(claims.remade)} made"))
    for source, prepared in claims.files.items():
        wrong = _file_finding(source, partial(find, source.path), prepared, hashes)
        found += [] if wrong is None else [wrong]
    return found


def _file_finding(
    source: Source, find: Callable[[], Path], prepared: bool, hashes: Hashes
) -> Finding | None:
    among, *inner = Path(source.path).parts or ("",)
    if among == RESULTS.name and not "".join(inner[:1]).startswith((GENERATED.name, ".")):
        text = "it is among the results, and it had no manifest when it was read: no rule made it"
        return Finding("unknown origin", text)
    try:
        find()
    except FileNotFoundError:
        return Finding("source gone", "it is not there any more")
    except OutsideError as error:
        return Finding("source gone" if prepared else "outside", str(error))
    except OSError:
        # Reported below.
        pass
    name = source.path.rpartition("/")[2]
    return check_file(find, name, source.bytes or 0, source.sha256 or "", hashes)


def _counted(parents: Sequence[str]) -> str:
    if len(parents) == 1:
        return f"{parents[0]} was"
    return f"{len(parents):,} artifacts like {parents[0]} were"
