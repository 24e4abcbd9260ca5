"""Try a user's own models and data once, before any cell: a mistake in them ends the run with one message."""

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from gammascape.command import USER_MISTAKE
from gammascape.layout import write_if_changed
from gammascape.manifests.code import fingerprint
from gammascape.study import Study, StudyError
from gammascape.study.keys.factories import Factory
from gammascape.workflow.plan import Plan

TRIED = Path(".snakemake/tried.json")
"""Digests of studies' own models and data that have passed."""
_MODULES = ("data/factory.py", "models", "usercode")
_MOST = 100


def try_own_code(plan: Plan) -> None:
    """Call `gammascape check-model` for each study with own models or data, unless these have passed before.

    Another process imports torch and the user's modules. If it ends otherwise than with a mistake, cells tell.

    Raises:
        StudyError: with all mistakes of a study in one message.
    """
    passed: list[str] = []
    with suppress(OSError, ValueError):
        passed = json.loads(TRIED.read_text())
    for study in plan.studies.values():
        key = _digest(study)
        if key is None or key in passed:
            continue
        # The package is imported from where it is here.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "gammascape", "check-model", str(study.path)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if done.returncode == USER_MISTAKE:
            raise StudyError(done.stderr.strip())
        if done.returncode == 0:
            passed.append(key)
            write_if_changed(TRIED, json.dumps(passed[-_MOST:]))


def _digest(study: Study) -> str | None:
    """Digest of a study's own models and data and of what tries them; None if all of their cells are there."""
    lines = set()
    for part in study.slices:
        if any(isinstance(spec, Factory) for spec in (part.model_spec, part.dataset_spec)) and any(
            not Path(f"results/cells/{cell.path}/summary.json").is_file() for cell in part.cells
        ):
            seeds = sorted({cell.data_seed for cell in part.cells})
            specs = part.model_spec.model_dump_json(), part.dataset_spec.model_dump_json()
            lines.add(f"{specs} {seeds}")
    if not lines:
        return None
    text = "\n".join((fingerprint(*_MODULES), sys.version, *sorted(lines)))
    return hashlib.sha256(text.encode()).hexdigest()
