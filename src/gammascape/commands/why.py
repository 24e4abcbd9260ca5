"""Say in words where a cell, table or figure comes from.

Names the lines of the studies that ask for it, the rule that made it, its inputs, and when, where and at what cost
it was made, back to the cells and their data.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from gammascape.commands import add_shared
from gammascape.durations import count_of, duration
from gammascape.manifests import Manifest, ManifestError, read_manifest
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.paths import CELLS, inside_project, short
from gammascape.provenance.locate import NAMES, find_here, is_cell_of
from gammascape.provenance.project import (
    manifests_of_tables_and_figures,
    open_project,
    other_studies,
)
from gammascape.study import Cell, Study
from gammascape.study.asked import Ask, asks
from gammascape.study.reading.yaml_reader import STUDIES
from gammascape.terminal import say
from gammascape.workflow.plan import Plan

_DEEPEST = 20
"""Limit on the depth of a chain; the workflow's chains have six levels."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", help=NAMES)
    add_shared(parser, "--study")


def run(chosen: argparse.Namespace) -> int:
    """Print where the artifact comes from."""
    plan = open_project(chosen.study)
    cells = (path for path in plan.cells if is_cell_of(chosen.artifact.rstrip("/"), path))
    # A cell that a study asks for and that is not trained yet.
    if wanted := next((path for path in cells if not (CELLS / path / FILE_NAME).is_file()), None):
        say(*_not_trained(wanted, plan))
    else:
        path = find_here(chosen.artifact)
        say(*why(path, read_manifest(path), plan))
    return 0


def why(path: Path, manifest: Manifest, plan: Plan) -> Iterator[str]:
    """Lines of the answer for the artifact with its manifest at `path`."""
    yield f"{manifest.kind} {manifest.name}"
    if manifest.kind == "cell":
        yield f"  {cell_words(manifest)}"
    found = asked_by(manifest, plan)
    if found:
        yield from _ask_words(found, lines=manifest.kind == "cell")
    elif manifest.kind != "data":
        yield f"asked for by no study in {STUDIES} or named by the configuration"
    yield "made"
    yield from (f"  {line}" for line in _made_words(manifest))
    sources = list(_sources(path, depth=0, seen=set()))
    if sources:
        yield "from"
        yield from sources
    users = [
        f"{other.kind} {other.name}"
        for place, other in manifests_of_tables_and_figures()
        if place != path and any(Path(source.path) == path for source in other.inputs)
    ]
    if users:
        yield "used by"
        yield from (f"  {name}" for name in users)


def _not_trained(path: str, plan: Plan) -> Iterator[str]:
    yield f"cell {CELLS / path}, not trained yet"
    cell = plan.cells[path]
    yield from _ask_words([a for s in plan.studies.values() for a in _of_cell(s, cell)], lines=True)


def cell_words(manifest: Manifest) -> str:
    """Parameters of a cell on one line."""
    record = manifest.record
    model = ", ".join(f"{name} {value}" for name, value in record["model"].items())
    return (
        f"gamma 10^{record['gamma']}, eta 10^{record['eta']}, {record['loss']}, model {model}, dataset "
        f"{record['dataset']['kind']}, B {record['batch_size']}, T {record['steps']}, seed "
        f"{record['seed']}, data_seed {record['data_seed']}, {record['dtype']}, numerics "
        f"{record['numerics']}"
    )


def asked_by(manifest: Manifest, plan: Plan) -> list[Ask]:
    """Grids that ask for an artifact, in the studies considered or else in others in config/studies."""
    considered = list(plan.studies.values())
    return [ask for study in considered for ask in _asks(manifest, study)] or [
        ask for study in other_studies(plan, [STUDIES]) for ask in _asks(manifest, study)
    ]


def _of_cell(study: Study, cell: Cell) -> Iterator[Ask]:
    for part in study.slices:
        if cell in part.cells:
            yield from asks(study, part, cell)


def _asks(manifest: Manifest, study: Study) -> Iterator[Ask]:
    if manifest.kind == "cell":
        cell = study.by_path.get(manifest.name.removeprefix(f"{CELLS}/"))
        yield from () if cell is None else _of_cell(study, cell)
    elif manifest.kind != "data":
        wildcards = manifest.wildcards
        for part in study.slices:
            generator = getattr(getattr(part.dataset_spec, "generator", None), "key", None)
            facts = {"study": study.name, "slice": part.key, "generator": generator}
            if all(facts.get(name, value) == value for name, value in wildcards.items()):
                yield from asks(study, part)


def _ask_words(requests: list[Ask], *, lines: bool) -> Iterator[str]:
    yield "asked for by"
    for ask in requests:
        (grid, number), *others = ask.lines.items()
        yield f"  {ask.path}, line {number}: {grid}, slice {ask.slice}"
        if lines:
            yield f"    {', '.join(f'{key} on line {line}' for key, line in others)}"
        if lines and ask.point is not None:
            yield f"    round {ask.point.round} of the map: {ask.point.why}"
            yield from (f"      {name}" for name in ask.because)
        if lines and ask.first is not None:
            yield f"    round {ask.first.round} of the map: {ask.first.why}"


def _made_words(manifest: Manifest) -> Iterator[str]:
    where = (manifest.device or {}).get("device_model")
    host = manifest.environment.get("host")
    place = "".join([f" on {where}" if where else "", f" ({host})" if host else ""])
    yield f"by the rule {manifest.rule}, from {manifest.started} to {manifest.finished}{place}"
    if manifest.cost:
        lanes = count_of(manifest.cost.get("lanes", 1), "cell")
        time = duration(float(manifest.cost["seconds"]))
        yield f"at a cost of {time} of device time, its share of a pack of {lanes}"
    for attempt in manifest.attempts:
        yield f"work began: {attempt['started']}, {attempt['reason']}"
    code = manifest.code
    dirty = " with uncommitted changes" if code["dirty"] else ""
    packages = manifest.environment["packages"].items()
    yield (
        f"by commit {code['commit'] or 'unknown'}{dirty}, Python {manifest.environment['python']}, "
        + ", ".join(f"{name} {version}" for name, version in packages if version)
    )
    for entry in manifest.accepted:
        yield f"accepted as current at {entry['at']}: {entry['reason']}"


def _sources(path: Path, depth: int, seen: set[Path]) -> Iterator[str]:
    """Tree of the inputs of an artifact. Cells are counted, and nothing is printed twice."""
    indent = "  " * (depth + 1)
    cells, data = list[Manifest](), set[Path]()
    for source in read_manifest(path).inputs:
        below = Path(source.path)
        if source.seal is None:
            yield f"{indent}file {source.path}, {source.bytes:,} bytes"
            continue
        manifest = _read(source.path)
        if manifest is None:
            yield f"{indent}{below.parent if below.name == FILE_NAME else below}, which is gone"
            continue
        if manifest.kind == "cell":
            cells.append(manifest)
            data |= {Path(item.path) for item in manifest.inputs if item.seal is not None}
            continue
        told = " (see above)" if below in seen else ""
        yield f"{indent}{manifest.kind} {manifest.name}: rule {manifest.rule}, {manifest.finished}{told}"
        if below not in seen and depth < _DEEPEST:
            seen.add(below)
            yield from _sources(below, depth + 1, seen)
    if cells:
        first, last = min(cell.started for cell in cells), max(cell.finished for cell in cells)
        seconds = sum(float(cell.cost.get("seconds", 0.0)) for cell in cells)
        yield (
            f"{indent}{count_of(len(cells), 'cell')}: rule train, {first} to {last}, "
            f"{duration(seconds)} of device time"
        )
        for below in sorted(data - seen):
            seen.add(below)
            if (manifest := _read(below.as_posix())) is not None:
                yield f"{indent}  data {manifest.name}: rule {manifest.rule}, {manifest.finished}"


def _read(name: str) -> Manifest | None:
    """Read a manifest named by another one; None if it is gone."""
    try:
        return read_manifest(inside_project(Path(), name))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ManifestError(f"{short(name)}: {error.strerror or error}") from None
