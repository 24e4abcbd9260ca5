"""From what a person types to an artifact: a path of a file, a stem or folder, the name or hash of a cell."""

import re
from pathlib import Path

from gammascape.origin.manifest import FILE_NAME
from gammascape.provenance.project import CELLS, RESULTS
from gammascape.study import StudyError

_HASH = re.compile(r"[0-9a-f]{6,12}")


def find_manifest(text: str) -> Path:
    """The manifest of the artifact that `text` names, relative to the current folder.

    Raises:
        StudyError: if there is none, or more than one.
    """
    named = text.rstrip("/")
    # Such a name has no stem: `.`, `..` or nothing.
    found = sorted({p for p in _candidates(named) if p.is_file()}) if Path(named).stem else []
    if len(found) > 1:
        names = ", ".join(path.parent.name for path in found)
        raise StudyError(f"{text}: several cells have this name: {names}")
    if not found:
        raise StudyError(
            f"{text}: no artifact with a manifest; name a file or folder below {RESULTS}, or a cell by "
            "its path or hash"
        )
    return found[0]


def _candidates(text: str) -> list[Path]:
    path = Path(text)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    named = [path] if path.name.endswith("manifest.json") else []
    folders = [path / FILE_NAME, path.with_name(FILE_NAME), CELLS / path / FILE_NAME]
    stems = [path.with_name(f"{path.name}.manifest.json"), path.with_suffix(".manifest.json")]
    hashes = list(CELLS.glob(f"*/*-{text}*/{FILE_NAME}")) if _HASH.fullmatch(text) else []
    return [*named, *folders, *stems, *hashes]
