"""The first hour of a new user, as a script: mistakes, what they are answered with, and a page at the end."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import gammascape
from gammascape.cli import main
from gammascape.runs.outcome import Thresholds

from .projects import ROOT, copy_tree, empty_project, snakemake

GRID = """\
grids:
  - model: net
    dataset: mine
    loss: mse
    gamma: {log10: 0}
    eta: {log10: [-1, 0]}
    batch_size: 16
    steps: 60
"""
OWN = """\
models:
  net: {factory: "net:make_net", width: 16}
datasets:
  mine: {kind: arrays, path: data.npz, repeat: true}
"""
NET = """\
from torch import nn

def make_net(SIGNATURE):
    layers = [nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, outputs)]
    return nn.Sequential(*layers)
"""


def words(page: Path) -> str:
    """Text of a page, without tags."""
    text = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(text.split())


def test_an_own_network_and_an_npz_with_three_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = empty_project(tmp_path, OWN + GRID)
    monkeypatch.chdir(project)

    def said() -> str:
        main(
            ["check-model", "config/studies/tiny.yaml", "net", "--widths", "64,256", "--seeds", "2"]
        )
        return "".join(capsys.readouterr())

    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (400, 6))
    y = (x[:, 0] + x[:, 1] > 4).astype(int)
    net = project / "config/studies/net.py"
    net.write_text(NET.replace("SIGNATURE", "outputs, width"))
    np.savez("data.npz", x=x, y=y + 1)
    text = said()
    assert "datasets.mine: y goes from 1 to 2, and classes are numbered from 0: save y - 1" in text
    assert (
        "make_net takes no argument input_shape; its parameters are outputs, width. A model" in text
    )
    assert "make_net(input_shape, outputs, width, **arguments)" in text
    np.savez("data.npz", x=x, y=y)
    net.write_text(NET.replace("SIGNATURE", "input_shape, outputs, width"))
    text = said()
    assert "mine: 320 training and 80 test samples of shape [6]; mean 0, sd 1" in text
    assert "models.net: layer 2 (Dropout) draws random numbers" in text
    assert "remove it or build it with p=0. Noise" in text
    net.write_text(net.read_text().replace("Dropout(0.1)", "Dropout(p=0)"))
    assert "All layers are right." in said()

    done = snakemake(project)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 cells" in done.stderr
    assert re.search(
        r"net on mine: [12] of 2 pairs of γ and η train", words(project / "results/index.html")
    )
    # The data are part of the cells, down to their content.
    (data,) = map(str, Path("results/data").iterdir())
    assert main(["audit", data]) == 0
    np.savez("data.npz", x=x + 1, y=y)
    done = snakemake(project, "--dry-run")
    assert re.search(r"^train +2$", done.stdout + done.stderr, re.MULTILINE)
    assert main(["audit", data]) == 1
    assert "data.npz: altered" in capsys.readouterr().out


def test_a_folder_of_small_images_from_the_readme_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text()
    (entries,) = re.findall(r"## Your model and data\n+```yaml\n(.*?)```", readme, re.DOTALL)
    photos = yaml.safe_load(entries)["datasets"]["photos"]
    assert photos == {"kind": "folder", "path": "photos", "pixels": 32}
    entry = "datasets:\n  mine: {kind: folder, path: photos, pixels: 8}\n"
    study = "models:\n  net: {kind: mlp, depth: 2, width: 16}\n" + entry + GRID
    project = empty_project(tmp_path, study)
    monkeypatch.chdir(project)
    rng = np.random.default_rng(0)
    for n in range(300):
        pixels = rng.integers(0, 120, (12, 12))
        pixels[:, 4 * (n % 3) :][:, :4] += 100
        path = Path("photos", ("cat", "dog", "emu")[n % 3], f"{n}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    done = snakemake(project, "--dry-run")
    assert done.returncode == 1
    text = "60 steps of batch size 16 need 960 samples, and mine has 240, each used once: write steps: 15 or less"
    assert text in done.stderr
    assert "give datasets.mine repeat: true" in done.stderr
    file = project / "config/studies/tiny.yaml"
    file.write_text(file.read_text().replace("pixels: 8", "pixels: 8, repeat: true"))
    assert main(["plan"]) == 0
    said = capsys.readouterr().out
    assert "data mine: 240 training and 60 test samples of shape [1, 8, 8]; mean 0, sd 1" in said
    assert "data mine: classes: cat 33%, dog 33%, emu 33%" in said
    portrait = "results/tiny/figures/portrait/net-mine-mse-B16-T60"
    done = snakemake(project, f"{portrait}.png")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 cells" in done.stderr
    assert re.search(
        r"net on mine: [12] of 2 pairs of γ and η train", Path(f"{portrait}.json").read_text()
    )
    assert main(["why", f"{portrait}.png"]) == 0
    assert re.search(r"data results/data/folder-\w{12}: rule prepare_own", capsys.readouterr().out)


def test_a_copied_results_folder_is_checked_and_used(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy_tree(finished / "results", tmp_path / "theirs/results")
    monkeypatch.chdir(tmp_path / "theirs")

    def said(status: int, *arguments: str) -> str:
        assert main([*arguments]) == status
        return capsys.readouterr().out

    # Warnings are of a working tree that is not committed.
    last = said(0, "audit", "--all").splitlines()[-1]
    assert re.fullmatch(
        rf"(\d+) links: \1 verified( with warnings)?, below {tmp_path}/theirs", last
    )
    page = words(Path("results/index.html"))
    assert "Not drawn: exponents : No exponent has an interval: no window has" in page

    Path("results").rename("of-others")
    for name in ("tables/gain.parquet", "figures/edges.svg"):
        assert main(["audit", f"of-others/tiny/{name}"]) == 2
        assert "holds results under another name; rename it results" in capsys.readouterr().err
    Path("of-others").rename("results")

    # A loss between two cells', as a threshold, splits them.
    cells = gammascape.load("results", study="tiny").collect()
    assert set(cells["status"]) == {"untrained"}
    low, high, *_ = sorted(cells["relative_loss"])
    changed = gammascape.load("results", Thresholds(trained_below=(low + high) / 2), study="tiny")
    frame = changed.collect()
    assert frame.filter(status="trained")["relative_loss"].to_list() == [low]
    assert frame["cell"].to_list() == cells["cell"].to_list()

    text = said(0, "figure", "edges", "--width", "3.3in", "--no-title", "--out", "edges.pdf")
    assert re.fullmatch(
        r"edges.pdf: results/tiny/figures/edges; its smallest text has [\d.]+ points\n", text
    )
    assert Path("edges.pdf").read_bytes().startswith(b"%PDF-")
    text = said(0, "audit", "edges.pdf")
    assert "not compared: edges.pdf was drawn again by gammascape figure, for print" in text
    assert "4 cells  verified" in text

    table = said(0, "table", "tiny/tables/cells", "--csv")
    rows = pd.read_csv(io.StringIO(table))
    losses = dict(zip(rows["cell"], rows["relative_loss"], strict=True))
    # Readers of numbers as text may miss the last bit.
    expected = dict(cells.select("cell", "relative_loss").iter_rows())
    assert losses == pytest.approx(expected, rel=1e-15)

    # The check would have found a change of one digit of one cell.
    summary = next(Path("results/cells").glob("*/*/summary.json"))
    content = summary.read_text()
    summary.write_text(content.replace('"steps": 30', '"steps": 31', 1))
    assert summary.read_text() != content
    text = said(1, "audit", "edges.pdf")
    assert f"{summary.parent.as_posix()}" in text
    assert "altered" in text
