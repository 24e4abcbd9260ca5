"""The catalogue of all that is made of a study against what Snakemake itself resolves from the rules."""

import json
import runpy
from html import unescape
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import altair as alt
import jinja2
import polars as pl
import pytest
from docutils.core import publish_parts
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

from gammascape.execution.scripts import Scripts
from gammascape.figures.style import theme
from gammascape.figures.style.save import save
from gammascape.provenance.current import SCRIPTS, Results
from gammascape.provenance.project import open_project
from gammascape.workflow.arguments import CellsFolder, arguments_of
from gammascape.workflow.catalogue import (
    CELL_FILES,
    FIGURES,
    TABLES,
    Artifact,
    Entry,
    artifacts_of_job,
    everything,
    jobs_of,
    place_of,
    write_captions,
)
from gammascape.workflow.plan import load_plan
from gammascape.workflow.script import AGAIN, Stage

from ..project import make_project

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
    files = [(str(file), job) for job in jobs if job.rule.script for file in job.output]
    return {file: job for file, job in files if file.endswith(".manifest.json")}


def test_the_catalogue_says_what_the_rules_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project", WHOLE)
    (project / "config/studies/toys.yaml").write_text(TOYS)
    names = ["config/studies/tiny.yaml", "config/studies/toys.yaml"]
    (project / "config/config.yaml").write_text(f"study: [{', '.join(names)}]\n")
    monkeypatch.chdir(project)
    # The Snakefile sets it for its jobs; here they would be later tests.
    monkeypatch.setenv(AGAIN, "")
    catalogue = everything(load_plan({"study": names}))
    jobs = jobs_of_snakemake(project)
    assert set(catalogue) == set(jobs)
    assert {item.script for item in catalogue.values()} == {p.name for p in SCRIPTS.glob("*.py")}
    made: set[str] = set()
    for (stage, wildcards), items in jobs_of(catalogue.values()).items():
        (job,) = {jobs[item.manifest] for item in items}
        assert job.rule.name.startswith(stage)
        assert {Path(job.rule.script).name} == {item.script for item in items}
        assert frozenset(job.wildcards_dict.items()) == wildcards
        files = {name for item in items for name in (*item.outputs, item.manifest)}
        assert set(map(str, job.output)) == files
        named = {
            name: value if isinstance(value, str) else list(value)
            for name, value in job.input.items()
            if name != "code"
        }
        # The script finds the same from what Snakemake gives to it, as far as it makes tables and figures.
        if items[0].script in ("tables.py", "figures.py"):
            found = artifacts_of_job(map(str, job.output), named, job.params.get("given") or {})
            assert {item.manifest: item for item in found} == {
                item.manifest: item for item in items
            }
        else:
            assert named == items[0].inputs
            assert dict(job.params.items()) == items[0].params
    for item in catalogue.values():
        # Each stands after what it is made from; cells, data and measures are made by other rules.
        tables = {file for file in item.files if "/tables/" in file or "/figures/" in file}
        assert tables <= made
        made |= set(item.outputs)


def functions() -> list[tuple[str, Entry]]:
    """All tables and figures, toys' too, by name."""
    entries = [*TABLES.items(), *FIGURES.items()]
    toys = [(f"{name} of a toy", entry.toy) for name, entry in entries if entry.toy]
    return [*entries, *toys]


@pytest.mark.parametrize(("name", "entry"), functions())
def test_a_function_takes_what_its_table_or_figure_declares(name: str, entry: Entry) -> None:
    module, _, function = entry.function.partition(":")
    taken = set(signature(getattr(import_module(f"gammascape.{module}"), function)).parameters)
    read = {source for _, source, _ in entry.words}
    given = {parameter for parameter, source, _ in entry.words if source not in CELL_FILES}
    given |= {word.partition(".")[0] for word in entry.params.split()}
    if "arrays" in read:
        given.add("cells_folder")
    elif "summaries" in read:
        given.add("folders")
    assert taken == given


def test_every_table_and_figure_is_described() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/tables.md").read_text()
    sections = {line.split()[1] for line in text.splitlines() if line.startswith("## ")}
    assert {name for name in TABLES if f"{name}.parquet" not in sections} == {"curves"}
    assert "curves/*.parquet" in sections
    assert all(entry.sentence.endswith(".") for _, entry in [*TABLES.items(), *FIGURES.items()])


def test_the_report_says_why_a_figure_is_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stems = [f"results/{study}/figures/edges" for study in ("one", "two", "three", "four")]
    why = 'No edge of "a_" {{ b }} * | \\ γ'
    for stem in stems:
        Path(stem).parent.mkdir(parents=True)
        save(theme.Figure("edges", "Lines.").empty_chart(why, "0 edges"), stem)
    chart = alt.Chart(pl.DataFrame({"x": [1.0]})).mark_point()
    save(theme.Figure("edges", "Lines.").finish(chart, "Edges", []), stems[1])
    Path(f"{stems[2]}.json").write_text("{")
    Path(f"{stems[3]}.json").unlink()
    write_captions([*stems, "results/one/figures/gone", "results/one/index"])
    text = Path("results/.captions/edges.rst").read_text()
    for stem in stems:
        output = [f"{stem}.json", f"{stem}.svg"]
        template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(text)
        shown = template.render(snakemake=SimpleNamespace(output=output))
        plain = publish_parts(shown, writer="html")["body"]
        said = f"Not drawn: {why}." if stem == stems[0] else FIGURES["edges"].sentence
        assert unescape(plain).strip() == f"<p>{said}</p>"


def test_what_is_read_of_the_analysis_is_declared() -> None:
    params = {"analysis": {"bootstrap": 200}}
    item = Artifact(TABLES["apex"], "table", "", {}, {"budget": []}, params)
    given = arguments_of(item, lambda path: pl.DataFrame(), CellsFolder({}))
    assert given["analysis"].bootstrap == 200
    with pytest.raises(AttributeError):
        _ = given["analysis"].confidence


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("figures/similarity/map.py", {"draw_similarity"}),
        ("figures/edges/portrait.py", {"draw_slice"}),
        ("tables/similarity/cka.py", {"similarity"}),
        ("tables/toy.py", {"cells", "edges", "explorer"}),
        ("tables/performance/gain.py", {"performance", "factors", "advice", "optimum"}),
        ("study/factors.py", {"factors", "draw_factors", "advice"}),
        # Passed on by `gammascape.study`.
        (
            "theory/edges.py",
            {
                *("cells", "edges", "performance", "dynamics", "similarity", "factors", "claims"),
                *("advice", "optimum", "draw_slice", "draw_edges", "draw_factors", "explorer"),
            },
        ),
        # What gives functions their arguments.
        (
            "workflow/arguments.py",
            {"combine", *(entry.stage for entry in (*TABLES.values(), *FIGURES.values()))},
        ),
    ],
)
def test_a_stage_depends_on_the_code_that_its_functions_import(
    module: str, stages: set[str]
) -> None:
    made = [*((e, "table") for e in TABLES.values()), *((e, "figure") for e in FIGURES.values())]
    explorer = place_of("results/tiny/explorer")
    assert explorer is not None
    combined = place_of("results/tiny/tables/scaling")
    assert combined is not None
    made += [(explorer[1], "page"), (combined[1], "table")]
    entries = [(e, kind) for entry, kind in made for e in (entry, entry.toy) if e is not None]
    found = {
        entry.stage
        for entry, kind in entries
        if module in Artifact(entry, kind, "", {}, {}, {}).modules
    }
    assert found == stages


def job_of(items: list[Artifact], *, again: bool = False) -> SimpleNamespace:
    """Job of a stage, whose script keeps what is current unless it is made again."""
    named = {name: paths for item in items for name, paths in item.inputs.items()}
    own = {path for item in items for path in item.outputs}
    given: dict[str, Any] = {}
    for item in items:
        for name, value in item.params.items():
            given[name] = given.get(name, {}) | value if isinstance(value, dict) else value
    return SimpleNamespace(
        rule=items[0].rule,
        input={n: paths for n, paths in named.items() if not own.intersection([str(paths)])},
        output=[path for item in items for path in (*item.outputs, item.manifest)],
        params={"given": given},
        log=["results/logs/stage.log"],
        threads=1,
        resources={},
        again=again,
    )


def run_job(items: list[Artifact], *, again: bool = False) -> None:
    job = job_of(items, again=again)
    runpy.run_path(str(SCRIPTS / items[0].script), {"snakemake": job})


def test_a_stage_makes_again_what_differs_and_keeps_the_rest(project: Path) -> None:
    with Path("config/studies/tiny.yaml").open("a") as file:
        file.write("analysis: {bootstrap: 500}\n")
    found = Results(open_project(), SCRIPTS)
    jobs = jobs_of(found.catalogue.values())
    stages = {found.catalogue[path].rule for path in found.differing}
    assert stages == {"edges"}
    items = next(items for job, items in jobs.items() if job[0] == "edges")
    before = {item.stem.split("/")[3]: Path(item.manifest).read_text() for item in items}
    run_job(items)
    after = {item.stem.split("/")[3]: Path(item.manifest).read_text() for item in items}
    again = {name for name, text in before.items() if after[name] != text}
    assert again == {"crossover"}
    left = Results(open_project(), SCRIPTS).differing
    assert not {item.manifest for item in items} & {*left}


def test_a_table_that_was_made_again_is_read_again_by_the_same_process(project: Path) -> None:
    jobs = jobs_of(everything(open_project()).values())
    items = next(items for job, items in jobs.items() if job[0] == "edges")
    script, job = SCRIPTS / items[0].script, job_of(items, again=True)
    made = [Path(path) for item in items for path in item.outputs]
    [cells] = {item.inputs["cells"] for item in items if "cells" in item.inputs}
    scripts = Scripts()
    try:
        scripts.run(script, job)
        [process], before = scripts._idle, [path.read_bytes() for path in made]
        table = pl.read_parquet(str(cells)).with_columns(pl.col("eta_log10") + 1)
        table.write_parquet(str(cells))
        scripts.run(script, job)
        assert scripts._idle == [process]
    finally:
        scripts.stop()
    after = [path.read_bytes() for path in made]
    run_job(items, again=True)
    assert after == [path.read_bytes() for path in made]
    assert after != before


def test_what_a_person_forces_is_made_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(everything(open_project()).values())
    (item,) = next(items for job, items in jobs.items() if job[0] == "claims")
    run_job([item])
    path = Path(item.manifest)
    old = json.loads(path.read_text()) | {"started": "2020-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(old))
    run_job([item])
    assert json.loads(path.read_text()) == old
    monkeypatch.setenv(AGAIN, "cells claims")
    run_job([item])
    assert json.loads(path.read_text())["started"] > old["started"]


def test_empty_tables_give_empty_tables_of_the_same_columns(project: Path) -> None:
    checked = set()
    for item in everything(open_project()).values():
        files = [path for path in item.files if path.endswith(".parquet")]
        if item.kind != "table" or not files:
            continue
        tables = {path: pl.read_parquet(path).clear() for path in files}
        table, _ = Stage(None, Path(), (), tables).call(item)
        assert table.schema == pl.read_parquet_schema(item.outputs[0]), item.stem
        assert table.is_empty(), item.stem
        checked.add(item.stem.split("/")[3])
    # The study has no measurements, which these are made of, and uses no samples again.
    assert set(TABLES) - checked == {"phenomena", "observables", "optimum"}
