"""Decide by their manifests which tables, figures and pages are current.

File times and Snakemake's own records do not survive a copy of the results; manifests do. They decide in the same
way on every machine: parameters, code, script and the contents of the inputs are compared with the catalogue.
Differing artifacts are then forced in Snakemake, and current ones get suitable file times.
"""

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gammascape.layout import write_if_changed
from gammascape.manifests import sha256_of
from gammascape.manifests.code import PACKAGE, meaning, other_code
from gammascape.manifests.manifest import SUFFIX, content_of
from gammascape.manifests.paths import CELLS, cell_of
from gammascape.manifests.whole import FILES
from gammascape.provenance.changes import differences, words_of
from gammascape.workflow.catalogue import Artifact, everything, fingerprint_file, jobs_of
from gammascape.workflow.plan import Plan

BY_CODE = {"code", "script"}
"""Kinds of differences that a person may declare to have no effect."""
SCRIPTS = PACKAGE.parents[1] / "workflow/scripts"
"""Scripts of the rules that belong to the library."""
_SCRIPTS_FILE = Path(".snakemake/gammascape-scripts")
"""File with the path of the scripts that Snakemake ran in this folder, which may be of another checkout."""
_HASHED_BYTES = 1_000_000
"""Bytes up to which a file without a manifest is hashed; for larger files only the size is compared."""
_SECOND = 1_000_000_000
_MOST_WORDS = 80
"""Letters up to which a parameter's values are shown; long ones, such as a toy's points, are only named."""
_ODD = (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError)
"""Errors that a file with other content than a manifest can cause."""


def write_scripts_folder(folder: Path) -> None:
    """Record where the scripts of the rules are, for commands in this folder."""
    folder, here = folder.resolve(), Path.cwd()
    # A copy of this folder has its own.
    own = folder.relative_to(here) if folder.is_relative_to(here) else folder
    write_if_changed(_SCRIPTS_FILE, str(own))


def scripts_folder() -> Path:
    """Folder of the scripts that Snakemake runs in this folder; the library's if that is not known."""
    with suppress(OSError, ValueError):
        named = _SCRIPTS_FILE.read_text(encoding="utf-8")
        if named and (folder := Path(named)).is_dir():
            return folder
    return next(
        (folder for folder in (Path("workflow/scripts"), SCRIPTS) if folder.is_dir()), SCRIPTS
    )


@dataclass
class Results:
    """Results in the current folder, compared with a plan; each file is examined once."""

    plan: Plan | None
    """Plan; None if only single artifacts are compared, not everything that the studies ask for."""
    scripts: Path | None = None
    """Folder of the rules' scripts; without it they are not compared."""
    _times: dict[str, int | None] = field(default_factory=dict)
    _contents: dict[str, str | None] = field(default_factory=dict)
    _unwritten: set[str] = field(default_factory=set)
    """Manifests that do not record the script that was run."""

    @cached_property
    def catalogue(self) -> Mapping[str, Artifact]:
        """All artifacts made from the cells, by manifest, each after its inputs."""
        return {} if self.plan is None else everything(self.plan, Path())

    @cached_property
    def differing(self) -> Mapping[str, Mapping[str, list[str]]]:
        """Manifest -> differences of its artifact from what the studies ask for, see `differences`."""
        found = {path: self.differences(item) for path, item in self.catalogue.items()}
        return {path: kinds for path, kinds in found.items() if kinds}

    @property
    def forced(self) -> set[str]:
        """Existing files that Snakemake must make again."""
        return {
            self.catalogue[path].outputs[0]
            for path, kinds in self.differing.items()
            if "missing" not in kinds
        }

    def missing(self) -> list[str]:
        """Missing files of the studies, except for inputs of others that are missing too."""
        files = {path: [*item.outputs, path] for path, item in self.catalogue.items()}
        for cell in self.plan.cells if self.plan else ():
            names = [f"{CELLS}/{cell}/{name}" for name in FILES]
            files[names[-1]] = names
        lacking = {
            path: [n for n in names if self._time(n) is None] for path, names in files.items()
        }
        made = [item for path, item in self.catalogue.items() if lacking[path]]
        asked = {source for item in made for source in item.sources}
        return [
            name
            for path, names in lacking.items()
            if path not in asked or len(names) < len(files[path])
            for name in names
        ]

    def settle(self) -> None:
        """Touch current artifacts that are older than the inputs, the script or the code of their job.

        File times of cells and data are left alone, as are the files of jobs that have something to make.
        """
        for items in jobs_of(self.catalogue.values()).values():
            if not self.differing.keys().isdisjoint(item.manifest for item in items):
                continue
            outputs = [name for item in items for name in (*item.outputs, item.manifest)]
            oldest = min(self._time(name) or 0 for name in outputs)
            script = (self.scripts and self._time(f"{self.scripts}/{items[0].script}")) or 0
            if script >= oldest and not self._unwritten.isdisjoint(outputs):
                # Made by a version that did not record its script: Snakemake decides by its time.
                continue
            read = {name for item in items for name in item.files}.difference(outputs)
            code = fingerprint_file(items[0].rule)
            newest = max(self._time(name) or 0 for name in (*read, code))
            if newest > oldest or script >= oldest:
                now, last = time.time_ns(), max(newest, script)
                self._touch(outputs, now if now > last else last + _SECOND)

    def _touch(self, paths: list[str], stamp: int) -> None:
        for name in paths:
            try:
                os.utime(name, ns=(stamp, stamp))
            except OSError:
                # Another user's results that cannot be written: Snakemake reports that when it tries.
                return
            self._times[name] = stamp

    def differences(self, item: Artifact) -> dict[str, list[str]]:
        """Differences of an artifact from what is asked for: kind -> words for each.

        Kinds are `missing`, `damaged`, `rule`, `params`, `code`, `script` and `inputs`. An artifact made from one
        that differs need not differ itself.
        """
        if lacking := [n for n in (*item.outputs, item.manifest) if self._time(n) is None]:
            return {"missing": lacking}
        # Forget its content, which changes when it is made again.
        self._contents.pop(item.manifest, None)
        try:
            manifest = _read(item.manifest)
            content = content_of(manifest)
            found = dict(self._compare(item, manifest))
        except _ODD as error:
            return {"damaged": [f"its manifest cannot be used ({error})"]}
        if not found:
            self._contents[item.manifest] = content
        return found

    def _compare(self, item: Artifact, manifest: Any) -> Iterator[tuple[str, list[str]]]:
        folder = Path(item.manifest).parent
        sizes = {(folder / f["path"]).as_posix(): f["bytes"] for f in manifest["outputs"]}
        wrong = [path for path in item.outputs if sizes.get(path) != Path(path).stat().st_size]
        if wrong:
            yield "damaged", [f"{', '.join(wrong)}: not of the size that the manifest says"]
        if manifest["rule"] != item.rule:
            yield "rule", [f"made by the rule {manifest['rule']}, now by {item.rule}"]
        if changes := differences(manifest["record"]["params"], item.params):
            changes = {_key_of_study(name): values for name, values in changes.items()}
            texts = words_of(changes)
            for name, (was, _) in changes.items():
                if name.startswith("studies.") and was is None:  # one that a page did not have
                    texts[name] = f"study {name.split('.')[1]}"
            shown = (name if len(text) > _MOST_WORDS else text for name, text in texts.items())
            yield "params", list(dict.fromkeys(shown))
        code = manifest["code"]
        known = [code, *manifest["accepted"]]
        modules = other_code(code, manifest["accepted"], item.modules)
        if modules is not None:
            yield "code", modules
        said = {entry["script"] for entry in known if "script" in entry}
        if not said:
            self._unwritten.add(item.manifest)
        elif (script := self.script_of(item)) is not None and script not in said:
            yield "script", [item.script]
        if words := self._changed_inputs(item, manifest["inputs"]):
            yield "inputs", [words]

    def script_of(self, item: Artifact) -> str | None:
        """Digest of the meaning of an artifact's script; None if it is not at hand."""
        path = None if self.scripts is None else self.scripts / item.script
        return meaning(path) if path is not None and path.is_file() else None

    def _changed_inputs(self, item: Artifact, sources: Sequence[Mapping[str, Any]]) -> str:
        asked, had = set(item.sources), {source["path"] for source in sources}
        if item.entry.chooses:
            asked = {path for path in asked if path in had or cell_of(path) is None}
        if had != asked:
            new, old = len(asked - had), len(had - asked)
            words = ((f"{new} added", new), (f"{old} removed", old))
            return f"cells or tables: {', '.join(text for text, count in words if count)}"
        for source in sources:
            path = source["path"]
            if "seal" in source:
                same = self._content(path) in (None, source["content"])
            else:
                same = self._time(path) is None or _is(Path(path), source)
            if not same:
                return f"{path.removesuffix(SUFFIX)} has another content"
        return ""

    def _content(self, path: str) -> str | None:
        """Content of an artifact; None if it is missing or cannot be read."""
        if path not in self._contents:
            try:
                self._contents[path] = content_of(_read(path))
            except _ODD:
                self._contents[path] = None
        return self._contents[path]

    def _time(self, path: str) -> int | None:
        """Time of a file's last change, in ns; None if it is missing."""
        if path not in self._times:
            try:
                self._times[path] = os.stat(path).st_mtime_ns  # noqa: PTH116
            except OSError:
                self._times[path] = None
        return self._times[path]


def _key_of_study(parameter: str) -> str:
    """Name in a study of a parameter, of which `thresholds` and `confidence` are keys of `analysis` too."""
    name = parameter.removeprefix("thresholds.")
    return f"analysis.{name}" if name != parameter or name == "confidence" else name


def _read(path: str) -> Any:
    # There are thousands of manifests of thousands of lines; only the audit checks that they are complete.
    if not os.path.isfile(path):  # noqa: PTH113
        raise OSError(errno.EINVAL, "not a regular file")
    with open(path, "rb") as file:  # noqa: PTH123
        return json.loads(file.read())


def _is(path: Path, source: Mapping[str, Any]) -> bool:
    size = path.stat().st_size
    large = size > _HASHED_BYTES
    return size == source["bytes"] and (large or sha256_of(path) == source["sha256"])
