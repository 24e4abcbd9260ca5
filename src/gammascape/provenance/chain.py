"""The chain below an artifact: from manifest to manifest down to cells, data and published files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gammascape.origin import Manifest, ManifestError, Source, read_manifest
from gammascape.provenance.artifact import artifact_findings, check_file
from gammascape.provenance.findings import Finding, FindingKind, Severity
from gammascape.provenance.hashes import Hashes

RESULTS = "results"
_SHOWN = 12
"""Digits of a digest that are shown."""

Progress = Callable[[int, int], None]
"""Called with the number of links that are done, and of those known so far."""


@dataclass(frozen=True)
class Link:
    """One artifact or file of a chain; its path is relative to the folder where Snakemake runs."""

    path: str
    """Of the manifest, or of a file that has none."""
    kind: str
    """The kind of the artifact, or `file`."""
    manifest: Manifest | None
    made_from: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Severity:
        """Severity of the worst finding; `note` if there is none."""
        severities = {finding.severity for finding in self.findings}
        return next((s for s in ("error", "warning") if s in severities), "note")  # type: ignore[return-value]

    @property
    def name(self) -> str:
        """What the artifact is called in a report."""
        return self.path.removesuffix("/manifest.json").removesuffix(".manifest.json")


@dataclass(frozen=True)
class Chain:
    """All links below some artifacts, in the order in which they were walked: from the artifacts down."""

    root: Path
    """The folder where Snakemake runs."""
    tops: tuple[str, ...]
    links: Mapping[str, Link]

    def adding(self, found: Mapping[str, Iterable[Finding]]) -> "Chain":
        """The chain with more findings at some of its links."""
        links = dict(self.links)
        for path, findings in found.items():
            link = links[path]
            links[path] = replace(link, findings=(*link.findings, *findings))
        return replace(self, links=links)

    def below(self, path: str) -> list[str]:
        """The paths of all links below one, each once."""
        seen: dict[str, None] = {}
        pending = list(self.links[path].made_from)
        while pending:
            name = pending.pop()
            if name not in seen:
                seen[name] = None
                pending += self.links[name].made_from
        return list(seen)


@dataclass
class _Claims:
    """What those that were made from an artifact say about it: content -> who, and how it differs."""

    altered: dict[str, list[str]] = field(default_factory=dict)
    remade: list[str] = field(default_factory=list)


def walk(
    tops: Sequence[str], root: Path, hashes: Hashes, progress: Progress = lambda done, known: None
) -> Chain:
    """Read and check all artifacts below those whose manifests are `tops`, each once.

    Args:
        tops: paths of manifests, relative to `root`.
    """
    links: dict[str, Link] = {}
    claims: dict[str, _Claims] = {}
    pending = [(path, None) for path in reversed(tops)]
    known = set(tops)
    shared: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    todo: list[tuple[str, Source | None]] = list(pending)
    while todo:
        path, source = todo.pop()
        if path in links:
            continue
        if source is not None and source.seal is None:
            links[path] = _file_link(source, root, hashes)
        else:
            link = links[path] = _artifact_link(path, root, hashes, shared)
            sources = link.manifest.inputs if link.manifest else ()
            known |= set(link.made_from)
            todo += [(item.path, item) for item in reversed(sources)]
        progress(len(links), len(known))
    for link in links.values():
        for source in link.manifest.inputs if link.manifest else ():
            _claim(link, source, links[source.path], claims.setdefault(source.path, _Claims()))
    found = {path: _mismatches(links[path], claim) for path, claim in claims.items()}
    return Chain(root, tuple(tops), links).adding(found)


def _artifact_link(
    path: str, root: Path, hashes: Hashes, shared: dict[tuple[Any, ...], Mapping[str, Any]]
) -> Link:
    try:
        manifest = read_manifest(root / path)
    except ManifestError as error:
        kind: FindingKind = "altered" if (root / path).exists() else "missing"
        text = str(error).removeprefix(f"{root / path}: ")
        return Link(path, _kind_by_place(path), None, findings=(Finding(kind, text),))
    findings = artifact_findings(path, manifest, root, hashes)
    # Ten thousand cells of one run have one and the same list of modules.
    key = tuple(str(manifest.code.get(name)) for name in ("source_sha256", "commit", "diff_sha256"))
    if manifest.code == shared.setdefault(key, manifest.code):
        manifest = replace(manifest, code=shared[key])
    made_from = tuple(dict.fromkeys(source.path for source in manifest.inputs))
    return Link(path, manifest.kind, manifest, made_from, findings)


def _file_link(source: Source, root: Path, hashes: Hashes) -> Link:
    path = root / source.path
    if Path(source.path).parts[:1] == (RESULTS,):
        text = "it is among the results, and no rule made it: it had no manifest when it was read"
        return Link(source.path, "file", None, findings=(Finding("unknown origin", text),))
    if not path.exists():
        return Link(
            source.path, "file", None, findings=(Finding("source gone", "it is not there"),)
        )
    found = check_file(path, source.bytes or 0, source.sha256 or "", hashes)
    return Link(source.path, "file", None, findings=() if found is None else (found,))


def _kind_by_place(path: str) -> str:
    parts = Path(path).parts
    if parts[:2] in ((RESULTS, "cells"), (RESULTS, "data")):
        return "cell" if parts[1] == "cells" else "data"
    return next((part.removesuffix("s") for part in parts if part in ("tables", "figures")), "page")


def _claim(parent: Link, source: Source, child: Link, claims: _Claims) -> None:
    """Compare what a manifest says about one of its inputs with what is there."""
    if source.seal is None or child.manifest is None or child.manifest.seal == source.seal:
        return
    if child.manifest.content == source.content:
        claims.remade.append(parent.name)
    else:
        claims.altered.setdefault(str(source.content), []).append(parent.name)


def _mismatches(link: Link, claims: _Claims) -> list[Finding]:
    found = []
    for content, parents in claims.altered.items():
        assert link.manifest is not None
        text = (
            f"{_counted(parents)} made from content {content[:_SHOWN]} of it, "
            f"it now has content {link.manifest.content[:_SHOWN]}"
        )
        found.append(Finding("altered", text))
    if claims.remade:
        found.append(Finding("remade", f"to the same content since {_counted(claims.remade)} made"))
    return found


def _counted(parents: Sequence[str]) -> str:
    if len(parents) == 1:
        return f"{parents[0]} was"
    return f"{len(parents):,} artifacts like {parents[0]} were"
