"""Ask Snakemake which jobs it would run.

Snakemake decides by file times, checksums, its own records of code, parameters and inputs, and marks of incomplete
outputs. A second implementation here could disagree, so Snakemake is asked, and the manifests add what it cannot
know. Like any call of Snakemake, a dry run updates `results/.fingerprints`, which has no effect on the next run.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gammascape.command import child_environment
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
"""Snakemake's wording of its reasons."""


@dataclass(frozen=True)
class Job:
    """A job that would run, and why."""

    rule: str
    wildcards: dict[str, str]
    output: tuple[str, ...]
    reason: str
    """Reason in Snakemake's words."""
    input: tuple[str, ...] = ()

    @property
    def causes(self) -> dict[str, str]:
        """Kind of reason, a value of _REASONS -> files or words that Snakemake gives for it."""
        found = {}
        for part in self.reason.split("; "):
            for words, kind in _REASONS.items():
                if part.startswith(words.rstrip()):
                    found[kind] = part.removeprefix(words)
        return found


def study_options(studies: Sequence[str] | None) -> list[str]:
    """Options that tell Snakemake to use these studies."""
    return ["--config", f"study={json.dumps(list(studies))}"] if studies else []


_ELSEWHERE = (
    "\nIn a folder that snakemake --directory works in, write gammascape plan -- --snakefile PATH"
)


def dry_run(options: Sequence[str] = ()) -> list[Job]:
    """Jobs that `snakemake` would run with these options, without the target rule.

    Raises:
        StudyError: with Snakemake's message, if it cannot plan.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs"
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--logger", "gammascape"]
        command += ["--logger-gammascape-jobs", str(path), *options]
        environment = child_environment()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
            hint = _ELSEWHERE if "no snakefile found" in said.lower() else ""
            raise StudyError(f"snakemake cannot plan; it says:\n{said}{hint}")
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    jobs = [Job(**json.loads(line)) for line in lines]
    return [job for job in jobs if job.output]
