"""What a cell's manifest costs beside its other two files.

    python benchmarks/manifests.py [--cells 500]

Writes the artifact of one small trained cell again and again: as it is, and without its manifest.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from projects import ROOT, machine

from gammascape.manifests import Source
from gammascape.training import artifact
from gammascape.training.device import set_up_backend

# A trained cell is made as the tests of the audit make theirs.
sys.path.insert(0, str(ROOT / "tests"))
from unit.tree import prepare_data, train, write_study

GOAL = 5.0
"""Milliseconds for each cell."""
ROUNDS = 5


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=500, help="cells written in a round")
    count = parser.parse_args().cells
    _, backend = set_up_backend("cpu")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        study = write_study(root, "[0]", "[0]", steps=20, dataset="digits")
        prepare_data(root, "digits")
        train(root, study.cells)
        (folder,) = (root / "results/cells").glob("*/*")
        summary = json.loads((folder / "summary.json").read_bytes())
        with np.load(folder / "arrays.npz") as file:
            arrays = {key: file[key] for key in file.files}
        manifest = json.loads((folder / "manifest.json").read_bytes())
        origin = artifact.Origin(
            inputs=tuple(Source(**item) for item in manifest["inputs"]),
            backend=backend,
            executor="packed",
            attempts=manifest["attempts"],
            seconds=1.0,
            lanes=1,
        )

        def write() -> float:
            begun = time.perf_counter()
            for number in range(count):
                artifact.write_cell(root / f"written/{number}", summary, arrays, origin)
            return 1e3 * (time.perf_counter() - begun) / count

        size = (folder / "manifest.json").stat().st_size
        whole, bare = _rounds(write)
    cost = whole - bare
    print(machine())
    print(
        f"{count} cells in each of {ROUNDS} rounds, median, ms for each cell; a manifest has {size:,} bytes"
    )
    print("| with manifest | without | manifest | goal |\n|---|---|---|---|")
    print(f"| {whole:.2f} | {bare:.2f} | {cost:.2f} | {GOAL:.0f} |")


def _rounds(write: Callable[[], float]) -> tuple[float, float]:
    """Median times with and without the manifest, taken in turns: the machine may be busy at times."""
    write()
    whole, bare = [], []
    for _ in range(ROUNDS):
        whole.append(write())
        with (
            mock.patch.object(artifact, "Manifest"),
            mock.patch.object(artifact, "write_manifest"),
            mock.patch.object(artifact, "code_state"),
            mock.patch.object(artifact, "environment"),
            mock.patch.object(artifact.hashlib, "sha256"),
        ):
            bare.append(write())
    return statistics.median(whole), statistics.median(bare)


if __name__ == "__main__":
    main()
