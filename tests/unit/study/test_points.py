"""Points of maps: the file beside a study, and what a study makes of it."""

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from gammascape.study import StudyError, load_study
from gammascape.study import points as points_module
from gammascape.study.asked import asks
from gammascape.study.keys.axes import Map
from gammascape.study.points import Point, Points, points_path, read_points, write_points
from gammascape.workflow.plan import load_plan

STUDY = """\
models:
  mlp3: {kind: mlp, depth: 3, width: 8}
datasets:
  digits: {kind: digits}
grids:
  - model: mlp3
    dataset: digits
    loss: mse
    gamma: {log10: [-1, 0]}
    eta: {map: {}}
    batch_size: 8
    steps: 10
    seed: [0, 1]
"""
KEY = "mlp3-digits-mse-B8-T10"
POINTS: Points = {
    KEY: {
        Decimal(-1): {Decimal("-2"): Point(0, "start, critical eta 10^-1.52")},
        Decimal(0): {
            Decimal("0"): Point(0, "start, critical eta 10^0.10"),
            Decimal("0.125"): Point(2, "between 0 trained and 0.25 diverged, seed 1"),
            Decimal("0.25"): Point(1, "above 0 trained, seed 1"),
        },
    }
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY)
    write_points(path, POINTS, {})
    return path


def test_the_cells_of_a_map_are_its_points_for_all_seeds(study: Path) -> None:
    loaded = load_study(study)
    assert [(c.gamma, c.eta, c.seed) for c in loaded.cells] == [
        (gamma, eta, seed)
        for gamma, etas in (("-1", ["-2"]), ("0", ["0", "0.125", "0.25"]))
        for eta in etas
        for seed in (0, 1)
    ]
    # A cell of a map is the cell of any other study.
    other = study.with_name("other.yaml")
    other.write_text(STUDY.replace("{map: {}}", "{log10: [-2, 0, 0.125, 0.25]}"))
    assert set(loaded.by_path) < set(load_study(other).by_path)


def test_points_are_written_sorted_one_a_line_and_read_again(study: Path) -> None:
    before = points_path(study).read_bytes()
    assert b'\n      "0.125": round 2, between 0 trained and 0.25 diverged, seed 1\n' in before
    assert read_points(study) == (POINTS, False, {})
    upside_down = {
        key: {g: dict(reversed(etas.items())) for g, etas in reversed(gammas.items())}
        for key, gammas in POINTS.items()
    }
    write_points(study, upside_down, {})
    assert points_path(study).read_bytes() == before


def test_digits_of_a_digest_or_a_name_are_text(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points_module, "_digest", lambda content: "371343112053")
    numbered = study.rename(study.with_name("2024.yaml"))
    write_points(numbered, POINTS, {})
    assert load_study(numbered).points == POINTS


def test_a_point_knows_the_two_cells_that_made_it_necessary(study: Path) -> None:
    loaded = load_study(study)
    (part,) = loaded.slices
    cell = next(c for c in part.cells if c.eta == "0.125" and c.seed == 0)
    (ask,) = asks(loaded, part, cell)
    assert ask.point == Point(2, "between 0 trained and 0.25 diverged, seed 1")
    cells = {path: (c.eta, c.seed) for path, c in loaded.by_path.items()}
    assert [cells[path] for path in ask.because] == [("0", 1), ("0.25", 1)]
    first = next(c for c in part.cells if c.gamma == "-1")
    (ask,) = asks(loaded, part, first)
    assert ask.point == Point(0, "start, critical eta 10^-1.52")
    assert not ask.because


def with_gammas(study: Path, gammas: str, *new: str) -> None:
    """Write a study with a map of gamma, whose points have further gammas."""
    study.write_text(STUDY.replace("{log10: [-1, 0]}", gammas))
    of_slice = dict(POINTS[KEY])
    for text in new:
        of_slice[Decimal(text)] = {
            Decimal("-1.5"): Point(3, "new gamma between -1 and 0, where the window closes"),
            Decimal("-1"): Point(4, "above -1.5 trained"),
        }
    write_points(study, {KEY: of_slice}, {})


def test_a_map_of_gamma_has_its_coarse_gammas_and_those_of_the_points(study: Path) -> None:
    with_gammas(study, "{map: {from: -1, to: 0}}", "-0.5", "-0.25")
    loaded = load_study(study)
    assert {cell.gamma for cell in loaded.cells} == {"-1", "-0.5", "-0.25", "0"}
    assert {cell.seed for cell in loaded.cells if cell.gamma == "-0.5"} == {0, 1}
    (part,) = loaded.slices
    later = next(c for c in part.cells if (c.gamma, c.eta) == ("-0.5", "-1"))
    (ask,) = asks(loaded, part, later)
    assert ask.point == Point(4, "above -1.5 trained")
    assert ask.first == Point(3, "new gamma between -1 and 0, where the window closes")
    first = next(c for c in part.cells if (c.gamma, c.eta) == ("-0.5", "-1.5"))
    (ask,) = asks(loaded, part, first)
    assert (ask.point, ask.first) == (loaded.points[KEY][Decimal("-0.5")][Decimal("-1.5")], None)


def test_gammas_that_a_map_of_gamma_cannot_have_are_answered(study: Path) -> None:
    with_gammas(study, "{map: {from: -1, to: 0, finest: 2}}", "-0.5", "-0.25")
    with pytest.raises(StudyError, match=r"-0.25: no map of the study has this gamma"):
        load_study(study)
    assert Decimal("-0.25") not in load_study(study, begin=True).points[KEY]
    with_gammas(study, "{map: {from: -1, to: 1}}")
    with pytest.raises(StudyError, match="has no points at log10 gamma 1"):
        load_study(study)
    assert {cell.gamma for cell in load_study(study, begin=True).cells} == {"-1", "0", "1"}


def test_grids_of_one_slice_have_one_map_of_gamma(study: Path) -> None:
    with_gammas(study, "{map: {from: -1, to: 0}}", "-0.5")
    grid = study.read_text().partition("grids:\n")[2]
    study.write_text(study.read_text() + grid.replace("to: 0", "to: 1"))
    with pytest.raises(StudyError, match=r"gamma.map: an earlier grid maps .* with other options"):
        load_study(study)
    # Another seed has the same gammas; a list has its own.
    other = grid.replace("[0, 1]", "2")
    listed = grid.replace("[0, 1]", "3").replace("{map: {from: -1, to: 0}}", "{log10: 0}")
    study.write_text(STUDY.partition("grids:\n")[0] + "grids:\n" + grid + other + listed)
    seeds = {cell.gamma: set[int]() for cell in load_study(study).cells}
    for cell in load_study(study).cells:
        seeds[cell.gamma].add(cell.seed)
    assert seeds == {"-1": {0, 1, 2}, "-0.5": {0, 1, 2}, "0": {0, 1, 2, 3}}


def test_a_map_without_points_says_what_to_run(study: Path) -> None:
    points_path(study).unlink()
    with pytest.raises(StudyError, match=r"no points yet in .*: run gammascape map .*mine.yaml"):
        load_study(study)
    begun = load_study(study, begin=True)
    assert {cell.gamma for cell in begun.cells} == {"-1", "0"}
    assert begun.points == {}


def test_an_edit_by_hand_is_noticed_and_no_mistake(study: Path) -> None:
    path = points_path(study)
    path.write_text(path.read_text().replace('"0.25": round 1', '"0.375": round 1'))
    loaded = load_study(study)
    assert loaded.edited
    assert Decimal("0.375") in loaded.points[KEY][Decimal(0)]
    write_points(study, loaded.points, {})
    assert not load_study(study).edited


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('study: "mine"', "study: yours", 'or write study: "mine" in it if that is its new'),
        (KEY, "mlp4-digits-mse-B8-T10", "mlp4-digits-mse-B8-T10: no map of the study has this"),
        ('"-1":', '"-3":', "no map of the study has this gamma"),
        ('"-1":', '"-3":', "has no points at log10 gamma -1"),
        ('"0.125"', '"0.1"', "is no point of the grid with 8 per decade"),
        ('"0.125"', '"0.1250"', "0.1250: is not the exact text of a log10 value"),
        ('"0.25"', '"0"', "0: this key stands twice"),
        ("round 2, between", "between", "does not say its round and reason"),
        ("round 2, between", f"round {'2' * 5000}, between", "does not say its round and reason"),
        ("round 1, above 0 trained, seed 1", '"round 1, by hand: 0"', "reason, without : and #"),
        ("round 1, above 0 trained, seed 1", '"round 1, by hand #1"', "reason, without : and #"),
        ('"0.25"', '"30.25"', "30.25: is not the exact text of a log10 value, at most 30"),
        ('"0.25"', f'"{"9" * 30}"', "is not the exact text of a log10 value, at most 30"),
        ("format: 1", "format: 2", "format"),
    ],
)
def test_a_file_that_is_not_of_the_study_is_answered(
    study: Path, old: str, new: str, said: str
) -> None:
    path = points_path(study)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(StudyError) as caught:
        load_study(study)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_what_a_changed_study_does_not_map_any_more_is_left_out_by_the_command(
    study: Path,
) -> None:
    study.write_text(STUDY.replace("[-1, 0]", "[0, 1]").replace("{map: {}}", "{map: {finest: 4}}"))
    begun = load_study(study, begin=True)
    assert begun.points == {
        KEY: {Decimal(0): {e: POINTS[KEY][Decimal(0)][e] for e in (0, Decimal("0.25"))}}
    }
    assert {cell.gamma for cell in begun.cells} == {"0", "1"}


def test_points_of_a_network_that_has_changed_are_left_out_by_the_command(study: Path) -> None:
    maps = load_study(study).maps
    (digits,) = {mapped.network for mapped in maps[KEY].values()}
    write_points(study, POINTS, {KEY: digits})
    assert f'networks:\n  {KEY}: "{digits}"\nslices:' in points_path(study).read_text()
    assert load_study(study).points == POINTS
    # Names, seeds and what is measured are not what points depend on.
    study.write_text(STUDY.replace("[0, 1]", "[5]") + "observables: [kernel_alignment]\n")
    assert load_study(study).points == POINTS
    for old, new in (
        ("width: 8", "width: 9"),
        ("{kind: digits}", "{kind: digits, label_noise: 0.1}"),
    ):
        study.write_text(STUDY.replace(old, new))
        with pytest.raises(StudyError, match="its model or its data have changed") as caught:
            load_study(study)
        assert f"run gammascape map {study}, which fits the points" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 5
        begun = load_study(study, begin=True)
        assert begun.points == {}
        assert [problem.path for problem in begun.left_out] == [("slices", KEY)]


def test_a_file_as_written_may_be_larger_than_yaml_and_another_is_read_as_yaml(study: Path) -> None:
    etas = {
        Decimal(k) / 1000: Point(1, f"above {'0' * 40} trained") for k in range(-15_000, 15_000)
    }
    points = {KEY: {Decimal(-1): etas, Decimal(0): {Decimal(0): Point(0, "start")}}}
    write_points(study, points, {KEY: "012345678901"})
    path = points_path(study)
    assert path.stat().st_size > 2_000_000
    assert read_points(study) == (points, False, {KEY: "012345678901"})
    path.write_text(f"{path.read_text()}\n# of mine\n")
    with pytest.raises(StudyError, match="has more than 2,000,000 bytes"):
        read_points(study)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\nslices", "\n\nslices"),
        ("slices:", "slices:  # of mine"),
        ('"0": round 0, start', '"0":   round 0, start'),
        ('"0": round 0, start', '"\\x30": round 0, start'),
        ("round 1, above 0 trained, seed 1", "'round 1, above 0 trained, seed 1'"),
        ("round 1, above 0 trained, seed 1", "round 1,\n         above 0 trained, seed 1"),
        ("round 1, above 0 trained, seed 1", "round 1, above 0 trained, seed 1  "),
        ("      ", "         "),
        ("# log10", "\ufeff# log10"),
    ],
)
def test_other_ways_to_write_the_same_are_read(study: Path, old: str, new: str) -> None:
    path = points_path(study)
    path.write_text(path.read_text().replace(old, new))
    assert read_points(study)[0] == POINTS


def test_two_grids_map_a_slice_alike(study: Path) -> None:
    grid = STUDY.partition("grids:\n")[2]
    study.write_text(STUDY + grid.replace("{map: {}}", "{map: {finest: 4}}"))
    with pytest.raises(StudyError, match=f"an earlier grid maps {KEY} with other options"):
        load_study(study)
    study.write_text(STUDY + grid.replace("[0, 1]", "2").replace("[-1, 0]", "0"))
    (part,) = load_study(study).slices
    assert {c.seed for c in part.cells if c.gamma == "0"} == {0, 1, 2}
    assert {c.seed for c in part.cells if c.gamma == "-1"} == {0, 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{finest: 3}", "map.finest: 3 per decade .* write 1 or 2 or 4 or 8"),
        ("{inside: 16}", "map.inside: 16 per decade .* write 1 or 2 or 4 or 8"),
        ("{coarsest: 3}", "map.finest: 8 per decade"),
        ("{finest: x}", "map.finest"),
        ("{finest: 0}", "1 problem\n.*map.finest: must be at least 1, got 0"),
        ("{protocol: walk-down, finest: 100}", "map.finest: must be at most 64, got 100"),
        ("{edges: [eta_max]}", "eta_max"),
        ("{edges: []}", "map.edges"),
        ("{begin: [0.25, 0.3]}", "map.begin: 0.3 is no point .* 8 per decade .* write 0.25"),
        ("{begin: {from: 0, to: 1, per_decade: 3}}", "map.begin: 0.333333 is no point .* 0.375"),
        ("{begin: []}", "map.begin.*: is an empty list"),
    ],
)
def test_options_that_do_not_nest_are_answered(study: Path, options: str, said: str) -> None:
    study.write_text(STUDY.replace("{map: {}}", f"{{map: {options}}}"))
    with pytest.raises(StudyError, match=said):
        load_study(study)


@pytest.mark.parametrize(
    ("finest", "coarsest", "inside"), [(1, 1, 1), (8, 1, 2), (8, 4, 4), (6, 3, 3)]
)
def test_points_inside_nest_unless_they_are_asked_for(
    finest: int, coarsest: int, inside: int
) -> None:
    assert Map(finest=finest, coarsest=coarsest).inside == inside


def test_the_first_points_surround_the_predicted_edges() -> None:
    # At gamma = 10^3 theory puts the upper edge of L = 3 a decade below the lower one.
    critical = Fraction("3.3")
    assert Map().start(Decimal(3), "mse", 3, (critical, critical)) == (2, 3)
    # Far below gamma = 1 the loss of cross-entropy stays finite for decades above training.
    critical = Fraction("-8.1")
    assert Map().start(Decimal(-4), "xent", 3, (critical, critical)) == (-9, -8, -4)
    walk = Map(protocol="walk-down", finest=1)
    assert walk.start(Decimal(-4), "xent", 3, (critical, critical)) == (-4, -3)
    assert Map().start(Decimal(-4), "mse", 3, (Fraction(50), Fraction(50))) == (30,)
    given = Map.model_validate({"finest": 4, "begin": [0.5, -0.25]})
    assert given.start(Decimal(3), "mse", 3) == (Decimal("-0.25"), Decimal("0.5"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"0.25"', '"0.250"', 'write "0.25"'),
        ('"0.25"', '"+0.25"', 'write "0.25"'),
        ('"0.25"', "0.25", "remove it and run gammascape map"),
        ("digest:", "digits:", "remove it and run gammascape map"),
        (None, "", "remove it and run gammascape map"),
    ],
)
def test_an_edit_that_is_not_understood_is_answered_by_what_to_do(
    study: Path, old: str | None, new: str, said: str
) -> None:
    path = points_path(study)
    path.write_text("" if old is None else path.read_text().replace(old, new, 1))
    with pytest.raises(StudyError, match=re.escape(said)):
        load_study(study)


def test_a_map_of_gamma_begins_with_two(study: Path) -> None:
    one = "gamma: {map: {from: -0.5, to: 0.5}}"
    study.write_text(STUDY.replace("gamma: {log10: [-1, 0]}", one))
    with pytest.raises(StudyError, match="begins with one gamma"):
        load_study(study)


def test_a_folder_can_be_unlocked_before_a_map_has_points(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points_path(study).unlink()
    with pytest.raises(StudyError, match="run gammascape map"):
        load_plan({"study": str(study)})
    monkeypatch.setattr("sys.argv", ["snakemake", "--unlock"])
    assert set(load_plan({"study": str(study)}).studies) == {"mine"}
