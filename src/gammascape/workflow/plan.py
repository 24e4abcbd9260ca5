"""Information about studies for the Snakefile: cells by path, slices by name, parameters of rules."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gammascape.manifests.manifest import FILE_NAME
from gammascape.runs.outcome import Thresholds
from gammascape.study import Cell, Config, Slice, Study, StudyError, load_config, load_study
from gammascape.study.factors import Factor, members
from gammascape.study.finite import finite_slices
from gammascape.study.keys.config import CONFIG_FILE
from gammascape.study.keys.factories import Factory
from gammascape.study.keys.files import Files
from gammascape.study.keys.generators import DiffusionSpec, Generated
from gammascape.study.keys.samples import Images
from gammascape.usercode.find import copy_sources, folder_of

SOURCES = "results/.sources"
"""Folder for copies of users' source files."""
BEGINNING = "GAMMASCAPE_MAP_BEGINS"
"""Environment variable: set while snakemake prepares data for maps that have no points yet."""


@dataclass(frozen=True)
class Plan:
    """Studies of one call of Snakemake."""

    config: Config
    studies: Mapping[str, Study]
    cells: Mapping[str, Cell]
    """All cells that are trained, of all studies, by the path of their artifact."""

    def slice(self, study: str, key: str) -> Slice:
        """Slice named `key` of a study.

        Raises:
            KeyError: if the study has no such slice.
        """
        for part in self.studies[study].slices:
            if part.key == key:
                return part
        raise KeyError(f"study {study} has no slice {key}")

    def keys(self, toy: bool) -> list[str]:
        """Names of the slices that are toys, or that are trained."""
        parts = [part for study in self.studies.values() for part in study.slices]
        return sorted({part.key for part in parts if part.is_toy == toy})

    def trained(self, study: str) -> list[Cell]:
        """Cells of a study that are trained."""
        parts = self.studies[study].slices
        return [cell for part in parts if not part.is_toy for cell in part.cells]

    @cached_property
    def thresholds(self) -> Mapping[str, Thresholds]:
        """Thresholds for the status of each cell, by its path: of the first study that has it."""
        found: dict[str, Thresholds] = {}
        for study in self.studies:
            own = Thresholds.from_analysis(self.analysis(study))
            for cell in self.trained(study):
                found.setdefault(cell.path, own)
        return found

    def reads(self, cell: str) -> list[str]:
        """Input files of a cell: the manifest of its prepared data, and copies of factories' source files."""
        model, dataset = self.cells[cell].model, self.cells[cell].dataset
        # Images and own data come from files; other samples are drawn from a distribution.
        files: list[str] = []
        if isinstance(dataset, Images | Files):
            files.append(f"results/data/{dataset.prepared}/{FILE_NAME}")
        for spec in (model, dataset):
            if isinstance(spec, Factory):
                folder = f"{SOURCES}/{folder_of(spec.sources)}"
                files += [f"{folder}/{name}" for name in spec.sources]
        return list(dict.fromkeys(files))

    def copy_sources(self) -> None:
        """Copy the source files of all factories to where cells read them.

        The name of a copy follows from the meaning of its code, so editing a file while cells are trained affects
        none of them, and moving a study changes no input of a job.
        """
        for study in self.studies.values():
            for sources in study.sources:
                copy_sources(sources, Path(SOURCES))

    @cached_property
    def generators(self) -> Mapping[str, Generated]:
        """Generators of the sets of digits used by the studies, by the keys of their files."""
        return {k: v for study in self.studies for k, v in self.generators_of(study).items()}

    @cached_property
    def models(self) -> Mapping[str, DiffusionSpec]:
        """Diffusion models that these sets are sampled from, by the keys of their files."""
        specs = self.generators.values()
        return {spec.model_key: spec for spec in specs if isinstance(spec, DiffusionSpec)}

    def own(self, prepared: str) -> str:
        """JSON of the options, with paths, of a user's own data."""
        parts = [part.dataset_spec for study in self.studies.values() for part in study.slices]
        found = (data for data in parts if isinstance(data, Files) and data.prepared == prepared)
        return json.dumps(next(found).options, sort_keys=True)

    def chunks(self, generator: str) -> list[str]:
        """Files of a generated set."""
        count = self.generators[generator].chunks
        return [f"results/generated/mnist1m-{generator}/chunk_{k}.npz" for k in range(count)]

    def model_file(self, generator: str) -> str:
        """File of the diffusion model that a generated set is sampled from.

        Raises:
            KeyError: if no study has a set of this name from a model.
        """
        spec = self.generators[generator]
        if not isinstance(spec, DiffusionSpec):
            raise KeyError(f"{generator} is not sampled from a model")
        return f"results/generated/{spec.model_key}/model.pt"

    def prepare_options(self, generator: str) -> list[str]:
        """Options for the preparation of a generated set."""
        spec = self.generators[generator]
        made = json.dumps(spec.model_dump(mode="json"), sort_keys=True)
        return ["--chunks", str(spec.chunks), "--generator", made]

    def generators_of(self, study: str) -> dict[str, Generated]:
        """`generators` of one study."""
        found = (getattr(p.dataset_spec, "generator", None) for p in self.studies[study].slices)
        return {spec.key: spec for spec in found if isinstance(spec, Generated)}

    def labels(self, study: str, key: str) -> dict[str, Any]:
        """First columns of every table about a slice."""
        part = self.slice(study, key)
        names = ("model", "dataset", "loss", "batch_size", "steps", "passes")
        return {"slice": part.key, **{name: getattr(part, name) for name in names}}

    def points(self, study: str, key: str) -> str:
        """One line for each cell of a slice: log10 gamma, log10 eta, name."""
        cells = self.slice(study, key).cells
        return "\n".join(f"{cell.gamma} {cell.eta} {cell.path}" for cell in cells)

    def analysis(self, study: str) -> dict[str, Any]:
        """Options for judging the study's cells and fitting its edges."""
        content: dict[str, Any] = self.studies[study].analysis.model_dump(
            mode="json", by_alias=True
        )
        return content

    def members(self, study: str) -> list[dict[str, Any]]:
        """Slices that differ from others in one factor, by factor, group and value."""
        return [asdict(member) for member in members(self.studies[study])]

    def factors(self, study: str) -> list[Factor]:
        """Factors that are the only difference between some slices."""
        return list(dict.fromkeys(member.factor for member in members(self.studies[study])))

    def finite(self, study: str) -> list[dict[str, Any]]:
        """Slices that use their samples again and again, by number of samples and width."""
        return finite_slices(self.studies[study])

    def has_equal_gammas(self, study: str) -> bool:
        """Return whether networks of one gamma, data, loss and budget are trained and can be compared."""
        networks: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
        for part in self.studies[study].slices:
            if not part.is_toy:
                alike = (part.dataset, part.loss, part.batch_size, part.steps)
                for cell in part.cells:
                    line = (part.model, cell.seed, cell.data_seed)
                    networks.setdefault((*alike, cell.gamma), set()).add(line)
        return any(len(lines) > 1 for lines in networks.values())

    def shows_phenomena(self, study: str) -> bool:
        """Return whether a study measures the observables that show catapults and silent alignment."""
        parts = self.studies[study].slices
        return {"sharpness", "kernel_alignment"} <= {name for p in parts for name in p.observables}


def load_plan(config: Mapping[str, Any], files: Sequence[str] = (), *, begin: bool = False) -> Plan:
    """Read the configuration, `files` given beside it, and the studies that it names.

    With `begin`, maps may lack points.

    Raises:
        StudyError: with all problems in one message.
    """
    checked = load_config(config, files)
    # A folder can be unlocked before a map has its points.
    begin |= BEGINNING in os.environ or "--unlock" in sys.argv
    studies = [load_study(path, checked.data.generator, begin=begin) for path in checked.studies]
    parts = [part for study in studies for part in study.slices]
    plan = Plan(
        config=checked,
        studies={study.name: study for study in studies},
        cells={cell.path: cell for part in parts if not part.is_toy for cell in part.cells},
    )
    # Rules distinguish computed slices from trained ones by their names.
    for key in set(plan.keys(toy=True)) & set(plan.keys(toy=False)):
        text = f"the slice {key} is a toy in one study and trained in another; rename a model"
        raise StudyError(f"{CONFIG_FILE}: {text}")
    return plan
