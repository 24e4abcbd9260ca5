"""The seal of a study: one short digest over its cells, tables and figures, the same wherever they are computed.

A tree of hashes: a figure stands on its tables, these on others and on cells. Times, machines, commits, and the
cost of cells do not count, nor does the order of files. Pages are not covered: they show the seal.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gammascape.manifests import Manifest, ManifestError, Source, read_manifest, sha256_of
from gammascape.manifests.manifest import FILE_NAME, FOLDERS, SUFFIX, digest, digests_of
from gammascape.manifests.mark import sha256_without_mark
from gammascape.manifests.paths import RESULTS, inside, inside_project
from gammascape.tables.cells import MEASURED, TableError, read_table

PAGE = "provenance"
"""Page of a study that sums it up."""
_LENGTH, _GROUP = 24, 6


@dataclass
class SealTree:
    """Digests of artifacts below one folder, each computed once."""

    root: Path = Path()
    """The folder where Snakemake runs."""
    checked: bool = False
    """Hash the files of cells too, instead of believing their manifests."""
    nodes: dict[str, str] = field(default_factory=dict)
    """Digests by the paths of manifests and files."""

    def seal_of(self, inputs: Iterable[Source]) -> str:
        """The seal over some artifacts and all below them.

        Raises:
            ManifestError: if a manifest is missing or damaged, or a file is not the one that it names.
            TableError: if a table is damaged.
            OSError: if a file cannot be read.
        """
        try:
            whole = digest(sorted({self._node(source) for source in inputs}))
        except RecursionError:
            raise ManifestError("manifests name each other as what they are made from") from None
        text = base64.b32encode(bytes.fromhex(whole)).decode().lower()
        return "-".join(text[k : k + _GROUP] for k in range(0, _LENGTH, _GROUP))

    def of_study(self, study: str) -> str:
        """The seal of a study: over all that its page of provenance sums up. Raises as `seal_of`."""
        return self.seal_of(read_manifest(self.root / page_of(study)).inputs)

    def seal_or_empty(self, study: str) -> str:
        """The seal of a study; empty if something that it was made from is missing or damaged."""
        try:
            return self.of_study(study)
        except (ManifestError, TableError, OSError):
            return ""

    def _node(self, source: Source) -> str:
        if source.path not in self.nodes:
            if source.seal is None:
                node = digest([source.path, source.sha256])
            else:
                node = self._of_path(inside_project(self.root, source.path))
            self.nodes[source.path] = node
        return self.nodes[source.path]

    def _of_path(self, path: Path) -> str:
        if path.name == FILE_NAME and not self.checked:
            known = digests_of(path)
            if known.kind in FOLDERS:
                return known.identified
        return self._of_artifact(read_manifest(path), path.parent)

    def _of_artifact(self, manifest: Manifest, folder: Path) -> str:
        identity = manifest.identity
        if manifest.kind in FOLDERS:
            if self.checked:
                _check(manifest, folder)
            return digest([*identity, manifest.content])
        of = _of_table if manifest.kind == "table" else sha256_without_mark
        files = [(file.path, of(inside(folder, file.path))) for file in manifest.outputs]
        return digest([*identity, files, sorted(map(self._node, manifest.inputs))])


def page_of(study: str) -> Path:
    """Path of the manifest of the page that sums up a study."""
    return RESULTS / study / f"{PAGE}{SUFFIX}"


def same_seal(first: str, second: str) -> bool:
    """Return whether two seals are the same, however they were typed."""
    plain = [seal.replace("-", "").strip().lower() for seal in (first, second)]
    return plain[0] == plain[1]


def _check(manifest: Manifest, folder: Path) -> None:
    for file in manifest.outputs:
        path = inside(folder, file.path)
        if sha256_of(path) != file.sha256:
            raise ManifestError(f"{path}: not the file that its manifest names")


def _of_table(path: Path) -> str:
    frame = read_table(path)
    columns = [name for name in frame.columns if name not in MEASURED]
    return digest([[name, str(frame[name].dtype), frame[name].to_list()] for name in columns])
