"""Finished cells: every file matches the manifest, and the record is the wanted one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gammascape.manifests.manifest import FILE_NAME, ManifestError, file_of, read_manifest

ARRAYS, SUMMARY = "arrays.npz", "summary.json"
FILES = (ARRAYS, SUMMARY, FILE_NAME)
"""Files of a cell's artifact, manifest last."""


def status_of_whole(folder: Path, record: Mapping[str, Any]) -> str | None:
    """Status of a cell with a complete artifact and this record; None otherwise."""
    try:
        manifest = read_manifest(folder / FILE_NAME)
        if manifest.record != record or [file.path for file in manifest.outputs] != [*FILES[:-1]]:
            return None
        if any(file_of(folder / file.path, folder) != file for file in manifest.outputs):
            return None
        return str(json.loads((folder / SUMMARY).read_bytes())["status"])
    except (ManifestError, OSError, ValueError, KeyError, TypeError):
        return None
