"""A study of toys and networks: what theory computes is never trained, and the rest is."""

import re
from pathlib import Path

import polars as pl

from .projects import empty_project, snakemake
from .test_workflow import planned, summaries

TOY = """\
datasets:
  one: {kind: constant}
models:
  toy3: {kind: toy, depth: 3}
grids:
  - model: toy3
    dataset: one
    loss: mse
    gamma: {log10: {from: -3, to: 3, per_decade: 1}}
    eta: {window: {per_decade: 4, lower: -4, upper: 1.5}}
    batch_size: 1
    steps: 100
"""
NETWORK = """\
  - model: small
    dataset: digits
    loss: mse
    gamma: {log10: 0}
    eta: {log10: [0, 1]}
    batch_size: 16
    steps: 20
"""


def test_a_study_of_toys_makes_tables_and_figures_without_training(tmp_path: Path) -> None:
    project = empty_project(tmp_path, TOY)
    done = snakemake(project)
    assert done.returncode == 0, done.stderr
    assert not summaries(project)
    tables = project / "results/tiny/tables"
    fits = pl.read_parquet(tables / "scaling.parquet").filter(edge="eta_max_trained")
    slopes = dict(fits.select("window", "slope").iter_rows())
    assert abs(slopes["lazy"] - 2) < 0.13
    assert abs(slopes["rich"] - 2 / 3) < 0.13  # half a grid step over a decade
    page = (project / "results/index.html").read_text()
    for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', page):
        assert (project / "results" / link).is_file(), link
    assert "similarity" not in page
    assert "Nothing to be done" in snakemake(project).stderr
    study = project / "config/studies/tiny.yaml"
    study.write_text(study.read_text() + "analysis: {trained_below: 0.4}\n")
    assert planned(project)["cells"] == 1


def test_a_mixed_study_trains_only_its_networks(tmp_path: Path) -> None:
    text = TOY.replace("  one:", "  digits: {kind: digits}\n  one:")
    text = text.replace("  toy3: {", "  small: {kind: mlp, depth: 2, width: 16}\n  toy3: {")
    plan = planned(empty_project(tmp_path, text + NETWORK))
    assert (plan["train"], plan["cells"], plan["edges"], plan["similarity"]) == (2, 2, 2, 1)
