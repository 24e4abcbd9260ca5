"""Which tables, figures and pages are what the studies ask for, by their manifests.

File times and Snakemake's own records do not survive a copy of the results; manifests do. They decide here, in the
same way on every machine: parameters, code, script and the contents of the inputs are compared with what the
catalogue says. Snakemake is then told: what differs is forced, and what is current gets file times that say so.
"""

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gammascape.manifests import sha256_of
from gammascape.manifests.code import meaning, other_code
from gammascape.manifests.manifest import content_of
from gammascape.provenance.changes import differences
from gammascape.workflow.catalogue import Artifact, everything, fingerprint_file, jobs_of
from gammascape.workflow.plan import Plan

BY_CODE = {"code", "script"}
"""Kinds of differences that a person may declare to be without effect."""
SCRIPTS = Path("workflow/scripts")
"""Scripts of the rules, where Snakemake runs in the folder of the workflow."""
_CELLS = "results/cells/"
_CELL_FILES = ("summary.json", "arrays.npz", "manifest.json")
_HASHED_BYTES = 1_000_000
"""Up to this size a file without a manifest is hashed; of a larger one only the size is compared."""
_SECOND = 1_000_000_000
_MOST_WORDS = 80
"""Letters of a parameter before and now: lists of figures, or the points of a toy, are only named."""
_ODD = (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError)
"""What a manifest of anything else can lead to."""


@dataclass
class Results:
    """The results in the current folder, seen beside a plan; each file is looked at once."""

    plan: Plan | None
    """None where single artifacts are compared, and not all that the studies ask for."""
    scripts: Path | None = None
    """Folder of the scripts of the rules; without it they are not compared."""
    _times: dict[str, int | None] = field(default_factory=dict)
    _contents: dict[str, str | None] = field(default_factory=dict)
    _unwritten: set[str] = field(default_factory=set)
    """Manifests that do not say which script was run."""

    @cached_property
    def catalogue(self) -> Mapping[str, Artifact]:
        """All that is made of the cells, by manifest, each after what it is made from."""
        return {} if self.plan is None else everything(self.plan)

    @cached_property
    def differing(self) -> Mapping[str, Mapping[str, str]]:
        """Manifest -> in what its artifact differs from what the studies ask for, see `differences`."""
        found = {path: self.differences(item) for path, item in self.catalogue.items()}
        return {path: kinds for path, kinds in found.items() if kinds}

    @property
    def forced(self) -> set[str]:
        """Files that Snakemake must make again, although they are there."""
        return {
            self.catalogue[path].outputs[0]
            for path, kinds in self.differing.items()
            if "missing" not in kinds
        }

    def missing(self) -> list[str]:
        """Files of the studies that are not there, but for those that others of them will ask for."""
        files = {path: [*item.outputs, path] for path, item in self.catalogue.items()}
        for cell in self.plan.cells if self.plan else ():
            names = [f"{_CELLS}{cell}/{name}" for name in _CELL_FILES]
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
        """Let nothing that is current be older than the inputs, the script or the code of the job that makes it.

        File times of cells and data are left alone, and those of jobs that have something to make.
        """
        for items in jobs_of(self.catalogue.values()).values():
            if not self.differing.keys().isdisjoint(item.manifest for item in items):
                continue
            outputs = [name for item in items for name in (*item.outputs, item.manifest)]
            oldest = min(self._time(name) or 0 for name in outputs)
            script = self._script_time(items[0])
            if script >= oldest and not self._unwritten.isdisjoint(outputs):
                # Made by a version that did not write down its script: Snakemake decides by its time.
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
                # Results of somebody else that cannot be written: Snakemake says so when it tries.
                return
            self._times[name] = stamp

    def _lacking(self, item: Artifact) -> list[str]:
        return [name for name in (*item.outputs, item.manifest) if self._time(name) is None]

    def differences(self, item: Artifact) -> dict[str, str]:
        """In what an artifact differs from what is asked for: kind -> words.

        Kinds are `missing`, `damaged`, `rule`, `params`, `code`, `script` and `inputs`. What is made from
        something that differs need not differ itself.
        """
        if lacking := self._lacking(item):
            return {"missing": ", ".join(lacking)}
        # Once it is made again it has another content.
        self._contents.pop(item.manifest, None)
        try:
            manifest = _read(item.manifest)
            content = content_of(manifest)
            found = dict(self._compare(item, manifest))
        except _ODD as error:
            return {"damaged": f"its manifest cannot be used ({error})"}
        if not found:
            self._contents[item.manifest] = content
        return found

    def _compare(self, item: Artifact, manifest: Any) -> Iterator[tuple[str, str]]:
        folder = Path(item.manifest).parent
        sizes = {(folder / f["path"]).as_posix(): f["bytes"] for f in manifest["outputs"]}
        wrong = [path for path in item.outputs if sizes.get(path) != Path(path).stat().st_size]
        if wrong:
            yield "damaged", f"{', '.join(wrong)}: not of the size that the manifest says"
        if manifest["rule"] != item.rule:
            yield "rule", f"made by the rule {manifest['rule']}, now by {item.rule}"
        if changes := differences(manifest["record"]["params"], item.params):
            texts = {name: f"{name} {a} -> {b}" for name, (a, b) in changes.items()}
            shown = (name if len(text) > _MOST_WORDS else text for name, text in texts.items())
            yield "params", ", ".join(shown)
        code = manifest["code"]
        known = [code, *manifest["accepted"]]
        modules = other_code(code, manifest["accepted"], item.modules)
        if modules is not None:
            yield "code", ", ".join(modules)
        said = {entry["script"] for entry in known if "script" in entry}
        if not said:
            self._unwritten.add(item.manifest)
        elif (script := self.script_of(item)) is not None and script not in said:
            yield "script", item.script
        if words := self._changed_inputs(item, manifest["inputs"]):
            yield "inputs", words

    def script_of(self, item: Artifact) -> str | None:
        """Digest of what the script of an artifact says; None if it is not at hand."""
        path = None if self.scripts is None else self.scripts / item.script
        return meaning(path) if path is not None and path.is_file() else None

    def _script_time(self, item: Artifact) -> int:
        return 0 if self.scripts is None else self._time(f"{self.scripts}/{item.script}") or 0

    def _changed_inputs(self, item: Artifact, sources: Sequence[Mapping[str, Any]]) -> str:
        asked, had = set(item.sources), {source["path"] for source in sources}
        if item.entry.chooses:
            asked = {path for path in asked if path in had or not path.startswith(_CELLS)}
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
                return f"{path.removesuffix('.manifest.json')} has another content"
        return ""

    def _content(self, path: str) -> str | None:
        """Content of an artifact that is there; None for one that is not, or cannot be read."""
        if path not in self._contents:
            try:
                self._contents[path] = content_of(_read(path))
            except _ODD:
                self._contents[path] = None
        return self._contents[path]

    def _time(self, path: str) -> int | None:
        """When a file was last changed, in ns; None if it is not there."""
        if path not in self._times:
            try:
                self._times[path] = os.stat(path).st_mtime_ns  # noqa: PTH116
            except OSError:
                self._times[path] = None
        return self._times[path]


def _read(path: str) -> Any:
    # There are thousands of them, of thousands of lines; whether one is whole is a question of the audit.
    if not os.path.isfile(path):  # noqa: PTH113
        raise OSError(errno.EINVAL, "not a regular file")
    with open(path, "rb") as file:  # noqa: PTH123
        return json.loads(file.read())


def _is(path: Path, source: Mapping[str, Any]) -> bool:
    size = path.stat().st_size
    large = size > _HASHED_BYTES
    return size == source["bytes"] and (large or sha256_of(path) == source["sha256"])
