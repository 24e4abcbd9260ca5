"""Wall time of a whole study in units of the time that training its cells alone takes, both in one run.

    python benchmarks/overhead.py [--tiny 2000] [--tree OTHER_CHECKOUT ...]

The default study, or one of tiny cells. Both times begin with an empty `results`: first until all cells are
trained, then everything, by the same executor and on all cores. `--tree` measures other checkouts too.
"""

import argparse
import math
import os
import re
import shutil
import tempfile
from pathlib import Path

from projects import ROOT, machine, make_project, snakemake

TINY = """\
datasets:
  digits: {{kind: digits}}
models:
  mlp2: {{kind: mlp, depth: 2, width: 8}}
grids:
  - model: mlp2
    dataset: digits
    loss: mse
    gamma: {{log10: {gammas}}}
    eta: {{log10: {etas}}}
    batch_size: 16
    steps: 30
"""


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", type=int, metavar="CELLS", help="a study of that many tiny cells")
    parser.add_argument("--tree", type=Path, nargs="*", default=[], help="checkouts to compare")
    parser.add_argument("--executor", default="packed", choices=["packed", "local"])
    chosen = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for k, tree in enumerate([ROOT, *chosen.tree]):
            # An editable installation is found after this.
            os.environ["PYTHONPATH"] = str(tree.resolve() / "src")
            project = make_project(Path(folder) / str(k), study_of(tree, chosen.tiny), tree)
            points = tree / "config/studies/quickstart.points.yaml"
            if chosen.tiny is None and points.is_file():
                text = points.read_text().replace('study: "quickstart"', 'study: "bench"')
                (project / "config/studies/bench.points.yaml").write_text(text)
            options = ("--executor", chosen.executor, "--cores", str(os.cpu_count()))
            cells = snakemake(project, *options, "--until", "train")
            for name in ("results", ".snakemake"):
                shutil.rmtree(project / name)
            whole = snakemake(project, *options)
            [log] = project.glob(".snakemake/log/*.snakemake.log")
            jobs = max(map(int, re.findall(r"of (\d+) steps", log.read_text())))
            trained = sum(1 for _ in project.glob("results/cells/*/*/manifest.json"))
            print(
                f"{tree.resolve().name}: {trained} cells alone {cells:.1f} s, whole study {whole:.1f} s, "
                f"ratio {whole / cells:.2f}; {jobs - trained} jobs beside cells",
                flush=True,
            )


def study_of(tree: Path, tiny: int | None) -> str:
    """The study as YAML."""
    if tiny is None:
        return (tree / "config/studies/quickstart.yaml").read_text()
    side = math.isqrt(tiny)
    gammas = [round(-3 + 6 * k / (side - 1), 4) for k in range(side)]
    etas = [round(-5 + 8 * k / (tiny // side - 1), 4) for k in range(tiny // side)]
    return TINY.format(gammas=gammas, etas=etas)


if __name__ == "__main__":
    main()
