"""Report of an audit: a tree for people, JSON for machines."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from gammascape.durations import count_of
from gammascape.provenance.chain import Chain, Link
from gammascape.provenance.findings import SEVERITIES, Finding, Severity
from gammascape.terminal import visible

SCHEMA = "gammascape-audit-1"
_STYLES: Mapping[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "dim"}
_DEEPEST = 20
"""Largest number of levels shown in the tree; the workflow's chains have six."""
_LISTED = 8
"""Largest number of links with the same finding that are each named."""


def audit_json(chain: Chain) -> dict[str, Any]:
    """The whole audit as plain builtins."""
    return {
        "schema": SCHEMA,
        "root": str(chain.root),
        "artifacts": list(chain.tops),
        "counts": dict(Counter(_word(link) for link in chain.links.values())),
        "findings": [
            {
                "link": link.path,
                "kind": link.kind,
                "finding": finding.kind,
                "severity": finding.severity,
                "text": finding.text,
            }
            for link, finding in ranked(chain)
        ],
        "links": [
            {
                "link": link.path,
                "kind": link.kind,
                "state": _word(link),
                "seal": link.seal or None,
                "content": link.content or None,
                "made_from": list(link.made_from),
            }
            for link in chain.links.values()
        ],
    }


def ranked(chain: Chain) -> list[tuple[Link, Finding]]:
    """All findings: errors first in the order of the walk, from the artifact down, then others by kind."""
    found = [(link, finding) for link in chain.links.values() for finding in link.findings]
    return sorted(found, key=lambda pair: _rank(pair[1]) if pair[1].severity != "error" else 0)


def print_audit(chain: Chain, console: Console) -> None:
    """Print the first mismatch, the tree, and a last line with the counts."""
    found = ranked(chain)
    errors = [(link, finding) for link, finding in found if finding.severity == "error"]
    if errors:
        link, finding = errors[0]
        text = f"first mismatch: {link.path}: {finding.kind}: {finding.text}"
        console.print(Text(visible(text), style="bold red"), soft_wrap=True)
    seen: set[str] = set()
    for top in chain.tops:
        if top not in seen:
            console.print(_tree(chain, top, seen))
    counts = Counter(_word(link) for link in chain.links.values())
    parts = [f"{number:,} {word}" for word, number in counts.most_common()]
    said = f"{count_of(len(chain.links), 'link')}: {', '.join(parts)}, below {chain.root}"
    console.print(said, soft_wrap=True)


def _tree(
    chain: Chain, path: str, seen: set[str], tree: Tree | None = None, depth: int = 0
) -> Tree:
    link = chain.links[path]
    seen.add(path)
    branch = Tree(_label(link)) if tree is None else tree.add(_label(link))
    for finding in link.findings:
        branch.add(_line(finding))
    below = [chain.links[name] for name in link.made_from]
    for child in below:
        if child.kind in ("cell", "file"):
            continue
        if child.path in seen or depth > _DEEPEST:
            branch.add(Text(visible(f"{child.name}  (above)"), style="dim"))
        else:
            _tree(chain, child.path, seen, branch, depth + 1)
    cells = [child for child in below if child.kind == "cell"]
    for line in _grouped(cells, "cell", seen):
        branch.add(line)
    data = dict.fromkeys(name for cell in cells for name in cell.made_from)
    for name in data:
        if name not in seen:
            _tree(chain, name, seen, branch)
    for line in _grouped([c for c in below if c.kind == "file"], "published file", seen):
        branch.add(line)
    return branch


def _grouped(links: list[Link], noun: str, seen: set[str]) -> Iterator[Text]:
    """One line for all links that hold, one for each shared finding, and one for each broken link."""
    fresh = [link for link in links if link.path not in seen]
    if len(fresh) < len(links):
        yield Text(f"{count_of(len(links) - len(fresh), noun)}  (above)", style="dim")
    seen |= {link.path for link in fresh}
    holding = [link for link in fresh if _word(link).startswith("verified")]
    if holding:
        yield Text(f"{count_of(len(holding), noun)}  ") + Text("verified", style="green")
    troubles: dict[Finding, list[Link]] = {}
    for link in fresh:
        for finding in link.findings:
            troubles.setdefault(finding, []).append(link)
    for finding, members in sorted(troubles.items(), key=lambda item: _rank(item[0])):
        if len(members) <= _LISTED and finding.severity == "error":
            for link in members:
                yield _name(link) + _line(finding)
        elif len(members) == 1:
            yield _name(members[0]) + _line(finding)
        else:
            yield Text(f"{count_of(len(members), noun)} like ") + _name(members[0]) + _line(finding)


def _rank(finding: Finding) -> int:
    return list(SEVERITIES).index(finding.kind)


def _label(link: Link) -> Text:
    word = _word(link)
    style = {"verified": "green", "broken": "bold red"}.get(word, "yellow")
    return _name(link) + Text(f"{link.kind}  ") + Text(word, style=style)


def _name(link: Link) -> Text:
    return Text(f"{visible(link.name)}  ")


def _line(finding: Finding) -> Text:
    return Text(visible(f"{finding.kind}: {finding.text}"), style=_STYLES[finding.severity])


def _word(link: Link) -> str:
    if link.worst != "error" and any(found.kind == "not included" for found in link.findings):
        return "not included"
    return {"error": "broken", "warning": "verified with warnings", "note": "verified"}[link.worst]
