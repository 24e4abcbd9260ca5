"""The catalogue of all that is made of a study against what Snakemake itself resolves from the rules."""

from pathlib import Path
from typing import Any

import pytest
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

from gammascape.catalogue import everything
from gammascape.provenance.remake import SCRIPTS
from gammascape.workflow import load_plan

from .synthetic import make_project

WHOLE = """\
datasets:
  digits: {kind: digits}
  many: {kind: mnist1m, generator: {kind: deform, size: 10000, chunks: 2}}
  one: {kind: constant}
models:
  small: {kind: mlp, depth: 2, width: 16}
  deep: {kind: mlp, depth: 3, width: 16}
  toy: {kind: toy, depth: 3}
grids:
  - model: [small, deep]
    dataset: digits
    loss: mse
    gamma: {log10: [0, 1]}
    eta: {log10: [-1, 0]}
    batch_size: 16
    steps: 30
    observables: [sharpness, kernel_alignment]
  - model: small
    dataset: many
    loss: mse
    gamma: {log10: 0}
    eta: {log10: 0}
    batch_size: 16
    steps: 30
  - model: toy
    dataset: one
    loss: mse
    gamma: {log10: [0, 1]}
    eta: {log10: [-1, 0]}
    batch_size: 1
    steps: 30
"""
TOYS = """\
datasets:
  one: {kind: constant}
models:
  plain: {kind: toy, depth: 2}
  deeper: {kind: toy, depth: 3}
grids:
  - model: [plain, deeper]
    dataset: one
    loss: mse
    gamma: {log10: [0, 1]}
    eta: {log10: [-1, 0]}
    batch_size: 1
    steps: 30
"""


def jobs_of_snakemake(project: Path) -> dict[str, Any]:
    """All jobs with a script, by the manifest that they write; nothing runs."""
    with SnakemakeApi(OutputSettings(dryrun=True, quiet={"all"})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[project / "config/config.yaml"]),
            snakefile=project / "Snakefile",
            workdir=project,
        )
        dag = workflow.dag(DAGSettings(forceall=True))
        dag.execute_workflow(executor="dryrun")
        jobs = list(workflow._workflow.dag.jobs)
    return {str(job.output.manifest): job for job in jobs if job.rule.script}


def test_the_catalogue_says_what_the_rules_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project", WHOLE)
    (project / "config/studies/toys.yaml").write_text(TOYS)
    names = ["config/studies/tiny.yaml", "config/studies/toys.yaml"]
    (project / "config/config.yaml").write_text(f"study: [{', '.join(names)}]\n")
    monkeypatch.chdir(project)
    catalogue = everything(load_plan({"study": names}))
    jobs = jobs_of_snakemake(project)
    assert set(catalogue) == set(jobs)
    assert {item.rule for item in catalogue.values()} == {
        path.stem for path in SCRIPTS.glob("*.py")
    }
    made: set[str] = set()
    for path, item in catalogue.items():
        job = jobs[path]
        assert Path(job.rule.script).stem == job.rule.name == item.rule
        assert dict(job.wildcards_dict) == item.wildcards
        named = {
            name: value if isinstance(value, str) else list(value)
            for name, value in job.input.items()
            if name != "code"
        }
        assert named == item.inputs, path
        assert [str(file) for file in job.output] == [*item.outputs, item.manifest]
        assert dict(job.params.items()) == item.params, path
        # Each stands after what it is made from; cells, data and measures are made by other rules.
        tables = {file for file in item.files if "/tables/" in file or "/figures/" in file}
        assert tables <= made
        made |= set(item.outputs)
