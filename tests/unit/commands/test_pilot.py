"""`gammascape pilot` writes a study, maps it within a budget, and says what to use."""

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest

from gammascape.cli import main
from gammascape.commands import map as map_command
from gammascape.commands import pilot, study_file
from gammascape.commands.check_model import doubts
from gammascape.provenance.remake import run_rule
from gammascape.study import Study, load_study
from gammascape.workflow.catalogue import everything

from ..project import make_project, plan_of
from .test_map import STUDY, Workflow, name_of

PILOT = Path("config/studies/pilot-my-net-my-data.yaml")
NET = """\
import torch
def make(input_shape, outputs, width, bias=True):
    return torch.nn.Sequential(torch.nn.Linear(*input_shape, width, bias=bias), torch.nn.Linear(width, outputs))
"""
DATA = """\
import numpy
def load(labels=3):
    x = numpy.random.default_rng(0).normal(size=(400, 5))
    y = (numpy.arange(400) % labels) if labels else x[:, :2]
    return x[:300], y[:300], x[300:], y[300:]
def endless():
    def draw(seed, first, count):
        x = numpy.stack([numpy.random.default_rng((seed, n)).normal(size=4) for n in range(first, first + count)])
        return x, x[:, 0]
    x, y = draw(7, 0, 50)
    return draw, x, y
def odd():
    return 1
"""
OWN = ("--model", "my_net:make", "--data", "my_data:load")
SECONDS = 0.25
"""Device time of a cell of the stand-in."""
READ = (
    *("cells", "thresholds", "pooled_edges", "scaling", "budget", "scores"),
    *("performance", "gain", "advice"),
)
"""Advice and the tables that it is made from."""


class Whole(Workflow):
    """Stand-in for snakemake that also makes advice at the end of a map, if it is missing or older than a cell."""

    advised = 0
    """Cells of which there is advice."""

    def __call__(self, calling, options, more) -> int:
        status = super().__call__(calling, options, more)
        if not options[0].startswith("results") and "--unlock" not in options:
            plan = plan_of(name_of(options))
            before, self.advised = self.advised, len([*Path("results/cells").glob("*/*")])
            for item in everything(plan).values():
                new = self.advised > before or not all(map(os.path.isfile, item.outputs))
                if item.kind == "table" and item.stem.split("/")[3] in READ and new:
                    run_rule(item)
        return status


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds of a cell as they would be timed."""
    known = {"seconds": SECONDS}
    monkeypatch.setattr(pilot, "_seconds", lambda plan, study: known["seconds"])
    return known


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: dict[str, float]) -> Workflow:
    monkeypatch.chdir(make_project(tmp_path / "project", STUDY))
    Path("config/studies/my_net.py").write_text(NET)
    Path("config/studies/my_data.py").write_text(DATA)
    stand_in = Whole()
    monkeypatch.setattr(
        map_command.Snakemake, "_call", lambda self, options, more: stand_in(self, options, more)
    )
    return stand_in


def study_of(path: Path = PILOT) -> Study:
    return load_study(path, begin=True)


def spent(path: Path = PILOT) -> float:
    cells = {cell.path for cell in load_study(path).cells}
    return SECONDS * sum(Path("results/cells", cell, "manifest.json").is_file() for cell in cells)


def test_a_pilot_says_its_cost_goes_on_and_adds_seeds_as_the_budget_grows(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pilot", *OWN, "--budget", "20s"]) == 0
    out = capsys.readouterr().out
    assert f"wrote {PILOT}" in out
    assert "5 gammas, 2 seeds and about 14 learning rates found by a map: about 140 cells" in out
    assert "at most 20 s" in out
    assert out.index("about 140 cells") < out.index("round 0: ") < out.index("\nmap: ")
    assert "Use gamma = " in out
    written, first = PILOT.read_text(), spent()
    assert len({cell.seed for cell in study_of().cells}) == 2
    # A map ends within its budget, but for its first round; the same command trains nothing more.
    assert main(["pilot", *OWN, "--budget", "20s"]) == 0
    assert f"going on with {PILOT}" in capsys.readouterr().out
    assert spent() == first
    assert PILOT.read_text() == written
    # Not even after an interruption before the tables.
    advice = Path("results", PILOT.stem, "tables/advice.parquet")
    advice.unlink()
    assert main(["pilot", *OWN, "--budget", "1s"]) == 0
    assert advice.is_file()
    assert spent() == first
    assert main(["pilot", "--study", PILOT.stem, "--budget", "10m"]) == 0
    assert "3 more seeds take about" in capsys.readouterr().out
    assert first < spent() <= 600
    assert len({cell.seed for cell in load_study(PILOT).cells}) == pilot.MOST_SEEDS


def test_the_study_has_what_the_functions_return(
    workflow: Workflow, speed: dict[str, float]
) -> None:
    speed["seconds"] = 1.0
    options = ["--model-option", "width=32", "--model-option", "bias=false"]
    pilot._write(PILOT, pilot_arguments([*OWN, *options, "--budget", "15s"]))
    study = study_of()
    (part,) = study.slices
    data, model = part.dataset_spec, part.model_spec
    assert (data.shape, data.classes, data.size) == ((5,), 3, 300)
    assert (model.width, model.arguments) == (32, {"bias": False})
    # Few samples are used again and again, and gamma and eta are chosen on some that are held out.
    assert (data.validation, data.repeat, part.loss) == (0.1, True, "xent")
    assert part.steps == pilot.STEPS[0]
    assert "training_accuracy" in part.cells[0].observables
    assert {cell.gamma for cell in part.cells} == {"-1", "0", "0.5", "1", "2"}


@pytest.mark.parametrize(
    ("data", "options", "loss", "has"),
    [
        ("my_data:load", ["--data-option", "labels=0"], "mse", {"targets": 2, "size": 300}),
        ("my_data:endless", [], "mse", {"targets": 1, "size": None, "validation": None}),
        ("digits", [], "xent", {"validation": 0.1, "outputs": 10}),
        ("digits", ["--loss", "mse"], "mse", {"outputs": 10}),
        ("blobs.npz", ["--data-option", "imbalance=0.5"], "xent", {"outputs": 2, "imbalance": 0.5}),
        ("true, #1: x.npz", [], "xent", {"outputs": 2}),
        ("teacher", ["--data-option", "inputs=3"], "mse", {"inputs": 3, "validation": 0.1}),
    ],
)
def test_any_data_can_be_piloted(
    workflow: Workflow, data: str, options: list[str], loss: str, has: dict[str, object]
) -> None:
    inputs = np.random.default_rng(0).normal(size=(200, 3))
    halves = {"x": inputs[:150], "x_test": inputs[150:]}
    np.savez(
        data if data.endswith(".npz") else "blobs.npz",
        **halves,
        **{f"y{k[1:]}": np.arange(len(v)) % 2 for k, v in halves.items()},
    )
    # One of them in a folder that does not exist yet; own modules are beside their study.
    file = Path(study_file(f"{'pilots' if data == 'teacher' else 'config/studies'}/mine.yaml"))
    words = ["--model", "mlp", "--data", data, *options, "--study", str(file), "--budget", "5s"]
    pilot._write(file, pilot_arguments(words[:-2]))
    pilot._check_same(file, pilot_arguments(words))
    # A map of classes is made above.
    assert data != "my_data:load" or main(["pilot", *words]) == 0
    study = study_of(file)
    (part,) = study.slices
    # Class frequencies alone are no training: of ten equal classes they leave 0.9 of a squared loss.
    level = (
        {"digits": 0.81, "blobs.npz": 0.826}.get(data, 0.9)
        if loss == "mse" or has.get("imbalance")
        else 0.9
    )
    assert study.analysis.trained_below == level
    assert part.loss == loss
    assert {name: getattr(part.dataset_spec, name) for name in has} == has
    assert ("training_accuracy" in part.cells[0].observables) == (loss == "xent")


def test_steps_follow_the_budget(workflow: Workflow, speed: dict[str, float]) -> None:
    # 500 steps of 5 gammas, 3 seeds and 14 learning rates would take 210 s.
    speed["seconds"] = 1.0
    for budget, steps in ((60, 300), (210, 500), (300, 710), (100_000, 2000)):
        file = Path(f"config/studies/b{budget}.yaml")
        words = [*OWN, "--study", str(file), "--budget", f"{budget}s"]
        pilot._write(file, pilot_arguments(words))
        assert study_of(file).slices[0].steps == steps


def pilot_arguments(words: list[str]):
    import argparse

    parser = argparse.ArgumentParser()
    pilot.add(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to train, and on what: --model my_net:make --data my_data:load"),
        (["--model", "mlp"], "say what to train"),
        (["--model", "mlpp", "--data", "digits"], "mlpp"),
        (["--model", "mlp", "--data", "mnistt"], 'unknown kind "mnistt"'),
        (["--model", "mlp", "--data", "my.csv"], "keys are given by --model, --model-option KEY"),
        (["--model", "my_net:made", "--data", "digits"], "made"),
        (["--model", "mlp", "--data", "my_data:odd"], "it must return (train_inputs"),
        (["--model", "mlp", "--data", "no_data:load"], "no_data"),
        (["--model", "mlp", "--data", "digits", "--model-option", "wdith=3"], "wdith"),
    ],
)
def test_mistakes_end_in_one_message_and_leave_nothing(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    before = {*Path("config/studies").iterdir()}
    assert main(["pilot", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "draft" not in error
    assert {*Path("config/studies").iterdir()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model", "my_net:other", "--data", "my_data:load"],
            "factory = my_net:make, not my_net:oth",
        ),
        (
            ["--model", "my_net:make", "--data", "my_data:endless"],
            "factory = my_data:load, not my_dat",
        ),
        ([*OWN, "--model-option", "width=32"], "width = 64, not 32"),
        ([*OWN, "--data-option", "labels=2"], "labels = None, not 2"),
        ([*OWN, "--loss", "mse"], "with loss xent"),
    ],
)
def test_a_study_of_something_else_is_not_gone_on_with(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    pilot._write(PILOT, pilot_arguments([*OWN, "--budget", "20s"]))
    # What a person has changed may stay.
    PILOT.write_text(PILOT.read_text().replace("batch_size: 64", "batch_size: 32"))
    pilot._check_same(PILOT, pilot_arguments([*OWN, "--model-option", "width=64"]))
    assert main(["pilot", *words, "--budget", "20s"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "name another file by --study" in error


def test_a_time_that_is_not_known_is_said_to_be_and_why(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    pilot._write(PILOT, pilot_arguments([*OWN, "--budget", "20s"]))
    monkeypatch.setattr(pilot, "_seconds", lambda plan, study: "the GPU is in use")
    assert pilot._cost(*map_command.load(PILOT), budget=20).endswith(
        "device time not known yet (the GPU is in use), at most 20 s, but its first round is trained whatever it "
        "takes"
    )


def test_a_first_round_that_takes_longer_than_the_budget_is_said_to(workflow: Workflow) -> None:
    pilot._write(PILOT, pilot_arguments([*OWN, "--budget", "20s"]))
    # Two etas at five gammas for two seeds.
    assert pilot._cost(*map_command.load(PILOT), budget=1).endswith(
        "at least 5 s for its first round, more than the budget of 1 s"
    )
    text = PILOT.read_text()
    grid = text[text.index("  - model") :].replace("batch_size: 64", "batch_size: 32")
    PILOT.write_text(text + grid)
    assert "about 280 cells" in pilot._cost(*map_command.load(PILOT), budget=60)


WRONG = """
class Times(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
    def forward(self, x):
        return self.factor * x
def wrong(input_shape, outputs, width):
    net = make(input_shape, outputs, width)
    return torch.nn.Sequential(net[0], Times(width**0.5), net[1])
"""
SIGNS = """
def signs():
    x = numpy.random.default_rng(0).normal(size=(400, 5))
    y = numpy.where(x[:, 0] > 0, 1.0, -1.0)
    return x[:300], y[:300], x[300:], y[300:]
"""


def test_data_and_width_scaling_are_doubted_before_training(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config/studies/my_data.py").write_text(DATA + SIGNS)
    Path("config/studies/my_net.py").write_text(NET + WRONG)
    words = ["--study", str(PILOT), "--budget", "20s"]
    for model, data, said in (
        ("my_net:make", "my_data:load", []),
        ("my_net:make", "my_data:signs", ["for classes give integers from 0"]),
        ("my_net:wrong", "my_data:load", ["model is not in mu-P, so gamma and eta do not hold"]),
    ):
        pilot._write(PILOT, pilot_arguments(["--model", model, "--data", data, *words]))
        found = list(doubts(map_command.load(PILOT)[1], seconds=math.inf))
        assert len(found) == len(said), found
        for text, words_of in zip(found, said, strict=True):
            assert "warning: " in text
            assert words_of in text
    # Wider networks are not built once time is up.
    (text,) = doubts(map_command.load(PILOT)[1], seconds=-1)
    assert text == f"not checked whether model is in mu-P: gammascape check-model {PILOT} model"


def test_open_edges_are_said_and_seeds_that_a_person_wrote_are_kept(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    pilot._write(PILOT, pilot_arguments([*OWN, "--budget", "20s"]))
    PILOT.write_text(PILOT.read_text().replace("seed: [0, 1]", "seed: 3"))
    said = r"\n\d+ of 15 edges are not bracketed yet, .* larger --budget goes on\n$"
    for budget, still in (("1s", True), ("10m", False)):
        assert main(["pilot", "--study", str(PILOT), "--budget", budget]) == 0
        assert bool(re.search(said, capsys.readouterr().out)) == still
    assert {cell.seed for cell in load_study(PILOT).cells} == {3}
