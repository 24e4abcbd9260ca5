"""What the commands take on a study of 2,000 cells: plan, why, prune, export-crate, and all cells as one frame.

    python benchmarks/plan.py [--gammas 50] [--etas 40]

The results are written by the workflow's own writers and scripts, without training; then Snakemake is asked once
to take them for its own (--touch). Times are of whole processes, Python's start included, except for load and
history: by the clock, and of the processor, which tells more where other processes run.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from projects import ROOT, machine, snakemake

import gammascape

sys.path.insert(0, str(ROOT / "tests"))
from unit.project import make_project, plan_of, write_results

STUDY = """\
datasets:
  digits: {{kind: digits}}
models:
  tiny: {{kind: mlp, depth: 2, width: 4}}
grids:
  - model: tiny
    dataset: digits
    loss: mse
    gamma: {{log10: {gammas}}}
    eta: {{log10: {etas}}}
    batch_size: 4
    steps: 20
"""


def axis(points: int) -> list[float]:
    """Values of log10 from -2 up, 0.1 apart, within float32's range of gamma."""
    return [round(-2 + 0.1 * k, 1) for k in range(points)]


def timed(act: Callable[[], object]) -> str:
    """Seconds that it takes, by the clock and of the processor, children included."""
    begun, before = time.perf_counter(), os.times()
    act()
    wall, after = time.perf_counter() - begun, os.times()
    return f"{wall:.2f} s ({sum(after[:4]) - sum(before[:4]):.2f} s of CPU)"


def command(*words: str) -> None:
    """One call of the command gammascape."""
    subprocess.run(
        [sys.executable, "-m", "gammascape", *words], check=True, stdout=subprocess.DEVNULL
    )


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gammas", type=int, default=50)
    parser.add_argument("--etas", type=int, default=40)
    chosen = parser.parse_args()
    gammas, etas = axis(chosen.gammas), axis(chosen.etas)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        project = make_project(
            Path(folder) / "bench", STUDY.format(gammas=gammas, etas=etas), "bench"
        )
        with contextlib.chdir(project):
            print(f"{len(gammas) * len(etas):,} cells; {machine()}", flush=True)
            build = timed(lambda: write_results(plan_of("bench")))
            print(f"results written: {build}", flush=True)
            snakemake(project, "--touch", "--cores", "1", "--quiet", "all")
            measure(project, [*gammas, 9.9], etas)


def measure(project: Path, more_gammas: list[float], etas: list[float]) -> None:
    """Time the commands, first with nothing to do and then with one gamma more."""
    path = gammascape.load("results").head(1).collect()["path"].item()
    trained = gammascape.load("results").select("gamma", "eta", "relative_loss")
    rows: dict[str, Callable[[], object]] = {
        "snakemake -n, nothing to do": lambda: snakemake(project, "--dry-run", "--quiet", "all"),
        "gammascape plan, nothing to do": lambda: command("plan"),
        "gammascape why FIGURE": lambda: command("why", "results/bench/figures/edges.svg"),
        "gammascape why CELL": lambda: command("why", path),
        "gammascape prune": lambda: command("prune"),
        "gammascape export-crate": lambda: command("export-crate", str(project.parent / "crate")),
        "load(...).collect()": gammascape.load("results").collect,
        "load(...).select(3 columns).collect()": trained.collect,
        "history(cell)": lambda: gammascape.history(path),
    }
    for name, act in rows.items():
        print(f"{name}: {timed(act)}", flush=True)
    study = project / "config/studies/bench.yaml"
    study.write_text(STUDY.format(gammas=more_gammas, etas=etas))
    print(f"gammascape plan, {len(etas)} new cells: {timed(lambda: command('plan'))}")


if __name__ == "__main__":
    main()
