"""What ten thousand cells cost beside their training: planning, bookkeeping, aggregation.

    python benchmarks/scale.py [--points 100]
    python benchmarks/scale.py --planning [--tree OTHER_CHECKOUT ...]

The cells are so small that what is timed is everything else. Planning is compared with a bare Snakefile
of the same jobs, outputs and parameters, or, before anything is trained, with other checkouts.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from projects import ROOT, machine, make_project, snakemake

STUDY = """\
datasets:
  digits: {{kind: digits}}
models:
  tiny: {{kind: mlp, depth: 2, width: 4}}
grids:
  - model: tiny
    dataset: digits
    loss: mse
    gamma: {{log10: {values}}}
    eta: {{log10: {values}}}
    batch_size: 4
    steps: 20
"""
BARE = """\
CELLS = {cells!r}
FILES = ["summary.json", "arrays.npz", "manifest.json"]

rule all:
    input: expand("results/cells/{{cell}}/{{file}}", cell=CELLS, file=FILES)

rule train:
    output:
        summary="results/cells/{{cell}}/summary.json",
        arrays="results/cells/{{cell}}/arrays.npz",
        manifest="results/cells/{{cell}}/manifest.json",
    log: "results/logs/cells/{{cell}}.log",
    params: cell=lambda wildcards: CELLS[wildcards.cell],
    shell: "touch {{output}}"
"""


QUIET = ("--dry-run", "--quiet", "all", "--until", "train")


def plan(trees: Sequence[Path], study: str) -> None:
    """Print the time of planning of an empty project for each checkout, twice in turn."""
    print(machine(), flush=True)
    for tree in trees * 2:
        # An editable installation is found after this.
        os.environ["PYTHONPATH"] = str(tree.resolve() / "src")
        with tempfile.TemporaryDirectory() as folder:
            seconds = snakemake(make_project(Path(folder) / "study", study, tree), *QUIET)
        print(f"{tree.resolve().name}: planning, nothing there: {seconds:.1f} s", flush=True)


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100, help="points of gamma and of eta")
    parser.add_argument(
        "--planning", action="store_true", help="planning of an empty project alone"
    )
    parser.add_argument("--tree", type=Path, nargs="*", default=[], help="checkouts to compare")
    chosen = parser.parse_args()
    points = chosen.points
    values = [round(-5 + 10 * k / points, 2) for k in range(points)]
    if chosen.planning:
        plan([ROOT, *chosen.tree], STUDY.format(values=values))
        return
    count = points**2
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "study", STUDY.format(values=values))
        fresh = snakemake(project, *QUIET)
        run = snakemake(project, "--until", "train")
        nothing = snakemake(project, *QUIET)
        snakemake(project)
        records = [
            json.loads(path.read_text())
            for path in (project / ".snakemake/metadata").iterdir()
            if path.is_file()
        ]
        tables = {
            record["rule"]: record["endtime"] - record["starttime"]
            for record in records
            if record["rule"] in ("cells", "edges", "similarity")
        }
        texts = {
            str(path.parent.relative_to(project / "results/cells")): path.read_text()
            for path in project.glob("results/cells/*/*/summary.json")
        }
        cells = {name: json.dumps(json.loads(text)["cell"]) for name, text in texts.items()}
        bare = Path(folder) / "bare"
        bare.mkdir()
        (bare / "Snakefile").write_text(BARE.format(cells=cells))
        for name in cells:
            (bare / "results/cells" / name).mkdir(parents=True)
        bare_fresh = snakemake(bare, *QUIET)
        for name in cells:
            for file in ("summary.json", "arrays.npz", "manifest.json"):
                (bare / "results/cells" / name / file).touch()
        snakemake(bare, "--touch", "--cores", "1", "--quiet", "all")
        bare_nothing = snakemake(bare, *QUIET)
    print(f"{count:,} cells; {machine()}")
    print(f"planning, nothing there: {fresh:.1f} s (bare Snakefile {bare_fresh:.1f} s)")
    print(f"planning, nothing to do: {nothing:.1f} s (bare Snakefile {bare_nothing:.1f} s)")
    per_cell = 1000 * (run - fresh) / count
    print(f"run: {run:.1f} s; without planning {per_cell:.1f} ms a cell, its training included")
    for rule, seconds in sorted(tables.items()):
        print(f"table {rule}: {seconds:.1f} s")


if __name__ == "__main__":
    main()
