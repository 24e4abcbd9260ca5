"""A small results folder made by the real writers, without Snakemake: cells are trained, scripts are run."""

import os
import runpy
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gammascape.data.prepare import digits, mnist
from gammascape.study import Cell, Slice, Study, load_study
from gammascape.training.trainer import Task, Worker
from gammascape.workflow import load_plan

from ..core.formats import make_mnist

SCRIPTS = Path(__file__).parents[3] / "workflow/scripts"
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


class Names(list[str]):
    """A list with names, as Snakemake gives inputs and outputs to a script."""

    def __init__(self, **named: str | Sequence[str]) -> None:
        super().__init__()
        self._named = named
        for name, value in named.items():
            setattr(self, name, value)
            self.extend([value] if isinstance(value, str) else value)

    def items(self) -> Iterator[tuple[str, Any]]:
        yield from self._named.items()

    def get(self, name: str) -> Any:
        return self._named.get(name)


class Job:
    """What a script sees as `snakemake`."""

    def __init__(self, rule: str, inputs: Names, outputs: Names, **more: Mapping[str, Any]) -> None:
        self.rule, self.input, self.output = rule, inputs, outputs
        self.wildcards = dict(more.get("wildcards", {}))
        self.params = _Params(more.get("params", {}))
        self.log = [f"results/logs/{rule}.log"]


class _Params(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        return self[name]


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
        tasks = [
            Task(
                cell.identity,
                cell.record(),
                Path(f"results/data/{cell.dataset.kind}/manifest.json"),
                Path("results/cells") / cell.path,
                Path("results/logs/cells") / f"{cell.path}.log",
            )
            for cell in cells
        ]
        events: list[dict[str, Any]] = []
        for first in range(0, len(tasks), 64):
            worker.run(tasks[first : first + 64], events.append)
        assert not [event for event in events if event["event"] == "failed"], events
        shutil.rmtree("results/.scratch", ignore_errors=True)


def make_tables(root: Path, study: Study) -> None:
    with inside(root):
        for part in study.slices:
            _slice_tables(study, part)
    for table in ("cells", "thresholds", "scaling"):
        combine(root, study, table)


def combine(root: Path, study: Study, table: str) -> None:
    inputs = [f"results/{study.name}/tables/{table}/{part.key}.parquet" for part in study.slices]
    with inside(root):
        _run(
            "combine",
            Names(slices=inputs),
            _table(study, table),
            {"study": study.name, "table": table},
        )


def _slice_tables(study: Study, part: Slice) -> None:
    plan = load_plan({"study": f"config/studies/{study.path.name}"})
    folders = [f"results/cells/{cell.path}" for cell in part.cells]
    wildcards = {"study": study.name, "slice": part.key}
    _run(
        "cells",
        Names(
            summaries=[f"{folder}/summary.json" for folder in folders],
            manifests=[f"{folder}/manifest.json" for folder in folders],
        ),
        _table(study, f"cells/{part.key}"),
        wildcards,
        {"slice": plan.cells_params(study.name, part.key)},
    )
    _run(
        "thresholds",
        Names(cells=f"results/{study.name}/tables/cells/{part.key}.parquet"),
        _table(study, f"thresholds/{part.key}"),
        wildcards,
        {"model": plan.judged_params(study.name, part.key)},
    )
    _run(
        "scaling",
        Names(thresholds=f"results/{study.name}/tables/thresholds/{part.key}.parquet"),
        _table(study, f"scaling/{part.key}"),
        wildcards,
        {"analysis": plan.scaling_params(study.name)},
    )


def make_figure(root: Path, study: Study) -> None:
    stem = f"results/{study.name}/figures/edges"
    with inside(root):
        _run(
            "edges",
            Names(
                thresholds=f"results/{study.name}/tables/thresholds.parquet",
                scaling=f"results/{study.name}/tables/scaling.parquet",
            ),
            Names(
                files=[f"{stem}.{kind}" for kind in ("json", "html", "svg", "png")],
                manifest=f"{stem}.manifest.json",
            ),
            {"study": study.name},
        )


def _table(study: Study, name: str) -> Names:
    stem = f"results/{study.name}/tables/{name}"
    return Names(file=f"{stem}.parquet", manifest=f"{stem}.manifest.json")


def _run(
    rule: str,
    inputs: Names,
    outputs: Names,
    wildcards: Mapping[str, str],
    params: Mapping[str, Any] | None = None,
) -> None:
    for path in outputs:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    job = Job(rule, inputs, outputs, wildcards=wildcards, params=params or {})
    runpy.run_path(str(SCRIPTS / f"{rule}.py"), {"snakemake": job})


def make_results(root: Path) -> Path:
    study = write_study(root)
    prepare_data(root)
    train(root, study.cells)
    make_tables(root, study)
    make_figure(root, study)
    return root
