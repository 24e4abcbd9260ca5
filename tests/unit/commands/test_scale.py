"""`gammascape scale` writes the next study from advice, and advice of that one compares."""

from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from gammascape.cli import main
from gammascape.commands.scale import _study
from gammascape.study import load_study
from gammascape.study.points import Point, write_points
from gammascape.tables.advice.words import by_slice

from ..project import ROOT, plan_of, write_results

NEXT = Path("config/studies/tiny-width-4x.yaml")


def test_the_next_study_has_the_advised_gamma_and_a_narrow_map_of_eta(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scale", "tiny", "--width", "4x"]) == 0
    assert f"Wrote {NEXT}. Read it, run gammascape map {NEXT}, then" in capsys.readouterr().out
    study = load_study(NEXT, begin=True)
    old = load_study("config/studies/tiny.yaml")
    assert [part.model_spec.width for part in study.slices] == [64, 64]
    assert [(part.batch_size, part.steps) for part in study.slices] == [(16, 30)] * 2
    advice = pl.read_parquet("results/tiny/tables/advice.parquet").filter(kind="choice")
    for part, before, said in zip(study.slices, old.slices, study.analysis.carried, strict=True):
        choice = advice.row(by_predicate=pl.col("slice") == before.key, named=True)
        # In mu-P the width changes neither, and this study has not measured otherwise.
        assert (said.slice, said.source) == (part.key, "tiny")
        assert float(said.gamma) == choice["gamma_log10"]
        assert float(said.eta) == pytest.approx(choice["eta_log10"], abs=0.01)
        etas = sorted({float(c.eta) for c in part.cells if float(c.gamma) == said.gamma})
        # The prediction, on a grid of a quarter, and what it cannot exclude.
        low, middle, high = etas
        assert abs(middle - float(said.eta)) <= 0.125
        assert low <= min(said.eta_low, said.eta - Decimal("0.5"))
        assert high >= max(said.eta_high, said.eta + Decimal("0.5"))
        mapped = study.maps[part.key][said.gamma].map
        assert (mapped.edges, mapped.beyond) == (("eta_max_trained", "eta_best"), 0)
        assert {c.gamma for c in part.cells} <= {c.gamma for c in before.cells}
    assert "# small has width 16" in NEXT.read_text()
    text = NEXT.read_text()
    assert main(["scale", "tiny", "--width", "4x"]) == 2
    assert f"{NEXT} exists" in capsys.readouterr().err
    assert NEXT.read_text() == text


def test_a_study_may_be_named_by_a_number(project: Path) -> None:
    old = Path("config/studies/tiny.yaml")
    advice = by_slice(pl.read_parquet("results/tiny/tables/advice.parquet"))
    named = old.rename("config/studies/2024.yaml")
    Path(NEXT).write_text(_study(named, NEXT.stem, advice, {"width": "4x"}))
    study = load_study(NEXT, begin=True)
    assert {said.source for said in study.analysis.carried} == {"2024"}


def test_what_is_not_measured_widens_the_range(project: Path) -> None:
    assert main(["scale", "config/studies/tiny.yaml", "--steps", "300", "--batch-size", "2x"]) == 0
    study = load_study("config/studies/tiny-steps-300-batch-size-2x.yaml", begin=True)
    assert {(part.batch_size, part.steps) for part in study.slices} == {(32, 300)}
    for said in study.analysis.carried:
        # Ten times the steps may need a tenth of eta, twice the batch size may take twice.
        assert said.eta - said.eta_low >= 1 - 1e-9
        assert float(said.eta_high - said.eta) >= 0.29


def test_advice_of_the_next_study_compares_prediction_and_measurement(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scale", "tiny", "--width", "32"]) == 0
    Path("config/config.yaml").write_text("study: config/studies/tiny-width-32.yaml\n")
    begun = load_study("config/studies/tiny-width-32.yaml", begin=True)
    points: dict[str, dict[Decimal, dict[Decimal, Point]]] = {}
    for part in begun.slices:
        for cell in part.cells:
            etas = points.setdefault(part.key, {}).setdefault(Decimal(cell.gamma), {})
            etas[Decimal(cell.eta)] = Point(0, "start, given by begin")
    write_points(begun.path, points, {})
    write_results(plan_of("tiny-width-32"), figures=False)
    table = pl.read_parquet("results/tiny-width-32/tables/advice.parquet")
    found = table.filter(kind="carry", name="transfer")
    assert found.height == 2
    said = begun.analysis.carried
    assert found["predicted"].to_list() == [float(one.eta) for one in said]
    assert set(found["verdict"]) == {"unknown"}, "one seed has no interval"
    assert all("tiny predicts gamma = " in text for text in found["text"])
    capsys.readouterr()
    assert main(["advise", "tiny-width-32"]) == 0
    assert "unknown: tiny predicts gamma = " in capsys.readouterr().out
    # The record is a parameter like every other.
    path = Path("config/studies/tiny-width-32.yaml")
    path.write_text(path.read_text().replace("source: tiny", "source: other"))
    assert main(["audit", "results/tiny-width-32/tables/advice.parquet"]) == 0
    assert "has another value of analysis.carried" in capsys.readouterr().out


# The interval of the second holds 0: eta stays, and may be lower.
@pytest.mark.parametrize(
    ("high", "etas"), [(-0.5, (-0.75, -1.75, -0.25)), (0.5, (0.25, -1.75, 0.75))]
)
def test_the_width_of_an_own_module_is_its_key(
    high: float, etas: tuple[float, ...], tmp_path: Path
) -> None:
    for file in (ROOT / "examples/own_model").glob("gated.*"):
        (tmp_path / file.name).write_text(file.read_text())
    eta = {"eta_log10": 0.25, "eta_low_log10": None, "eta_high_log10": None}
    row = eta | {"gamma_log10": 1 / 3}
    law = {"name": "width", "verdict": "measured", "estimate": -1.0, "low": -2.0, "high": high}
    kinds = {"choice": [row], "gamma": [row], "carry": [law]}
    old = load_study(tmp_path / "gated.yaml")
    advice = {part.key: kinds for part in old.slices}
    (tmp_path / "next.yaml").write_text(_study(old.path, "next", advice, {"width": "10x"}))
    new = load_study(tmp_path / "next.yaml", begin=True)
    assert new.slices[0].model_spec.width == 10 * old.slices[0].model_spec.width
    [said] = new.analysis.carried
    assert (float(said.eta), float(said.eta_low), float(said.eta_high)) == etas
    assert {cell.gamma for cell in new.cells} == {"0.333333"}
    assert {cell.seed for cell in new.cells} == {cell.seed for cell in old.cells}


def test_networks_whose_names_end_alike_stay_apart(tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(
        "description: x\ndatasets: {digits: {kind: digits}}\nmodels:\n"
        "  net: {kind: mlp, depth: 3, width: 64}\n  netw64: {kind: mlp, depth: 4, width: 64}\n"
        "grids:\n  - {model: [net, netw64], dataset: digits, loss: mse, batch_size: 16, steps: 30,\n"
        "     gamma: {log10: 0}, eta: {log10: [0, 1]}}\n"
    )
    row = dict.fromkeys(("eta_low_log10", "eta_high_log10")) | {"gamma_log10": 0, "eta_log10": 0}
    law = {"name": "width", "verdict": "unknown"} | dict.fromkeys(("estimate", "low", "high"))
    kinds = {"choice": [row], "gamma": [row], "carry": [law]}
    advice = {part.key: kinds for part in load_study(old).slices}
    (tmp_path / "next.yaml").write_text(_study(old, "next", advice, {"width": "4x"}))
    new = load_study(tmp_path / "next.yaml", begin=True)
    assert {(part.model, part.model_spec.depth) for part in new.slices} == {
        ("netw256", 3),
        ("netw64w256", 4),
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "say what grows"),
        (["--width", "1.01x"], "is not a whole number"),
        (["--width", "1x"], "the new study would have the sizes of tiny"),
        (["--steps", "many"], "neither a multiple"),
        (["--width", "0"], "neither a multiple"),
    ],
)
def test_a_mistake_is_one_message_and_no_file(
    options: list[str], words: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path("config/studies").iterdir())
    with pytest.raises(SystemExit) if "neither" in words else nullcontext() as stopped:
        assert main(["scale", "tiny", *options]) == 2
    assert stopped is None or stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert sorted(Path("config/studies").iterdir()) == before
