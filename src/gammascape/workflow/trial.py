"""Try each study's models and data once before training: a mistake ends the run with one message."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gammascape.command import USER_MISTAKE, child_environment
from gammascape.layout import write_if_changed
from gammascape.manifests.code import fingerprint
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.paths import CELLS
from gammascape.manifests.whole import SUMMARY
from gammascape.study import Slice, Study, StudyError
from gammascape.study.keys.config import CONFIG_FILE
from gammascape.study.keys.factories import Factory
from gammascape.workflow.plan import Plan

TRIED = Path(".snakemake/tried.json")
"""Digests of studies' own models and data that have passed, with sentences about the data."""
_MODULES = ("data/factory.py", "models", "usercode")
_MOST = 100


def check_inputs(plan: Plan) -> list[str]:
    """Look for files that must not be fetched, and try the own models and data of each study with `check-model`.

    Another process imports torch and the user's modules, unless these have passed before. Failures
    other than a mistake are left to the cells to report.

    Returns:
        sentences about the own data of functions.

    Raises:
        StudyError: naming all missing files, or all mistakes of a study.
    """
    if lacking := list(_lacking(plan)):
        raise StudyError("\n".join(lacking))
    passed: dict[str, list[str]] = {}
    with suppress(OSError, ValueError):
        passed = dict(json.loads(TRIED.read_text()))
    about: list[str] = []
    for study in plan.studies.values():
        key = _digest(study)
        if key is None:
            continue
        if key in passed:
            about += passed[key]
            continue
        command = [sys.executable, "-m", "gammascape", "check-model", str(study.path)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=child_environment(),
        )
        if done.returncode == USER_MISTAKE:
            raise StudyError(done.stderr.strip())
        if done.returncode == 0:
            passed[key] = [line for line in done.stdout.splitlines() if line.startswith("data ")]
            write_if_changed(TRIED, json.dumps(dict([*passed.items()][-_MOST:])))
            about += passed[key]
    return about


def _lacking(plan: Plan) -> Iterator[str]:
    """Sentences about folders that lack published files, if the configuration says not to fetch any."""
    if plan.config.data.download:
        return
    # The images for testing on MNIST-1M are MNIST's.
    parts = [part for study in plan.studies.values() for part in study.slices if _is_due(part)]
    kinds = {part.dataset_spec.kind.replace("mnist1m", "mnist"): None for part in parts}
    for kind in kinds:
        folder = plan.config.data.source(kind)
        if folder is None or Path(f"results/data/{kind}/{FILE_NAME}").is_file():
            continue
        from gammascape.data.prepare.download import DOWNLOADS, missing
        from gammascape.data.prepare.sources import occupant_of

        names = [file.name for file in missing(Path(folder), DOWNLOADS.get(kind, ()))]
        odd = {name: occupant_of(Path(folder, name)) for name in names}
        if names:
            shown = ", ".join(f"{name} (is {what})" if what else name for name, what in odd.items())
            them = "them" if names[1:] else "it"
            yield f"{CONFIG_FILE}: data: {folder} lacks {shown}: put {them} there, or write download: true"


def _is_due(part: Slice) -> bool:
    """Return whether cells of a slice are still to be trained."""
    return not part.is_toy and any(
        not Path(CELLS, cell.path, SUMMARY).is_file() for cell in part.cells
    )


def _digest(study: Study) -> str | None:
    """Digest of a study's own models and data and of what tries them; None if all of their cells are finished."""
    lines = set()
    for part in study.slices:
        own = any(isinstance(spec, Factory) for spec in (part.model_spec, part.dataset_spec))
        if own and _is_due(part):
            seeds = sorted({cell.data_seed for cell in part.cells})
            specs = part.model_spec.model_dump_json(), part.dataset_spec.model_dump_json()
            lines.add(f"{specs} {seeds}")
    if not lines:
        return None
    text = "\n".join((fingerprint(*_MODULES), sys.version, *sorted(lines)))
    return hashlib.sha256(text.encode()).hexdigest()
