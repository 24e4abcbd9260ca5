"""How long an audit takes.

    python benchmarks/audit.py [--gammas 50 --etas 40]

Trains so many tiny cells, makes their tables and a figure with the real scripts, and audits the figure.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from projects import ROOT, machine

# Results without Snakemake, by the real writers, are made as the tests of the audit make them.
sys.path.insert(0, str(ROOT / "tests"))
from unit.tree import (
    make_figure,
    make_tables,
    prepare_data,
    train,
    write_study,
)


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gammas", type=int, default=50)
    parser.add_argument("--etas", type=int, default=40)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        gammas, etas = (
            str([round(-1 + 4 * k / n, 3) for k in range(n)]) for n in (chosen.gammas, chosen.etas)
        )
        study = write_study(root, gammas, etas, steps=2, dataset="digits")
        prepare_data(root, "digits")
        train(root, study.cells)
        make_tables(root, study)
        make_figure(root, study)
        stem = "results/tiny/figures/edges"
        size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
        commands = {
            "figure": [f"{stem}.png"],
            "figure, --trust-mtime, first time": [f"{stem}.png", "--trust-mtime"],
            "figure, --trust-mtime": [f"{stem}.png", "--trust-mtime"],
            "--all": ["--all"],
        }
        print(machine())
        print(f"{len(study.cells):,} cells, {size / 1e6:.0f} MB of results in the file cache\n")
        print("| audit | seconds | of the processor | ms of it for each cell |\n|---|---|---|---|")
        for words, options in commands.items():
            seconds, busy = _audit(root, options)
            each = 1e3 * busy / len(study.cells)
            print(f"| {words} | {seconds:.1f} | {busy:.1f} | {each:.2f} |", flush=True)


def _audit(root: Path, options: list[str]) -> tuple[float, float]:
    """Wall time and time of the processor, in seconds."""
    begun, before = time.perf_counter(), _children()
    done = subprocess.run(
        [sys.executable, "-m", "gammascape", "audit", *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - begun, _children() - before


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
