"""Whether pilots of five minutes keep their word: each against an independent study with fresh seeds.

    python benchmarks/pilots.py [--budget 5m] [--data FOLDER] [--only mlp-digits ...]

For each network and data `gammascape pilot` is run, and then its advised gamma and gamma = 1 with the full grid
of eta at 4 per decade, a decade and a half around the advised one, and three seeds that the pilot has not.
Printed: wall time of the pilot; the advised gamma and eta; where the independent study puts the best eta and the
edges at this gamma; and the gain that each of them sees over gamma = 1.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from projects import ROOT, machine, make_project, run, snakemake

CASES = {
    f"{model}-{data}": (network, data, options)
    for data in ("digits", "mnist", "cifar10")
    for model, network, options in (
        ("mlp", "mlp", ()),
        ("cnn", "cnn", ("--model-option", "width=8", "--model-option", "padding=1")),
        ("gated", "gated:make_net", ()),
    )
}
SEEDS = [10, 11, 12]
BESIDE = 1.5
"""Decades of eta around the advised one."""


def main() -> None:
    """Run the pilots and their checks, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="5m")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder with published data"
    )
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES)
    chosen = parser.parse_args()
    print(machine(), flush=True)
    print(
        "| pilot | wall | gamma | eta | window there | best eta | gain of the pilot | gain there |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in chosen.only:
        with tempfile.TemporaryDirectory() as folder:
            project = make_project(Path(folder) / "project", "")
            shutil.copy2(ROOT / "examples/own_model/gated.py", project / "config/studies")
            folders = {kind: str((chosen.data / kind).resolve()) for kind in ("mnist", "cifar10")}
            config = {"study": "config/studies/pilot.yaml", "data": {"download": True, **folders}}
            (project / "config/config.yaml").write_text(yaml.safe_dump(config))
            print(
                f"| {name} | {' | '.join(case(project, *CASES[name], chosen.budget))} |", flush=True
            )


def case(project: Path, model: str, data: str, options: tuple[str, ...], budget: str) -> list[str]:
    """Cells of one row of the table."""
    file = Path("config/studies/pilot.yaml")
    words = ["--model", model, "--data", data, *options, "--budget", budget, "--study", str(file)]
    wall = run(project, "gammascape", "pilot", *words)
    advice = pl.read_parquet(project / "results/pilot/tables/advice.parquet")
    choice = advice.row(by_predicate=pl.col("kind") == "choice", named=True)
    gamma, eta = choice["gamma_log10"], choice["eta_log10"]
    gains = advice.filter(kind="gain", measure=choice["measure"])
    there = independent(project, file, advice, gamma)
    edges = pl.read_parquet(project / "results/check/tables/pooled_edges.parquet")
    ends = [
        next(iter(edges.filter(gamma_log10=gamma, edge=edge)["estimate_log10"]), None)
        for edge in ("eta_min", "eta_max_trained")
    ]
    best = there.filter(kind="gamma", gamma_log10=gamma).row(0, named=True)["eta_log10"]
    own = there.filter(kind="gain", measure=choice["measure"])
    return [
        f"{wall / 60:.1f} min",
        f"{10**gamma:.3g}",
        f"{10**eta:.3g}",
        " to ".join("?" if end is None else f"{10**end:.3g}" for end in ends),
        f"{10**best:.3g} ({eta - best:+.2f} decades)",
        *(gain(rows) for rows in (gains, own)),
    ]


def independent(project: Path, file: Path, advice: pl.DataFrame, gamma: float) -> pl.DataFrame:
    """Advice of a study with other seeds, at the advised gamma and gamma = 1."""
    study: dict[str, Any] = yaml.safe_load((project / file).read_text())
    (grid,) = study.pop("grids")
    study["grids"] = []
    for at in sorted({gamma, 0.0}):
        eta = advice.filter(kind="gamma", gamma_log10=at)["eta_log10"][0]
        ends = {"from": round(eta - BESIDE, 2), "to": round(eta + BESIDE, 2), "per_decade": 4}
        study["grids"].append(
            grid | {"gamma": {"log10": at}, "eta": {"log10": ends}, "seed": SEEDS}
        )
    (project / "config/studies/check.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    snakemake(project, "--config", "study=config/studies/check.yaml")
    return pl.read_parquet(project / "results/check/tables/advice.parquet")


def gain(rows: pl.DataFrame) -> str:
    """A gain over gamma = 1 in words."""
    texts = [re.sub(r"^Gain over gamma = 1, |\.$", "", text) for text in rows["text"]]
    return texts[0] if texts else "not measured"


if __name__ == "__main__":
    main()
