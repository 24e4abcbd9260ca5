"""Hashes of files, which can be stored for the next audit."""

import json
from contextlib import suppress
from pathlib import Path

from gammascape.layout import whole
from gammascape.manifests import sha256_of
from gammascape.manifests.paths import read_object

_FILE = "results/.audit/hashes.json"


class Hashes:
    """sha256 of files; with `trust_mtime`, files of unchanged size and time are not hashed again."""

    def __init__(self, root: Path, *, trust_mtime: bool = False) -> None:
        self._path = root / _FILE
        self.trusting = trust_mtime
        self._records: dict[str, tuple[int, int, str]] = {}
        if trust_mtime:
            # A list that cannot be read is made anew.
            with suppress(OSError, ValueError, TypeError):
                content = read_object(self._path)
                self._records = {
                    name: (int(a), int(b), str(c)) for name, (a, b, c) in content.items()
                }

    def sha256(self, path: Path) -> str:
        """sha256 of a file.

        Raises:
            OSError: if it cannot be read.
        """
        if not self.trusting:
            return sha256_of(path)
        stat, name = path.stat(), str(path.resolve())
        size, time, digest = self._records.get(name, (-1, -1, ""))
        if (size, time) != (stat.st_size, stat.st_mtime_ns):
            digest = sha256_of(path)
            self._records[name] = (stat.st_size, stat.st_mtime_ns, digest)
        return digest

    def keep(self) -> None:
        """Write the list of hashes for the next audit that trusts file times."""
        if self.trusting:
            with whole(self._path) as partial:
                partial.write_text(json.dumps(self._records))
