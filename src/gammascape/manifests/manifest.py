"""Manifest of an artifact: its parameters, inputs, code and machine, with hashes of all files.

A manifest is next to the files that it describes and is written after them. It has three digests:

seal     of everything except `accepted`; a later artifact records it for each artifact that it was made from
content  of kind, record and the hashes of the outputs; equal if a cell is trained again to the same bytes
claim    of all that is known before the outputs are written; a figure carries it in its files
"""

import errno
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from gammascape.command import UserError
from gammascape.layout import remembered, whole
from gammascape.manifests.paths import read_object, short
from gammascape.terminal import visible

SCHEMA = "gammascape-manifest-1"
Kind = Literal["cell", "data", "table", "figure", "page"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOLDERS: tuple[Kind, ...] = ("cell", "data")
"""Kinds of artifact that are folders, with their manifest inside."""

FILE_NAME = "manifest.json"
"""Manifest in the folder of a cell or of prepared data; other artifacts have one for each stem, with SUFFIX."""
SUFFIX = ".manifest.json"


class ManifestError(UserError):
    """A manifest is missing or damaged; the one-line message names it."""


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN = (str, int, bool, float, None)
_FILE = {"path": str, "bytes": int, "sha256": _SHA256}
_ARTIFACT = {"path": str, "seal": _SHA256, "content": _SHA256}
_SPEC = {"kind": str, ...: object}
_SHAPE: Mapping[Any, Any] = {
    "schema": str,
    "kind": str,
    "name": str,
    "rule": str,
    "record": {...: object},
    "inputs": [(_ARTIFACT, _FILE)],
    "code": {
        "commit": (re.compile(r"[0-9a-f]{40,64}"), None),
        "dirty": (bool, None),
        "diff_sha256": (_SHA256, None),
        "lock_sha256": (_SHA256, None),
        "source_sha256": _SHA256,
        "modules": {...: re.compile(r"[0-9a-f]{12}")},
        ...: re.compile(r"[0-9a-f]{12}"),
    },
    "environment": {
        "host": (str, None),
        "system": str,
        "python": str,
        "driver": (str, None),
        "packages": {...: (str, None)},
    },
    "started": _TIME,
    "outputs": [_FILE],
    "finished": _TIME,
    "device": ({"device": str, "device_model": str, ...: _PLAIN}, None),
    "executor": (str, None),
    "attempts": [{"started": _TIME, "from_step": int, "reason": str}],
    "cost": (
        {"seconds": (float, int), "lanes": int},
        {"seconds": (float, int), "lanes": int, "captures": int},
        {},
    ),
    "accepted": [{"at": str, "reason": str, "source_sha256": _SHA256, ...: object}],
}
"""Form of a manifest, the same as in docs/manifest.schema.json.

A form is a type, a text pattern, a list of a form, an object by keys (`...` for all others), or alternatives."""
_COMPOSED = {"record": {"wildcards": {...: str}, "params": {...: object}}, ...: object}
_SHAPES: Mapping[Kind, Mapping[Any, Any]] = {
    "cell": {
        "record": {
            **{"model": _SPEC, "dataset": _SPEC, "loss": str, "gamma": str, "eta": str},
            **{"batch_size": int, "steps": int, "seed": int, "data_seed": int},
            **{"dtype": str, "numerics": int, ...: object},
        },
        "device": _SHAPE["device"][0],
        "cost": _SHAPE["cost"][:2],
        "executor": str,
        ...: object,
    },
    "data": {
        "record": {
            **{"format": int, "dataset": str, "image_shape": [int], "classes": int, "digest": str},
            **{"train": [object], "test": [object], ...: object},
        },
        ...: object,
    },
    **dict.fromkeys(("table", "figure", "page"), _COMPOSED),
}
"""Further constraints by kind."""


@dataclass(frozen=True)
class File:
    """A file by its content; `path` is relative to the manifest's folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Input of an artifact, `path` relative to the folder where Snakemake runs.

    A file that no rule makes has `bytes` and `sha256`. An artifact is identified by its manifest: then `path`
    points to the manifest, and `seal` and `content` are its digests.
    """

    path: str
    bytes: int | None = None
    sha256: str | None = None
    seal: str | None = None
    content: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Description of one artifact and its origin; times are UTC in ISO 8601."""

    kind: Kind
    name: str
    """Folder or stem of the artifact, relative to the folder where Snakemake runs."""
    rule: str
    record: Mapping[str, Any]
    """Requested parameters; for a cell, every effective one."""
    inputs: tuple[Source, ...]
    code: Mapping[str, Any]
    """Code that made it, see `manifests.code.code_state`."""
    environment: Mapping[str, Any]
    """Machine and packages, see `manifests.machine.environment`."""
    started: str
    outputs: tuple[File, ...] = ()
    finished: str = ""
    device: Mapping[str, Any] | None = None
    """Device, its model and settings of precision, if torch was used."""
    executor: str | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    """Start of each attempt and its reason: `fresh`, `resumed from step n`, `retried after ...`."""
    cost: Mapping[str, Any] = field(default_factory=dict)
    """Seconds on the device, and lanes of the pack."""
    accepted: tuple[Mapping[str, Any], ...] = ()
    """Declarations that the artifact is still valid after a change of the code, each with its reason."""

    @property
    def wildcards(self) -> Mapping[str, str]:
        """Wildcards of the rule that made a table, figure or page; empty for others."""
        return {} if self.kind in FOLDERS else self.record["wildcards"]

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the rule that made a table, figure or page; empty for others."""
        return {} if self.kind in FOLDERS else self.record["params"]

    @property
    def seal(self) -> str:
        """sha256 of the manifest without `accepted`."""
        return digest(self._without("accepted"))

    @property
    def content(self) -> str:
        """sha256 of kind, record and outputs."""
        outputs = [asdict(file) for file in self.outputs]
        return content_of({"kind": self.kind, "record": self.record, "outputs": outputs})

    @property
    def identity(self) -> list[Any]:
        """Identity of the artifact, whatever its content."""
        return [self.kind, self.name, self.rule, dict(self.record)]

    @property
    def claim(self) -> str:
        """sha256 of all entries that are known before the outputs are written."""
        return digest(self._without("accepted", "outputs", "finished", "cost"))

    def as_json(self) -> dict[str, Any]:
        """Plain builtins, with the name of the schema."""
        # `asdict` would copy everything nested, which took most of the time of an audit.
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        content: dict[str, Any] = {"schema": SCHEMA, **values}
        content["outputs"] = [asdict(file) for file in self.outputs]
        content |= {name: list(values[name]) for name in ("attempts", "accepted")}
        content["inputs"] = [
            {key: value for key, value in asdict(source).items() if value is not None}
            for source in self.inputs
        ]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Manifest from the output of `as_json`.

        Raises:
            ValueError: if it does not have this schema; the message names the key.
        """
        if content.get("schema") != SCHEMA:
            raise ValueError(f"schema {short(content.get('schema'))!r}, expected {SCHEMA!r}")
        if (kind := content.get("kind")) not in KINDS:
            raise ValueError(f"kind {short(kind)!r}, expected one of {', '.join(KINDS)}")
        if problem := _misfit(content, _SHAPE) or _misfit(content, _SHAPES[kind]):
            raise ValueError(problem.removeprefix("."))
        for name in ("outputs", *(["attempts"] if kind == "cell" else [])):
            if not content[name]:
                raise ValueError(f"{name} is empty")
        values = {name: value for name, value in content.items() if name != "schema"}
        values["inputs"] = tuple(Source(**item) for item in values["inputs"])
        values["outputs"] = tuple(File(**item) for item in values["outputs"])
        for name in ("attempts", "accepted"):
            values[name] = tuple(values[name])
        return cls(**values)

    def _without(self, *names: str) -> dict[str, Any]:
        return {name: value for name, value in self.as_json().items() if name not in names}


def content_of(manifest: Mapping[str, Any]) -> str:
    """`Manifest.content` of a manifest in its JSON form."""
    outputs = [(file["path"], file["sha256"]) for file in manifest["outputs"]]
    return digest({"kind": manifest["kind"], "record": manifest["record"], "outputs": outputs})


def manifest_path(output: Path) -> Path:
    """Path of the manifest of an output: one for the folder of a cell or of data, otherwise one for its stem."""
    shared = output.with_name(FILE_NAME)
    return shared if shared.is_file() else output.with_suffix(SUFFIX)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, which appears when it is complete."""
    text = json.dumps(manifest.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    with whole(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: if it is missing, damaged, or of another schema.
    """
    try:
        return Manifest.from_json(read_object(path))
    except FileNotFoundError:
        raise ManifestError(visible(f"{path}: no manifest")) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ManifestError(visible(f"{path}: not a manifest ({why})")) from None


def file_of(path: Path, folder: Path) -> File:
    """Size and hash of an output with its manifest in `folder`."""
    return File(path.relative_to(folder).as_posix(), path.stat().st_size, sha256_of(path))


def source_of(path: Path) -> Source:
    """Describe an input: by the digests of its manifest if it has one, otherwise by size and hash.

    Raises:
        ManifestError: if its manifest is damaged.
        OSError: if the input cannot be read.
    """
    manifest = path if path.name == FILE_NAME else manifest_path(path)
    if not manifest.is_file():
        return Source(path.as_posix(), path.stat().st_size, sha256_of(path))
    return _source_with(manifest)


def _source_with(manifest: Path) -> Source:
    found = digests_of(manifest)
    return Source(manifest.as_posix(), seal=found.seal, content=found.content)


@dataclass(frozen=True, slots=True)
class Digests:
    """Parts of a cell's manifest that are read again and again."""

    kind: str
    seal: str
    content: str
    identified: str
    """sha256 of what the artifact is and of `content`."""


@remembered
def digests_of(path: Path) -> Digests:
    """Digests of a manifest, which is read again only after it has changed. Raises as `read_manifest`."""
    found = read_manifest(path)
    content = found.content
    return Digests(found.kind, found.seal, content, digest([*found.identity, content]))


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: if it cannot be read, or is not a regular file: a FIFO or a device may never end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: Any) -> str:
    """sha256, in hexadecimal, of a value's canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _misfit(value: Any, shape: Any) -> str | None:
    """First value that does not have its form, by key: `.cost.lanes is null`; None if all fit."""
    if isinstance(shape, re.Pattern):
        fits = isinstance(value, str) and shape.fullmatch(value) is not None
    elif isinstance(shape, tuple):
        problem = _misfit(value, shape[0])
        for option in shape[1:] if problem else ():
            if _misfit(value, option) is None:
                return None
        return problem
    elif isinstance(shape, dict) and isinstance(value, dict):
        for key in shape:
            if key is not ... and key not in value:
                return f".{key} is missing"
        others = shape.get(...)
        for key, item in value.items():
            form = shape.get(key, others)
            if form is None and key not in shape and ... not in shape:
                return f".{short(key)} is an unknown key"
            # Most values are digests of modules: their patterns are checked here, without a call for each.
            if form is object or (
                type(form) is re.Pattern and type(item) is str and form.fullmatch(item)
            ):
                continue
            if problem := _misfit(item, form):
                return f".{short(key)}{problem}"
        return None
    elif isinstance(shape, list) and isinstance(value, list):
        for number, item in enumerate(value):
            if problem := _misfit(item, shape[0]):
                return f"[{number}]{problem}"
        return None
    elif shape in (int, float):
        # A boolean is an integer too; no count or measurement here is negative.
        fits = type(value) is shape and value >= 0
    else:
        fits = shape is object or (value is None if shape is None else type(value) is shape)
    return None if fits else f" is {short(json.dumps(value))}"
