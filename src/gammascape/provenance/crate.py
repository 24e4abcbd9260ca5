"""Study as a Workflow Run RO-Crate: a view of its manifests for publication (Provenance Run Crate 0.5).

The workflow is the crate's main entity and its rules are the tools. Each table, figure, page and prepared data
set is the result of one CreateAction with the times of its manifest. The cells of a slice are one Collection,
whose members are their manifests: a crate with an entity for each file of each cell would be unreadable.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from gammascape.manifests import Manifest, read_manifest, sha256_of
from gammascape.manifests.manifest import SUFFIX
from gammascape.manifests.paths import CELLS, RESULTS, inside, inside_project, is_plain, short
from gammascape.provenance.seal import seal_of
from gammascape.study import Study, StudyError
from gammascape.study.keys.config import CONFIG_FILE
from gammascape.study.points import points_path
from gammascape.tables.seal import page_of

_AUDIT = "`gammascape audit` says more"
NO_LICENSE = "No license is stated; ask the authors."
_ROCRATE = "1.1"
_ENGINE = "https://snakemake.github.io"
_PROFILES = "0.5"
_TERMS = "https://w3id.org/ro/terms/workflow-run#"
_COMPLETED = {"@id": "http://schema.org/CompletedActionStatus"}
_VERSION = version("gammascape")
_MEDIA = {
    ".html": "text/html",
    ".json": "application/json",
    ".npy": "application/octet-stream",
    ".npz": "application/zip",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}


@dataclass
class _Builder:
    """Crate under construction."""

    study: Study
    project: Path
    with_cells: bool
    hides_host: bool
    crate: ROCrate
    steps: dict[str, tuple[Entity, Entity]] = field(default_factory=dict)
    """Rule -> tool that represents it, and its step of the workflow."""
    actions: list[Entity] = field(default_factory=list)
    controls: list[Entity] = field(default_factory=list)

    def file(
        self, path: Path, sha256: str | None = None, source: Path | None = None, **properties: Any
    ) -> Entity:
        """Entity of a file of the project, added once.

        Args:
            source: its path, if a person named it and it may be anywhere.

        Raises:
            StudyError: if it is not below its folder, or has another hash.
        """
        name = path.as_posix()
        known = self.crate.dereference(name)
        if known is not None:
            return known
        try:
            if source is None:
                inside_project(self.project, name)
                source = inside(self.project / path.parent, path.name)
            about: dict[str, Any] = {
                "name": name,
                "contentSize": str(source.stat().st_size),
                "encodingFormat": _MEDIA.get(path.suffix, "text/plain"),
            }
            if sha256:
                about["sha256"] = sha256_of(source)
        except OSError as error:
            raise StudyError(f"{short(name)}: {error.strerror or error}; {_AUDIT}") from None
        if about.get("sha256") != sha256:
            raise StudyError(f"{name}: it is not the file that its manifest describes; {_AUDIT}")
        return self.crate.add_file(source, dest_path=name, properties={**about, **properties})

    def artifact(self, path: Path, manifest: Manifest, *, whole: bool = True) -> list[Entity]:
        """Entities of an artifact's files, followed by its manifest.

        Raises:
            StudyError: as for `file`, or if it names the machine and the configuration forbids that.
        """
        if self.hides_host and manifest.environment["host"]:
            raise StudyError(
                f"{path}: names the machine that made it, from before the configuration said "
                "`record_host: false`; write `record_host: true` to publish it with the name"
            )
        files = manifest.outputs if whole else ()
        if wrong := [file.path for file in files if not is_plain(file.path)]:
            raise StudyError(f"{path}: {short(wrong[0])} is not below its folder; {_AUDIT}")
        outputs = [self.file(path.parent / file.path, file.sha256) for file in files]
        return [*outputs, self.file(path, about=outputs) if outputs else self.file(path)]

    def entity(self, identifier: str, kind: str, **properties: Any) -> Entity:
        """Contextual entity, added once."""
        name = identifier if identifier.startswith("https:") else f"#{identifier}"
        known = self.crate.dereference(name)
        if known is not None:
            return known
        return self.crate.add(ContextEntity(self.crate, name, {"@type": kind, **properties}))

    def tool(self, rule: str) -> Entity:
        """Tool that represents a rule."""
        if rule not in self.steps:
            about = {"description": f"The rule {rule} of the workflow", "version": _VERSION}
            tool = self.entity(f"rule-{rule}", "SoftwareApplication", name=rule, **about)
            about = {"name": rule, "position": str(len(self.steps))}
            step = self.entity(f"step-{rule}", "HowToStep", **about, workExample=tool)
            self.steps[rule] = tool, step
        return self.steps[rule][0]

    def action(
        self,
        name: str,
        rule: str,
        made: Sequence[Manifest],
        objects: Sequence[Entity],
        results: Sequence[Entity],
        **more: Any,
    ) -> None:
        """Add one execution of a rule, or several as one, and Snakemake's control of it."""
        action = self.entity(
            f"made-{name}",
            "CreateAction",
            name=f"{rule} made {name}",
            instrument=self.tool(rule),
            startTime=min(manifest.started for manifest in made),
            endTime=max(manifest.finished for manifest in made),
            actionStatus=_COMPLETED,
            object=list(objects),
            result=list(results),
            **more,
        )
        self.actions.append(action)
        control = self.entity(
            f"control-{name}",
            "ControlAction",
            instrument=self.steps[rule][1],
            object=action,
            name=f"Snakemake ran {rule} for {name}",
            actionStatus=_COMPLETED,
        )
        self.controls.append(control)


def build_crate(
    study: Study,
    project: Path,
    *,
    with_cells: bool = False,
    hides_host: bool = False,
    license_url: str | None = None,
) -> ROCrate:
    """Build the crate of a finished study; files of the project are copied when it is written.

    Args:
        study: a study with finished tables and figures.
        project: the folder where Snakemake runs, as an absolute path.
        with_cells: include summary.json and arrays.npz of each cell, not only its manifest.
        hides_host: refuse artifacts with manifests that name the machine.
        license_url: license of the results; without one the crate says that none is stated.

    Raises:
        ManifestError: if a table or figure of the study has no manifest.
        StudyError: if a file does not match its manifest, or is named by one and not below its folder.
    """
    crate = ROCrate(version=_ROCRATE)
    crate.name = f"gammascape study {study.name}"
    crate.description = study.description or f"Cells, tables and figures of the study {study.name}"
    crate.license = license_url or NO_LICENSE
    crate.metadata.extra_terms.update(
        {name: f"{_TERMS}{name}" for name in ("resourceUsage", "sha256")}
    )
    builder = _Builder(study, project, with_cells, hides_host, crate)
    workflow = _workflow(builder)
    paths = sorted((RESULTS / study.name).glob(f"**/*{SUFFIX}"))
    made = {path: read_manifest(path) for path in paths}
    for path in _in_order(made):
        _add_artifact(builder, path, made[path])
    workflow["hasPart"], workflow["step"] = map(list, zip(*builder.steps.values(), strict=True))
    _add_run(builder, workflow, made)
    for name in ("process", "workflow", "provenance"):
        about = {"name": f"{name.capitalize()} Run Crate", "version": _PROFILES}
        identifier = f"https://w3id.org/ro/wfrun/{name}/{_PROFILES}"
        profile = builder.entity(identifier, "CreativeWork", **about)
        crate.root_dataset.append_to("conformsTo", profile)
    if (project / page_of(study.name)).is_file():
        crate.root_dataset["identifier"] = f"gammascape seal {seal_of(study.name, project)}"
    return crate


def _in_order(made: dict[Path, Manifest]) -> list[Path]:
    """Manifests ordered so that each follows its inputs."""
    graph = {
        path: [below for source in manifest.inputs if (below := Path(source.path)) in made]
        for path, manifest in made.items()
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise StudyError(f"{error.args[1][0]}: it was made from itself; {_AUDIT}") from None


def _workflow(builder: _Builder) -> Entity:
    crate = builder.crate
    workflow = crate.add_workflow(
        builder.project / "Snakefile",
        "Snakefile",
        main=True,
        lang="snakemake",
        lang_version=version("snakemake"),
        properties={
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": "gammascape",
            "description": "study.yaml -> cells -> tables -> figures -> page",
            "version": _VERSION,
        },
    )
    for path in sorted((builder.project / "workflow").rglob("*")):
        if path.suffix in (".smk", ".py", ".rst") and path.is_file():
            builder.file(path.relative_to(builder.project))
    return workflow


def _add_artifact(builder: _Builder, path: Path, manifest: Manifest) -> None:
    results = builder.artifact(path, manifest)
    sources, cells = [], []
    for source in manifest.inputs:
        below = Path(source.path)
        if not is_plain(source.path):
            raise StudyError(f"{path}: {short(source.path)} is not in the project; {_AUDIT}")
        if CELLS in below.parents:
            cells.append(below)
        elif below.name.endswith(SUFFIX):
            builder.file(below)
            # The first file of a table or figure stands for it.
            made = read_manifest(builder.project / below)
            sources.append(builder.artifact(below, made)[0])
        else:
            sources.append(builder.file(below, source.sha256))
    if cells:
        sources.append(_collection(builder, manifest, cells))
    name = path.relative_to(RESULTS).as_posix().removesuffix(SUFFIX)
    builder.action(name, manifest.rule, [manifest], sources, results)


def _collection(builder: _Builder, table: Manifest, cells: Sequence[Path]) -> Entity:
    """Cells that a table was made from, as one collection, with the training that made them."""
    name = table.name.removeprefix(f"{RESULTS}/{builder.study.name}/")
    known = builder.crate.dereference(f"#of-{name}")
    if known is not None:
        return known
    manifests = {}
    members = []
    for path in cells:
        builder.file(path)
        manifests[path] = manifest = read_manifest(builder.project / path)
        if manifest.kind != "cell":
            raise StudyError(f"{path}: not the manifest of a cell; {_AUDIT}")
        if wrong := [source.path for source in manifest.inputs if not is_plain(source.path)]:
            raise StudyError(f"{path}: {short(wrong[0])} is not in the project; {_AUDIT}")
        members += builder.artifact(path, manifest, whole=builder.with_cells)
    collection = builder.entity(
        f"of-{name}",
        "Collection",
        name=f"{len(manifests)} cells of {name}",
        description="Manifests of trained cells, which hold the hashes of their files",
        hasPart=members,
    )
    builder.crate.root_dataset.append_to("mentions", collection)
    if "/tables/cells/" in table.name:
        data = _data(builder, manifests.values())
        seconds = sum(float(manifest.cost["seconds"]) for manifest in manifests.values())
        usage = builder.entity(
            f"seconds-of-{name}",
            "PropertyValue",
            name="time on the device",
            propertyID=f"{_TERMS}gpuTime",
            unitText="s",
            value=str(round(seconds, 4)),
        )
        trained = [*manifests.values()]
        builder.action(f"of-{name}", "train", trained, data, [collection], resourceUsage=[usage])
    return collection


def _data(builder: _Builder, cells: Iterable[Manifest]) -> list[Entity]:
    """Manifests of the prepared data read by cells, each with its action, and users' modules."""
    found = []
    inputs = {Path(source.path) for cell in cells for source in cell.inputs if source.seal}
    for path in sorted(inputs):
        known = builder.crate.dereference(path.as_posix())
        entity = builder.file(path)
        if known is None:
            manifest = read_manifest(builder.project / path)
            builder.artifact(path, manifest, whole=False)
            name = path.parent.as_posix().removeprefix(f"{RESULTS}/")
            builder.action(name, manifest.rule, [manifest], [], [entity])
        found.append(entity)
    if builder.with_cells:
        own = {s.path: s.sha256 for cell in cells for s in cell.inputs if not s.seal}
        found += [builder.file(Path(path), own[path]) for path in sorted(own)]
    return found


def _add_run(builder: _Builder, workflow: Entity, made: dict[Path, Manifest]) -> None:
    """Add the run of the whole workflow, from the study file to the figures."""
    crate, study = builder.crate, builder.study
    given = [builder.file(Path(CONFIG_FILE), source=builder.project / CONFIG_FILE)]
    place = Path(os.path.relpath(study.path, builder.project))
    if ".." in place.parts:
        place = Path("config/studies") / place.name
    given.insert(0, builder.file(place, source=builder.project / study.path))
    if study.maps:
        points = builder.project / points_path(study.path)
        given.append(builder.file(points_path(place), source=points))
    # Next to the study, which cannot be read without the modules that it names.
    for name, file in (pair for own in study.sources for pair in own.files.items()):
        if builder.with_cells:
            beside = Path(os.path.relpath(file, builder.project))
            beside = place.parent / name if ".." in beside.parts else beside
            given.append(builder.file(beside, source=builder.project / file))
    results = [
        builder.file(path.parent / file.path, file.sha256)
        for path, manifest in made.items()
        if manifest.kind != "table"
        for file in manifest.outputs
    ]
    engine = builder.entity(
        _ENGINE, "SoftwareApplication", name="Snakemake", url=_ENGINE, version=version("snakemake")
    )
    times = {
        "startTime": min(action["startTime"] for action in builder.actions),
        "endTime": max(action["endTime"] for action in builder.actions),
    }
    run = builder.entity(
        f"run-{study.name}",
        "CreateAction",
        name=f"Run of the study {study.name}",
        instrument=workflow,
        object=given,
        result=results,
        actionStatus=_COMPLETED,
        **times,
    )
    organized = builder.entity(
        f"organized-{study.name}",
        "OrganizeAction",
        name=f"Snakemake {version('snakemake')} ran the study {study.name}",
        instrument=engine,
        object=builder.controls,
        result=run,
        **times,
    )
    crate.root_dataset.append_to("mentions", [run, *builder.actions, organized])
