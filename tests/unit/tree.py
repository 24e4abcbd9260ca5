"""A small results folder made by the real writers, without Snakemake: cells are trained, scripts are run."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from gammascape.data.prepare import digits, mnist
from gammascape.provenance.remake import run_rule
from gammascape.study import Cell, Study, load_study
from gammascape.training.pack import SHARED_KEYS
from gammascape.training.worker import Task, Worker
from gammascape.workflow.catalogue import artifacts
from gammascape.workflow.plan import load_plan

from .formats import make_mnist

STUDY = """\
datasets:
  images: {{kind: {dataset}}}
models:
  small: {{kind: mlp, depth: 2, width: 4}}
grids:
  - model: small
    dataset: images
    loss: mse
    gamma: {{log10: {gammas}}}
    eta: {{log10: {etas}}}
    batch_size: 4
    steps: {steps}
analysis:
  trained_below: 0.85
"""


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def write_study(
    root: Path,
    gammas: str = "[0, 1]",
    etas: str = "[-1, 0, 1]",
    steps: int = 5,
    dataset: str = "mnist",
) -> Study:
    path = root / "config/studies/tiny.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUDY.format(gammas=gammas, etas=etas, steps=steps, dataset=dataset))
    (root / "config/config.yaml").write_text("study: config/studies/tiny.yaml\n")
    return load_study(path)


def prepare_data(root: Path, dataset: str = "mnist") -> None:
    with inside(root):
        folder = Path("results/data") / dataset
        if dataset == "digits":
            digits.prepare(None, folder)
        else:
            mnist.prepare(make_mnist(Path("data/mnist")), folder, verify=False)


def train(root: Path, cells: Sequence[Cell], device_model: str | None = None) -> None:
    """Train these cells; `device_model` is what their manifests shall say instead of the truth."""
    with inside(root):
        worker = Worker("cpu", 60.0)
        if device_model is not None:
            worker.backend = replace(worker.backend, device_model=device_model)
        data = {path.parent.name: path for path in Path("results/data").glob("*/manifest.json")}
        tasks = [
            Task(
                cell.identity,
                cell.record(),
                data.get(cell.dataset.kind),
                Path("results/cells") / cell.path,
                Path("results/logs/cells") / f"{cell.path}.log",
            )
            for cell in cells
        ]
        events: list[dict[str, Any]] = []

        def shared(task: Task) -> str:
            return repr([task.record.get(key) for key in SHARED_KEYS])

        for _, members in groupby(sorted(tasks, key=shared), shared):
            pack = [*members]
            for first in range(0, len(pack), 64):
                worker.run(pack[first : first + 64], events.append)
        assert not [event for event in events if event["event"] == "failed"], events
        shutil.rmtree("results/.scratch", ignore_errors=True)


def make(root: Path, study: Study, *stems: str) -> None:
    """Run the rules of artifacts whose stems, below the folder of the study, begin so."""
    with inside(root):
        for item in artifacts(
            load_plan({"study": f"config/studies/{study.path.name}"}), study.name
        ):
            if item.stem.removeprefix(f"results/{study.name}/").startswith(stems):
                run_rule(item)


def make_tables(root: Path, study: Study) -> None:
    names = ("cells", "thresholds", "scaling")
    make(root, study, *(f"tables/{name}/" for name in names))
    for name in names:
        combine(root, study, name)


def combine(root: Path, study: Study, table: str) -> None:
    with inside(root):
        plan = load_plan({"study": f"config/studies/{study.path.name}"})
        stem = f"results/{study.name}/tables/{table}"
        run_rule(next(item for item in artifacts(plan, study.name) if item.stem == stem))


def make_figure(root: Path, study: Study) -> None:
    make(root, study, "figures/edges")


def make_results(root: Path) -> Path:
    study = write_study(root)
    prepare_data(root)
    train(root, study.cells)
    make_tables(root, study)
    make_figure(root, study)
    return root
