"""Size of the explorer, and how long it takes to write, to show and to answer a click.

    python benchmarks/explorer.py [--cells 182 1000 10000]

Made-up cells of 1,000 steps, with seven observables at eleven steps, in a temporary folder. The page is timed in a
headless Chromium, if one is installed: from its opening until all is drawn, and from a click to the next drawing.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from projects import ROOT, machine

from gammascape.figures.explorer.page import write_explorer
from gammascape.runs.history import measurement_steps
from gammascape.runs.outcome import Thresholds
from gammascape.tables.cells import CELL_SCHEMA
from gammascape.tables.edges.budget import BUDGET_SCHEMA
from gammascape.tables.edges.find import THRESHOLD_SCHEMA

sys.path.insert(0, str(ROOT / "tests"))
from unit.browser import CHROMIUM, chromium
from unit.figures.synthetic import SCALING_SCHEMA

STEPS = 1000
OBSERVED = ("sharpness", "eta_times_sharpness", "kernel_alignment", "relative_change")
LAYERED = {"relative_change": ("layer1", "layer2", "layer3", "layer4")}


def make(folder: Path, count: int) -> pl.DataFrame:
    """Artifacts of made-up cells in slices of about 500, and their table."""
    random, rows = np.random.default_rng(0), []
    slices = 1 + count // 500
    etas = 20
    for k in range(count):
        nth, place = k % slices, k // slices
        gamma, eta = 0.25 * (place // etas) - 3.0, 0.25 * (place % etas) - 2.0
        losses = np.exp(-np.arange(STEPS) / 300 + 0.1 * random.normal(size=STEPS)).astype(
            np.float32
        )
        cell = folder / f"made/c{k}-{k:012x}"
        cell.mkdir(parents=True)
        arrays = {"step": np.arange(STEPS), "loss": losses, "loss_max": losses}
        np.savez(cell / "arrays.npz", **arrays, zero_loss=np.ones(STEPS))
        taken: list[dict[str, Any]] = []
        for step in measurement_steps(STEPS):
            found = {name: float(random.random()) for name in OBSERVED}
            layers = {n: {x: float(random.random()) for x in of} for n, of in LAYERED.items()}
            taken.append({"step": step, **found, **layers})
        tests = [{"step": t["step"], "loss": t["sharpness"], "accuracy": 0.9} for t in taken]
        (cell / "summary.json").write_text(json.dumps({"evaluations": tests, "observables": taken}))
        key = f"mlp{nth}-made-mse-B64-T{STEPS}"
        final = float(losses[-50:].mean())
        rows.append(
            {"slice": key, "model": f"mlp{nth}", "dataset": "made", "loss": "mse", "batch_size": 64}
            | {"steps": STEPS, "cell": f"made/{cell.name}", "gamma_log10": gamma, "eta_log10": eta}
            | {"seed": 0, "data_seed": 0, "status": "trained", "initial_loss": float(losses[0])}
            | {"final_loss": final, "relative_loss": final, "peak_loss": float(losses.max())}
            | {"peak_step": 0, "steps_done": STEPS, "seconds": 0.1, "data_digest": "0"}
        )
    return pl.DataFrame(rows, schema=CELL_SCHEMA).sort("slice", "gamma_log10", "eta_log10")


def shown(path: Path) -> str:
    """Seconds until the page is drawn, and between a click and the next drawing, the median of nine."""
    if CHROMIUM is None:
        return "no chromium"
    with chromium() as page:
        begun = time.perf_counter()
        page.open(path)
        ready = time.perf_counter() - begun
        script = (
            "(async (begun) => { await explorer.choose([%d]); return performance.now() - begun })"
            "(performance.now())"
        )
        clicks = [page.run(script % cell) for cell in range(9)]
    return f"{ready:.2f} | {median(clicks) / 1000:.2f}"


def main() -> None:
    """Print a row for each number of cells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[182, 1000, 10_000])
    print(machine())
    print("| cells | MB | written in s | drawn in s | click answered in s |\n|---|---|---|---|---|")
    for count in parser.parse_args().cells:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            cells = make(folder / "cells", count)
            empty = {
                "thresholds": THRESHOLD_SCHEMA,
                "scaling": SCALING_SCHEMA,
                "budget": BUDGET_SCHEMA,
            }
            tables = {n: pl.DataFrame(schema=s) for n, s in empty.items()} | {"cells": cells}
            path, begun = folder / "explorer.html", time.perf_counter()
            write_explorer("made", tables, folder / "cells", Thresholds(), path)
            took, size = time.perf_counter() - begun, path.stat().st_size / 1e6
            print(f"| {count:,} | {size:.2f} | {took:.1f} | {shown(path)} |", flush=True)


if __name__ == "__main__":
    main()
