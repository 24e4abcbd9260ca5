"""Small projects on which the tests run Snakemake for real."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
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


def command(*options: str) -> list[str]:
    # Tests run side by side, and each worker takes seconds to import PyTorch.
    return [sys.executable, "-m", "snakemake", "--cores", "1", *options]


def snakemake(
    project: Path, *options: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return run(project, "snakemake", "--cores", "1", *options, env=env)


def run(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `python -m` does with these words in a folder, in a process that need not import as much."""
    process = preloaded()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as at:
        said = [Path(at, name) for name in ("output", "errors")]
        for path in said:
            path.touch()
        call = {
            "words": words,
            "folder": str(folder),
            "env": dict(env or os.environ),
            "said": [str(path) for path in said],
        }
        process.stdin.write(json.dumps(call) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess(words, status, *(path.read_text() for path in said))


@cache
def preloaded() -> subprocess.Popen[str]:
    """The process that forks for each call, and ends with this one."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("preloaded.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process
