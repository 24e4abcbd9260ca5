"""A map found by the real command, and found again after kills."""

import time
from pathlib import Path

import polars as pl

from gammascape.tables.edges.find import threshold_table

from .projects import Started, copy_tree, empty_project, run, snakemake

STUDY = """\
datasets:
  digits: {kind: digits}
models:
  net: {factory: "net:make_net", width: 16}
grids:
  - model: net
    dataset: digits
    loss: mse
    gamma: {log10: 0}
    eta: {map: {finest: 1, edges: [eta_min, eta_max_finite]}}
    batch_size: 16
    steps: 40
    seed: [0, 1]
analysis:
  trained_below: 0.9
"""
NET = """\
import math

import torch
from torch import nn


class Gated(nn.Module):
    def __init__(self, inputs, width, outputs):
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.gate = nn.Linear(inputs, width)
        self.leave = nn.Linear(width, outputs)

    def forward(self, x):
        x = x.flatten(1)
        return self.leave(torch.tanh(self.enter(x)) * torch.sigmoid(self.gate(x)))


def make_net(input_shape, outputs, width):
    return Gated(math.prod(input_shape), width, outputs)
"""
POINTS = "config/studies/tiny.points.yaml"
CELLS_ALONE = ("--omit-from", "edges", "performance", "dynamics", "similarity", "factors")
MAP = ("gammascape", "map", "config/studies/tiny.yaml", "--", "--cores", "1", *CELLS_ALONE)


def project_in(folder: Path) -> Path:
    project = empty_project(folder, STUDY)
    (project / "config/studies/net.py").write_text(NET)
    return project


def killed(project: Path, cells: int) -> bool:
    """Kill the command and all that it started once there are so many cells; False if it ends before."""
    said = [project / "output", project / "errors"]
    process = Started(project, *MAP, said=said)
    while process.poll() is None:
        if len(list(project.glob("results/cells/*/*/manifest.json"))) >= cells:
            process.kill()
            process.wait(10)
            return True
        time.sleep(0.02)
    assert process.poll() == 0, [path.read_text() for path in said]
    return False


def cells(project: Path) -> pl.DataFrame:
    (path,) = project.glob("results/tiny/tables/cells/*.parquet")
    return pl.read_parquet(path).drop("seconds")


def test_an_own_network_is_mapped_by_one_command_and_the_same_after_kills(tmp_path: Path) -> None:
    project = project_in(tmp_path / "whole")
    refused = snakemake(project, "-n")
    assert "run gammascape map config/studies/tiny.yaml" in refused.stderr
    copy = tmp_path / "killed"
    copy_tree(project, copy)
    done = run(project, *MAP)
    assert done.returncode == 0, done.stderr
    assert "map: 4 of 4 edges bracketed" in done.stdout
    found = threshold_table(cells(project), None)
    asked = found.filter(pl.col("edge").is_in(["eta_min", "eta_max_finite"]))
    assert asked.height == 4
    assert asked["bounded"].all()
    assert sum(killed(copy, count) for count in (1, 5, 9)) >= 2
    assert not killed(copy, 10_000)
    assert (copy / POINTS).read_bytes() == (project / POINTS).read_bytes()
    assert cells(copy).equals(cells(project))
    # Each snakemake shows that it works here, for a map that was killed.
    assert (copy / ".snakemake/gammascape-working").is_file()
    # With its points a study is one of plain snakemake.
    again = snakemake(copy, *CELLS_ALONE)
    assert again.returncode == 0, again.stderr
    assert not [line for line in again.stderr.splitlines() if line.startswith("Train ")]
