"""The page of the provenance of a study, summed up from its manifests."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammascape.durations import count_of, duration
from gammascape.figures.templates import render
from gammascape.layout import whole
from gammascape.manifests import Manifest, manifest_path, read_manifest
from gammascape.manifests.manifest import FILE_NAME, KINDS
from gammascape.manifests.paths import inside_project


@dataclass(frozen=True, slots=True)
class Row:
    """One fact and the number of artifacts that it holds for."""

    subject: str
    value: str
    artifacts: int


def write_provenance(
    study: str, inputs: Iterable[Path], path: Path, until: str | None = None
) -> None:
    """Write the page of a study.

    Args:
        study: name of the study.
        inputs: a file of each table and figure, and the manifests of the cells.
        until: time in UTC after which nobody had declared anything yet.

    Raises:
        ManifestError: if one of them has no manifest, or a damaged one.
    """
    found = _manifests(inputs)
    accepted = declarations(found, until)
    page = render("provenance.html.j2", study=study, rows=summary(found), accepted=accepted)
    with whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def summary(manifests: Sequence[Manifest]) -> list[Row]:
    """Times, code, versions, devices and machines of all artifacts; each value with the artifacts that have it."""
    rows = []
    for kind in KINDS:
        of_kind = [manifest for manifest in manifests if manifest.kind == kind]
        if of_kind:
            first = min(manifest.started for manifest in of_kind)
            last = max(manifest.finished for manifest in of_kind)
            rows.append(Row(f"{kind}: made", f"{first} to {last}", len(of_kind)))
            sources = (manifest.code["source_sha256"][:12] for manifest in of_kind)
            rows += _counted(f"{kind}: sha256 of its code", sources)
    cells = [manifest for manifest in manifests if manifest.kind == "cell"]
    seconds = sum(float(manifest.cost["seconds"]) for manifest in cells)
    rows.append(Row("time on the device", duration(seconds), len(cells)))
    resumed = sum(len(manifest.attempts) > 1 for manifest in cells)
    rows.append(Row("cells with more than one attempt", "resumed or retried", resumed))
    rows += _counted("device", map(_device, cells))
    rows += _counted("executor", (manifest.executor or "unknown" for manifest in cells))
    rows += _counted("commit", (_commit(manifest.code) for manifest in manifests))
    machines = [manifest.environment for manifest in manifests]
    rows += _counted("machine", (machine["host"] or "not recorded" for machine in machines))
    rows += _counted("system", (machine["system"] for machine in machines))
    rows += _counted("Python", (machine["python"] for machine in machines))
    packages = Counter(
        package for m in machines for package in m["packages"].items() if package[1]
    ).most_common()
    # The stable sort leaves the most frequent version of each package first.
    for (name, version), count in sorted(packages, key=lambda package: package[0][0]):
        rows.append(Row(name, version, count))
    return rows


def declarations(manifests: Iterable[Manifest], until: str | None = None) -> list[str]:
    """Reasons for which artifacts were declared current, with their number."""
    entries = Counter(
        f"{entry['at']}: {entry['reason']}"
        for manifest in manifests
        for entry in manifest.accepted
        if until is None or entry["at"] <= until
    )
    return [f"{text} ({count_of(count, 'artifact')})" for text, count in sorted(entries.items())]


def _manifests(inputs: Iterable[Path]) -> list[Manifest]:
    paths = [path if path.name == FILE_NAME else manifest_path(path) for path in inputs]
    found = {path: read_manifest(path) for path in dict.fromkeys(paths)}
    for path in dict.fromkeys(_data(found.values())):
        found[path] = read_manifest(path)
    return list(found.values())


def _data(manifests: Iterable[Manifest]) -> Iterator[Path]:
    """Manifests of the prepared data of cells that are still there."""
    for manifest in manifests:
        for source in manifest.inputs if manifest.kind == "cell" else ():
            if source.seal is not None:
                with suppress(OSError):
                    yield inside_project(Path(), source.path)


def _counted(subject: str, values: Iterable[str]) -> list[Row]:
    return [Row(subject, value, count) for value, count in Counter(values).most_common()]


def _device(manifest: Manifest) -> str:
    device = manifest.device or {}
    return f"{device.get('device', 'unknown')}, {device.get('device_model', 'unknown')}"


def _commit(code: Mapping[str, Any]) -> str:
    if code["commit"] is None:
        return "not in a git repository"
    return f"{code['commit']}{' with uncommitted changes' if code['dirty'] else ''}"
