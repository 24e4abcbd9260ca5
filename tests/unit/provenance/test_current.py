"""Which tables, figures and pages are what the studies ask for, whatever file times say."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gammascape.provenance.current import Results, scripts_folder, write_scripts_folder
from gammascape.provenance.project import open_project
from gammascape.workflow.catalogue import everything

from ..project import STUDY, change_code, plan_of

SLICE = "small-digits-mse-B16-T30"
TABLES = "results/tiny/tables"
INDEX = "results/index.manifest.json"


def results() -> Results:
    return Results(open_project(), scripts_folder())


def differing() -> dict[str, set[str]]:
    """Manifest -> kinds of its differences."""
    return {path: set(kinds) for path, kinds in results().differing.items()}


def edit(path: str, change: Callable[[Any], None]) -> None:
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))


def test_exactly_what_reads_a_changed_threshold_differs(project: Path) -> None:
    assert differing() == {}
    with Path("config/studies/tiny.yaml").open("a") as file:
        file.write("analysis: {trained_below: 0.7}\n")
    found = differing()
    assert set(map(frozenset, found.values())) == {frozenset({"params"})}
    reads = {
        path for path, item in results().catalogue.items() if "trained_below" in str(item.params)
    }
    assert set(found) == reads
    assert f"{TABLES}/scores.manifest.json" not in reads


def test_a_long_parameter_that_differs_is_named_and_not_shown(project: Path) -> None:
    edit(
        "results/index.manifest.json",
        lambda m: m["record"]["params"]["studies"]["tiny"].update(description="old", tables=["x"]),
    )
    words = results().differing["results/index.manifest.json"]["params"]
    assert words == ["studies.tiny.description old -> Two depths.", "studies.tiny.tables"]


def test_times_are_made_to_say_what_manifests_say(project: Path) -> None:
    draw = random.Random(1)
    for path in (p for folder in ("results", "workflow") for p in Path(folder).rglob("*.*")):
        os.utime(path, (draw.uniform(1e9, 2e9),) * 2)
    cells = {path: path.stat().st_mtime_ns for path in Path("results/cells").rglob("*.*")}
    found = results()
    found.settle()
    assert found.forced == set()
    for path, item in found.catalogue.items():
        made = min(Path(name).stat().st_mtime_ns for name in [*item.outputs, path])
        assert all(Path(name).stat().st_mtime_ns <= made for name in item.files), path
        # Of a script that is as old as an output Snakemake says that it was changed.
        assert (Path("workflow/scripts") / item.script).stat().st_mtime_ns < made
    assert {path: path.stat().st_mtime_ns for path in cells} == cells
    after = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*.*")}
    results().settle()
    assert {path: path.stat().st_mtime_ns for path in after} == after


def test_times_of_what_differs_are_left_alone(project: Path) -> None:
    path = Path(f"{TABLES}/scaling/{SLICE}.manifest.json")
    change_code(path, "tables/edges/exponents.py")
    os.utime(path, (1, 1))
    found = results()
    found.settle()
    assert (path.stat().st_mtime, found.forced) == (1, {f"{TABLES}/scaling/{SLICE}.parquet"})


def test_a_table_of_another_content_makes_all_differ_that_read_it(project: Path) -> None:
    # As after copying some files from elsewhere over these: each is whole, and they are not of one run.
    edit(
        f"{TABLES}/thresholds/{SLICE}.manifest.json",
        lambda m: m["outputs"][0].update(sha256="0" * 64),
    )
    found = results()
    path = f"{TABLES}/thresholds/{SLICE}.manifest.json"
    assert set(found.differing) == {p for p, i in found.catalogue.items() if path in i.sources}
    assert set(map(tuple, found.differing.values())) == {("inputs",)}


def test_a_cell_that_was_trained_again_to_the_same_bytes_makes_nothing_differ(
    project: Path,
) -> None:
    path = next(Path("results/cells").glob("*/*/manifest.json"))
    edit(str(path), lambda m: m.update(started="2020-01-01T00:00:00+00:00", executor="single"))
    assert differing() == {}
    edit(str(path), lambda m: m["outputs"][0].update(sha256="0" * 64))
    assert f"{TABLES}/cells.manifest.json" not in differing()
    assert any(name.startswith(f"{TABLES}/cells/") for name in differing())


def test_a_removed_gamma_makes_the_table_of_its_slice_differ(project: Path) -> None:
    study = STUDY.replace(
        "log10: [0, 1]}\n    eta: {log10: [-1, 0, 1]}", "log10: 0}\n    eta: {log10: [-1, 0, 1]}"
    )
    Path("config/studies/tiny.yaml").write_text(study)
    assert differing()[f"{TABLES}/cells/{SLICE}.manifest.json"] == {"inputs"}


def test_a_remark_in_a_script_is_no_change_and_a_statement_is(project: Path) -> None:
    script = Path("workflow/scripts") / "tables.py"
    script.write_text(script.read_text() + "# a remark\n")
    assert differing() == {}
    script.write_text(script.read_text() + "print()\n")
    assert set(map(frozenset, differing().values())) == {frozenset({"script"})}


@pytest.mark.parametrize("text", ["", "x" * 5000, "gone", "workflow/scripts"])
def test_scripts_are_found_whatever_the_file_of_their_place_says(project: Path, text: str) -> None:
    Path(".snakemake").mkdir(exist_ok=True)
    Path(".snakemake/gammascape-scripts").write_text(text)
    assert scripts_folder() == Path("workflow/scripts")
    Path("other").mkdir()
    write_scripts_folder(Path("other"))
    assert scripts_folder() == Path("other")


def test_a_manifest_from_before_scripts_were_written_down_is_current(project: Path) -> None:
    path = f"{TABLES}/scaling/{SLICE}.manifest.json"
    edit(path, lambda m: m["code"].pop("script"))
    assert path not in differing()
    newest = max(p.stat().st_mtime for p in Path("results").rglob("*.*")) + 100
    os.utime(Path("workflow/scripts") / "tables.py", (newest, newest))
    before = Path(path).stat().st_mtime_ns
    results().settle()
    # Only its time can say whether the script has changed, so Snakemake shall see it.
    assert Path(path).stat().st_mtime_ns == before


@pytest.mark.parametrize("value", [None, [[]], {"a": 1}])
def test_any_damage_of_a_manifest_is_a_difference(project: Path, value: object) -> None:
    path = f"{TABLES}/scaling/{SLICE}.manifest.json"
    whole = json.loads(Path(path).read_text())
    for key in ("outputs", "record", "code", "inputs", "accepted"):
        Path(path).write_text(json.dumps({**whole, key: value}))
        assert path in differing(), key


def test_a_file_of_another_size_is_not_what_was_made(project: Path) -> None:
    Path(f"{TABLES}/scaling.parquet").write_bytes(b"x")
    assert differing()[f"{TABLES}/scaling.manifest.json"] == {"damaged"}


def test_what_is_gone_is_asked_for_and_what_follows_is_not(project: Path) -> None:
    assert results().missing() == []
    figure = Path("results/tiny/figures/edges.svg")
    cell = next(Path("results/cells").glob("*/*/arrays.npz"))
    for path in (figure, cell):
        path.unlink()
    found = results()
    assert found.missing() == [figure.as_posix(), cell.as_posix()]
    assert found.forced == set()


def test_a_new_study_asks_for_its_page_and_nothing_more(project: Path) -> None:
    Path("results").rename("elsewhere")
    assert results().missing() == ["results/index.html", "results/index.manifest.json"]


def test_the_page_shows_what_a_study_says_of_itself(project: Path) -> None:
    Path("config/studies/tiny.yaml").write_text(STUDY.replace("Two depths.", "Both depths."))
    assert differing() == {"results/index.manifest.json": {"params"}}


def test_the_page_of_another_study_keeps_those_that_were_run_before(project: Path) -> None:
    own = results().catalogue[INDEX]
    shutil.copy2("config/studies/tiny.yaml", "config/studies/mine.yaml")
    page = everything(plan_of("mine"), Path())[INDEX]
    assert list(page.params["studies"]) == ["mine", "tiny"]
    assert page.params["studies"]["tiny"] == own.params["studies"]["tiny"]
    assert set(own.files) < set(page.files)
    # A study of which something is gone is not there any more.
    Path("results/tiny/figures/edges.svg").unlink()
    assert list(everything(plan_of("mine"), Path())[INDEX].params["studies"]) == ["mine"]
