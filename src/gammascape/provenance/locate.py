"""From what a person names to manifests: a figure wherever it lies, a table, a cell, or all there is."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammascape.origin import ManifestError, manifest_path, read_manifest, sha256_of
from gammascape.origin.inside import LINKED, inside_project, is_plain, short
from gammascape.origin.manifest import FILE_NAME
from gammascape.origin.mark import Mark, read_mark
from gammascape.provenance.chain import GENERATED, RESULTS
from gammascape.provenance.findings import Finding
from gammascape.study import StudyError
from gammascape.study.config import CONFIG_FILE, Data
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
        StudyError: if it is a copy, and the results that it is of are not found.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    below = _below_results(path, directory)
    if below is not None:
        root, name = below
        manifest = _beside(root / name)
        if manifest is not None:
            return Found(root, manifest.relative_to(root).as_posix())
    mark = read_mark(path) if path.is_file() else None
    if mark is None:
        return Finding("unknown origin", "it names no manifest, and no manifest beside it names it")
    if not (is_plain(mark.manifest) and mark.manifest.startswith(f"{RESULTS}/")):
        text = f"its mark names {short(mark.manifest)}, which is no place among the results"
        return Finding("unknown origin", text)
    root = _root_of(mark, path.resolve(), directory)
    return Found(root, mark.manifest, tuple(_copy_findings(path, mark, root)))


def _beside(path: Path) -> Path | None:
    """The manifest that stands beside an artifact and names it."""
    if path.is_dir():
        return path / FILE_NAME if (path / FILE_NAME).is_file() else None
    if _is_manifest(path.name):
        return path
    manifest = manifest_path(path)
    try:
        names = {file.path for file in read_manifest(manifest).outputs}
    except ManifestError:
        return manifest if manifest.is_file() else None
    return manifest if path.name in names else None


def _below_results(path: Path, directory: Path | None) -> tuple[Path, str] | None:
    """The folder whose `results` hold a file, and the file's path relative to it; links may lead there."""
    for here in (Path(os.path.abspath(path)), path.resolve()):  # noqa: PTH100 (follows no links)
        near = [(directory or Path.cwd()).resolve()]
        near += [] if directory else [p.parent for p in here.parents if p.name == RESULTS]
        for root in near:
            for results in (root / RESULTS, (root / RESULTS).resolve()):
                if here.is_relative_to(results):
                    return root.resolve(), str(RESULTS / here.relative_to(results))
    return None


def _root_of(mark: Mark, path: Path, directory: Path | None) -> Path:
    if directory is not None:
        return directory.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents, *path.parents):
        with contextlib.suppress(OSError):
            inside_project(folder, mark.manifest)
            return folder
    if (here / RESULTS).is_dir():
        # The walk says that the manifest is missing.
        return here
    raise StudyError(
        f"{path.name}: a copy of a file of {short(mark.manifest.removesuffix(_SUFFIX))}, and no folder above it "
        "or above this one holds these results; give --directory, the folder that does"
    )


def _copy_findings(path: Path, mark: Mark, root: Path) -> Iterator[Finding]:
    """Compare a copy of a figure with what the manifest says about the original."""
    try:
        manifest = read_manifest(inside_project(root, mark.manifest))
    except (OSError, ManifestError):
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
    return [file for file in _files(root) if _is_manifest(file)]


def strays(root: Path, named: set[Path]) -> list[str]:
    """Files among the results that are neither manifests nor in `named`, relative to `root`."""
    return [file for file in _files(root) if root / file not in named and not _is_manifest(file)]


def _is_manifest(path: str) -> bool:
    return path.rpartition("/")[2] == FILE_NAME or path.endswith(_SUFFIX)


def _files(root: Path) -> Iterator[str]:
    """Files below results, and links to folders outside of them or to folders that were walked already."""
    linked = {root / name: os.path.realpath(root / name) for name in LINKED}
    walked = set(linked.values())
    for place, folders, names in os.walk(root / RESULTS, followlinks=True):
        here = Path(place)
        among = here.relative_to(root).as_posix()
        for name in list(folders):
            path = here / name
            real = os.path.realpath(path)
            if name.startswith(".") or (among == RESULTS and name in _APART):
                folders.remove(name)
            elif path.is_symlink() and path not in linked:
                ours = any(Path(real).is_relative_to(base) for base in linked.values())
                if real in walked or not ours:
                    folders.remove(name)
                    names.append(name)
                walked.add(real)
        folders.sort()
        yield from (f"{among}/{name}" for name in sorted(names) if not name.startswith("."))


def published_folders(root: Path) -> tuple[str, ...]:
    """Folders with published files that the configuration of a project names, by dataset."""
    given = _configuration(root).get("data", {})
    named = {**Data().model_dump(), **(given if isinstance(given, dict) else {})}
    return tuple(folder for folder in named.values() if isinstance(folder, str) and folder)


def _configuration(root: Path) -> dict[str, Any]:
    config = root / CONFIG_FILE
    read = read_yaml(config).data if config.is_file() else {}
    return dict(read) if isinstance(read, dict) else {}


def load_studies(root: Path, given: Sequence[Path], names: Iterable[str]) -> Plan | None:
    """The studies to compare with: those that are given, and those of config/ that have one of `names`.

    Returns:
        None if there is no such study.

    Raises:
        StudyError: if one of them, or the configuration, cannot be used.
    """
    paths = {path.stem: path.resolve() for path in given}
    values = _configuration(root)
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
