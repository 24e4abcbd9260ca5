"""Small projects on which the tests run Snakemake for real."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[2]
LONGEST = 900
"""Seconds that a call may take; the process that forks ends it earlier."""
STUDY = """\
datasets:
  digits: {{kind: digits}}
models:
  small: {{kind: mlp, depth: 2, width: 16}}
observables: [sharpness, kernel_alignment]
grids:
  - model: small
    dataset: digits
    loss: mse
    gamma: {{log10: {gammas}}}
    eta: {{log10: {etas}}}
    batch_size: 16
    steps: 30
"""


def copy_tree(source: Path, target: Path) -> None:
    # Snakemake compares file times, so copies keep them.
    shutil.copytree(source, target, copy_function=shutil.copy2, dirs_exist_ok=True)


def empty_project(folder: Path, study: str) -> Path:
    """A copy of the workflow with one study, config/studies/tiny.yaml."""
    for name in ("workflow", "profiles"):
        copy_tree(ROOT / name, folder / name)
    shutil.copy2(ROOT / "Snakefile", folder / "Snakefile")
    (folder / "config/studies").mkdir(parents=True)
    (folder / "config/config.yaml").write_text("study: config/studies/tiny.yaml\n")
    (folder / "config/studies/tiny.yaml").write_text(study)
    return folder


def snakemake(
    project: Path, *options: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return run(project, "snakemake", "--cores", "1", *options, env=env)


def run(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `python -m` does with these words in a folder, in a process that need not import as much."""
    with tempfile.TemporaryDirectory() as at:
        said = [Path(at, name) for name in ("output", "errors")]
        status = Started(folder, *words, env=env, said=said).wait(LONGEST)
        return subprocess.CompletedProcess(words, status, *(path.read_text() for path in said))


class Started:
    """A process begun as by `run`, in a group of its own."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        env: Mapping[str, str] | None = None,
        said: Sequence[Path] = (Path(os.devnull),) * 2,
    ) -> None:
        for path in said:
            path.touch()
        files = [str(path) for path in said]
        call = {"words": words, "folder": str(folder), "env": dict(env or os.environ)}
        self.pid: int = ask({**call, "said": files})
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = ask(self.pid)
        return self._status

    def wait(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End all processes of its group."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)


def ask(request: object) -> Any:
    """The answer of the process that forks."""
    process = preloaded()
    process.write(json.dumps(request) + "\n")
    process.flush()
    return json.loads(process.readline())


@cache
def preloaded() -> TextIO:
    """A connection to the process that forks for each call, begun by the first who asks in a run of the tests."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    place = Path(tempfile.gettempdir(), f"gammascape-{run}")
    client = socket.socket(socket.AF_UNIX)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        try:
            client.connect(str(place))
        except (FileNotFoundError, ConnectionRefusedError):
            place.unlink(missing_ok=True)
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("preloaded.py")), str(place)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                # As Snakemake asks of what it starts.
                env={**os.environ, "PYTHONHASHSEED": "0"},
                # It outlives the one who began it.
                start_new_session=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            _BEGUN.append(process)
            client.connect(str(place))
    return client.makefile("rw")


_BEGUN: list[subprocess.Popen[bytes]] = []
