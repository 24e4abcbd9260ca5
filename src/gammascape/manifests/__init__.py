"""Origin of an artifact: its manifest, the code that made it and the machine. Standard library only."""

from gammascape.manifests.code import code_state as code_state
from gammascape.manifests.code import fingerprint as fingerprint
from gammascape.manifests.code import modules_of as modules_of
from gammascape.manifests.machine import environment as environment
from gammascape.manifests.machine import utc_now as utc_now
from gammascape.manifests.manifest import File as File
from gammascape.manifests.manifest import Kind as Kind
from gammascape.manifests.manifest import Manifest as Manifest
from gammascape.manifests.manifest import ManifestError as ManifestError
from gammascape.manifests.manifest import Source as Source
from gammascape.manifests.manifest import file_of as file_of
from gammascape.manifests.manifest import manifest_path as manifest_path
from gammascape.manifests.manifest import read_manifest as read_manifest
from gammascape.manifests.manifest import sha256_of as sha256_of
from gammascape.manifests.manifest import source_of as source_of
from gammascape.manifests.manifest import write_manifest as write_manifest
