"""Training a sample of cells again: what agrees, what does not, and what is said of it."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gammascape.cli import main
from gammascape.provenance.compare import EARLY, compare
from gammascape.provenance.replay import cells_behind, sample
from gammascape.study import load_study

from .falsify import FIGURE, cells, lower_loss, rewrite, seal_again
from .tree import train


def replay(root: Path, count: int, *more: str) -> int:
    return main(["replay", str(root / f"{FIGURE}.png"), "--cells", str(count), *more])


def change_loss(folder: Path, step: int, factor: float) -> None:
    with np.load(folder / "arrays.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["loss"][step] *= factor
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    (folder / "arrays.npz").write_bytes(packed.getvalue())


def test_untouched_cells_agree_bit_for_bit(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(p for p in root.rglob("*"))
    assert replay(root, 2) == 0
    said = capsys.readouterr().out
    assert "2 of 6 cells" in said
    assert said.count("the same bytes") == 2
    assert "2 of 2 agree, 2 of them bit for bit" in said
    assert sorted(p for p in root.rglob("*")) == before


def test_a_falsified_cell_is_found_though_its_manifest_fits(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history, value = cells(root)[1:3]
    change_loss(root / history, 3, 0.9)
    seal_again(root / history)
    rewrite(root / value / "summary.json", lower_loss)
    seal_again(root / value)
    assert replay(root, 6, "--json") == 1
    rows = {row["cell"]: row for row in json.loads(capsys.readouterr().out)["cells"]}
    assert {name for name, row in rows.items() if not row["agrees"]} == {history, value}
    assert rows[history]["text"].startswith("the loss of step 3 is ")
    assert rows[value]["text"] == "summary.json differs in facts"


def test_another_device_is_compared_within_the_stated_tolerance(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load_study(root / "config/studies/tiny.yaml")
    train(root, study.cells, device_model="An accelerator")
    # What another device's rounding does.
    change_loss(root / cells(root)[0], 3, 1 + 1e-6)
    change_loss(root / cells(root)[1], 3, 1.01)
    assert replay(root, 6, "--json") == 1
    rows = {row["cell"]: row for row in json.loads(capsys.readouterr().out)["cells"]}
    assert [name for name, row in rows.items() if not row["agrees"]] == [cells(root)[1]]
    # The other four give the same bytes, though nothing asks for them.
    assert {name for name, row in rows.items() if not row["identical"]} == set(cells(root)[:2])
    assert "1.0e-06 in the first 20 steps (allowed 1e-03)" in rows[cells(root)[0]]["text"]


def test_a_history_may_drift_apart_late_and_not_early(root: Path, tmp_path: Path) -> None:
    made = root / cells(root)[0]
    with np.load(made / "arrays.npz") as file:
        arrays = {name: file[name] for name in file.files}
    steps = 10 * EARLY
    arrays["loss"] = np.ones(steps)
    arrays["step"] = np.arange(steps)
    verdicts = {}
    for name, where in (("late", steps - 1), ("early", EARLY - 1)):
        for folder, factor in ((tmp_path / "made", 1.0), (tmp_path / name, 1.5)):
            shutil.copytree(made, folder, dirs_exist_ok=True)
            changed = arrays | {"loss": arrays["loss"].copy()}
            changed["loss"][where] *= factor
            np.savez(folder / "arrays.npz", allow_pickle=False, **changed)
        verdicts[name] = compare(tmp_path / "made", tmp_path / name, exact=False).agrees
    assert verdicts == {"late": True, "early": False}


def test_cells_whose_data_are_gone_are_not_trained(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / "results/data")
    assert replay(root, 1) == 1
    said = capsys.readouterr().out
    assert "not trained" in said
    assert "0 of 1 agree" in said


def test_the_sample_is_that_of_its_seed(root: Path) -> None:
    behind = cells_behind(f"{FIGURE}.manifest.json", root)
    assert len(behind) == 6
    assert sample(behind, 3, 1) == sample(behind, 3, 1)
    assert len({tuple(sample(behind, 3, seed)) for seed in range(20)}) > 3
    assert sample(behind, 50, 0) == behind


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_sample_of_nothing_is_a_mistake(root: Path, count: str) -> None:
    assert main(["replay", str(root / f"{FIGURE}.png"), "--cells", count]) == 2
