"""Find manifests by the names that people use: a figure anywhere, a table, a cell, or everything."""

import contextlib
import difflib
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammascape.manifests import (
    Kind,
    Manifest,
    ManifestError,
    manifest_path,
    read_manifest,
    sha256_of,
)
from gammascape.manifests.manifest import FILE_NAME, SUFFIX
from gammascape.manifests.mark import Mark, read_marks
from gammascape.manifests.paths import (
    CELLS,
    GENERATED,
    LINKED,
    RESULTS,
    inside_project,
    is_plain,
    short,
)
from gammascape.provenance.findings import Finding
from gammascape.provenance.project import configuration
from gammascape.study import StudyError, load_study
from gammascape.study.keys.config import Data
from gammascape.study.keys.files import KINDS
from gammascape.study.reading.yaml_reader import STUDIES, read_yaml, studies_in, study_name
from gammascape.usercode.files import PATHS
from gammascape.workflow.plan import Plan, load_plan

_HASH = re.compile(r"[0-9a-f]{6,12}")
NAMES = (
    "a file or folder of results, a table or figure by its name, a copy of a figure, or a cell by its path or the "
    "first digits of its hash"
)
"""Names understood by every command."""
STUDY = "study that has it, where several have one of this name"
NO_RESULTS = "{}: no folder results; run this where Snakemake runs"
_WITHOUT_MANIFESTS = ("logs", "so-far")
"""Folders of results whose files have no manifests, besides those whose names begin with a dot."""


@dataclass(frozen=True)
class Found:
    """Place of the manifest for a name."""

    root: Path
    """Folder where Snakemake ran."""
    manifest: str
    """Path relative to `root`; the file need not exist."""
    findings: tuple[Finding, ...] = ()
    """Findings about a file that is a copy."""
    others: tuple[str, ...] = ()
    """Manifests of the other studies of an explorer of several."""


def locate(name: str | Path, directory: Path | None = None) -> Found | Finding:
    """Find the manifest for a name; return a finding if a file does not reveal its origin.

    A name is a path, also of a copy of a figure; a path below results or below the cells; the first digits of a
    cell's hash; or the name of a table or figure, edges or portrait/mlp3-digits-mse-B32-T1000. Among the results
    the manifest next to a file counts, for a copy of a figure its mark. A file that a manifest names may be gone.

    Args:
        directory: the folder where Snakemake runs, if it is not above the file and not the current one.

    Raises:
        StudyError: if nothing has this name, or several things have it, or if the results of a copy are not
            found.
    """
    path = Path(name)
    if below := _below_results(path, directory):
        root, place = below
        if (manifest := _manifest_of(root / place)) is not None:
            return Found(root, manifest.relative_to(root).as_posix())
    elif renamed := _renamed(path):
        # A figure in it has a mark, by which its copy would be checked against other results.
        raise StudyError(
            f"{name}: {renamed} holds results under another name; rename it {RESULTS}, as manifests say"
        )
    marks = read_marks(path) if path.is_file() else []
    for mark in marks:
        if not (is_plain(mark.manifest) and mark.manifest.startswith(f"{RESULTS}/")):
            text = f"its mark names {short(mark.manifest)}, which is no place among the results"
            return Finding("unknown origin", text)
    if marks:
        first, *others = (mark.manifest for mark in marks)
        root = _root_of(marks[0], path.resolve(), directory)
        return Found(root, first, tuple(_copy_findings(path, marks, root)), tuple(others))
    root, text = (directory or Path.cwd()).resolve(), str(name).rstrip("/")
    if named := _named(text, root):
        return Found(root, named.relative_to(root).as_posix())
    if path.exists():
        among = "; name one of its files" if path.is_dir() else ""
        words = f"it names no manifest, and no manifest beside it names it{among}"
        return Finding("unknown origin", words)
    if made := _named_output(text, root):
        return Found(root, made.relative_to(root).as_posix())
    if not (root / RESULTS).is_dir():
        raise StudyError(NO_RESULTS.format(f"{name}, {root}"))
    raise StudyError(f"{name}: no artifact with a manifest{_near(text, root) or f'; name {NAMES}'}")


def find(name: str | Path, directory: Path | None = None) -> Found:
    """Find a manifest as `locate` does; a file of unknown origin raises StudyError."""
    found = locate(name, directory)
    if isinstance(found, Finding):
        raise StudyError(f"{name}: {found.text}")
    return found


def find_here(name: str | Path) -> Path:
    """Manifest for a name, relative to the current folder, which contains the results.

    Raises:
        StudyError: as for `find`; also if the results are elsewhere, or a copy does not match its manifest.
    """
    found = find(name)
    if found.root != Path.cwd().resolve():
        raise StudyError(f"{name}: its results are in {found.root}; call the command there")
    for finding in found.findings:
        # Anybody can write a mark: of what cannot be compared with its manifest, nothing more is known.
        original = found.manifest.removesuffix(SUFFIX)
        hint = f"; it claims to be a copy of {original}; name that file instead"
        raise StudyError(f"{name}: {finding.text}{'' if finding.severity == 'error' else hint}")
    return Path(found.manifest)


def with_results(study: str, artifact: str, root: Path | None = None) -> str:
    """Name of a study, given by its name or its file, of which an artifact has been made.

    Args:
        study: name or file.
        artifact: what is needed, below the study's results and without a suffix: tables/advice.
        root: folder where Snakemake runs; the current one by default.

    Raises:
        StudyError: if it has not been made; the message names the command that makes it, or another study.
    """
    name, results = study_name(study, root or Path()), (root or Path()) / RESULTS
    made = {
        path.relative_to(results).parts[0] for path in results.glob(f"*/{artifact}{SUFFIX}")
    }.difference(_WITHOUT_MANIFESTS)
    if name in made:
        return name
    folder, run = results.parent, "run snakemake --config study"
    file = Path(study) if (folder / study).is_file() else STUDIES / f"{name}.yaml"
    studies = studies_in(folder / STUDIES)
    if (folder / file).is_file() and (name in studies or "." not in name):
        from gammascape.tables.seal import page_of

        if (folder / page_of(name)).is_file():
            kind, _, what = artifact.partition("/")
            raise StudyError(
                f"{study}: it is finished, and has no {what or kind}, which is made of trained networks, not of "
                f"toys; if it has some, {run}={file}"
            )
        state = "only a part of its results" if (results / name).is_dir() else "no results yet"
        # A map without points says how it gets some.
        load_study(folder / file)
        raise StudyError(f"{study}: it has {state}; {run}={file}")
    near = difflib.get_close_matches(name, sorted(made.union(studies)), 1)
    where = (
        "has results here"
        if results.is_dir()
        else f"has results (the folder {results} does not exist)"
    )
    raise StudyError(
        f"{study}: no study of this name {where}, and none is in {STUDIES}"
        + (f"; did you mean {near[0]}?" if near else "")
    )


def output_of(
    kind: Kind, name: str, suffix: str, study: str | None = None
) -> tuple[Manifest, Path]:
    """Manifest of a table or a figure of this folder's results, and its file with this suffix, unaltered.

    `name` is as for `find`, or edges, portrait or portrait/mlp3-digits-mse-B32-T1000 of `study`, a name or a file;
    without it, of the one study that has it.

    Raises:
        StudyError: if there is no such artifact, or several, or the file is not the one of its manifest.
    """
    root, of = Path.cwd(), study_name(study) if study else "*"
    if study and not Path(RESULTS, of).is_dir():
        with_results(study, f"{kind}s/{name}")
    made = _named_output(name, root, kind, study)
    other = "figure" if kind == "table" else "table"
    if made is None and _is_output(name, root, other, study):
        raise StudyError(f"{name} is a {other}, not a {kind}")
    try:
        path = made.relative_to(root) if made else find_here(name)
        apart = bool(study) and path.parts[1:2] != (of,)
    except StudyError:
        if Path(name).exists() or not (study or _near(name, root, kind, study)):
            raise
        apart = True
    if apart:
        near = _near(name, root, kind, study)
        raise StudyError(f"{name}: {RESULTS}/{of} has no {kind} of this name{near}") from None
    manifest = read_manifest(path)
    recorded = {file.path: file.sha256 for file in manifest.outputs}
    file = Path(f"{manifest.name}.{suffix}")
    if manifest.kind != kind:
        raise StudyError(f"{name} is a {manifest.kind}, not a {kind}")
    if not file.is_file() or sha256_of(file) != recorded.get(file.name):
        raise StudyError(
            f"{file} is not the file of its manifest: run snakemake, which makes it again"
        )
    return manifest, file


def is_cell_of(name: str, path: str) -> bool:
    """Return whether `name` is the path of this cell below the cells, or the first digits of its hash."""
    digits = path.rpartition("-")[2] if _HASH.fullmatch(name) else ""
    return path == name.removeprefix(f"{CELLS}/") or bool(digits and digits.startswith(name))


def _named(name: str, root: Path) -> Path | None:
    """Manifest for a name below results or the cells, or for a cell's hash."""
    cells = root / CELLS
    if _HASH.fullmatch(name):
        found = sorted(cells.glob(f"*/*-{name}*/{FILE_NAME}"))
        if len(found) > 1:
            names = ", ".join(path.parent.name for path in found)
            raise StudyError(f"{name}: several cells have this name: {names}")
        if found:
            return found[0]
    places = (root / RESULTS / name, cells / name) if is_plain(name) else ()
    return next((manifest for place in places if (manifest := _manifest_of(place))), None)


def _named_output(name: str, root: Path, kind: str = "", study: str | None = None) -> Path | None:
    """Manifest of a table or figure of one study by its name alone, such as edges or figures/edges."""
    plain = name.removeprefix(f"{kind}s/")
    exact = glob.escape(plain)
    for pattern in (exact, f"{exact}/*") if is_plain(plain) else ():
        if more := _outputs(f"{pattern}{SUFFIX}", root, kind, study):
            names = [str(one.relative_to(root / RESULTS)).removesuffix(SUFFIX) for one in more]
            if len(more) == 1:
                return more[0]
            studies = list(dict.fromkeys(one.partition("/")[0] for one in names))
            choice = f", or add --study {' or '.join(studies)}" if kind and studies[1:] else ""
            raise StudyError(
                f"{name}: several {f'{kind}s' if kind else 'tables and figures'} have this name; write one of "
                f"{', '.join(names)}{choice}"
            )
    return None


def _is_output(name: str, root: Path, kind: str, study: str | None) -> bool:
    """Return whether one or several tables or figures have this name."""
    try:
        return _named_output(name, root, kind, study) is not None
    except StudyError:
        return True


def _outputs(pattern: str, root: Path, kind: str, study: str | None) -> list[Path]:
    """Files of tables and figures, of one kind and of one study if these are given."""
    of, kinds = (
        # The folder itself has no stem.
        glob.escape(Path(study_name(study)).name or ".") if study else "*",
        [f"{kind}s"] if kind else ["tables", "figures", "."],
    )
    found = [path for one in kinds for path in (root / RESULTS).glob(f"{of}/{one}/{pattern}")]
    if not study and kind != "table":
        pictures = (root / GENERATED).glob(f"*/{pattern}")
        found += [path for path in pictures if path.name.endswith(SUFFIX)]
    return sorted(
        path
        for path in found
        if path.relative_to(root / RESULTS).parts[0] not in _WITHOUT_MANIFESTS
    )


def _near(name: str, root: Path, kind: str = "", study: str | None = None) -> str:
    """Suggestion of the table or figure with the nearest name; empty without one."""
    made = {one.name.partition(".")[0] for one in _outputs("*", root, kind, study)}
    near = difflib.get_close_matches(name.removeprefix(f"{kind}s/"), made, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _manifest_of(path: Path) -> Path | None:
    """Manifest in a folder, or next to a stem, or next to a file that it names."""
    if _is_manifest(path.name):
        return path if path.exists() else None
    if not path.is_file():
        for manifest in (path / FILE_NAME, path.with_name(f"{path.name}{SUFFIX}")):
            if manifest.is_file():
                return manifest
        if path.is_dir():
            return None
    manifest = manifest_path(path)
    try:
        names = {file.path for file in read_manifest(manifest).outputs}
    except ManifestError:
        return manifest if manifest.is_file() else None
    return manifest if path.name in names else None


def _below_results(path: Path, directory: Path | None) -> tuple[Path, str] | None:
    """Folder with the `results` that contain a file, and the file's path relative to it; links are followed."""
    for here in (Path(os.path.abspath(path)), path.resolve()):  # noqa: PTH100 (follows no links)
        near = [(directory or Path.cwd()).resolve()]
        near += [] if directory else [p.parent for p in here.parents if p.name == RESULTS.name]
        for root in near:
            for results in (root / RESULTS, (root / RESULTS).resolve()):
                if here.is_relative_to(results):
                    return root.resolve(), str(RESULTS / here.relative_to(results))
    return None


def _renamed(path: Path) -> Path | None:
    """Folder with cells and their page, at or above a path, that is not named `results`."""
    here = path.resolve()
    return next(
        (p for p in (here, *here.parents) if _is_results(p) and p.name != RESULTS.name), None
    )


def _is_results(folder: Path) -> bool:
    return (folder / CELLS.name).is_dir() and (folder / "index.html").is_file()


def _root_of(mark: Mark, path: Path, directory: Path | None) -> Path:
    if directory is not None:
        return directory.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents, *path.parents):
        with contextlib.suppress(OSError):
            inside_project(folder, mark.manifest)
            return folder
    if (here / RESULTS).is_dir():
        # The walk will report that the manifest is missing.
        return here
    raise StudyError(
        f"{path.name}: a copy of a file of {short(mark.manifest.removesuffix(SUFFIX))}, and no folder above it "
        "or above this one holds these results; call this in the folder that does, or name it by --directory if "
        "the command has it"
    )


def _copy_findings(path: Path, marks: Sequence[Mark], root: Path) -> Iterator[Finding]:
    """Compare a copy of a figure with the manifest of the original, or of an explorer with all of them."""
    try:
        found = [read_manifest(inside_project(root, mark.manifest)) for mark in marks]
    except (OSError, ManifestError):
        # The walk will report it.
        return
    for mark, manifest in zip(marks, found, strict=True):
        if manifest.claim != mark.claim:
            text = f"{path.name} was drawn with claim {mark.claim[:12]}, its manifest has been replaced by "
            yield Finding("altered", f"{text}one with {manifest.claim[:12]}")
            return
    suffix, mark, manifest = path.suffix.lower(), marks[0], found[0]
    if len(marks) > 1:
        yield from _beside_findings(path, marks, root)
    elif mark.redrawn:
        yield Finding(
            "not compared", f"{path.name} was drawn again by gammascape figure, for print"
        )
    elif sha256_of(path) not in {f.sha256 for f in manifest.outputs if f.path.endswith(suffix)}:
        yield Finding("altered", f"the copy {path.name} has another sha256 than its manifest says")


def _beside_findings(path: Path, marks: Sequence[Mark], root: Path) -> Iterator[Finding]:
    """Compare an explorer of several studies with what their explorers give."""
    from gammascape.figures.explorer.page import data_of, joint_explorer

    names = [f"{mark.manifest.removesuffix(SUFFIX)}.html" for mark in marks]
    try:
        again = joint_explorer([inside_project(root, name) for name in names], marks)
        text = path.read_text(encoding="utf-8")
        if text == again:
            return
        same = data_of(text) == data_of(again)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        yield Finding("not compared", f"{path.name} cannot be made again: {error}")
        return
    yield (
        Finding(
            "not compared", f"the data in {path.name} are right, the page around them is another"
        )
        if same
        else Finding("altered", f"the data in {path.name} differ from {' and '.join(names)}")
    )


def all_manifests(root: Path) -> list[str]:
    """Paths of all manifests among the results, relative to `root`."""
    return [file for file in _files(root) if _is_manifest(file)]


def strays(root: Path, named: set[Path]) -> list[str]:
    """Files among the results that are neither manifests nor in `named`, relative to `root`."""
    return [file for file in _files(root) if root / file not in named and not _is_manifest(file)]


def _is_manifest(path: str) -> bool:
    return path.rpartition("/")[2] == FILE_NAME or path.endswith(SUFFIX)


def _files(root: Path) -> Iterator[str]:
    """Files below results, and links to folders outside them or to folders already walked."""
    linked = {root / name: os.path.realpath(root / name) for name in LINKED}
    walked = set(linked.values())
    for place, folders, names in os.walk(root / RESULTS, followlinks=True):
        here = Path(place)
        among = here.relative_to(root).as_posix()
        for name in list(folders):
            path = here / name
            real = os.path.realpath(path)
            if name.startswith(".") or (among == RESULTS.name and name in _WITHOUT_MANIFESTS):
                folders.remove(name)
            elif path.is_symlink() and path not in linked:
                ours = any(Path(real).is_relative_to(base) for base in linked.values())
                if real in walked or not ours:
                    folders.remove(name)
                    names.append(name)
                walked.add(real)
        folders.sort()
        if GENERATED in (Path(among), *Path(among).parents):
            names = [name for name in names if f"{name.partition('.')[0]}{SUFFIX}" in names]
        yield from (f"{among}/{name}" for name in sorted(names) if not name.startswith("."))


def published_folders(root: Path) -> tuple[str, ...]:
    """Folders of published files named in a project's configuration, and of own data named in its studies."""
    given = configuration(root).get("data", {})
    named = {**Data().model_dump(), **(given if isinstance(given, dict) else {})}
    found = [folder for folder in named.values() if isinstance(folder, str) and folder]
    return (*found, *_own_folders(root))


def _own_folders(root: Path) -> Iterator[str]:
    studies = configuration(root).get("study", [])
    for study in map(str, studies if isinstance(studies, list) else [studies]):
        with contextlib.suppress(StudyError, AttributeError, KeyError, TypeError):
            content: Any = read_yaml(root / study).data
            for data in content["datasets"].values():
                given = (data.get(name) for name in PATHS if data.get("kind") in KINDS)
                for path in (value for value in given if isinstance(value, str) and value):
                    for folder in (Path(study).parent, Path()):
                        place = Path(os.path.normpath(folder / Path(path).expanduser()))
                        yield from (place.as_posix(), place.parent.as_posix())


def load_studies(root: Path, given: Sequence[Path], names: Iterable[str]) -> Plan | None:
    """Load the studies to compare with: the given ones, and studies in config/ with one of `names`.

    Returns:
        None if there is no such study.

    Raises:
        StudyError: if one of them, or the configuration, is invalid.
    """
    paths = {path.stem: path.resolve() for path in given}
    values = configuration(root)
    named = values.get("study", [])
    configured = [root / str(path) for path in (named if isinstance(named, list) else [named])]
    for path in (*configured, *(root / STUDIES).glob("*.yaml")):
        if path.stem in set(names) and path.is_file():
            paths.setdefault(path.stem, path)
    if not paths:
        return None
    # Users' modules are searched for from the folder where Snakemake runs.
    with contextlib.chdir(root):
        return load_plan({**values, "study": [str(path) for path in paths.values()]})
