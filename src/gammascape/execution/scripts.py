"""Processes that run scripts of the workflow, one after another, so that each imports the library once.

`python -m gammascape.execution.scripts DESCRIPTOR PARENT` is such a process: it receives scripts from Snakemake,
answers how each ended, and ends with Snakemake's process.
"""

import gc
import os
import runpy
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gammascape.execution import how_ended
from gammascape.manifests.code import PACKAGE, TEXTS, forget_repository

SCRIPTS: set[Path] = set()
"""Folders of scripts that leave nothing behind in their process, as this workflow's."""
_THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")
_FOLDERS = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")
_WATCH = 0.5


class ScriptError(Exception):
    """Error raised when a script has failed; its message says why."""


class Scripts:
    """Processes that run scripts, as many as run at a time."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._idle: list[_Process] = []
        self._busy: list[_Process] = []
        self._stopped = False

    def run(self, script: Path, snakemake: Any) -> None:
        """Run a script with its object `snakemake` and wait for its end.

        Raises:
            ScriptError: if the script fails, or its process ends.
        """
        process = self._take(_environment(snakemake))
        error: str | None
        try:
            process.connection.send((script, snakemake))
            error = process.connection.recv()
        except (EOFError, OSError):
            error = f"the process of the script {how_ended(process.process.wait())}"
            with suppress(OSError):
                Path(snakemake.log[0]).write_text(f"{error}\n")
        with self._guard:
            self._busy.remove(process)
            if error is None and not self._stopped:
                self._idle.append(process)
                return
        process.end()
        if error is not None:
            raise ScriptError(error)

    def _take(self, environment: Mapping[str, str]) -> "_Process":
        """An idle process with the present environment and code, or a new one."""
        asked = environment, _code()
        with self._guard:
            if self._stopped:
                raise ScriptError("no script begins after the run was told to stop")
            while self._idle:
                process = self._idle.pop()
                if process.made_for == asked and process.process.poll() is None:
                    break
                process.end()
            else:
                process = _Process(*asked)
            self._busy.append(process)
        return process

    def stop(self) -> None:
        """End all processes at once; scripts that run fail."""
        with self._guard:
            self._stopped = True
            for process in self._busy:
                process.process.kill()
            for process in self._idle:
                process.end()
            self._idle = []


def _environment(snakemake: Any) -> dict[str, str]:
    """Environment variables of a script, as Snakemake sets them."""
    threads = dict.fromkeys((f"{name}_NUM_THREADS" for name in _THREADS), str(snakemake.threads))
    given = {**os.environ, **threads, "VECLIB_MAXIMUM_THREADS": str(snakemake.threads)}
    if folder := snakemake.resources.get("tmpdir"):
        given |= dict.fromkeys(_FOLDERS, str(folder))
    return given


def _code() -> list[tuple[str, int]]:
    """Files of the library with their times; a process that imported others is replaced."""
    files = (file for file in PACKAGE.rglob("*") if file.suffix in TEXTS)
    return sorted((str(file), file.stat().st_mtime_ns) for file in files)


class _Process:
    def __init__(self, environment: Mapping[str, str], code: list[tuple[str, int]]) -> None:
        self.made_for = environment, code
        self.connection, theirs = Pipe()
        words = ("-m", "gammascape.execution.scripts", str(theirs.fileno()), str(os.getpid()))
        with theirs:
            self.process = subprocess.Popen(
                # As with a script, -P: no module is looked for in the folder of the project.
                [sys.executable, "-P", *words],
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
                # Ctrl-C would reach all processes of a terminal, but only Snakemake may stop this one.
                start_new_session=True,
            )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


def _serve(descriptor: int, parent: int) -> None:
    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    connection = Connection(descriptor)
    with suppress(EOFError):
        while True:
            script, snakemake = connection.recv()
            connection.send(_run(script, snakemake))
            # Free the tables of this script before the next one.
            gc.collect()


def _run(script: Path, snakemake: Any) -> str | None:
    """Reason for which a script has failed, in words; None if it has not."""
    forget_repository()
    try:
        # A warning is shown once in each script.
        with warnings.catch_warnings():
            runpy.run_path(str(script), {"snakemake": snakemake}, "__main__")
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return f"the script {how_ended(end.code)}" if end.code else None
        return str(end.code)
    except BaseException as error:
        traceback.print_exc()
        return "".join(traceback.format_exception_only(error)).strip()
    return None


if __name__ == "__main__":
    _serve(*map(int, sys.argv[1:]))
