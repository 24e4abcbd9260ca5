"""Studies to be timed: a copy of the workflow in a folder of its own, run as a user would run it."""

import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make_project(folder: Path, study: str, tree: Path = ROOT) -> Path:
    """A copy of the workflow of a checkout with one study."""
    for name in ("workflow", "profiles"):
        shutil.copytree(tree / name, folder / name)
    shutil.copy2(tree / "Snakefile", folder / "Snakefile")
    (folder / "config/studies").mkdir(parents=True)
    (folder / "config/config.yaml").write_text("study: config/studies/bench.yaml\n")
    (folder / "config/studies/bench.yaml").write_text(study)
    return folder


def snakemake(project: Path, *options: str) -> float:
    """Run Snakemake; returns its wall time in seconds."""
    return run(project, "snakemake", *options)


def run(project: Path, module: str, *options: str) -> float:
    """Run a module of Python in a project; returns its wall time in seconds.

    Raises:
        SystemExit: with the end of its output, if it fails.
    """
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return seconds


def machine() -> str:
    """What the numbers hold for, in one line."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "snakemake"))
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {packages}, {datetime.now(UTC):%Y-%m-%d}"
    )
