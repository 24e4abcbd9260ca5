"""Wall time of one study: one process for each cell against packs, in one run.

    python benchmarks/end_to_end.py [--points 18] [--steps 1000] [--cores 2]

Both times go from the call of Snakemake, with nothing there, to its end: first until all cells are trained, then
tables and figures on top.
"""

import argparse
import tempfile
from pathlib import Path

from projects import machine, make_project, snakemake

STUDY = """\
datasets:
  digits: {{kind: digits}}
models:
  mlp3: {{kind: mlp, depth: 3, width: 64}}
grids:
  - model: mlp3
    dataset: digits
    loss: mse
    gamma: {{log10: {gammas}}}
    eta: {{log10: {etas}}}
    batch_size: 32
    steps: {steps}
"""


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=18, help="points of gamma and of eta")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--cores", default="2")
    chosen = parser.parse_args()
    gammas = [round(-3 + 6 * k / (chosen.points - 1), 2) for k in range(chosen.points)]
    etas = [round(-5 + 8 * k / (chosen.points - 1), 2) for k in range(chosen.points)]
    study = STUDY.format(gammas=gammas, etas=etas, steps=chosen.steps)
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        for executor in ("packed", "local"):
            project = make_project(Path(folder) / executor, study)
            options = ("--executor", executor, "--cores", chosen.cores)
            cells = snakemake(project, *options, "--until", "train")
            rest = snakemake(project, *options)
            times[executor] = (cells, cells + rest)
            print(f"{executor}: cells {cells:.1f} s, tables and figures {rest:.1f} s", flush=True)
    print(f"{chosen.points**2} cells of {chosen.steps} steps, {chosen.cores} cores; {machine()}")
    print(f"cells trained: {times['local'][0] / times['packed'][0]:.1f} times faster in packs")
    print(f"whole study:   {times['local'][1] / times['packed'][1]:.1f} times faster in packs")


if __name__ == "__main__":
    main()
