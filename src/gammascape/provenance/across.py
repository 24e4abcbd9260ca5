"""What only shows when artifacts are compared: cells with each other, tables with the study as it is."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gammascape.provenance.artifact import CELLS
from gammascape.provenance.chain import Chain, Link
from gammascape.provenance.findings import Finding, FindingKind
from gammascape.workflow import Plan

_DEVICE_KEYS = (
    "device",
    "device_model",
    "matmul_precision",
    "threads",
    "compiler",
    "torch",
    "numpy",
    "python",
    "cuda",
    "steps",
)
_MANIFEST = "/manifest.json"
_COMPOSED = ("table", "figure", "page")


def across_findings(chain: Chain, plan: Plan | None, *, everything: bool) -> Chain:
    """The chain with what is found by comparing its links.

    Args:
        plan: the studies as they are; None if there is no study to compare with.
        everything: whether the chain is all there is, so that a cell that nothing was made from is a stray one.
    """
    found: dict[str, list[Finding]] = defaultdict(list)
    for path, finding in _mixed(chain):
        found[path].append(finding)
    if plan is not None:
        for link in chain.links.values():
            if link.kind == "table":
                for path, finding in _against_study(link, plan):
                    if finding not in found[path]:
                        found[path].append(finding)
    if plan is not None and everything:
        used = {path for link in chain.links.values() for path in link.made_from}
        stray = Finding("not in the study", "no study at hand has this cell, nothing is made of it")
        for link in chain.links.values():
            unknown = link.kind == "cell" and _short(link.path) not in plan.cells
            if unknown and link.path not in used:
                found[link.path].append(stray)
    return chain.adding(found)


def _mixed(chain: Chain) -> Iterator[tuple[str, Finding]]:
    """Says it of the lowest artifacts that bring different cells together."""
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
    """How many cells are of which kind, in what they differ, with an example of each."""
    counts = Counter(texts.values())
    example: dict[str, str] = {}
    for path, text in texts.items():
        example.setdefault(text, path)
    shared = set.intersection(*(set(text.split(", ")) for text in counts))
    parts = []
    for text, count in counts.most_common():
        own = ", ".join(part for part in text.split(", ") if part not in shared)
        parts.append(f"{count:,} of {own} (like {_short(example[text])})")
    return "; ".join(parts)


def _short(path: str) -> str:
    return path.removeprefix(f"{CELLS}/").removesuffix(_MANIFEST)


def _against_study(link: Link, plan: Plan) -> Iterator[tuple[str, Finding]]:
    record = {} if link.manifest is None else link.manifest.record
    wildcards = record.get("wildcards", {})
    study = plan.studies.get(wildcards.get("study"))
    if link.manifest is None or study is None:
        return
    key = wildcards.get("slice")
    part = next((part for part in study.slices if part.key == key), None)
    if key is not None and part is None:
        yield link.path, Finding("not in the study", f"{study.name} has no slice {key}")
        return
    have = {_short(path) for path in link.made_from if path.startswith(f"{CELLS}/")}
    wanted = set(study.by_path) if part is None else {cell.path for cell in part.cells}
    for name in sorted(have - wanted):
        text = f"{study.name} does not have this cell any more"
        yield f"{CELLS}/{name}{_MANIFEST}", Finding("not in the study", text)
    if link.manifest.rule == "cells" and (lacking := sorted(wanted - have)):
        text = f"{study.name} has {len(lacking):,} more cells in this slice, like {lacking[0]}"
        yield link.path, Finding("study changed", text)
    for name in _changed_params(link, plan, study.name, str(key)):
        yield link.path, Finding("study changed", f"{study.name} has another value of {name}")


def _changed_params(link: Link, plan: Plan, study: str, key: str) -> Iterator[str]:
    assert link.manifest is not None
    if link.manifest.rule not in (*plan.slice_tables, "toy_cells", "toy_budget"):
        return
    makers: Mapping[str, Callable[[], Any]] = {
        "slice": lambda: plan.cells_params(study, key),
        "toy": lambda: plan.toy_params(study, key),
        "model": lambda: plan.judged_params(study, key),
        "analysis": lambda: plan.scaling_params(study),
    }
    had = link.manifest.record.get("params", {})
    params = {name: makers[name]() for name in had if name in makers}
    # What a manifest holds has been JSON, which has no tuples.
    yield from _differences(had, json.loads(json.dumps(params)))


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        yield name
