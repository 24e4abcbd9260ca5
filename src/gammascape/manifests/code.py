"""Code that made an artifact: commit, uncommitted changes, modules that ran, locked environment."""

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gammascape.layout import write_if_changed

PACKAGE = Path(__file__).parents[1]
CELL_MODULES = (
    "numerics.py",
    "rng.py",
    "usercode",
    "data",
    "models",
    "measure",
    "runs",
    "training",
)
"""Modules that decide the numbers of a cell, and how it is written."""
COMPOSING = (
    *("theory", "runs", "measure", "tables", "figures", "manifests/mark.py"),
    *("study/factors.py", "study/keys/axes.py", "study/keys/exact.py", "workflow/arguments.py"),
    *("durations.py", "rng.py"),
)
"""Modules that decide the content of a table, figure or page if its function imports them, see `closure`."""
DATA_MODULES = ("data/prepare", "data/prepared.py", "data/writer.py", "usercode/files.py")
MODULES: Mapping[str, tuple[str, ...]] = {
    "cell": CELL_MODULES,
    "data": DATA_MODULES,
    **dict.fromkeys(("table", "figure", "page"), COMPOSING),
}
"""Modules that may decide the content of an artifact, by kind."""
_DATA_MAKERS = {"data": ("data/prepare", "data/writer.py"), "usercode": ("usercode/files.py",)}
"""Package -> modules in it that make data and have no effect on cells."""
TEXTS = (".py", ".j2", ".js")
_DIGITS = 12
_FORMAT = 2
"""Version of the format of remembered digests."""
REMEMBERED = "GAMMASCAPE_MODULES"
"""Environment variable with the path of a file of syntax trees' digests, by the sha256 of their text.

Digesting a tree takes longer than making many a table. Snakemake sets the variable for itself and its jobs;
commands, above all an audit, read every module themselves.
"""


@cache
def modules_of(*parts: str) -> Mapping[str, str]:
    """Modules of the library and digests of their code's meaning, without comments, layout and file times.

    Args:
        parts: packages and modules, relative to the library.

    Returns:
        relative path of each module -> first digits of the sha256 of its syntax tree.
    """
    found: dict[str, str] = {}
    for part in parts:
        path = PACKAGE / part
        below = (file for file in path.rglob("*") if file.suffix in TEXTS)
        for file in sorted(below) if path.is_dir() else [path]:
            name = file.relative_to(PACKAGE).as_posix()
            if part not in _DATA_MAKERS or not name.startswith(_DATA_MAKERS[part]):
                found[name] = meaning(file)
    return found


def meaning(file: Path) -> str:
    """First digits of the sha256 of a Python file's syntax tree, or of another file's text."""
    if file.suffix == ".py":
        return _module(file, file.stat().st_mtime_ns)[0]
    return hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]


@cache
def closure(*names: str) -> tuple[str, ...]:
    """Modules, named as in an import, and all modules of COMPOSING that they import, relative to the library.

    Imports are read, not run. A package counts if something other than a module is imported from it, and with it
    the templates that these modules, or such templates, name.
    """
    found: set[str] = set()
    named: list[str] = []
    texts: dict[str, Path] = {}
    pending = [path for name in names if (path := _place(name))]
    while pending:
        path = pending.pop()
        if path not in found and path.startswith(COMPOSING):
            file = PACKAGE / path
            found.add(path)
            named += (uses := _module(file, file.stat().st_mtime_ns)[1])
            pending += [place for imported in uses if (place := _imported(imported))]
            if file.name == "__init__.py":
                texts |= {t.name: t for t in file.parent.iterdir() if t.suffix in TEXTS[1:]}
    while named:
        if (text := texts.pop(named.pop(), None)) is not None:
            found.add(text.relative_to(PACKAGE).as_posix())
            content = text.read_text(encoding="utf-8")
            named += [name for name in texts if f'"{name}"' in content]
    return tuple(sorted(found))


def _imported(text: str) -> str | None:
    """Module of an import, `package:name` or `package`; the defining one of a name that a package passes on."""
    package, _, name = text.partition(":")
    place = (_place(f"{package}.{name}") if name else None) or _place(package)
    if place and place.endswith("__init__.py") and not place.startswith(COMPOSING):
        file = PACKAGE / place
        uses = _module(file, file.stat().st_mtime_ns)[1]
        passed_on = next((use for use in uses if use.endswith(f":{name}")), None)
        return passed_on and _imported(passed_on)
    return place


@cache
def _place(name: str) -> str | None:
    """Path of a module of the library, relative to it; None for anything else."""
    first, *parts = name.split(".")
    if first != PACKAGE.name or not parts:
        return None
    path = PACKAGE.joinpath(*parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.relative_to(PACKAGE).as_posix() if file.is_file() else None


@cache
def _module(file: Path, changed: int) -> tuple[str, list[str]]:
    """Digest of the meaning of a Python file, and the library's modules and templates that it names."""
    content = file.read_bytes()
    # The same text gives another tree in another version of Python.
    key = hashlib.sha256(f"{_FORMAT} {sys.version}".encode() + content).hexdigest()
    if key not in _remembered():
        tree, names = ast.parse(content, str(file)), []
        texts: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names += [f"{node.module}:{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Constant) and str(node.value).endswith(TEXTS[1:]):
                texts.append(str(node.value))
        own = [name for name in names if name.startswith((f"{PACKAGE.name}.", f"{PACKAGE.name}:"))]
        digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:_DIGITS]
        _remembered()[key] = digest, own + texts
    digest, own = _remembered()[key]
    return digest, own


@cache
def _remembered() -> dict[str, tuple[str, list[str]]]:
    try:
        found: dict[str, tuple[str, list[str]]] = json.loads(
            Path(os.environ[REMEMBERED]).read_text()
        )
    except (KeyError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember() -> None:
    """Write the known digests of modules to the file REMEMBERED, for Snakemake's jobs and its next start."""
    write_if_changed(Path(os.environ[REMEMBERED]), json.dumps(_remembered()))


def fingerprint(*parts: str) -> str:
    """sha256 over `modules_of` these parts."""
    lines = "".join(f"{name} {digest}\n" for name, digest in modules_of(*parts).items())
    return hashlib.sha256(lines.encode()).hexdigest()


def other_code(
    code: Mapping[str, Any], accepted: Iterable[Mapping[str, Any]], parts: Iterable[str]
) -> list[str] | None:
    """Modules that are new, gone or changed since an artifact was made; None if its code is current or accepted.

    Args:
        code, accepted: entries of its manifest.
        parts: modules that decide its content.
    """
    if fingerprint(*parts) in {entry["source_sha256"] for entry in (code, *accepted)}:
        return None
    before, now = code["modules"], modules_of(*parts)
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def code_state(*parts: str) -> dict[str, Any]:
    """Describe the running code, with the modules in `parts` one by one.

    `commit` and `dirty` describe the git repository that contains the library, or else the folder where Snakemake
    runs; they are None outside a repository. `diff_sha256` is the hash of `git diff HEAD`, `lock_sha256` the hash
    of `requirements.lock`, None without that file.
    """
    return {
        **_repository(),
        "lock_sha256": _lock(),
        "source_sha256": fingerprint(*parts),
        "modules": dict(modules_of(*parts)),
    }


@cache
def _repository() -> Mapping[str, Any]:
    for folder in (PACKAGE, Path.cwd()):
        commit = _git(folder, "rev-parse", "HEAD")
        if commit is not None:
            # Untracked files may be results; the ones that matter are listed in `modules`.
            diff = _git(folder, "diff", "HEAD") or b""
            return {
                "commit": commit.decode().strip(),
                "dirty": bool(diff),
                "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
            }
    return {"commit": None, "dirty": None, "diff_sha256": None}


def forget_repository() -> None:
    """Look at the commit, uncommitted changes and the lock again; a process keeps them from the first look on."""
    _repository.cache_clear()
    _lock.cache_clear()


def _git(folder: Path, *words: str) -> bytes | None:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@cache
def _lock() -> str | None:
    for folder in (Path.cwd(), *PACKAGE.parents[1:2]):
        path = folder / "requirements.lock"
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
    return None
