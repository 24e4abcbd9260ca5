"""What studies would cost, and what the heads of the study files say of it."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.commands.cost import (
    DIFFERENCE_COST,
    Rate,
    costs,
    headline,
    report,
    with_expected_cells,
)
from gammascape.study import load_study
from gammascape.study.points import points_path

from ..study.conftest import FILES, ROOT, STUDY, Loader

MAPPED = [path for path in FILES if points_path(path).is_file()]
LARGE = [path for path in FILES if path.with_stem(f"{path.stem}-small").is_file()]


def head(path: Path) -> str:
    """The comment that a file begins with, as one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    ends = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:ends])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_head_of_a_study_counts_its_cells(path: Path) -> None:
    counted = re.findall(r"([\d,]+) cells", head(path))
    assert counted == [f"{len(with_expected_cells(load_study(path, begin=True)).cells):,}"]


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_the_head_of_a_large_study_is_what_the_command_prints(path: Path) -> None:
    text = head(path)
    assert (
        f"{headline(with_expected_cells(load_study(path, begin=True)), Rate())} ".lower()
        in text.lower()
    )
    assert f"`gammascape cost config/studies/{path.name}`" in text
    assert re.search(r"Fig\. \d|appendix|No figure", text), "the figure of the paper is not named"
    assert "ur choice:" in text


def test_every_study_of_the_paper_has_a_small_twin() -> None:
    names = {path.stem for path in LARGE}
    assert names >= {
        path.stem
        for path in FILES
        if path.stem.startswith("paper-") and not path.stem.endswith("-small")
    }
    assert names >= {"depth", "batch-size", "label-noise", "small-data"}


def test_a_slice_costs_its_samples_times_the_operations_of_one(load: Loader) -> None:
    (cost,) = costs(load("gamma: {log10: [-3, 0]}", "gamma: {log10: [0, 1]}"), Rate())
    # 8x8 digits through 64-64-10: three products, the first of which has no signal to send back.
    products = (64 * 64, 64 * 64, 64 * 10)
    assert cost.samples == 32 * 600
    assert cost.flop == 32 * 600 * 2 * (3 * sum(products) - products[0])
    assert cost.seconds == pytest.approx(4 * cost.flop / 20e12)


def test_care_at_small_gamma_costs_more(load: Loader) -> None:
    def seconds(form: str) -> float:
        text = STUDY + f"small_gamma: {{form: {form}}}\n"
        (cost,) = costs(load(text=text), Rate(float32=1e12, float64=0.25e12))
        assert cost.flop is not None
        assert cost.seconds is not None
        return cost.seconds / (cost.flop / 1e12)

    assert seconds("difference") == pytest.approx(2 + 2 * DIFFERENCE_COST)
    assert seconds("float64") == pytest.approx(2 + 2 * 4)


@pytest.mark.parametrize("path", MAPPED, ids=lambda path: path.stem)
def test_the_cells_of_a_map_are_foretold(path: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(path, tmp_path))
    foretold = with_expected_cells(load_study(alone, begin=True))
    # One bracket can serve several edges, and one that lies far takes points on the way to it.
    assert 0.6 < len(load_study(path).cells) / len(foretold.cells) < 1.5
    assert report(foretold, Rate()).startswith(f"{alone}: about {len(foretold.cells):,} cells, ")


def test_the_table_has_a_row_for_each_slice(load: Loader) -> None:
    study = load("batch_size: 32", "batch_size: [16, 32]")
    lines = report(study, Rate()).splitlines()
    assert lines[0].endswith("mine.yaml: 8 cells, below 0.01 GPU hours at 20 TFLOP/s")
    assert [line.split()[:2] for line in lines[2:]] == [
        ["mlp3-digits-mse-B16-T600", "4"],
        ["mlp3-digits-mse-B32-T600", "4"],
    ]


def test_the_cost_of_a_users_own_network_is_unknown(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text("def make_net(input_shape, outputs, width): ...\n")
    study = load("{kind: mlp, depth: 3, width: 64}", '{factory: "my_net:make_net", width: 64}')
    lines = report(study, Rate()).splitlines()
    assert lines[0].endswith("mine.yaml: 4 cells, GPU hours not known")
    mixed = replace(study, slices=(*study.slices, *load().slices))
    said = headline(mixed, Rate())
    assert said.endswith(" GPU hours at 20 TFLOP/s, without the slices of unknown cost")
    assert lines[2].split()[-2:] == ["unknown", "unknown"]


def test_a_slower_device_takes_longer(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(ROOT / "config/studies/paper-cifar5m-resnet.yaml")
    hours = []
    for tflops in ("20", "10"):
        assert main(["cost", file, "--tflops", tflops, "--tflops64", tflops]) == 0
        said = capsys.readouterr().out
        assert f"at {tflops} TFLOP/s in float32" in said
        hours.append(float(re.findall(r"about ([\d.]+) GPU hours", said)[0]))
    # Printed with two digits.
    assert hours[1] == pytest.approx(2 * hours[0], rel=0.1)


def test_a_file_that_cannot_be_read_is_one_message_and_the_others_are_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text(STUDY)
    (tmp_path / "bad.yaml").write_text(STUDY.replace("batch_size", "batchsize"))
    assert main(["cost", str(tmp_path / "bad.yaml"), str(tmp_path / "good.yaml")]) == 2
    out, err = capsys.readouterr()
    assert "did you mean batch_size?" in err
    assert "good.yaml: 4 cells" in out


def test_a_rate_must_be_above_zero(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cost", "any.yaml", "--tflops", "0"])
    assert "above 0" in capsys.readouterr().err


def test_a_toy_costs_nothing() -> None:
    for cost in costs(load_study(ROOT / "config/studies/toy.yaml"), Rate()):
        assert (cost.flop, cost.seconds) == (0, 0)
