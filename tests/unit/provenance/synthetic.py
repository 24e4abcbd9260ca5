"""Results of studies written by the workflow's own writers and scripts, without training and without Snakemake."""

import json
import runpy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from gammascape.data import Dataset
from gammascape.figures.save import FORMATS
from gammascape.measure.outcome import Facts
from gammascape.models import Model
from gammascape.origin import utc_now
from gammascape.origin.code import FIGURE_MODULES, TABLE_MODULES, fingerprint
from gammascape.study import Cell
from gammascape.training.artifact import Origin, make_arrays, make_summary, write_cell
from gammascape.training.device import set_up_backend
from gammascape.training.engine import Evaluation, Run
from gammascape.workflow import Plan, load_plan, write_if_changed

from .tree import SCRIPTS, Job, Names

ROOT = Path(__file__).parents[3]
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


def plan_of(*names: str) -> Plan:
    """The plan of studies of the project in the current folder."""
    return load_plan({"study": [f"config/studies/{name}.yaml" for name in names or ("tiny",)]})


def write_results(plan: Plan, *, tables: bool = True, figures: bool = True) -> None:
    """All that the workflow would make of a plan, in the current folder."""
    for path, cell in plan.cells.items():
        write_synthetic_cell(Path("results/cells") / path, cell)
    write_if_changed(Path("results/.fingerprints/analysis.sha256"), fingerprint(*TABLE_MODULES))
    write_if_changed(Path("results/.fingerprints/figures.sha256"), fingerprint(*FIGURE_MODULES))
    for study in plan.studies if tables else ():
        write_tables(plan, study)
        if figures:
            write_figures(plan, study)
            write_provenance_page(plan, study)
    if tables and figures:
        write_page(plan)


def write_synthetic_cell(folder: Path, cell: Cell) -> None:
    """A cell whose loss falls with eta, up to an edge at eta = gamma beyond which it diverges."""
    gamma, eta = float(cell.gamma), float(cell.eta)
    finite = eta <= gamma
    steps = np.arange(cell.steps)
    losses = np.exp(-(10.0 ** min(eta - gamma, 0.0)) * steps / 10) if finite else np.array([1.0])
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
            final_loss=float(losses[-1]) if finite else None,
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
    model = cast(Model, SimpleNamespace(hidden=("hidden1",), depth=cell.model.depth_exponent))
    dataset = cast(Dataset, SimpleNamespace(name=cell.dataset.kind, digest="0" * 64))
    summary = make_summary(cell.record(), run, dataset, model)
    begun = [{"started": utc_now(), "from_step": 0, "reason": "fresh"}]
    origin = Origin((), BACKEND, "packed", begun, run.seconds, 4)
    write_cell(folder, summary, make_arrays(run), origin)


def write_tables(plan: Plan, study: str) -> None:
    """The tables of a study, by the workflow's scripts."""
    tables = Path("results") / study / "tables"
    keys = [part.key for part in plan.studies[study].slices]
    code = "results/.fingerprints/analysis.sha256"
    every = [f"results/cells/{cell.path}/arrays.npz" for cell in plan.studies[study].cells]
    for part in plan.studies[study].slices:
        names = {"study": study, "slice": part.key}
        folders = [f"results/cells/{cell.path}" for cell in part.cells]
        run_rule(
            "cells",
            names,
            {
                "summaries": [f"{folder}/summary.json" for folder in folders],
                "manifests": [f"{folder}/manifest.json" for folder in folders],
                "code": code,
            },
            [f"{tables}/cells/{part.key}.parquet"],
            {"slice": plan.cells_params(study, part.key)},
        )
        run_rule(
            "thresholds",
            names,
            {"cells": f"{tables}/cells/{part.key}.parquet", "code": code},
            [f"{tables}/thresholds/{part.key}.parquet"],
            {"model": plan.judged_params(study, part.key)},
        )
        edges = f"{tables}/thresholds/{part.key}.parquet"
        run_rule(
            "scaling",
            names,
            {"thresholds": edges, "code": code},
            [f"{tables}/scaling/{part.key}.parquet"],
            {"analysis": plan.scaling_params(study)},
        )
        fitted = {"analysis": plan.scaling_params(study)}
        judged = {"model": plan.judged_params(study, part.key)}
        arrays = [f"{folder}/arrays.npz" for folder in folders]
        cells, budget = (f"{tables}/{name}/{part.key}.parquet" for name in ("cells", "budget"))
        more: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            "pooled_edges": ({"thresholds": edges}, fitted),
            "exponent_models": ({"thresholds": edges}, fitted),
            "crossover": ({"thresholds": edges}, fitted),
            "sensitivity": ({"cells": cells}, fitted | judged),
            "budget": ({"cells": cells, "arrays": arrays}, judged),
            "apex": ({"budget": budget}, fitted),
        }
        for rule, (given, params) in more.items():
            outputs = [f"{tables}/{rule}/{part.key}.parquet"]
            run_rule(rule, names, given | {"code": code}, outputs, params)
        run_rule(
            "curves",
            names,
            {
                "thresholds": edges,
                "arrays": arrays,
                "code": code,
            },
            [f"{tables}/curves/{part.key}.parquet"],
        )
    for table in plan.slice_tables:
        given = {"slices": [f"{tables}/{table}/{key}.parquet" for key in keys]}
        run_rule("combine", {"study": study, "table": table}, given, [f"{tables}/{table}.parquet"])
    run_rule(
        "scores",
        {"study": study},
        {
            "cells": f"{tables}/cells.parquet",
            "summaries": [path.replace("arrays.npz", "summary.json") for path in every],
            "arrays": every,
            "code": code,
        },
        [f"{tables}/scores.parquet"],
    )
    for rule in ("performance", "gain"):
        run_rule(
            rule,
            {"study": study},
            {"scores": f"{tables}/scores.parquet", "code": code},
            [f"{tables}/{rule}.parquet"],
            {"analysis": plan.scaling_params(study)},
        )
    if plan.factors(study):
        compared = {name: f"{tables}/{name}.parquet" for name in ("cells", "thresholds", "scaling")}
        run_rule(
            "regimes",
            {"study": study},
            {**compared, "gain": [f"{tables}/gain.parquet"], "code": code},
            [f"{tables}/regimes.parquet"],
            {"compared": plan.compared_params(study)},
        )
        given = {"regimes": f"{tables}/regimes.parquet", "code": code}
        run_rule("trends", {"study": study}, given, [f"{tables}/trends.parquet"])
    fitted = {"analysis": plan.scaling_params(study)}
    for rule in plan.likeness_tables:
        run_rule(
            rule,
            {"study": study},
            {"thresholds": f"{tables}/thresholds.parquet", "arrays": every, "code": code},
            [f"{tables}/{rule}.parquet"],
            fitted,
        )
    summaries = [f"results/cells/{cell.path}/summary.json" for cell in plan.studies[study].cells]
    dynamics = {"dynamics": f"{tables}/dynamics.parquet", "code": code}
    judged = {name: f"{tables}/{name}.parquet" for name in ("cells", "thresholds")}
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "dynamics": ("dynamics", judged | {"arrays": every, "summaries": summaries, "code": code}),
        "dynamics_scaling": ("dynamics_scaling", dynamics),
        "collapse_table": ("collapse", dynamics | {"arrays": every}),
        "claims": (
            "claims",
            {name: f"{tables}/{name}.parquet" for name in CLAIMED} | {"code": code},
        ),
    }
    for rule, (table, given) in made.items():
        run_rule(rule, {"study": study}, given, [f"{tables}/{table}.parquet"], fitted)


CLAIMED = ("scaling", "dynamics", "dynamics_scaling", "collapse", "gain", "similarity_summary")


def write_figures(plan: Plan, study: str) -> None:
    """The figures of a study, by the workflow's scripts."""
    tables, figures = Path("results") / study / "tables", Path("results") / study / "figures"

    def draw(rule: str, stem: str, given: dict[str, str], names: dict[str, str]) -> None:
        inputs = {name: f"{tables}/{path}.parquet" for name, path in given.items()}
        inputs["code"] = "results/.fingerprints/figures.sha256"
        outputs = [f"{figures}/{stem}.{kind}" for kind in FORMATS]
        run_rule(rule, {"study": study, **names}, inputs, outputs)

    for part in plan.studies[study].slices:
        key = part.key
        three = {name: f"{name}/{key}" for name in ("cells", "thresholds", "scaling")}
        draw("portrait", f"portrait/{key}", three, {"slice": key})
        for rule in ("loss_curves", "collapse"):
            draw(rule, f"{rule}/{key}", {"curves": f"curves/{key}"}, {"slice": key})
        draw(
            "budget_chart",
            f"budget/{key}",
            {name: f"{name}/{key}" for name in ("budget", "apex")},
            {"slice": key},
        )
    draw("exponents", "exponents", {"scaling": "scaling", "models": "exponent_models"}, {})
    draw("sensitivity_chart", "sensitivity", {"sensitivity": "sensitivity"}, {})
    draw("edges", "edges", {"thresholds": "thresholds", "scaling": "scaling"}, {})
    pooled = {name: name for name in ("scores", "performance", "gain")}
    draw("performance_chart", "performance", pooled, {})
    runs = {"dynamics": "dynamics", "scaling": "dynamics_scaling"}
    draw("dynamics_chart", "dynamics", runs, {})
    draw("similarity_map", "similarity", {"similarity": "similarity"}, {})
    if plan.has_equal_gammas(study):
        like = {"trend": "similarity_trend", "summary": "similarity_summary"}
        draw("similarity_trend_chart", "similarity_trend", like, {})
    for factor in plan.factors(study):
        along = {name: f"{tables}/{name}.parquet" for name in ("regimes", "trends")}
        run_rule(
            "along_factor",
            {"study": study, "factor": factor},
            {
                **along,
                "performance": [f"{tables}/performance.parquet"],
                "code": "results/.fingerprints/figures.sha256",
            },
            [f"{figures}/{factor}.{kind}" for kind in FORMATS],
        )


def write_provenance_page(plan: Plan, study: str) -> None:
    """The summary of the manifests of a study."""
    cells = plan.studies[study].cells
    given = {
        "figures": [f"{stem}.svg" for stem in plan.figures(study)],
        "tables": [f"results/{study}/tables/{table}.parquet" for table in plan.tables(study)],
        "cells": [f"results/cells/{cell.path}/manifest.json" for cell in cells],
        "code": "results/.fingerprints/figures.sha256",
    }
    run_rule("provenance", {"study": study}, given, [f"results/{study}/provenance.html"])


def write_page(plan: Plan) -> None:
    """The page of all studies."""
    studies = {
        name: {
            "description": study.description,
            "figures": plan.figures(name),
            "tables": plan.tables(name),
        }
        for name, study in plan.studies.items()
    }
    stems = [stem for name in plan.studies for stem in plan.figures(name)]
    given = {
        "figures": [f"{stem}.{kind}" for stem in stems for kind in ("json", "html", "svg", "png")],
        "tables": [
            f"results/{n}/tables/{table}.parquet" for n in studies for table in plan.tables(n)
        ],
        "provenance": [f"results/{name}/provenance.html" for name in studies],
        "code": "results/.fingerprints/figures.sha256",
    }
    run_rule("index", {}, given, ["results/index.html"], {"studies": studies})


def run_rule(
    rule: str,
    wildcards: dict[str, str],
    inputs: Mapping[str, str | Sequence[str]],
    outputs: list[str],
    params: dict[str, Any] | None = None,
) -> None:
    """Run the script of a rule as Snakemake would."""
    first = Path(outputs[0])
    first.parent.mkdir(parents=True, exist_ok=True)
    job = Job(
        rule,
        Names(**inputs),
        Names(files=outputs, manifest=str(first.with_suffix(".manifest.json"))),
        wildcards=wildcards,
        params=params or {},
    )
    runpy.run_path(str(SCRIPTS / f"{rule}.py"), {"snakemake": job})


def change_code(path: Path, module: str) -> None:
    """Let an artifact have been made by another version of a module."""
    content = json.loads(path.read_text())
    assert module in content["code"]["modules"]
    content["code"]["modules"][module] = "0" * 12
    content["code"]["source_sha256"] = "0" * 64
    path.write_text(json.dumps(content))
