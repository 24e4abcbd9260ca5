"""Findings from comparisons of artifacts: cells with each other, tables with the current study."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gammascape.manifests import Manifest
from gammascape.manifests.paths import cell_of
from gammascape.provenance.chain import Chain, Link
from gammascape.provenance.changes import differences
from gammascape.provenance.compare import BACKEND
from gammascape.provenance.findings import Finding, FindingKind
from gammascape.study.points import points_path
from gammascape.workflow.catalogue import Artifact, index_page, outputs_of, place_of
from gammascape.workflow.catalogue import everything as catalogue_of
from gammascape.workflow.plan import Plan

_DEVICE_KEYS = (*BACKEND, "python", "cuda", "steps")
_COMPOSED = ("table", "figure", "page")
_NAMED = 3
"""Number of inputs named in a finding."""


def across_findings(chain: Chain, plan: Plan | None, *, everything: bool) -> Chain:
    """Add the findings from comparing the links of a chain.

    Args:
        plan: the current studies; None if there is no study to compare with.
        everything: whether the chain contains all results, so that a cell without use is a stray one.
    """
    found: dict[str, list[Finding]] = defaultdict(list)
    for path, finding in _mixed(chain):
        found[path].append(finding)
    catalogue = {} if plan is None else catalogue_of(plan)
    for link in chain.links.values():
        if link.kind in _COMPOSED and link.manifest is not None:
            for path, finding in _against_rules(link, link.manifest, plan, catalogue):
                if finding not in found[path]:
                    found[path].append(finding)
    for study in plan.studies.values() if plan is not None else ():
        made = (k for k, link in chain.links.items() if _of_study(link, study.name))
        if study.edited and (first := next(made, None)):
            text = (
                f"{points_path(study.path).name} was edited by hand after gammascape map wrote it"
            )
            found[first].append(Finding("study changed", text))
    if plan is not None and everything:
        used = {path for link in chain.links.values() for path in link.made_from}
        stray = Finding("not in the study", "no study at hand has this cell, nothing is made of it")
        for link in chain.links.values():
            unknown = link.kind == "cell" and cell_of(link.path) not in plan.cells
            if unknown and link.path not in used:
                found[link.path].append(stray)
    return chain.adding(found)


def _of_study(link: Link, name: str) -> bool:
    return link.manifest is not None and link.manifest.wildcards.get("study") == name


def _mixed(chain: Chain) -> Iterator[tuple[str, Finding]]:
    """Report mixtures at the lowest artifacts that combine different cells."""
    cells = {
        path: link.manifest
        for path, link in chain.links.items()
        if link.kind == "cell" and link.manifest is not None
    }
    numerics = {path: f"numerics {cell.record.get('numerics')}" for path, cell in cells.items()}
    devices = {
        path: ", ".join(f"{key} {(cell.device or {}).get(key)}" for key in _DEVICE_KEYS)
        for path, cell in cells.items()
    }
    below = {
        path: chain.below(path) for path, link in chain.links.items() if link.kind in _COMPOSED
    }
    said: set[str] = set()
    for path in sorted(below, key=lambda name: len(below[name])):
        if said & set(below[path]):
            continue
        behind = [name for name in reversed(below[path]) if name in cells]
        different: list[tuple[FindingKind, Mapping[str, str]]] = [
            ("mixed numerics", numerics),
            ("mixed devices", devices),
        ]
        for kind, texts in different:
            if len({texts[name] for name in behind}) > 1:
                said.add(path)
                yield path, Finding(kind, _mixture({name: texts[name] for name in behind}))


def _mixture(texts: Mapping[str, str]) -> str:
    """Number of cells of each kind, in what they differ, with an example of each."""
    counts = Counter(texts.values())
    example: dict[str, str] = {}
    for path, text in texts.items():
        example.setdefault(text, path)
    shared = set.intersection(*(set(text.split(", ")) for text in counts))
    parts = []
    for text, count in counts.most_common():
        own = ", ".join(part for part in text.split(", ") if part not in shared)
        parts.append(f"{count:,} of {own} (like {cell_of(example[text]) or example[text]})")
    return "; ".join(parts)


def _against_rules(
    link: Link, manifest: Manifest, plan: Plan | None, catalogue: Mapping[str, Artifact]
) -> Iterator[tuple[str, Finding]]:
    """Compare a manifest with the rule for artifacts of its name, and with the study."""
    place = place_of(link.name)
    if place is None:
        yield link.path, Finding("unknown origin", "no rule makes an artifact of this name")
        return
    kind, entry = place
    outputs = {Path(path).name for path in outputs_of(kind, link.name)}
    if manifest.kind != kind or manifest.rule != entry.stage:
        text = f"its manifest says {manifest.kind} of rule {manifest.rule}, "
        text += f"what stands here is a {kind} of {entry.stage}"
        yield link.path, Finding("misplaced", text)
    elif {file.path for file in manifest.outputs} != outputs:
        text = f"its manifest does not name its files, {', '.join(sorted(outputs))}"
        yield link.path, Finding("altered", text)
    if not manifest.inputs and "points" not in manifest.params:
        yield link.path, Finding("unknown origin", "its manifest says that it is made from nothing")
    if plan is not None:
        yield from _against_study(link, manifest, plan, catalogue)


def _against_study(
    link: Link, manifest: Manifest, plan: Plan, catalogue: Mapping[str, Artifact]
) -> Iterator[tuple[str, Finding]]:
    wildcards, params = manifest.wildcards, manifest.params
    name, key = wildcards.get("study"), wildcards.get("slice")
    item, study = catalogue.get(link.path), plan.studies.get(str(name))
    if item is not None and item.rule == "index":
        # A page with more or fewer studies is not wrong.
        shown = params.get("studies")
        names = set(shown) if isinstance(shown, dict) else set()
        here = {name: study for name, study in plan.studies.items() if name in names}
        item = index_page(replace(plan, studies=here)) if names == set(here) else None
    if study is not None and item is None:
        known = key is None or key in {part.key for part in study.slices}
        text = "does not ask for it any more" if known else f"has no slice {key}"
        yield link.path, Finding("not in the study", f"{name} {text}")
    if item is None:
        return
    said = name or "the study"
    if dict(item.wildcards) != wildcards:
        text = f"its manifest says {_listed(wildcards)}, its place {_listed(item.wildcards)}"
        yield link.path, Finding("misplaced", text)
    for changed in sorted(differences(params, item.params)):
        yield link.path, Finding("study changed", f"{said} has another value of {changed}")
    had, wanted = set(link.made_from), set(item.sources)
    for path in sorted(path for path in had - wanted if cell_of(path)):
        if cell_of(path) not in plan.cells:
            text = f"{said} does not have this cell any more"
            yield path, Finding("not in the study", text)
        else:
            yield link.path, Finding("study changed", f"{said} does not make it from {path}")
    lacking = wanted - had
    if not item.entry.chooses and (cells := sorted(filter(None, map(cell_of, lacking)))):
        text = f"{said} has {len(cells):,} more cells for it, like {cells[0]}"
        yield link.path, Finding("study changed", text)
    kind: FindingKind = "study changed" if item.entry.follows_study else "altered"
    for words, paths in (("makes it from", lacking), ("does not make it from", had - wanted)):
        if others := sorted(path for path in paths if cell_of(path) is None):
            yield link.path, Finding(kind, f"{said} {words} {', '.join(others[:_NAMED])}")


def _listed(wildcards: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in wildcards.items()) or "nothing"
