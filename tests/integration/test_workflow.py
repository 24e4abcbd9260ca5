"""Snakemake, run for real on a tiny study: what it makes, what it makes again, and what it leaves alone."""

import json
import os
import random
import re
import shutil
import time
import zipfile
from pathlib import Path

import polars as pl
import pytest

from gammascape.figures.page.index import read_figure
from gammascape.workflow.catalogue import FIGURES

from .projects import STUDY, Started, copy_tree, empty_project, run, snakemake


def write_study(project: Path, gammas: str = "[0, 1]", etas: str = "[0, 1]") -> None:
    study = project / "config/studies/tiny.yaml"
    study.write_text(STUDY.format(gammas=gammas, etas=etas))


def planned(project: Path, *options: str) -> dict[str, int]:
    """Jobs that a dry run counts, by rule."""
    done = snakemake(project, "--dry-run", *options)
    assert done.returncode == 0, done.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    counts.pop("total", None)
    return {rule: int(count) for rule, count in counts.items()}


def summaries(project: Path) -> dict[Path, int]:
    """Artifacts of cells and the time each was written."""
    return {p: p.stat().st_mtime_ns for p in project.glob("results/cells/*/*/summary.json")}


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    copy_tree(finished, tmp_path / "project")
    return tmp_path / "project"


def test_one_run_makes_cells_tables_figures_and_the_page(finished: Path) -> None:
    said = (finished / "said").read_text()
    for words in ("cells: 4 of 4 done", "4 of 4 cells in", "of device time"):
        assert words in said
    assert len(summaries(finished)) == 4
    for cell in finished.glob("results/cells/*/*"):
        log = finished / "results/logs/cells" / cell.parent.name / f"{cell.name}.log"
        assert "backend" in log.read_text()
    tables = finished / "results/tiny/tables"
    assert pl.read_parquet(tables / "cells.parquet").height == 4
    measured = pl.read_parquet(tables / "observables.parquet")
    # At 0, 1, 2, 5, 10, 20 and 30 steps: sharpness, the same times N eta, alignment.
    assert measured.height == 4 * 7 * 3
    chart = "observables/small-digits-mse-B16-T30"
    for figure in ("edges", "exponents", "sensitivity", "performance", "similarity", chart):
        for kind in ("json", "html", "svg", "png"):
            assert (finished / f"results/tiny/figures/{figure}.{kind}").stat().st_size > 0
    page = (finished / "results/index.html").read_text()
    for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', page):
        assert (finished / "results" / link).is_file(), link


def test_a_second_run_does_nothing(project: Path) -> None:
    before = summaries(project)
    done = snakemake(project)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stderr
    assert summaries(project) == before


def test_a_process_for_each_cell_gives_the_bytes_of_packs(finished: Path, tmp_path: Path) -> None:
    alone = empty_project(tmp_path, (finished / "config/studies/tiny.yaml").read_text())
    first, *_, last = sorted(path.relative_to(finished) for path in summaries(finished))
    done = snakemake(alone, "--executor", "local", str(first), str(last))
    assert done.returncode == 0, done.stderr
    for folder in (first.parent, last.parent):
        for name in ("summary.json", "arrays.npz"):
            path = folder / name
            assert (alone / path).read_bytes() == (finished / path).read_bytes(), path


def test_adding_a_gamma_trains_only_its_cells_and_redraws_what_depends_on_them(
    project: Path,
) -> None:
    before = summaries(project)
    write_study(project, gammas="[0, 1, 2]")
    plan = planned(project)
    assert plan.pop("all") == 1
    assert plan == {
        "train": 2,
        "cells_and_observables": 1,
        "edges": 1,
        "combine_with_observables": 1,
        "performance": 1,
        "dynamics_and_phenomena": 1,
        "similarity": 1,
        "claims": 1,
        "advice": 1,
        "draw_slice_and_observables": 1,
        "draw_edges": 1,
        "draw_performance": 1,
        "draw_dynamics_and_phenomena": 1,
        "draw_similarity": 1,
        "explorer": 1,
        "provenance": 1,
        "index": 1,
    }
    figure = project / "results/tiny/figures/edges.svg"
    drawn = figure.read_bytes()
    assert snakemake(project, str(figure.relative_to(project))).returncode == 0
    assert figure.read_bytes() != drawn
    after = summaries(project)
    assert len(after) == 6
    assert {path: after[path] for path in before} == before
    assert pl.read_parquet(project / "results/tiny/tables/cells.parquet").height == 6


def test_touching_or_reformatting_any_file_retrains_nothing(project: Path) -> None:
    for path in [
        project / "Snakefile",
        *project.glob("workflow/**/*"),
        *project.glob("config/**/*"),
    ]:
        if path.is_file():
            if path.suffix in (".smk", ".py", ".yaml") or path.name == "Snakefile":
                path.write_text(path.read_text() + "\n# a remark\n\n")
            path.touch()
    (project / "results/data/digits/manifest.json").touch()
    assert "train" not in planned(project)


def test_other_thresholds_judge_again_without_training(project: Path) -> None:
    study = project / "config/studies/tiny.yaml"
    study.write_text(study.read_text() + "analysis: {trained_below: 0.9}\n")
    plan = planned(project)
    assert "train" not in plan
    assert plan["cells_and_observables"] == 1


def test_a_copy_is_judged_by_its_content_and_not_by_times_or_records(project: Path) -> None:
    shutil.rmtree(project / ".snakemake")
    draw = random.Random(1)
    for path in (p for name in ("results", "workflow") for p in (project / name).rglob("*.*")):
        os.utime(path, (draw.uniform(1e9, 1.7e9),) * 2)
    assert planned(project) == {}
    (project / "results/tiny/figures/edges.svg").unlink()
    assert planned(project) == {"draw_edges": 1, "provenance": 1, "index": 1, "all": 1}
    study = project / "config/studies/tiny.yaml"
    study.write_text(study.read_text() + "analysis: {trained_below: 0.9}\n")
    plan = planned(project)
    assert (plan["cells_and_observables"], "train" in plan) == (1, False)


def test_a_stage_is_forced_by_its_name_though_a_variant_of_its_rule_runs(project: Path) -> None:
    plan = planned(project, "--forcerun", "cells", "draw_slice")
    assert (plan["cells_and_observables"], plan["draw_slice_and_observables"]) == (1, 1)
    table = project / "results/tiny/tables/cells.parquet"
    path = project / "results/tiny/tables/observables/small-digits-mse-B16-T30.parquet"
    before = {file: file.stat().st_mtime_ns for file in (table, path)}
    # What is made again is written again.
    done = snakemake(project, "--forcerun", "cells", "--", str(path.relative_to(project)))
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mtime_ns > before[path]
    assert table.stat().st_mtime_ns == before[table]


def test_another_workflow_may_use_this_one_as_a_module_and_rename_its_rules(
    project: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    copy_tree(project / "config", other / "config")
    (other / "Snakefile").write_text(
        'configfile: "config/config.yaml"\n'
        f'module own:\n    snakefile: "{project}/Snakefile"\n    config: config\n'
        "use rule * from own as own_*\n"
    )
    plan = planned(other)
    assert (plan["own_train"], plan["own_prepare_dataset"], plan["own_all"]) == (4, 1, 1)
    # What a module makes is what the workflow makes: renamed rules leave it alone.
    copy_tree(project / "results", other / "results")
    assert planned(other) == {}


def test_it_may_work_in_another_folder(tmp_path: Path) -> None:
    workflow = empty_project(tmp_path / "workflow", STUDY.format(gammas="[0]", etas="[0]"))
    (workflow / "config").rename(tmp_path / "config")
    options = ["--snakefile", str(workflow / "Snakefile"), "--directory", str(tmp_path)]
    done = snakemake(workflow, *options, "--until", "train")
    assert done.returncode == 0, done.stderr
    assert len(summaries(tmp_path)) == 1
    assert not (workflow / "results").exists()


def test_an_interrupted_run_goes_on_with_what_is_missing(project: Path) -> None:
    write_study(project, etas="[0, 0.5, 1, 1.5, 2, 2.5]")
    known = set(summaries(project))
    # One cell after another, so that some are missing.
    local = ("--executor", "local", "--cores", "1")
    running = Started(project, "snakemake", *local, "--until", "train")
    deadline = time.monotonic() + 300
    while not set(summaries(project)) - known and time.monotonic() < deadline:
        time.sleep(0.01)
    # The whole group, as a terminal or a machine that goes down would end it.
    running.kill()
    running.wait(10)
    shutil.rmtree(project / ".snakemake/locks", ignore_errors=True)
    before = summaries(project)
    assert known < set(before)
    assert len(before) < 12
    again = snakemake(project, "--until", "train")
    assert again.returncode == 0, again.stderr
    after = summaries(project)
    assert len(after) == 12
    # A cell whose job had not been recorded as finished when the kill came is made again, and only those.
    assert sum(after[path] != written for path, written in before.items()) <= 2


def test_the_parameters_of_every_rule_are_seen_by_snakemake(finished: Path) -> None:
    # Snakemake leaves values that it cannot represent out of its record without a word; a rule whose
    # parameters are not in the record would never run again for them.
    stored: dict[str, list[str]] = {}
    for path in (finished / ".snakemake/metadata").iterdir():
        record = json.loads(path.read_text())
        stored.setdefault(record["rule"], record["params"])
    for rule in ("train", "cells_and_observables", "edges", "similarity", "index"):
        assert len(stored[rule]) == 1, rule
    assert "numerics" in stored["train"][0]
    assert "trained_below" in stored["cells_and_observables"][0]
    assert "bootstrap" in stored["edges"][0]


def test_a_mistake_in_the_study_is_one_message(project: Path) -> None:
    study = project / "config/studies/tiny.yaml"
    study.write_text(study.read_text().replace("batch_size", "batchsize"))
    done = snakemake(project)
    assert done.returncode != 0
    assert "tiny.yaml" in done.stderr
    assert done.stderr.strip().endswith("did you mean batch_size? (line 12)")
    assert "common.smk" not in done.stderr
    done = snakemake(project, "--configfile", "config/studies/tiny.yaml")
    assert "config/studies/tiny.yaml: 1 problem" in done.stderr
    assert "by --config study=config/studies/tiny.yaml, not by --configfile" in done.stderr


def test_the_report_holds_every_figure_with_its_caption_and_the_provenance(project: Path) -> None:
    done = snakemake(project, "--report", "report.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(project / "report.zip") as archive:
        names = archive.namelist()
        page = archive.read(next(n for n in names if n.endswith("report.html"))).decode()
        held = {archive.read(name) for name in names if name.endswith((".svg", ".html"))}
    folder = project / "results/tiny/figures"
    for name in ("exponents", "edges"):
        figure = read_figure(folder / name)
        why = json.dumps(f"Not drawn: {figure.title}.")[1:-1]
        assert (why in page) == (name == "exponents")
        assert (FIGURES[name].sentence in page) == (not figure.is_empty)
    figures = list(folder.rglob("*.svg"))
    kinds = {path.relative_to(folder).parts[0].removesuffix(".svg") for path in figures}
    slices = {"portrait", "loss_curves", "collapse", "budget", "observables"}
    studies = {
        "edges",
        "performance",
        "similarity",
        "exponents",
        "sensitivity",
        "dynamics",
        "phenomena",
    }
    assert kinds == slices | studies
    assert len(figures) == 12
    pages = [project / f"results/tiny/{name}.html" for name in ("provenance", "explorer")]
    for path in [*figures, *pages]:
        assert path.read_bytes() in held, path
    for words in (
        "each tile is the best seed at",
        "fall on one",
        "small-digits-mse-B16-T30",
        "phase portrait",
        "Across slices",
        "Provenance",
        "A cell is one network trained once",
    ):
        assert words in page, words


SCALING = "results/tiny/tables/scaling/*.manifest.json"


def gammascape(project: Path, *words: str) -> str:
    done = run(project, "gammascape", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plan_agrees_with_a_dry_run_and_says_why(project: Path) -> None:
    write_study(project, gammas="[0, 2]", etas="[0, 1]")
    with (project / "config/studies/tiny.yaml").open("a") as file:
        file.write("analysis: {bootstrap: 500}\n")
    before = planned(project)
    plan = gammascape(project, "plan")
    assert before.pop("all") == 1
    assert "2 of 4 cells to train" in plan
    assert before.pop("train") == 2
    totals: dict[str, int] = {}
    for line in plan.partition("other jobs")[2].splitlines()[1:]:
        if line.startswith("  "):
            for rule, count in re.findall(r"(\w+) (\d+)(?:, |$)", line.rpartition(": ")[2]):
                totals[rule] = totals.get(rule, 0) + int(count)
    assert totals == before
    assert "2 new: log10 gamma 2" in plan
    assert "removed from study tiny: 2 cells, still on disk" in plan
    assert "parameters changed: analysis.bootstrap 2000 -> 500" in plan
    # Asking has changed nothing about what is done.
    assert planned(project) == {**before, "train": 2, "all": 1}


def test_accepted_tables_and_figures_are_not_made_again(project: Path) -> None:
    for path in project.glob("results/tiny/tables/**/*.manifest.json"):
        content = json.loads(path.read_text())
        content["code"]["modules"]["tables/edges/exponents.py"] = "0" * 12
        content["code"]["source_sha256"] = "0" * 64
        path.write_text(json.dumps(content))
    assert planned(project)["edges"] == 1
    # A parameter that changed with the code is not accepted with it.
    study = project / "config/studies/tiny.yaml"
    asked = study.read_text()
    study.write_text(asked + "analysis: {confidence: 0.9}\n")
    tables = map(str, project.glob(SCALING))
    refused = run(project, "gammascape", "accept", "--reason", "x", *tables)
    assert refused.returncode == 2
    assert "analysis.confidence 0.95 -> 0.9" in refused.stderr
    study.write_text(asked)
    pictures = {p: p.read_bytes() for p in project.glob("results/tiny/**/*.parquet")}
    gammascape(project, "accept", "--all", "--reason", "comments")
    done = snakemake(project, "--dry-run")
    assert "Nothing to be done" in done.stderr + done.stdout
    assert {p: p.read_bytes() for p in pictures} == pictures
    manifest = next(project.glob(SCALING))
    assert json.loads(manifest.read_text())["accepted"][0]["reason"] == "comments"
