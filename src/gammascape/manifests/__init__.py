"""Origin of an artifact: its manifest, the code that made it and the machine. Standard library only."""

from gammascape.manifests.code import code_state, fingerprint, modules_of
from gammascape.manifests.machine import environment, utc_now
from gammascape.manifests.manifest import (
    File,
    Kind,
    Manifest,
    ManifestError,
    Source,
    file_of,
    manifest_path,
    read_manifest,
    sha256_of,
    source_of,
    write_manifest,
)

__all__ = [
    "File",
    "Kind",
    "Manifest",
    "ManifestError",
    "Source",
    "code_state",
    "environment",
    "file_of",
    "fingerprint",
    "manifest_path",
    "modules_of",
    "read_manifest",
    "sha256_of",
    "source_of",
    "utc_now",
    "write_manifest",
]
