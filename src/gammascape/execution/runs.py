"""Signs of live Snakemake processes: in a folder where one works, and in folders of packs on other machines."""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

_OWNER = "owner"
_WORKING = Path(".snakemake/gammascape-working")


def show_working() -> None:
    """Hold a lock in the working folder until this process ends, with others that do."""
    with suppress(OSError):
        _WORKING.parent.mkdir(exist_ok=True)
        fcntl.flock(os.open(_WORKING, os.O_RDWR | os.O_CREAT, 0o666), fcntl.LOCK_SH)


def is_working() -> bool:
    """Return whether a process that called `show_working` here is alive, on a file system with locks."""
    with suppress(FileNotFoundError), _WORKING.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class RunFolder:
    """Folder of this process; a lock on a file in it shows that the process is alive."""

    def __init__(self, base: Path, name: str) -> None:
        """Make the folder.

        Raises:
            OSError: if it cannot be made.
        """
        self.path = base / name
        self.path.mkdir(parents=True)
        self._owner = os.open(self.path / _OWNER, os.O_RDWR | os.O_CREAT, 0o666)
        # On a file system without locks, no process will mistake the folder for an abandoned one.
        with suppress(OSError):
            fcntl.lockf(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def abandoned(self) -> list[Path]:
        """Sibling folders whose processes have ended without removing them."""
        others = self.path.parent.glob(f"*/{_OWNER}")
        return [path.parent for path in others if path.parent != self.path and _is_free(path)]

    def remove(self) -> None:
        """Remove the folder and its contents."""
        shutil.rmtree(self.path, ignore_errors=True)


def _is_free(path: Path) -> bool:
    with suppress(OSError), path.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
