"""Rounds of a map, with a stand-in for snakemake that writes cells of known edges."""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from gammascape.cli import main
from gammascape.command import child_environment
from gammascape.commands import map as command
from gammascape.data.prepare import PREPARERS
from gammascape.provenance.remake import run_rule
from gammascape.study import Cell, load_study
from gammascape.study.points import points_path, read_points
from gammascape.workflow.catalogue import everything

from ..project import make_project, plan_of, write_results, write_synthetic_cell

STUDY = """\
datasets:
  digits: {kind: digits}
models:
  small: {kind: mlp, depth: 2, width: 8}
grids:
  - model: small
    dataset: digits
    loss: mse
    gamma: {log10: [0, 1]}
    eta: {map: {finest: 4}}
    batch_size: 8
    steps: 20
    seed: [0, 1]
"""
PATH = "config/studies/tiny.yaml"
POINTS = points_path(Path(PATH))
SECONDS = 0.25
"""Device time of a cell of the stand-in."""


class Killed(BaseException):
    """The end of the process."""


def name_of(options: Sequence[str]) -> str:
    """Name of the study of a call of snakemake."""
    (study,) = (word for word in options if word.startswith("study="))
    return Path(study.split('"')[1]).stem


class Workflow:
    """Stand-in for snakemake: trains cells without training, and dies where it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.dies_after: int | None = None
        self.status = 0

    def __call__(self, calling: object, options: Sequence[str], more: Mapping[str, str]) -> int:
        self.calls.append(list(options))
        if "results/data/digits/manifest.json" in options:
            assert more == {command.BEGINNING: "1"}
            PREPARERS["digits"](None, Path("results/data/digits"))
            return 0
        if "--unlock" in options:
            return 0
        plan = plan_of(name_of(options))
        (study,) = plan.studies.values()
        for cell in study.cells:
            folder = Path("results/cells") / cell.path
            if not folder.is_dir():
                if self.dies_after is not None:
                    self.dies_after -= 1
                    if self.dies_after < 0:
                        raise Killed
                write_synthetic_cell(folder, cell)
        for item in everything(plan).values():
            if item.stem.startswith(f"results/{study.name}/tables/cells/"):
                run_rule(item)
        return self.status


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    monkeypatch.chdir(make_project(tmp_path / "project", STUDY))
    stand_in = Workflow()
    monkeypatch.setattr(
        command.Snakemake, "_call", lambda self, options, more: stand_in(self, options, more)
    )
    return stand_in


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["map", PATH, *words]) == 0
    return capsys.readouterr().out


def test_a_failure_of_snakemake_ends_it(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.status = 1
    assert main(["map", PATH]) == 2
    assert "snakemake failed, see above; call this again to go on" in capsys.readouterr().err
    workflow.status = 0
    said(capsys)


def test_after_a_kill_of_snakemake_the_folder_is_freed(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.status = -signal.SIGKILL
    assert main(["map", PATH]) == 2
    assert "call this again to go on" in capsys.readouterr().err
    assert not any("--unlock" in call for call in workflow.calls)
    workflow.status = 0
    killed = len(workflow.calls)
    said(capsys)
    assert "--unlock" in workflow.calls[killed]
    done = len(workflow.calls)
    said(capsys)
    assert not any("--unlock" in call for call in workflow.calls[done:])


def cells(choose: Callable[[Cell], bool] = lambda cell: True) -> set[float]:
    return {float(cell.eta) for cell in load_study(PATH).cells if choose(cell)}


def test_a_walk_down_repeats_the_published_sweep(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path(PATH).read_text()
    Path(PATH).write_text(study.replace("{finest: 4}", "{protocol: walk-down, finest: 3}"))
    assert "map: 2 of 2 edges bracketed" in said(capsys)
    for gamma in (0, 1):
        etas = sorted(cells(lambda cell, gamma=gamma: cell.gamma == str(gamma)))
        finite = [eta for eta in etas if eta <= gamma]
        assert finite == pytest.approx([gamma - 3 + k / 3 for k in range(10)], abs=1e-5)
        assert len(etas) > len(finite)
    said_before = POINTS.read_bytes()
    assert "map: 2 of 2" in said(capsys)
    assert POINTS.read_bytes() == said_before


def test_rounds_go_on_until_every_edge_is_bracketed(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys).splitlines()
    assert lines[0].startswith("round 0: ")
    assert lines[0].endswith(" new cells around the predicted edges")
    assert "of 20 edges bracketed" in lines[1]
    assert re.search(r"of device time, about [0-9.]+ s left$", lines[1])
    assert any(line.startswith("map: ") for line in lines)
    # Cells are finite up to eta = gamma, and have no spikes.
    for gamma in (0, 1):
        etas = cells(lambda cell, gamma=gamma: cell.gamma == str(gamma))
        assert {gamma, gamma + 0.25} <= etas
        assert gamma + 0.125 not in etas
    points, edited, _ = read_points(Path(PATH))
    assert not edited
    (gammas,) = points.values()
    assert gammas[Decimal(1)][Decimal("1.25")].why.startswith("between 1 trained and 1.5 diverged")
    # All but the last call make what decides, and the last one everything.
    targets = [call for call in workflow.calls if any("tables/cells" in word for word in call)]
    assert len(targets) == len(workflow.calls) - 2
    assert workflow.calls[-1] == ["--config", f'study=["{PATH}"]']


def test_a_map_begins_where_the_study_says_and_measures_nothing(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, measured = command._critical, list[set[Decimal]]()
    monkeypatch.setattr(
        command, "_critical", lambda *given: measured.append(given[3]) or measure(*given)
    )
    begin = "[-1.5, -1.25], edges: eta_max_trained, beyond: 0"
    Path(PATH).write_text(STUDY.replace("finest: 4", f"finest: 4, begin: {begin}"))
    out = said(capsys)
    assert out.startswith("round 0: 8 new cells where the study says\n")
    assert "map: 4 of 4 edges bracketed" in out
    # Far from the edges, which are found all the same, and the first points are no others.
    (gammas,) = read_points(Path(PATH))[0].values()
    for gamma, etas in gammas.items():
        first = {eta for eta, point in etas.items() if point.why == "start, given by begin"}
        assert first == {eta for eta, point in etas.items() if point.round == 0}
        assert first == {Decimal("-1.5"), Decimal("-1.25")}
        assert {gamma, gamma + Decimal("0.25")} <= {*etas}
    assert measured == []
    # A gamma without it is measured, and it alone.
    grid = STUDY[STUDY.index("  - model") :].replace("[0, 1]}", "2}")
    Path(PATH).write_text(Path(PATH).read_text() + grid)
    assert "at 1 new gamma around the predicted edges" in said(capsys)
    assert measured == [{Decimal(2)}]


def test_a_finished_map_asks_for_nothing_more(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys)
    before = POINTS.read_bytes()
    again = said(capsys, "--rounds", "9", "--", "--cores", "3")
    assert POINTS.read_bytes() == before
    assert "round" not in again
    assert workflow.calls[-1][-2:] == ["--cores", "3"]


@pytest.mark.parametrize("every", [1, 5, 12])
def test_killed_again_and_again_it_ends_in_the_same_points(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], tmp_path: Path, every: int
) -> None:
    said(capsys)
    expected = POINTS.read_bytes()
    Path("results").rename(tmp_path / "before")
    POINTS.unlink()
    for _ in range(200):
        workflow.dies_after = every
        try:
            said(capsys)
            break
        except Killed:
            continue
    assert POINTS.read_bytes() == expected


def test_a_budget_of_device_time_goes_to_the_widest_brackets(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "--rounds", "1")
    first = len(load_study(PATH).cells)
    text = said(capsys, "--budget", f"{4 * SECONDS}s")
    assert len(load_study(PATH).cells) == first + 4
    assert "1 s of device time of 1 s" in text
    assert text.splitlines()[-1].startswith("map: ")
    # It goes on with another budget.
    said(capsys, "--budget", "1h")
    whole = len(load_study(PATH).cells)
    assert whole > first + 4
    said(capsys)
    assert len(load_study(PATH).cells) == whole


def test_rounds_can_be_counted(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert "round 1: " not in said(capsys, "--rounds", "0")
    text = said(capsys, "--rounds", "1")
    assert "round 1: " in text
    assert "round 2: " not in text
    assert workflow.calls[-1] == ["--config", f'study=["{PATH}"]']


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--rounds", "-3"], "needs a number of rounds, 0 or more, got -3"),
        (
            ["--cores", "2"],
            "unrecognized arguments: --cores 2; options of snakemake come last, after --",
        ),
    ],
)
def test_options_that_a_map_does_not_have_are_answered(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["map", PATH, *words])
    assert hint in capsys.readouterr().err


def test_a_gamma_that_is_added_later_begins_then(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys)
    (before,) = read_points(Path(PATH))[0].values()
    Path(PATH).write_text(STUDY.replace("[0, 1]}", "[0, 1, 2]}", 1))
    said(capsys)
    (after,) = read_points(Path(PATH))[0].values()
    assert {gamma: after[gamma] for gamma in before} == before
    assert Decimal(2) in after


def test_points_of_a_gamma_that_is_taken_away_go_with_it(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys)
    Path(PATH).write_text(STUDY.replace("[0, 1]}", "0}", 1))
    said(capsys)
    (after,) = read_points(Path(PATH))[0].values()
    assert {*after} == {Decimal(0)}


def test_a_network_that_is_changed_under_its_name_begins_again(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "--rounds", "1")
    Path(PATH).write_text(STUDY.replace("width: 8", "width: 9"))
    assert main(["plan"]) == 2
    assert "its model or its data have changed" in capsys.readouterr().err
    assert main(["audit", "--all"]) == 2
    assert "its model or its data have changed" in capsys.readouterr().err
    first, second, third, *_ = said(capsys, "--rounds", "1").splitlines()
    assert first == f"{POINTS}: left out: 1 problem"
    assert "its model or its data have changed, so these points are of other networks" in second
    assert third.startswith("round 0: ")
    assert "left out" not in said(capsys)


@pytest.mark.parametrize(
    "words", [("--config", "x=1"), ("--config=x=1",), ("-C", "x=1"), ("-n",), ("-np",)]
)
def test_options_of_snakemake_that_end_a_map_are_answered(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    assert main(["map", PATH, "--", *words]) == 2
    assert "--config after -- would replace the study" in capsys.readouterr().err
    assert not workflow.calls


def test_options_that_keep_snakemake_from_its_work_are_answered(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys)
    monkeypatch.setattr(command.Snakemake, "_call", lambda *given: 0)
    study = Path(PATH)
    study.write_text(study.read_text().replace("seed: [0, 1]", "seed: [0, 1, 2]"))
    assert main(["map", PATH, "--", "--until", "train"]) == 2
    assert "parquet from all cells; remove options after --" in capsys.readouterr().err
    for path in Path("results/tiny/tables/cells").iterdir():
        path.unlink()
    assert main(["map", PATH, "--", "--until", "train"]) == 2
    assert "parquet from all cells; remove options after --" in capsys.readouterr().err


def test_a_study_without_a_map_is_answered(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(PATH).write_text(STUDY.replace("{map: {finest: 4}}", "{log10: 0}"))
    assert main(["map", PATH]) == 2
    assert "no grid has a map; write eta: {map: {}} in one" in capsys.readouterr().err


@pytest.mark.parametrize("budget", ["20", "m", "-1m", "1 h"])
def test_a_budget_needs_a_unit(budget: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["map", PATH, f"--budget={budget}"])
    assert "needs a time such as 45s, 20m or 1.5h" in capsys.readouterr().err


TOY = (
    STUDY.replace("digits: {kind: digits}", "digits: {kind: constant}")
    .replace("{kind: mlp, depth: 2, width: 8}", "{kind: toy, depth: 3}")
    .replace("batch_size: 8", "batch_size: 1")
    .replace("steps: 20", "steps: 100")
    .replace("    seed: [0, 1]\n", "")
    .replace("{log10: [0, 1]}", "{map: {from: -2, to: 2}}")
)


def test_gammas_are_added_where_the_edges_of_a_toy_bend(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(PATH).write_text(TOY)
    lines = said(capsys).splitlines()
    (found,) = (line for line in lines if "of 25 edges" in line and "new gamma" in line)
    assert re.match(r"round \d+: \d+ new cells at [2-4] new gammas; ", found)
    (gammas,) = read_points(Path(PATH))[0].values()
    new = gammas.keys() - set(map(Decimal, range(-2, 3)))
    assert {Decimal("-0.5"), Decimal("0.5")} <= new
    for gamma in new:
        first = min(gammas[gamma].values(), key=lambda point: point.round)
        assert first.why.startswith("new gamma between ")
    # Etas go on at each of them.
    edges = 5 * len(gammas)
    assert f"of {edges} edges bracketed" in lines[-1]
    before = POINTS.read_bytes()
    assert "round" not in said(capsys)
    assert POINTS.read_bytes() == before


def test_rounds_of_gamma_that_are_counted_or_begun_anew_end_in_the_same_points(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(PATH).write_text(TOY)
    said(capsys)
    expected = POINTS.read_bytes()
    POINTS.unlink()
    calls = 0
    while not POINTS.is_file() or POINTS.read_bytes() != expected:
        said(capsys, "--rounds", "1")
        calls += 1
        assert calls < 20
    assert calls > 3
    # What is left out by hand comes again, with the rounds of now.
    text = POINTS.read_text()
    begin, end = text.index('    "0.5":'), text.index('    "1":')
    POINTS.write_text(text[:begin] + text[end:])
    said(capsys)
    assert '    "0.5":' in POINTS.read_text()


def test_the_gamma_of_the_best_accuracy_gets_neighbours(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(PATH).write_text(STUDY.replace("{log10: [0, 1]}", "{map: {from: 0, to: 2, finest: 2}}"))
    said(capsys)
    (gammas,) = read_points(Path(PATH))[0].values()
    whys = {point.why for etas in gammas.values() for point in etas.values()}
    assert any(why.endswith(", beside the best test accuracy") for why in whys)
    expected = POINTS.read_bytes()
    cell = next(c for c in load_study(PATH).cells if c.gamma == "0.5" or c.gamma == "1.5")
    assert main(["why", f"results/cells/{cell.path}"]) == 0
    assert "beside the best test accuracy" in capsys.readouterr().out
    # Killed at any cell it ends in the same points.
    Path("results").rename("before")
    POINTS.unlink()
    for _ in range(200):
        workflow.dies_after = 7
        try:
            said(capsys)
            break
        except Killed:
            continue
    assert POINTS.read_bytes() == expected


def test_a_toy_is_mapped_without_snakemake_and_begins_by_theory(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(PATH).write_text(
        STUDY.replace("digits: {kind: digits}", "digits: {kind: constant}")
        .replace("{kind: mlp, depth: 2, width: 8}", "{kind: toy, depth: 3}")
        .replace("batch_size: 8", "batch_size: 1")
        .replace("    seed: [0, 1]\n", "")
    )
    text = said(capsys)
    assert "map: 10 of 10 edges bracketed" in text
    assert len(workflow.calls) == 1
    (gammas,) = read_points(Path(PATH))[0].values()
    start = next(p.why for p in gammas[Decimal(0)].values() if p.round == 0)
    # 2 / (L^2 / gamma^2 + L (L - 1) / gamma) with L = 3.
    assert start == f"start, critical eta 10^{math.log10(2 / 15):.2f}"


def test_the_folder_is_unlocked_after_a_kill_and_guarded_meanwhile(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.dies_after = 3
    with pytest.raises(Killed):
        main(["map", PATH])
    workflow.dies_after = None
    said(capsys, "--rounds", "1")
    assert any("--unlock" in call for call in workflow.calls)
    calls = len(workflow.calls)
    said(capsys)
    assert not any("--unlock" in call for call in workflow.calls[calls:])
    with command._snakemake_of([]):
        assert main(["map", PATH]) == 2
        assert "gammascape map is at work in this folder" in capsys.readouterr().err


def test_a_map_that_is_asked_to_end_ends_its_snakemake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Sleeping(subprocess.Popen[bytes]):
        """A snakemake that goes on for long, whose caller is asked to end."""

        def __init__(self, _: object, **given: Any) -> None:
            super().__init__(["sleep", "60"], **given)
            started.append(self)
            Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(subprocess, "Popen", Sleeping)
    with (tmp_path / "lock").open("a+") as lock, pytest.raises(KeyboardInterrupt):
        command.Snakemake([], lock)(["a"])
    [process] = started
    assert process.returncode == -signal.SIGTERM
    assert (tmp_path / "lock").read_text() == ""
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_snakemake_that_a_person_started_after_the_kill_is_left_alone(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.dies_after = 3
    with pytest.raises(Killed):
        main(["map", PATH])
    workflow.dies_after = None
    words = "from gammascape.execution.runs import show_working; show_working(); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert main(["map", PATH]) == 2
        assert "a snakemake is at work in this folder" in capsys.readouterr().err
        assert not any("--unlock" in call for call in workflow.calls)
        other.communicate(b"\n")
    said(capsys, "--rounds", "0")
    assert any("--unlock" in call for call in workflow.calls)


def test_a_curvature_that_cannot_be_measured_is_named_with_the_reason(
    workflow: Workflow, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> list[float]:
        raise RuntimeError("CUDA out of memory.\nTried")

    monkeypatch.setattr("gammascape.training.critical.critical_etas", fails)
    text = said(capsys, "--rounds", "0")
    assert "begins without the curvature, which cannot be measured: " in text
    assert "CUDA out of memory." in text
    assert "start, critical eta unknown" in POINTS.read_text()


def test_points_are_exported_with_their_study_and_an_edit_is_named_by_the_audit(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys)
    write_results(plan_of(), figures=False)
    assert main(["export-crate", "crate"]) == 0
    assert Path("crate", POINTS).read_bytes() == POINTS.read_bytes()
    capsys.readouterr()
    main(["audit", "--all"])
    assert "edited by hand" not in capsys.readouterr().out
    POINTS.write_text(POINTS.read_text().replace("round 1,", "round 3,", 1))
    main(["audit", "--all"])
    assert "tiny.points.yaml was edited by hand" in capsys.readouterr().out
    assert "edited by hand; going on" in said(capsys)
