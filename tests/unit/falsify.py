"""Changing a results folder, and reading what an audit says of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from gammascape.commands.audit import audit
from gammascape.manifests import file_of, read_manifest, write_manifest
from gammascape.provenance.chain import Chain
from gammascape.provenance.report import ranked

FIGURE = "results/tiny/figures/edges"
SLICE = "small-images-mse-B4-T5"
TABLES = [f"results/tiny/tables/{table}/{SLICE}" for table in ("cells", "thresholds", "scaling")]
TABLE = TABLES[0]
COMBINED = "results/tiny/tables/cells"
DATA = "results/data/mnist"
CELLS = "results/cells/mlp_mnist_mse"


def of_figure(root: Path) -> Chain:
    (chain,) = audit([root / f"{FIGURE}.svg"], root)
    return chain


def errors(chain: Chain) -> list[tuple[str, str]]:
    """(name of the link, finding) of all errors, first mismatch first."""
    return [(link.name, f.kind) for link, f in ranked(chain) if f.severity == "error"]


def warnings(chain: Chain) -> set[tuple[str, str]]:
    """As errors; whether the code at hand is committed is not the question here."""
    found = ranked(chain)
    return {
        (link.name, f.kind)
        for link, f in found
        if f.severity == "warning" and f.kind != "dirty tree"
    }


def cells(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in (root / CELLS).iterdir())


def rewrite(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=1) + "\n")


def seal_again(folder: Path) -> None:
    """Make a cell's manifest fit its files."""
    manifest = read_manifest(folder / "manifest.json")
    outputs = tuple(file_of(folder / file.path, folder) for file in manifest.outputs)
    write_manifest(folder / "manifest.json", replace(manifest, outputs=outputs))


def lower_loss(summary: dict) -> None:
    summary["facts"]["final_loss"] = 0.001


def fit(root: Path, stem: str) -> None:
    """Make the manifest of a table or a figure fit its files."""
    manifest = read_manifest(root / f"{stem}.manifest.json")
    folder = (root / stem).parent
    outputs = tuple(file_of(folder / file.path, folder) for file in manifest.outputs)
    write_manifest(root / f"{stem}.manifest.json", replace(manifest, outputs=outputs))


def edit_table(root: Path, stem: str, **columns: pl.Expr) -> None:
    """Change columns of a table; its manifest fits again."""
    path = root / f"{stem}.parquet"
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)
    fit(root, stem)
