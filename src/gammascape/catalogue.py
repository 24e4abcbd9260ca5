"""Every table, figure and page of a study: the rule that makes it, from what, with which parameters.

The rules in workflow/rules say the same to Snakemake; a test holds both against each other.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gammascape.origin import Kind
from gammascape.origin.mark import FORMATS
from gammascape.study import Cell, Slice
from gammascape.study.factors import FACTORS
from gammascape.workflow import Plan

Inputs = Mapping[str, str | list[str]]

_CELL_FILES = {
    "summaries": "summary.json",
    "arrays": "arrays.npz",
    "manifests": "manifest.json",
}
"""Inputs that are files of the cells of a slice or of a study."""

# Name -> what it reads: tables of the same slice or study and files of the cells, as `input=table` where the input
# has another name, `table*` for a list that is empty where a study has no such table, `table?` for a file or
# nothing; and names of its parameters. Each stands after what it reads.
_SLICE_TABLES = {
    "cells": ("summaries manifests", "slice"),
    "thresholds": ("cells", "model"),
    "pooled_edges": ("thresholds", "analysis"),
    "scaling": ("thresholds", "analysis"),
    "exponent_models": ("thresholds", "analysis"),
    "crossover": ("thresholds", "analysis"),
    "sensitivity": ("cells", "analysis model"),
    "budget": ("cells arrays", "model"),
    "apex": ("budget", "analysis"),
    "curves": ("thresholds arrays", ""),
    "observables": ("summaries", "labels"),
}
_TOY_TABLES = {
    "cells": ("", "slice toy"),
    "curves": ("thresholds", ""),
    "budget": ("cells", "model"),
}
"""Where toys differ; their rules are called toy_<table>."""
_STUDY_TABLES = {
    "scores": ("cells summaries arrays", ""),
    "performance": ("scores", "analysis"),
    "gain": ("scores", "analysis"),
    "dynamics": ("cells thresholds arrays summaries", "analysis"),
    "dynamics_scaling": ("dynamics", "analysis"),
    "collapse": ("dynamics arrays", "analysis"),
    "phenomena": ("dynamics arrays summaries", ""),
    "similarity": ("thresholds arrays", "analysis"),
    "function_similarity": ("thresholds arrays", "analysis"),
    "similarity_trend": ("thresholds arrays", "analysis"),
    "similarity_summary": ("thresholds arrays", "analysis"),
    "regimes": ("cells thresholds scaling gain*", "compared"),
    "trends": ("regimes", ""),
    "claims": (
        "scaling dynamics dynamics_scaling collapse gain similarity_summary trends?",
        "analysis",
    ),
}
_FIGURES: Mapping[str, tuple[str, str]] = {
    "portrait": ("portrait", "cells thresholds scaling"),
    "loss_curves": ("loss_curves", "curves"),
    "collapse": ("collapse", "curves"),
    "budget": ("budget_chart", "budget apex"),
    "observables": ("observables_chart", "observables thresholds curves"),
    "edges": ("edges", "thresholds scaling"),
    "exponents": ("exponents", "scaling models=exponent_models"),
    "sensitivity": ("sensitivity_chart", "sensitivity"),
    "performance": ("performance_chart", "scores performance gain"),
    "dynamics": ("dynamics_chart", "dynamics scaling=dynamics_scaling"),
    "phenomena": ("phenomena_chart", "phenomena dynamics"),
    "similarity": ("similarity_map", "similarity"),
    "similarity_trend": (
        "similarity_trend_chart",
        "trend=similarity_trend summary=similarity_summary",
    ),
    **dict.fromkeys(FACTORS, ("along_factor", "regimes trends performance*")),
}
"""Name, or folder of one for each slice -> rule, and what it reads."""
_OF_SLICES = ("portrait", "loss_curves", "collapse", "budget", "observables")
"""Those of them that are folders."""
_CHOOSING = ("curves", "dynamics", "collapse_table", "phenomena", *Plan.likeness_tables)
"""Rules whose scripts read only those of their cells that an earlier table chooses."""


@dataclass(frozen=True)
class Artifact:
    """A table, a figure or a page, as the script that makes it sees it; paths as in Snakemake."""

    rule: str
    """Also the name of its script in workflow/scripts."""
    kind: Kind
    stem: str
    """Path without suffix."""
    wildcards: Mapping[str, str]
    inputs: Inputs
    """By name, without the fingerprint of the code."""
    params: Mapping[str, Any]

    @property
    def manifest(self) -> str:
        """Path of its manifest."""
        return f"{self.stem}.manifest.json"

    @property
    def outputs(self) -> list[str]:
        """Paths of its files in the order of the rule, without the manifest."""
        return outputs_of(self.kind, self.stem)

    @property
    def chooses(self) -> bool:
        """Whether its manifest names some of the cells of its inputs, and not all."""
        return self.rule in _CHOOSING

    @property
    def sources(self) -> dict[str, None]:
        """Paths of what its manifest names as inputs, in order: manifests, or files that have none."""
        return dict.fromkeys(_source(path) for path in self.files)

    @property
    def files(self) -> list[str]:
        """Paths of all inputs in the order of the rule."""
        given = self.inputs.values()
        return [path for paths in given for path in ([paths] if isinstance(paths, str) else paths)]


def artifacts(plan: Plan, study: str) -> list[Artifact]:
    """All tables and figures of a study and its page of provenance, each after what it is made from."""
    return list(_Study(plan, study).artifacts())


def everything(plan: Plan) -> dict[str, Artifact]:
    """What the workflow makes of all studies but cells and data, each after what it is made from, by manifest."""
    made = [item for study in plan.studies for item in artifacts(plan, study)]
    return {item.manifest: item for item in [*made, index_page(plan)]}


def rules_of(stem: str) -> tuple[Kind, set[str]] | None:
    """Kind of the artifact of this path, and names of rules that make it; None if no study has one there."""
    match stem.split("/")[1:]:
        case ["index"]:
            return "page", {"index"}
        case [_, "provenance"]:
            return "page", {"provenance"}
        case ["generated", _, "quality"]:
            return "figure", {"quality"}
        case [_, "figures", name, *key] if name in _FIGURES and len(key) == (name in _OF_SLICES):
            return "figure", {_FIGURES[name][0]}
        case [_, "tables", name] if name in _STUDY_TABLES:
            return "table", {"collapse_table" if name == "collapse" else name}
        case [_, "tables", name] if name in _SLICE_TABLES and name != "curves":
            return "table", {"combine"}
        case [_, "tables", name, _] if name in _SLICE_TABLES:
            return "table", {name, f"toy_{name}"} if name in _TOY_TABLES else {name}
    return None


def outputs_of(kind: Kind, stem: str) -> list[str]:
    """Paths of the files of a table, a figure or a page in the order of its rule, without the manifest."""
    suffixes = {"table": ("parquet",), "figure": FORMATS, "page": ("html",)}[kind]
    return [f"{stem}.{suffix}" for suffix in suffixes]


def index_page(plan: Plan) -> Artifact:
    """The page of all studies."""
    studies = {
        name: {
            "description": study.description,
            "figures": plan.figures(name),
            "tables": plan.tables(name),
        }
        for name, study in plan.studies.items()
    }
    inputs: Inputs = {
        "figures": [
            f"{stem}.{kind}"
            for about in studies.values()
            for stem in about["figures"]
            for kind in FORMATS
        ],
        "tables": [
            f"results/{name}/tables/{table}.parquet"
            for name, about in studies.items()
            for table in about["tables"]
        ],
        "provenance": [f"results/{name}/provenance.html" for name in studies],
    }
    return Artifact("index", "page", "results/index", {}, inputs, {"studies": studies})


@dataclass(frozen=True)
class _Study:
    plan: Plan
    name: str

    @cached_property
    def _tables(self) -> set[str]:
        return set(self.plan.tables(self.name))

    def artifacts(self) -> Iterator[Artifact]:
        slices, tables = self.plan.studies[self.name].slices, self._tables
        for part in slices:
            for table in _SLICE_TABLES:
                if table != "observables" or part.observables:
                    yield self._slice_table(part, table)
        for table in _SLICE_TABLES:
            if table in tables:
                files = [
                    self._path(table, part.key)
                    for part in slices
                    if table != "observables" or part.observables
                ]
                yield self._table("combine", table, {"table": table}, {"slices": files}, {})
        for table, (reads, params) in _STUDY_TABLES.items():
            if table in tables:
                rule = "collapse_table" if table == "collapse" else table
                yield self._table(rule, table, {}, self._inputs(reads), self._params(params))
        figures = self.plan.figures(self.name)
        for stem in figures:
            yield self._figure(stem)
        inputs: Inputs = {
            "figures": [f"{stem}.svg" for stem in figures],
            "tables": [self._path(table) for table in self.plan.tables(self.name)],
            "cells": _files_of(self.plan.trained(self.name), "manifest.json"),
        }
        stem = f"results/{self.name}/provenance"
        yield Artifact("provenance", "page", stem, {"study": self.name}, inputs, {})

    def _slice_table(self, part: Slice, table: str) -> Artifact:
        toy = part.is_toy and table in _TOY_TABLES
        reads, params = (_TOY_TABLES if toy else _SLICE_TABLES)[table]
        return self._table(
            f"toy_{table}" if toy else table,
            f"{table}/{part.key}",
            {"slice": part.key},
            self._inputs(reads, part),
            self._params(params, part.key),
        )

    def _table(
        self,
        rule: str,
        name: str,
        wildcards: Mapping[str, str],
        inputs: Inputs,
        params: Mapping[str, Any],
    ) -> Artifact:
        stem, wildcards = f"results/{self.name}/tables/{name}", {"study": self.name, **wildcards}
        return Artifact(rule, "table", stem, wildcards, inputs, params)

    def _figure(self, stem: str) -> Artifact:
        folder = f"results/{self.name}/figures/"
        if not stem.startswith(folder):
            measured, generator = Path(stem).parent, Path(stem).parent.name.partition("-")[2]
            inputs: Inputs = {"measures": f"{measured}/measures.json"}
            return Artifact("quality", "figure", stem, {"generator": generator}, inputs, {})
        name, _, key = stem.removeprefix(folder).partition("/")
        rule, reads = _FIGURES[name]
        part = self.plan.slice(self.name, key) if key else None
        wildcards = {"study": self.name}
        wildcards |= {"slice": key} if key else {}
        wildcards |= {"factor": name} if name in FACTORS else {}
        return Artifact(rule, "figure", stem, wildcards, self._inputs(reads, part), {})

    def _inputs(self, reads: str, part: Slice | None = None) -> Inputs:
        key = "" if part is None else part.key
        cells = self.plan.trained(self.name) if part is None else part.cells
        found: dict[str, str | list[str]] = {}
        for word in reads.split():
            name, _, table = word.rstrip("*?").rpartition("=")
            name = name or table
            if table in _CELL_FILES:
                found[name] = _files_of(cells, _CELL_FILES[table])
            elif word[-1] in "*?" and table not in self._tables:
                found[name] = []
            else:
                path = self._path(table, key)
                found[name] = [path] if word.endswith("*") else path
        return found

    def _params(self, names: str, key: str = "") -> dict[str, Any]:
        plan, study = self.plan, self.name
        makers: Mapping[str, Callable[[], Any]] = {
            "slice": lambda: plan.cells_params(study, key),
            "toy": lambda: plan.toy_params(study, key),
            "labels": lambda: plan.labels(study, key),
            "model": lambda: plan.judged_params(study, key),
            "analysis": lambda: plan.scaling_params(study),
            "compared": lambda: plan.compared_params(study),
        }
        return {name: makers[name]() for name in names.split()}

    def _path(self, table: str, key: str = "") -> str:
        return f"results/{self.name}/tables/{table}{'/' if key else ''}{key}.parquet"


def _files_of(cells: list[Cell] | tuple[Cell, ...], name: str) -> list[str]:
    return [f"results/cells/{cell.path}/{name}" for cell in cells]


def _source(path: str) -> str:
    if path.startswith("results/cells/"):
        return f"{path.rpartition('/')[0]}/manifest.json"
    if path.endswith("/measures.json"):
        return path
    return f"{path.rpartition('.')[0]}.manifest.json"
