"""From what a person names to manifests: a figure wherever it lies, a table, a cell, or all there is."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammascape.origin import ManifestError, manifest_path, read_manifest, sha256_of
from gammascape.origin.manifest import FILE_NAME
from gammascape.origin.mark import Mark, read_mark
from gammascape.provenance.chain import GENERATED, RESULTS
from gammascape.provenance.findings import Finding
from gammascape.study.config import CONFIG_FILE
from gammascape.study.yaml_reader import read_yaml
from gammascape.workflow import Plan, load_plan

_SUFFIX = ".manifest.json"
_STUDIES = "config/studies"
_APART = ("logs", GENERATED)
"""Folders of results whose files have no manifests; nor have those in folders that begin with a dot."""


@dataclass(frozen=True)
class Found:
    """Where the manifest of what a person named stands."""

    root: Path
    """The folder where Snakemake ran."""
    manifest: str
    """Relative to `root`; it need not be there."""
    findings: tuple[Finding, ...] = ()
    """About a file that is a copy."""


def locate(path: Path, directory: Path | None) -> Found | Finding:
    """The manifest of a figure, a table or a cell; a finding if nothing says which it is.

    What stands among the results is found by the manifest beside it, a copy of a figure by its mark.

    Args:
        directory: the folder where Snakemake runs, if it is not above `path` and not the current one.

    Raises:
        FileNotFoundError: if there is no such file or folder.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    here = path.resolve()
    root = _root_above(here, directory)
    manifest = _beside(here)
    if root is not None and manifest is not None:
        return Found(root, manifest.relative_to(root).as_posix())
    mark = read_mark(here) if here.is_file() else None
    if mark is not None:
        root = _root_of(mark, here, directory)
        return Found(root, mark.manifest, tuple(_copy_findings(here, mark, root)))
    return Finding("unknown origin", "it names no manifest, and no manifest beside it names it")


def _beside(path: Path) -> Path | None:
    """The manifest that stands beside an artifact and names it."""
    if path.is_dir():
        return path / FILE_NAME if (path / FILE_NAME).is_file() else None
    if path.name == FILE_NAME or path.name.endswith(_SUFFIX):
        return path
    manifest = manifest_path(path)
    try:
        names = {file.path for file in read_manifest(manifest).outputs}
    except ManifestError:
        return manifest if manifest.is_file() else None
    return manifest if path.name in names else None


def _root_above(path: Path, directory: Path | None) -> Path | None:
    """The folder whose `results` hold a file."""
    near = [(directory or Path.cwd()).resolve()]
    near += [] if directory else [p.parent for p in path.parents if p.name == RESULTS]
    return next((root for root in near if path.is_relative_to(root / RESULTS)), None)


def _root_of(mark: Mark, path: Path, directory: Path | None) -> Path:
    if directory is not None:
        return directory.resolve()
    places = [folder for folder in path.parents if (folder / mark.manifest).is_file()]
    return places[0] if places else Path.cwd()


def _copy_findings(path: Path, mark: Mark, root: Path) -> Iterator[Finding]:
    """Compare a copy of a figure with what the manifest says about the original."""
    try:
        manifest = read_manifest(root / mark.manifest)
    except ManifestError:
        # The walk says it.
        return
    if manifest.claim != mark.claim:
        text = f"{path.name} was drawn with claim {mark.claim[:12]}, its manifest has been replaced by one with "
        yield Finding("altered", f"{text}{manifest.claim[:12]}")
        return
    suffix = path.suffix.lower()
    if sha256_of(path) not in {f.sha256 for f in manifest.outputs if f.path.endswith(suffix)}:
        yield Finding("altered", f"the copy {path.name} has another sha256 than its manifest says")


def all_manifests(root: Path) -> list[str]:
    """Paths of all manifests among the results, relative to `root`."""
    return [
        file.relative_to(root).as_posix() for file in _files(root / RESULTS) if _is_manifest(file)
    ]


def strays(root: Path, named: set[Path]) -> list[str]:
    """Files among the results that are neither manifests nor in `named`, relative to `root`."""
    return [
        file.relative_to(root).as_posix()
        for file in _files(root / RESULTS)
        if file not in named and not _is_manifest(file)
    ]


def _is_manifest(path: Path) -> bool:
    return path.name == FILE_NAME or path.name.endswith(_SUFFIX)


def _files(folder: Path) -> Iterator[Path]:
    walked = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        top = Path(place) == folder
        # A link to a folder above would lead around in a circle.
        if (real := os.path.realpath(place)) in walked:
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not (top and name in _APART)
        )
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def load_studies(root: Path, given: Sequence[Path], names: Iterable[str]) -> Plan | None:
    """The studies to compare with: those that are given, and those of config/ that have one of `names`.

    Returns:
        None if there is no such study.

    Raises:
        StudyError: if one of them, or the configuration, cannot be used.
    """
    paths = {path.stem: path.resolve() for path in given}
    config = root / CONFIG_FILE
    read = read_yaml(config).data if config.is_file() else {}
    values: dict[str, Any] = dict(read) if isinstance(read, dict) else {}
    named = values.get("study", [])
    configured = [root / str(path) for path in (named if isinstance(named, list) else [named])]
    for path in (*configured, *(root / _STUDIES).glob("*.yaml")):
        if path.stem in set(names) and path.is_file():
            paths.setdefault(path.stem, path)
    if not paths:
        return None
    # Modules of the users are looked for from the folder where Snakemake runs.
    with contextlib.chdir(root):
        return load_plan({**values, "study": [str(path) for path in paths.values()]})
