"""Run every small study of config/studies on real data, as `make nightly` does.

    python tests/nightly.py [STUDY ...]

GAMMASCAPE_DATA names the folder with `mnist` and `cifar10`; without it data/ is used, and what is not there is
fetched. A study that has a reference (docs/reference) is compared with it. A study that fails or leaves its
reference does not stop the others; the exit status is 1 if one did.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gammascape.commands.reference import check_study, studies_with_reference

ROOT = Path(__file__).parents[1]
Run = Callable[[Sequence[str]], int]
Compare = Callable[[str], Sequence[str]]


def small_studies() -> list[str]:
    """The studies that end within minutes, as paths below the root."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("config/studies/*-small.yaml"))


def data_config(folder: str | None) -> str:
    """The value of Snakemake's configuration `data`."""
    place = folder or "data"
    download = "true" if folder is None else "false"
    return f"{{mnist: {place}/mnist, cifar10: {place}/cifar10, download: {download}}}"


def differences(study: str) -> list[str]:
    """What differs between the results of a study and its reference; nothing where it has none."""
    return check_study(study) if study in studies_with_reference() else []


def run_all(
    chosen: Sequence[str], data: str, run: Run, compare: Compare = differences
) -> list[str]:
    """Run Snakemake on each study, whatever became of those before; returns those that failed."""
    failed = []
    for number, study in enumerate(chosen, start=1):
        print(f"nightly: {number} of {len(chosen)}, {study}", flush=True)
        begun = time.monotonic()
        status = run(["--config", f"study={study}", f"data={data}"])
        words = "done" if status == 0 else f"failed with exit status {status}"
        print(f"nightly: {study} {words} after {time.monotonic() - begun:.0f} s", flush=True)
        said = [] if status else compare(Path(study).stem)
        for line in said:
            print(f"nightly: {study} leaves its reference: {line}", flush=True)
        if status != 0 or said:
            failed.append(study)
    print(f"nightly: {len(chosen) - len(failed)} of {len(chosen)} studies done", flush=True)
    for study in failed:
        print(f"nightly: failed: {study}", flush=True)
    return failed


def snakemake(options: Sequence[str]) -> int:
    """Exit status of one call in the root of the repository."""
    command = [sys.executable, "-m", "snakemake", *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    os.chdir(ROOT)
    chosen = sys.argv[1:] or small_studies()
    sys.exit(bool(run_all(chosen, data_config(os.environ.get("GAMMASCAPE_DATA")), snakemake)))
