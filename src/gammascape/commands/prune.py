"""List artifacts that no study asks for; --yes moves them to a trash folder.

Considers cells, prepared data, tables and figures below results, and the studies named in config/config.yaml or
given with --study. With --yes artifacts are moved to results/.trash, from where they can be moved back; nothing is
deleted.
"""

import argparse
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gammascape.commands import add_shared
from gammascape.manifests.manifest import FILE_NAME, SUFFIX
from gammascape.manifests.paths import CELLS, GENERATED, RESULTS, OutsideError, inside, short
from gammascape.needs import size_text
from gammascape.provenance.project import (
    manifests_of_tables_and_figures,
    of_plan,
    open_project,
    other_studies,
)
from gammascape.study import StudyError
from gammascape.terminal import say
from gammascape.workflow.plan import Plan

_DATA = RESULTS / "data"
_TRASH = RESULTS / ".trash"
_LOCKS = Path(".snakemake/locks")
_SHOWN = 10


@dataclass(frozen=True)
class Unasked:
    """An artifact that no study asks for, with all its files and folders."""

    kind: str
    name: str
    paths: tuple[Path, ...]
    outside: tuple[str, ...] = ()
    """Files named in its manifest that are not below its folder; they stay."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        below = (file for path in self.paths if not path.is_symlink() for file in path.rglob("*"))
        return sum(file.stat().st_size for file in (*self.paths, *below) if file.is_file())


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--yes", action="store_true", help=f"move them to {_TRASH}/<time>")
    add_shared(parser, "--study")


def run(chosen: argparse.Namespace) -> int:
    """List artifacts, and move them if asked to."""
    plan = open_project(chosen.study)
    found = list(unasked(plan))
    say(*words(plan, found))
    if not found:
        return 0
    if not chosen.yes:
        say(f"nothing was moved; --yes moves them to {_TRASH}")
        return 0
    if _LOCKS.is_dir() and any(_LOCKS.iterdir()):
        raise StudyError(
            "prune: snakemake is at work in this folder, or was killed (snakemake --unlock)"
        )
    say(f"moved to {move(found, _TRASH)}")
    return 0


def unasked(plan: Plan) -> Iterator[Unasked]:
    """Cells, data, tables and figures on disk that no study of the plan asks for."""
    here = CELLS.resolve()
    for folder in sorted(path for path in CELLS.glob("*/*") if path.is_dir()):
        name = folder.relative_to(CELLS).as_posix()
        # A link may lead to folders outside the results.
        if name not in plan.cells and folder.resolve().is_relative_to(here):
            log = RESULTS / "logs/cells" / f"{name}.log"
            # Move the folder last: the cell is found as long as its folder exists.
            yield Unasked("cell", name, (log, folder) if log.is_file() else (folder,))
    for parent, wanted in (
        (_DATA, _wanted_data(plan)),
        (GENERATED, {*plan.models, *(f"mnist1m-{key}" for key in plan.generators)}),
    ):
        for folder in sorted(path for path in parent.glob("*") if path.is_dir()):
            if folder.name not in wanted and not folder.name.startswith("."):
                yield Unasked("data", folder.relative_to(RESULTS).as_posix(), (folder,))
    for path, manifest in manifests_of_tables_and_figures():
        first, *inner = path.relative_to(RESULTS).parts
        if first == GENERATED.name:
            continue
        if not of_plan(manifest, plan) or (inner and first not in plan.studies):
            files, outside = [], []
            name = path.as_posix().removesuffix(SUFFIX)
            for file in manifest.outputs:
                try:
                    # Other files next to it may be asked for.
                    if not file.path.startswith(path.name.removesuffix(FILE_NAME)):
                        raise OutsideError(f"{short(file.path)} is no file of {name}")
                    files.append(inside(path.parent, file.path))
                except OutsideError as error:
                    outside.append(str(error))
                except OSError:
                    continue
            yield Unasked(manifest.kind, name, (*dict.fromkeys(files), path), tuple(outside))


def _wanted_data(plan: Plan) -> set[str]:
    read = {Path(path) for cell in plan.cells for path in plan.reads(cell)}
    names = {path.parent.name for path in read if _DATA in path.parents}
    # MNIST-1M is tested on MNIST and made from it.
    return names | {"mnist" for name in names if name.startswith("mnist1m")}


def words(plan: Plan, artifacts: Sequence[Unasked]) -> Iterator[str]:
    """Lines listing the studies considered and the artifacts found."""
    studies = ", ".join(f"{name} ({study.path})" for name, study in plan.studies.items())
    yield f"studies considered: {studies}"
    if not artifacts:
        yield "every artifact is asked for"
        return
    for kind in dict.fromkeys(item.kind for item in artifacts):
        items = [item for item in artifacts if item.kind == kind]
        yield f"{kind}: {len(items):,} not asked for, {size_text(sum(item.size for item in items))}"
        yield from (f"  {item.name}" for item in items[:_SHOWN])
        if len(items) > _SHOWN:
            yield f"  and {len(items) - _SHOWN:,} more"
        yield from (f"  stays where it is: {why}" for item in items for why in item.outside)
    cells = {item.name for item in artifacts if item.kind == "cell"}
    folders = {study.path.parent for study in plan.studies.values()}
    for study in other_studies(plan, folders) if cells else ():
        if asked := len(cells & set(study.by_path)):
            yield f"note: {study.path}, which is not considered, asks for {asked:,} of these cells"


def move(artifacts: Iterable[Unasked], trash: Path) -> Path:
    """Move artifacts into a new folder of the trash, keeping their paths below results."""
    folder = trash / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    for item in artifacts:
        for path in item.paths:
            target = folder / path.relative_to(RESULTS)
            target.parent.mkdir(parents=True, exist_ok=True)
            # Results may be on several disks.
            shutil.move(path, target)
            left = path.parent
            while left != RESULTS and not any(left.iterdir()):
                left.rmdir()
                left = left.parent
    return folder
