"""Have tables and an explorer of the finished cells made now and then, by one process beside the run."""

import json
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gammascape.command import child_environment

FOLDER = Path("results/so-far")
OFF = "GAMMASCAPE_SO_FAR_OFF"
"""Environment variable set for a Snakemake whose caller makes these tables itself."""
CONFIG: dict[str, Any] = {}
"""Configuration of the run of this process; empty if another process does this for it."""
_LOG = Path("results/logs/so-far.log")
_SHARE = 0.02
"""Largest share of the time that may be spent on these tables."""
_PAUSE = 60.0
"""Seconds before the first time and between two."""
_FIRST = 4.0
"""Processor seconds that the first time is expected to take."""
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
_ALONE |= {"CUDA_VISIBLE_DEVICES": ""}


class SoFar:
    """Background process that makes tables whenever their cost is a small share of the time elapsed.

    Nothing here raises an error, which would end the run.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        say: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        start: "Callable[[Mapping[str, Any]], subprocess.Popen[str]] | None" = None,
    ) -> None:
        """Prepare for the studies of a configuration; `say` prints where to look."""
        self._config, self._say, self._clock, self._starts = config, say, clock, start or _start
        self._begun = self._asked = clock()
        self._spent, self._expected = 0.0, _FIRST
        self._process: subprocess.Popen[str] | None = None
        self._working = False
        self._said: set[str] = set()
        self._ended = threading.Event()
        self._guard = threading.Lock()

    def watch(self) -> None:
        """Call `poll` every second, in a thread, until `stop` is called; not if `so_far` is off."""

        def work() -> None:
            while not self._ended.wait(1.0):
                self.poll()

        if self._config.get("so_far", True):
            threading.Thread(target=work, daemon=True).start()

    def poll(self) -> None:
        """Take an answer of the process, or ask it if that is paid for."""
        with self._guard:
            try:
                if self._working:
                    self._hear()
                elif not self._ended.is_set() and self._is_paid():
                    self._ask()
            except Exception as error:
                self._working = False
                _note(repr(error))
                if isinstance(error, OSError):
                    # Such as a broken pipe: the next one is a new process.
                    self._end()

    def stop(self, finished: bool) -> None:
        """End the process; remove what was made if the run has `finished`, and has made the whole of it."""
        self._ended.set()
        with self._guard, suppress(OSError):
            self._end()
            if finished:
                for study in self._config["study"]:
                    shutil.rmtree(FOLDER / Path(study).stem, ignore_errors=True)
                FOLDER.rmdir()

    def _is_paid(self) -> bool:
        now = self._clock()
        paid = _SHARE * (now - self._begun) >= self._spent + self._expected
        return paid and now - self._asked >= _PAUSE

    def _ask(self) -> None:
        self._asked = self._clock()
        self._process = self._process or self._starts(self._config)
        assert self._process.stdin is not None
        self._working = True
        print(file=self._process.stdin, flush=True)

    def _hear(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], 0)[0]:
            return
        self._working = False
        line = process.stdout.readline()
        if not line:
            self._end()
            # Time that it does not report counts as processor time.
            self._expected = self._clock() - self._asked
            self._spent += self._expected
            return
        said = json.loads(line)
        self._spent += said["seconds"]
        self._expected = said["again"]
        for study, (there, planned) in said["cells"].items():
            if study not in self._said:
                self._said.add(study)
                page = FOLDER / study / "explorer.html"
                self._say(f"{there:,} of {planned:,} cells of {study} so far: open {page}")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _start(config: Mapping[str, Any]) -> "subprocess.Popen[str]":
    nice = [found, "-n", "19"] if (found := shutil.which("nice")) else []
    words = [sys.executable, "-P", "-m", "gammascape.provenance.so_far", json.dumps(config)]
    with _log() as log:
        return subprocess.Popen(
            [*nice, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=child_environment(**_ALONE),
            # Ctrl-C is for the run, which ends this process.
            start_new_session=True,
        )


def _log() -> IO[str]:
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    return _LOG.open("a", encoding="utf-8")


def _note(text: str) -> None:
    with suppress(OSError), _log() as log:
        log.write(f"{text}\n")
