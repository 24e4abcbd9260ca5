"""Project in the current folder: the studies considered, and the artifacts on disk."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gammascape.manifests import Manifest, ManifestError, read_manifest
from gammascape.manifests.code import other_code
from gammascape.manifests.manifest import FILE_NAME, FOLDERS, SUFFIX
from gammascape.manifests.paths import CELLS, RESULTS, cell_of, inside_project
from gammascape.study import Study, StudyError, load_study
from gammascape.study.keys.config import CONFIG_FILE
from gammascape.study.reading.yaml_reader import read_yaml
from gammascape.workflow.catalogue import modules_behind
from gammascape.workflow.plan import Plan, load_plan


def configuration(root: Path = Path()) -> dict[str, Any]:
    """Values of the configuration of the project in a folder; empty without one.

    Raises:
        StudyError: if it cannot be read or is not YAML.
    """
    config = root / CONFIG_FILE
    content = read_yaml(config).data if config.is_file() else {}
    return dict(content) if isinstance(content, dict) else {}


def open_project(studies: Sequence[str] | None = None, *, begin: bool = False) -> Plan:
    """Load the configuration of the project in the current folder, with these studies instead of its own.

    With `begin`, maps may lack points.

    Raises:
        StudyError: if the configuration or a study is invalid.
    """
    if not Path(CONFIG_FILE).is_file():
        raise StudyError(f"{CONFIG_FILE}: no such file; go to the folder where you run snakemake")
    values = configuration()
    if studies:
        values["study"] = list(studies)
    return load_plan(values, begin=begin)


def other_studies(plan: Plan, folders: Iterable[Path]) -> Iterator[Study]:
    """Studies in these folders that a plan does not consider; other files are skipped."""
    known = {study.path.resolve() for study in plan.studies.values()}
    for path in sorted(file for folder in folders for file in folder.glob("*.yaml")):
        if path.resolve() not in known:
            with suppress(StudyError):
                yield load_study(path)


def of_plan(manifest: Manifest, plan: Plan) -> bool:
    """Return whether a study of the plan asks for a table, figure or page."""
    wildcards = manifest.wildcards
    study = plan.studies.get(wildcards.get("study", ""))
    if study is None:
        return "study" not in wildcards
    key = wildcards.get("slice")
    return key is None or key in {part.key for part in study.slices}


def cells_on_disk() -> dict[str, Manifest]:
    """Finished cells by path below results/cells; cells with a damaged manifest are left to the audit."""
    found = {}
    for path in sorted(CELLS.glob(f"*/*/{FILE_NAME}")):
        with suppress(OSError, ManifestError):
            manifest = read_manifest(inside_project(Path(), path.as_posix()))
            if manifest.kind == "cell":
                found[path.parent.relative_to(CELLS).as_posix()] = manifest
    return found


def manifests_of_tables_and_figures(folder: str = "**") -> Iterator[tuple[Path, Manifest]]:
    """Manifests of tables, figures and pages of all studies on disk, or of one folder below results, by path."""
    for path in sorted(RESULTS.glob(f"{folder}/*{SUFFIX}")):
        if path.relative_to(RESULTS).parts[0] not in ("cells", "data", ".trash"):
            with suppress(ManifestError):
                manifest = read_manifest(path)
                if manifest.kind not in FOLDERS:
                    yield path, manifest


def previous_cells(study: str) -> set[str]:
    """Paths below results/cells of the cells that a study had when its tables were last made."""
    return {
        cell
        for _, manifest in manifests_of_tables_and_figures(f"{study}/tables/cells")
        for source in manifest.inputs
        if (cell := cell_of(source.path))
    }


def code_changes(manifest: Manifest) -> list[str]:
    """Modules that have changed since they made an artifact; empty if the code is accepted for it."""
    return other_code(manifest.code, manifest.accepted, modules_behind(manifest)) or []
