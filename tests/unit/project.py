"""Results of studies written by the workflow's own writers and scripts, without training and without Snakemake."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from gammascape.data.dataset import Dataset
from gammascape.layout import write_if_changed
from gammascape.manifests import utc_now
from gammascape.models import Model
from gammascape.provenance.remake import run_rule
from gammascape.runs.history import final_window
from gammascape.runs.outcome import Facts
from gammascape.study import Cell
from gammascape.training.artifact import Origin, make_arrays, make_summary, write_cell
from gammascape.training.device import set_up_backend
from gammascape.training.engine import Evaluation, Run
from gammascape.workflow.catalogue import everything, fingerprints
from gammascape.workflow.plan import Plan, load_plan

ROOT = Path(__file__).parents[2]
BACKEND = set_up_backend("cpu")[1]
STUDY = """\
description: Two depths.
datasets:
  digits: {kind: digits}
models:
  small: {kind: mlp, depth: 2, width: 16}
  deep: {kind: mlp, depth: 3, width: 16}
grids:
  - model: small
    dataset: digits
    loss: mse
    gamma: {log10: [0, 1]}
    eta: {log10: [-1, 0, 1]}
    batch_size: 16
    steps: 30
  - model: deep
    dataset: digits
    loss: mse
    gamma: {log10: 0}
    eta: {log10: [-1, 0]}
    batch_size: 16
    steps: 30
"""


def make_project(folder: Path, study: str = STUDY, name: str = "tiny") -> Path:
    """A copy of the workflow with one study, config/studies/<name>.yaml, and no results."""
    for part in ("workflow", "profiles"):
        # Snakemake compares file times, so copies keep them.
        shutil.copytree(ROOT / part, folder / part, copy_function=shutil.copy2)
    shutil.copy2(ROOT / "Snakefile", folder / "Snakefile")
    (folder / "config/studies").mkdir(parents=True)
    (folder / "config/config.yaml").write_text(f"study: config/studies/{name}.yaml\n")
    (folder / f"config/studies/{name}.yaml").write_text(study)
    return folder


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder that is made by whichever of the processes of pytest-xdist needs it first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    whole = folder.with_suffix(".whole")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not whole.is_file():
            make(folder)
            whole.touch()
    return folder


def plan_of(*names: str) -> Plan:
    """The plan of studies of the project in the current folder."""
    return load_plan({"study": [f"config/studies/{name}.yaml" for name in names or ("tiny",)]})


def write_results(plan: Plan, *, tables: bool = True, figures: bool = True) -> None:
    """All that the workflow would make of a plan, in the current folder."""
    for path, cell in plan.cells.items():
        write_synthetic_cell(Path("results/cells") / path, cell)
    for name, content in fingerprints().items():
        write_if_changed(Path(name), content)
    made = ("table",) * tables + ("figure", "page") * figures
    for item in everything(plan, Path()).values():
        if item.kind in made:
            run_rule(item)


def write_synthetic_cell(folder: Path, cell: Cell) -> None:
    """A cell whose loss falls with eta, up to an edge at eta = gamma beyond which it diverges."""
    gamma, eta = float(cell.gamma), float(cell.eta)
    finite = eta <= gamma
    steps = np.arange(cell.steps)
    losses = (
        np.exp(-(10.0 ** min(eta - gamma, 0.0)) * steps / 10) if finite else np.array([1.0, np.nan])
    )
    width = 4
    run = Run(
        steps_done=len(losses),
        seconds=0.25,
        losses=losses,
        zero_losses=np.ones_like(losses),
        facts=Facts(
            finite=finite,
            seen_nan=not finite,
            initial_loss=1.0,
            final_loss=float(losses[-final_window(cell.steps) :].mean()) if finite else None,
            baseline_loss=1.0,
            peak_loss=1.0 if finite else None,
            active_fraction=1.0 if finite else None,
        ),
        peak_step=0 if finite else None,
        evaluations=(
            Evaluation(0, 1.0, 0.1),
            *((Evaluation(cell.steps, float(losses[-1]), 0.9),) if finite else ()),
        ),
        relative_change={"hidden1": 0.1} if finite else {},
        probe_outputs=np.ones((width, 10)) if finite else None,
        grams={"hidden1": np.arange(1.0, 1 + width * (width + 1) / 2)} if finite else None,
    )
    network = SimpleNamespace(hidden=("hidden1",), depth=cell.model.depth_exponent, constants=None)
    model = cast(Model, network)
    dataset = cast(Dataset, SimpleNamespace(name=cell.dataset.kind, digest="0" * 64))
    summary = make_summary(cell.record(), run, dataset, model)
    begun = [{"started": utc_now(), "from_step": 0, "reason": "fresh"}]
    origin = Origin((), BACKEND, "packed", begun, run.seconds, 4)
    write_cell(folder, summary, make_arrays(run), origin)


def change_code(path: Path, module: str) -> None:
    """Let an artifact have been made by another version of a module."""
    content = json.loads(path.read_text())
    assert module in content["code"]["modules"]
    content["code"]["modules"][module] = "0" * 12
    content["code"]["source_sha256"] = "0" * 64
    path.write_text(json.dumps(content))
