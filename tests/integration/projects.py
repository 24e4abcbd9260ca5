"""Small projects on which the tests run Snakemake for real."""

import shutil
import subprocess
import sys
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
    return subprocess.run(
        command(*options),
        cwd=project,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=env,
    )
