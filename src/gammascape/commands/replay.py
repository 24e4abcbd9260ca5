"""Make a figure and its tables again from the cells, retrain a sample of the cells, and compare.

Exit status: 0 all agree; 1 one differs or cannot be compared; 2 a mistake in the command.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammascape.commands import add_shared
from gammascape.manifests import Manifest, ManifestError, read_manifest
from gammascape.manifests.manifest import FILE_NAME, SUFFIX
from gammascape.manifests.paths import RESULTS, cell_of, inside_project
from gammascape.manifests.whole import ARRAYS
from gammascape.provenance.chain import paths_from
from gammascape.provenance.compare import compare, disturbed, must_be_exact, same_files
from gammascape.provenance.locate import NAMES, Found, find, load_studies
from gammascape.provenance.remake import THE_SAME, Remade, below, by_other_code, remake
from gammascape.provenance.unpacked import refuse_left_out
from gammascape.study import Cell, StudyError
from gammascape.study.keys.factories import Factory
from gammascape.tables.cells import TableError
from gammascape.terminal import say, say_json, visible
from gammascape.usercode.find import folder_of
from gammascape.workflow.catalogue import everything
from gammascape.workflow.plan import SOURCES

if TYPE_CHECKING:
    from gammascape.training.worker import Worker

_WORDS = {True: "agrees", False: "DIFFERS", None: "not compared"}
_HEADINGS = {
    "made": "tables and figures, made again from all cells",
    "cells": "{:,} of {:,} cells behind it, trained again, seed {}",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", help=NAMES)
    parser.add_argument("--cells", type=int, required=True, help="size of the sample")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="default: the device of each cell, or the CPU if it is not available",
    )
    parser.add_argument(
        "--scratch", type=Path, help="folder to train in and keep; by default a temporary one"
    )
    add_shared(parser, "--json", "--study", "--directory")


def run(chosen: argparse.Namespace) -> int:
    """Train again, compare, print, and return the exit status."""
    if chosen.cells < 1:
        raise StudyError("gammascape replay: --cells is a number of cells, at least 1")
    found = find(chosen.artifact, chosen.directory)
    behind = cells_behind(found.manifest, found.root)
    if not behind and "wildcards" not in _record(found):
        raise StudyError(f"{chosen.artifact}: no cells are behind it")
    for path in behind:
        if not (arrays := (found.root / path).with_name(ARRAYS)).is_file():
            refuse_left_out(found.root, arrays, "a replay compares with")
    chosen_cells = sample(behind, chosen.cells, chosen.seed)
    results: dict[str, list[Remade]] = {"made": [], "cells": []}
    tell = (lambda *lines: None) if chosen.json else say
    with _scratch(chosen.scratch, found.root) as folder:
        studies = [Path(path) for path in chosen.study or ()]
        for part, rows in (
            ("made", again_from_cells(found, folder / "remade", studies)),
            ("cells", replay(chosen_cells, found.root, folder, chosen.device)),
        ):
            tell(_HEADINGS[part].format(len(chosen_cells), len(behind), chosen.seed))
            for row in rows:
                results[part].append(row)
                if part == "cells" or row.text != THE_SAME:
                    tell(f"{_WORDS[row.agrees]}  {row.name}: {row.text}")
            tell(_counted(results[part]))
    tell(_conclusion(results))
    if chosen.json:
        content = {"artifact": found.manifest, "behind": len(behind), "seed": chosen.seed}
        cells = [{"cell": row.name, **vars(row)} for row in results["cells"]]
        say_json({**content, "made": [vars(row) for row in results["made"]], "cells": cells})
    return int(not all(row.agrees for rows in results.values() for row in rows))


def again_from_cells(
    artifact: Found, scratch: Path, studies: Sequence[Path] = ()
) -> Iterator[Remade]:
    """Make an artifact again, with everything between it and its cells.

    An artifact that belongs to no study cannot be made; a copy must match its manifest.
    """
    stem, record = artifact.manifest.removesuffix(SUFFIX), _record(artifact)
    for finding in artifact.findings:
        agrees = False if finding.severity == "error" else None
        yield Remade(stem, agrees, False, finding.text)
    if "wildcards" not in record:
        return
    names = [str(record["wildcards"].get("study")), *record["params"].get("studies", {})]
    plan = load_studies(artifact.root, studies, names)
    items = [] if plan is None else below(everything(plan, artifact.root), artifact.manifest)
    if not items:
        text = "no study at hand has it, so it cannot be made again; name one with --study"
        yield Remade(stem, None, False, text)
    yield from remake(items, artifact.root, scratch)


def _record(artifact: Found) -> dict[str, Any]:
    try:
        return dict(read_manifest(artifact.root / artifact.manifest).record)
    except ManifestError as error:
        raise StudyError(f"{error}; `gammascape audit` says more") from None


def _counted(rows: Sequence[Remade]) -> str:
    agreeing = sum(row.agrees is True for row in rows)
    identical = sum(row.identical for row in rows)
    unclear = sum(row.agrees is None for row in rows)
    more = f"; {unclear:,} cannot be compared" if unclear else ""
    return f"{agreeing:,} of {len(rows):,} agree, {identical:,} of them bit for bit{more}"


def _conclusion(results: Mapping[str, Sequence[Remade]]) -> str:
    bad = [
        f"{sum(wrong):,} {words[sum(wrong) > 1]} {verdict[sum(wrong) > 1]}"
        for part, words in (
            ("made", ("table or figure", "tables and figures")),
            ("cells", ("cell", "cells")),
        )
        for verdict, value in ((("DIFFERS", "DIFFER"), False), (("cannot be compared",) * 2, None))
        if any(wrong := [row.agrees is value for row in results[part]])
    ]
    return "; ".join(bad) or "everything agrees"


def cells_behind(manifest: str, root: Path) -> list[str]:
    """Sorted paths of the manifests of all cells that an artifact was made from.

    Raises:
        StudyError: if a manifest on the way to them cannot be read.
    """

    def below(path: str) -> list[str]:
        if cell_of(path):
            return []
        try:
            inputs = read_manifest(inside_project(root, path)).inputs
        except (OSError, ManifestError) as error:
            why = getattr(error, "strerror", None) or error
            raise StudyError(f"{visible(path)}: {why}; `gammascape audit` says more") from None
        return [source.path for source in inputs if source.seal is not None]

    return sorted(filter(cell_of, paths_from([manifest], below)))


def sample(cells: Sequence[str], count: int, seed: int) -> list[str]:
    """Sample of `count` cells, or all if there are fewer; equal for equal seeds."""
    return sorted(random.Random(seed).sample(list(cells), min(count, len(cells))))


def replay(
    cells: Sequence[str], root: Path, scratch: Path, device: str | None = None
) -> Iterator[Remade]:
    """Train cells again, one after another, each alone.

    Args:
        cells: paths of their manifests, relative to `root`.
        scratch: folder to train in.
        device: cpu, cuda or auto; None for the device of each cell, if available.
    """
    workers: dict[str, Worker] = {}
    for path in cells:
        name = path.removesuffix(f"/{FILE_NAME}")
        output = scratch / name
        try:
            manifest = read_manifest(inside_project(root, path))
            cell = Cell.from_canonical(json.dumps(dict(manifest.record)))
            worker = _worker(workers, device or str((manifest.device or {}).get("device", "auto")))
            _train(worker, cell, manifest, root, output)
        except (OSError, ManifestError, StudyError, _NotTrainedError) as error:
            text = str(error).replace("\n", " ")
            yield Remade(name, None, False, f"not trained: {text}")
            continue
        try:
            again, twin = read_manifest(output / FILE_NAME), None
            if not must_be_exact(manifest, again) and not same_files(root / name, output):
                twin = output.with_name(f"{output.name}-twin")
                _train(worker, disturbed(cell, manifest, again), manifest, root, twin)
            result = compare(root / name, output, twin)
        except _NotTrainedError as error:
            yield Remade(name, None, False, f"not trained: {error}")
        except (OSError, ValueError, KeyError, TypeError, TableError) as error:
            yield Remade(name, False, False, f"its artifact cannot be read ({error})")
        else:
            text = result.text + by_other_code(manifest)
            yield Remade(name, result.agrees, result.identical, text)


class _NotTrainedError(Exception):
    """The cell could not be trained again; the message gives the reason."""


def _worker(workers: dict[str, "Worker"], device: str) -> "Worker":
    """Worker of a device, one for each, so that data are read once."""
    import torch

    from gammascape.training.worker import Worker

    if device == "cuda" and not torch.cuda.is_available():
        device = "cpu"
    if device not in workers:
        workers[device] = Worker(device, 60.0, "replay")
    return workers[device]


def _train(worker: "Worker", cell: Cell, manifest: Manifest, root: Path, output: Path) -> None:
    """Train a cell into `output`."""
    from gammascape.training.worker import Task

    try:
        data = [inside_project(root, s.path) for s in manifest.inputs if s.seal is not None]
    except OSError as error:
        raise _NotTrainedError(f"its data: {error.strerror or error}") from None
    sources = tuple(
        root / SOURCES / folder_of(spec.sources) / file
        for spec in (cell.model, cell.dataset)
        if isinstance(spec, Factory)
        for file in spec.sources
    )
    log = output.with_name(f"{output.name}.log")
    task = Task(cell.identity, cell.record(), data[0] if data else None, output, log, sources)
    failed: list[dict[str, Any]] = []
    worker.run([task], lambda e: failed.append(e) if e["event"] == "failed" else None)
    if failed:
        raise _NotTrainedError(str(failed[0]["error"]))


@contextmanager
def _scratch(folder: Path | None, root: Path) -> Iterator[Path]:
    if folder is not None:
        folder = folder.resolve()
        # Training must neither overwrite the results that it is compared with nor leave files among others.
        if folder.is_relative_to((root / RESULTS).resolve()) or (
            folder.is_dir() and any(folder.iterdir())
        ):
            raise StudyError(
                f"gammascape replay: --scratch {folder} holds results or other files; name an empty folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="gammascape-replay-") as made:
        yield Path(made)
