"""What Snakemake would run, asked of Snakemake itself.

Snakemake decides by file times, checksums, its own records of code, parameters and inputs, and markers of what was
left half-made. To decide it again here would be a second implementation that can disagree; so Snakemake is asked,
and what it cannot know is added from the manifests. Like any call of Snakemake, a dry run brings
`results/.fingerprints` up to date, which changes nothing about what the next one does.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gammascape.study import StudyError

_REASONS = {
    "Missing output files: ": "missing",
    "Forced execution": "forced",
    "Updated input files: ": "updated",
    "Input files updated by another job: ": "follows",
    "Set of input files has changed": "inputs",
    "Code has changed": "script",
    "Params have changed": "params",
}
"""How Snakemake words its reasons."""


@dataclass(frozen=True)
class Job:
    """A job that would run, and why."""

    rule: str
    wildcards: dict[str, str]
    output: tuple[str, ...]
    reason: str
    """As Snakemake words it."""
    input: tuple[str, ...] = ()

    @property
    def causes(self) -> dict[str, str]:
        """Kinds of reason, the values of _REASONS, and the files or words that Snakemake gives for each."""
        found = {}
        for part in self.reason.split("; "):
            for words, kind in _REASONS.items():
                if part.startswith(words.rstrip()):
                    found[kind] = part.removeprefix(words)
        return found


def study_options(studies: Sequence[str] | None) -> list[str]:
    """Options of Snakemake for these studies."""
    return ["--config", f"study={json.dumps(list(studies))}"] if studies else []


def dry_run(options: Sequence[str] = ()) -> list[Job]:
    """The jobs that `snakemake` with these options would run, without the target rule.

    Raises:
        StudyError: with what Snakemake says, if it cannot plan.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs"
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--logger", "gammascape"]
        command += ["--logger-gammascape-jobs", str(path), *options]
        # Where the package is imported from, Snakemake finds it and its plugins too.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
            raise StudyError(f"snakemake cannot plan; it says:\n{said}")
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    jobs = [Job(**json.loads(line)) for line in lines]
    return [job for job in jobs if job.output]
