"""Reasons for missing cells: new values, or changed fields."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gammascape.numerics import NUMERICS_VERSION
from gammascape.study import Cell, StudyError
from gammascape.study.reading.explain import flow

Flat = dict[str, Any]
AXES = ("gamma", "eta", "seed", "data_seed")
"""Fields in which the cells of a slice differ."""
_LOG10 = ("gamma", "eta")
_MOST_CHANGES = 3
"""Largest number of differing fields with which a cell counts as changed, not as new."""


@dataclass(frozen=True)
class Why:
    """Cells missing for one reason."""

    cells: tuple[str, ...]
    kind: str
    """`new`, `changed`, or `numerics` for a new version of the engine's numbers."""
    text: str


def explain(
    missing: Mapping[str, Mapping[str, Any]],
    present: Iterable[Mapping[str, Any]],
    removed: Iterable[Mapping[str, Any]],
) -> list[Why]:
    """Explain why cells of one study are missing.

    Args:
        missing: path -> record of the cells to be trained.
        present: records of existing cells that the study asks for.
        removed: records of cells that the study asked for when its tables were last made.
    """
    old: dict[tuple[Any, ...], list[Flat]] = defaultdict(list)
    for whole in map(_whole, removed):
        old[_point(whole)].append(whole)
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    unexplained: dict[str, Flat] = {}
    for path, record in missing.items():
        flat = flatten(record)
        changes = _nearest(flat, old.get(_point(flat), []))
        if changes is None:
            unexplained[path] = flat
        else:
            kind = "numerics" if set(changes) == {"numerics"} else "changed"
            groups[kind, ", ".join(words_of(changes).values())].append(path)
    known = [flatten(record) for record in present]
    for path, text in _news(unexplained, known).items():
        groups["new", text].append(path)
    return [Why(tuple(paths), kind, text) for (kind, text), paths in groups.items()]


def flatten(record: Mapping[str, Any], prefix: str = "") -> Flat:
    """Fields of a record by dotted name."""
    flat: Flat = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Differing fields by dotted name, with both values; None for a field that is missing from one of them.

    A tuple equals a list, since JSON has no tuples.
    """
    old, new = flatten(before), flatten(json.loads(json.dumps(dict(after))))
    pairs = {name: (old.get(name), new.get(name)) for name in (*new, *old)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def words_of(changes: Mapping[str, tuple[Any, Any]]) -> dict[str, str]:
    """Words for each difference, with values as a study writes them."""
    return {name: f"{name} {_shown(was)} -> {_shown(now)}" for name, (was, now) in changes.items()}


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    return value if isinstance(value, str) else flow(value)


def _whole(record: Mapping[str, Any]) -> Flat:
    """Fields of a record, with defaults for options that did not exist when it was written."""
    try:
        text = json.dumps({**record, "numerics": NUMERICS_VERSION})
        whole = Cell.from_canonical(text).record()
    except StudyError:
        return flatten(record)
    return flatten({**whole, "numerics": record["numerics"]})


def _point(flat: Flat) -> tuple[Any, ...]:
    return tuple(flat[name] for name in AXES)


def _nearest(flat: Flat, candidates: list[Flat]) -> dict[str, tuple[Any, Any]] | None:
    """Changes since the most similar removed cell at the same point; None if none is similar."""
    changes = [differences(other, flat) for other in candidates]
    similar = [
        change
        for change in changes
        if len(change) <= _MOST_CHANGES and not {"model.kind", "dataset.kind"} & set(change)
    ]
    return min(similar, key=len) if similar else None


def _news(missing: Mapping[str, Flat], cells: list[Flat]) -> dict[str, str]:
    """Map each missing cell to values that are new to its slice, or to the study."""
    slices: dict[str, list[Flat]] = defaultdict(list)
    for flat in cells:
        slices[_slice(flat)].append(flat)
    wanted: dict[str, list[str]] = defaultdict(list)
    for path, flat in missing.items():
        wanted[_slice(flat)].append(path)
    texts: dict[str, str] = {}
    for key, paths in wanted.items():
        if key not in slices:
            texts |= dict.fromkeys(paths, _new_slice(missing[paths[0]], cells))
            continue
        seen = {name: {flat[name] for flat in slices[key]} for name in AXES}
        news = {
            path: [name for name in AXES if missing[path][name] not in seen[name]] for path in paths
        }
        for path, names in news.items():
            texts[path] = _new_values(names, [missing[p] for p in paths if news[p] == names])
    return texts


def _slice(flat: Flat) -> str:
    # The dtype depends on gamma within a slice.
    return repr(sorted((k, v) for k, v in flat.items() if k not in (*AXES, "dtype")))


def _new_values(names: list[str], cells: list[Flat]) -> str:
    if not names:
        return "combinations of values that the slice has"
    return ", ".join(
        f"{'log10 ' if name in _LOG10 else ''}{name} {_listed({flat[name] for flat in cells})}"
        for name in names
    )


def _new_slice(flat: Flat, cells: list[Flat]) -> str:
    fields = [name for name in flat if name not in (*AXES, "dtype")]
    news = [
        f"{name} {flat[name]}" for name in fields if all(flat[name] != k.get(name) for k in cells)
    ]
    if not cells:
        return "the study has no cells yet"
    return "a new slice: " + (", ".join(news) or "a combination of what others have")


def _listed(values: set[Any]) -> str:
    ordered = [str(value) for value in sorted(values, key=float)]
    if len(ordered) <= 6:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:3])}, ..., {ordered[-1]} ({len(ordered)} values)"
