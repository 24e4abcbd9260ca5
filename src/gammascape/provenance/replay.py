"""The command `gammascape replay`: train a random sample of the cells behind an artifact again and compare."""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammascape.origin import Manifest, ManifestError, read_manifest
from gammascape.origin.inside import inside_project
from gammascape.provenance.artifact import CELLS
from gammascape.provenance.chain import RESULTS
from gammascape.provenance.findings import Finding
from gammascape.provenance.locate import locate
from gammascape.sources import folder_of
from gammascape.study import Cell, StudyError
from gammascape.study.factories import Factory
from gammascape.terminal import say, say_json, visible
from gammascape.workflow import SOURCES

if TYPE_CHECKING:
    from gammascape.cli import Commands
    from gammascape.training.trainer import Worker

AGREES, DIFFERS = 0, 1


@dataclass(frozen=True)
class Replay:
    """One cell of the sample."""

    cell: str
    agrees: bool | None
    """None where it could not be trained again."""
    identical: bool
    """Whether every byte is the same."""
    text: str


def add(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "replay",
        help="train a random sample of the cells behind a figure again and compare",
        description=__doc__,
        epilog="Exit status: 0 all agree; 1 one differs or could not be trained; 2 a mistake in the command.",
    )
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="as for `gammascape audit`")
    parser.add_argument("--cells", type=int, required=True, help="size of the sample")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="default: that of each cell, or else what there is",
    )
    parser.add_argument(
        "--scratch", type=Path, help="folder to train in and keep; a temporary one else"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--directory", type=Path, help="folder that holds results")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Train again, compare and print; returns the exit status."""
    if chosen.cells < 1:
        raise StudyError("gammascape replay: --cells is a number of cells, at least 1")
    try:
        found = locate(chosen.artifact, chosen.directory)
    except FileNotFoundError:
        raise StudyError(f"{chosen.artifact}: no such file or folder") from None
    if isinstance(found, Finding):
        raise StudyError(f"{chosen.artifact}: {found.text}")
    behind = cells_behind(found.manifest, found.root)
    if not behind:
        raise StudyError(f"{chosen.artifact}: no cells are behind it")
    chosen_cells = sample(behind, chosen.cells, chosen.seed)
    if not chosen.json:
        say(
            f"{len(chosen_cells):,} of {len(behind):,} cells behind {found.manifest}, seed {chosen.seed}"
        )
    results = []
    with _scratch(chosen.scratch, found.root) as folder:
        for result in replay(chosen_cells, found.root, folder, chosen.device):
            results.append(result)
            if not chosen.json:
                say(f"{_word(result)}  {result.cell}: {result.text}")
    agreeing = sum(result.agrees is True for result in results)
    if chosen.json:
        rows = [vars(result) for result in results]
        content = {"artifact": found.manifest, "behind": len(behind), "seed": chosen.seed}
        say_json({**content, "cells": rows})
    else:
        identical = sum(result.identical for result in results)
        say(f"{agreeing:,} of {len(results):,} agree, {identical:,} of them bit for bit")
    return AGREES if agreeing == len(results) else DIFFERS


def cells_behind(manifest: str, root: Path) -> list[str]:
    """Paths of the manifests of all cells that an artifact was made from, sorted.

    Raises:
        StudyError: if a manifest on the way to them cannot be read.
    """
    cells: set[str] = set()
    seen: set[str] = set()
    pending = [manifest]
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.startswith("results/cells/"):
            cells.add(path)
            continue
        try:
            inputs = read_manifest(inside_project(root, path)).inputs
        except (OSError, ManifestError) as error:
            why = getattr(error, "strerror", None) or error
            raise StudyError(f"{visible(path)}: {why}; `gammascape audit` says more") from None
        pending += [source.path for source in inputs if source.seal is not None]
    return sorted(cells)


def sample(cells: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of the cells, or all if there are fewer: the same for the same seed."""
    return sorted(random.Random(seed).sample(list(cells), min(count, len(cells))))


def replay(
    cells: Sequence[str], root: Path, scratch: Path, device: str | None = None
) -> Iterator[Replay]:
    """Train cells again, one after another, each alone.

    Args:
        cells: paths of their manifests, relative to `root`.
        scratch: folder to train in.
        device: cpu, cuda or auto; None for that of each cell where there is one like it.
    """
    workers: dict[str, Worker] = {}
    for path in cells:
        name = path.removesuffix("/manifest.json")
        try:
            manifest = read_manifest(inside_project(root, path))
            cell = Cell.from_canonical(json.dumps(dict(manifest.record)))
        except (OSError, ManifestError, StudyError) as error:
            yield Replay(name, None, False, str(error).replace("\n", " "))
            continue
        worker = _worker(workers, device or str((manifest.device or {}).get("device", "auto")))
        output = scratch / name
        problem = _train(worker, cell, manifest, root, output)
        if problem is not None:
            yield Replay(name, None, False, problem)
            continue
        yield _compared(name, manifest, root / name, output)


def _compared(name: str, manifest: Manifest, made: Path, output: Path) -> Replay:
    from gammascape.provenance.compare import compare, must_be_exact

    exact = must_be_exact(manifest, read_manifest(output / "manifest.json"))
    try:
        result = compare(made, output, exact=exact)
    except (OSError, ValueError, KeyError) as error:
        return Replay(name, False, False, f"its artifact cannot be read ({error})")
    return Replay(name, result.agrees, result.identical, result.text)


def _worker(workers: dict[str, "Worker"], device: str) -> "Worker":
    """One for each device, so that data are read once."""
    import torch

    from gammascape.training.trainer import Worker

    if device == "cuda" and not torch.cuda.is_available():
        device = "cpu"
    if device not in workers:
        workers[device] = Worker(device, 60.0, "replay")
    return workers[device]


def _train(
    worker: "Worker", cell: Cell, manifest: Manifest, root: Path, output: Path
) -> str | None:
    """Train a cell into `output`; returns what went wrong, if anything."""
    from gammascape.training.trainer import Task

    try:
        data = [inside_project(root, s.path) for s in manifest.inputs if s.seal is not None]
    except OSError as error:
        return f"its data: {error.strerror or error}"
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
    return str(failed[0]["error"]) if failed else None


@contextmanager
def _scratch(folder: Path | None, root: Path) -> Iterator[Path]:
    if folder is not None:
        folder = folder.resolve()
        # What is trained must not take the place of what it is compared with.
        if (folder / CELLS).exists() or folder.is_relative_to((root / RESULTS).resolve()):
            raise StudyError(
                f"gammascape replay: --scratch {folder} holds results; name a folder without any"
            )
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="gammascape-replay-") as made:
        yield Path(made)


def _word(result: Replay) -> str:
    if result.agrees is None:
        return "not trained"
    return "agrees" if result.agrees else "DIFFERS"
