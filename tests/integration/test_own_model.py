"""A study of the user's own network and data, run by Snakemake."""

import json
import re
import shutil
from pathlib import Path

import pytest

from gammascape.cli import main

from .projects import ROOT, empty_project, snakemake

STUDY = """\
models:
  net: {factory: "my_net:make_net", width: 8}
  broken: {factory: "my_net:make_broken", width: 8}
datasets:
  rings: {factory: "my_data:rings", shape: [2], classes: 2, size: 2000, arguments: {noise: 0.1}}
  endless: {factory: "my_data:endless", shape: [2], targets: 1}
grids:
  - model: [net, broken]
    dataset: rings
    loss: xent
    gamma: {log10: [-3, 0]}
    eta: {log10: [-6, 0]}
    batch_size: 16
    steps: 20
  - model: net
    dataset: endless
    loss: mse
    gamma: {log10: 0}
    eta: {log10: [-1, 0]}
    batch_size: 16
    steps: 20
"""
NET = """\
import torch
from torch import nn
from sizes import doubled

def make_net(input_shape, outputs, width):
    (inputs,) = input_shape
    inner = doubled(width)
    return nn.Sequential(nn.Linear(inputs, inner), nn.Tanh(), nn.Linear(inner, outputs))

class Broken(nn.Sequential):
    def forward(self, x):
        if len(x) == 16:
            raise ValueError("no batches of 16")
        return super().forward(x)

def make_broken(input_shape, outputs, width):
    return Broken(nn.Linear(2, width), nn.Linear(width, outputs))
"""
MISTAKEN = """
def make_wide(input_shape, outputs, width):
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, outputs + 1))

class Apart(nn.Sequential):
    def forward(self, x):
        return super().forward(x) if x.mean() > 0 else super().forward(-x)

def make_apart(input_shape, outputs, width):
    return Apart(nn.Linear(2, width), nn.Linear(width, outputs))
"""
DATA = """\
import numpy as np

def draw(seed, number, noise):
    rng = np.random.default_rng((seed, number))
    label = rng.integers(2)
    angle = rng.uniform(0, 2 * np.pi)
    point = (1 + label) * np.array([np.cos(angle), np.sin(angle)]) + noise * rng.normal(size=2)
    return point, label

def rings(noise):
    drawn = [draw(0, n, noise) for n in range(2100)]
    x, y = np.stack([x for x, _ in drawn]), np.array([y for _, y in drawn])
    return x[:2000], y[:2000], x[2000:], y[2000:]

def sampler(seed, first, count):
    x = np.stack([draw(seed, n, 0.1)[0] for n in range(first, first + count)])
    return x, x.prod(1)

def endless():
    return sampler, *sampler(10**6, 0, 64)
"""
MISTAKEN_DATA = """
def from_one(noise):
    x, y, test_x, test_y = rings(noise)
    return x, y + 1, test_x, test_y + 1

def holes(noise):
    x, *others = rings(noise)
    x[3, 1] = np.nan
    return x, *others
"""


def sources(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "my_net.py").write_text(NET)
    (folder / "my_data.py").write_text(DATA)
    (folder / "sizes.py").write_text("def doubled(n):\n    return 2 * n\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = empty_project(tmp_path_factory.mktemp("own"), STUDY)
    sources(project / "config/studies")
    done = snakemake(project, "--until", "train")
    assert done.returncode == 1
    return project


def summaries(project: Path) -> dict[str, bytes]:
    found = project.glob("results/cells/*/*/summary.json")
    return {str(path.relative_to(project)): path.read_bytes() for path in found}


def test_mistakes_in_models_and_data_are_named_once_before_any_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rings = "shape: [2], classes: 2, size: 2000, arguments: {noise: 0.1}}"
    study = STUDY.replace("[net, broken]", "[net, broken, apart]").replace(
        "dataset: rings", "dataset: [rings, shifted, holes]"
    )
    study = study.replace(
        "datasets:\n",
        '  apart: {factory: "my_net:make_apart", width: 8}\ndatasets:\n'
        f'  shifted: {{factory: "my_data:from_one", {rings}\n'
        f'  holes: {{factory: "my_data:holes", {rings}\n',
    ).replace("make_broken", "make_wide")
    project = empty_project(tmp_path, study)
    sources(project / "config/studies")
    with (project / "config/studies/my_net.py").open("a") as file:
        file.write(MISTAKEN)
    with (project / "config/studies/my_data.py").open("a") as file:
        file.write(MISTAKEN_DATA)
    done = snakemake(project, "--dry-run")
    assert done.returncode == 1
    monkeypatch.chdir(project)
    assert main(["plan"]) == 2
    for said in (done.stdout + done.stderr, "".join(capsys.readouterr())):
        for text in (
            "models.broken: Sequential returned shape [3, 3] for 3 samples; it must return [3, 2]",
            "models.apart: the forward pass of Apart itself, outside of any layer, cannot be batched",
            "datasets.shifted: my_data:from_one returned test targets from 1 to 2; 2 classes are",
            "datasets.holes: my_data:holes returned training inputs that are not finite",
            "Write batched: false",
        ):
            assert said.count(text) == 1, said
        assert str(Path("config/studies/my_net.py")) in said
        assert "gammascape/models" not in said
        assert "models.net" not in said
    assert not (project / "results/logs").exists()


def test_cells_of_a_network_that_fails_in_training_fail_and_all_others_are_trained(
    finished: Path,
) -> None:
    families = {name.split("/")[2] for name in summaries(finished)}
    assert {re.sub(r"[0-9a-f]{6}_", "_", name) for name in families} == {
        "makenet_rings_xent",
        "makenet_endless_mse",
    }
    assert len(summaries(finished)) == 6
    logs = [p.read_text() for p in finished.glob("results/logs/cells/makebroken*/*.log")]
    assert len(logs) == 4
    for log in logs:
        assert "ValueError: no batches of 16" in log
        assert str(finished / "config/studies/my_net.py") in log


def test_a_manifest_names_the_source_files(finished: Path) -> None:
    for path in finished.glob("results/cells/makenet*/*/manifest.json"):
        inputs = {Path(one["path"]).name for one in json.loads(path.read_text())["inputs"]}
        assert inputs == {"my_net.py", "sizes.py", "my_data.py"}


def test_a_cell_trained_by_itself_has_the_same_bytes_and_its_study_may_move(
    finished: Path, tmp_path: Path
) -> None:
    study = STUDY.replace("model: [net, broken]", "model: net").replace(
        '  broken: {factory: "my_net:make_broken", width: 8}\n', ""
    )
    for two, one in (("[-3, 0]", "-3"), ("[-6, 0]", "-6"), ("[-1, 0]", "0")):
        study = study.replace(f"log10: {two}", f"log10: {one}")
    project = empty_project(tmp_path / "alone", study)
    sources(project / "config/studies")
    done = snakemake(project, "--executor", "local", "--scheduler", "greedy", "--until", "train")
    assert done.returncode == 0, done.stderr
    assert len(summaries(project)) == 2
    assert summaries(project).items() < summaries(finished).items()
    # The study moves, and its network gets a comment: nothing is to be trained.
    (project / "config/studies").rename(project / "mine")
    (project / "config/config.yaml").write_text("study: mine/tiny.yaml\n")
    (project / "mine/my_net.py").write_text("# A comment.\n" + NET)
    done = snakemake(project, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not re.search(r"^train ", done.stdout + done.stderr, re.MULTILINE)
    # What it imports changes: all cells of the network are others.
    (project / "mine/sizes.py").write_text("def doubled(n):\n    return 3 * n\n")
    done = snakemake(project, "--dry-run")
    assert re.search(r"^train +2$", done.stdout + done.stderr, re.MULTILINE), done.stderr


def test_the_example_is_trained_as_the_manual_says(tmp_path: Path) -> None:
    project = empty_project(tmp_path, STUDY)
    shutil.copytree(ROOT / "examples", project / "examples")
    study = project / "examples/own_model/gated.yaml"
    text = study.read_text()
    assert "from: -3, to: 3" in text
    assert "steps: 500" in text
    study.write_text(
        text.replace("from: -3, to: 3", "from: 0, to: 1").replace("steps: 500", "steps: 20")
    )
    figure = "results/gated/figures/portrait/gated-digits-mse-B32-T20.png"
    done = snakemake(project, figure, "--config", "study=examples/own_model/gated.yaml")
    assert done.returncode == 0, done.stderr
    records = [json.loads(text)["cell"] for text in summaries(project).values()]
    assert {tuple(record["model"]["sources"]) for record in records} == {("gated.py",)}
    assert (project / figure).is_file()
