"""The explorer in a browser: what is drawn of the tables and the artifacts, and what a person can do."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gammascape
from gammascape.figures.explorer.data import thinned
from gammascape.figures.explorer.page import write_explorer
from gammascape.runs.outcome import Thresholds
from gammascape.tables.toy import toy_budget_table, toy_cell_table
from gammascape.theory import toy as theory

from ...browser import CHROMIUM, Browser, chromium
from ...project import make_project, plan_of, write_results

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, see .ci/run")
STUDY = """\
datasets:
  digits: {kind: digits}
models:
  small: {kind: mlp, depth: 2, width: 16}
  deep: {kind: mlp, depth: 3, width: 16}
grids:
  - model: [small, deep]
    dataset: digits
    loss: mse
    gamma: {log10: [0, 1, 2]}
    eta: {log10: [-2, -1, 0, 1]}
    batch_size: 16
    steps: 60
    seed: [0, 1]
"""
READ = ("cells", "thresholds", "scaling", "budget", "similarity")
Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("explorer") / "project", STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_results(plan_of(), figures=False)
        write(tables_of(folder), folder / "results/tiny/explorer.html", folder)
    return folder


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(tab: Browser, project: Path) -> Iterator[Browser]:
    tab.open(project / "results/tiny/explorer.html")
    yield tab
    # Nothing but the page itself was asked for, and the console is empty.
    assert tab.said == []
    assert all(address.startswith(("file:", "about:", "data:")) for address in tab.asked)


def tables_of(project: Path) -> Tables:
    return {name: pl.read_parquet(project / f"results/tiny/tables/{name}.parquet") for name in READ}


def write(tables: Tables, path: Path, project: Path, study: str = "tiny", planned: int = 0) -> str:
    cells = project / "results/cells"
    write_explorer(study, tables, cells, Thresholds(), path, planned=planned)
    return path.read_text()


def tile(page: Browser, gamma: float, eta: float) -> tuple[float, float]:
    """Middle of a tile on the screen."""
    found = page.run(f"""(() => {{
        const {{ view, box }} = explorer.planes()[0], svg = box.querySelector("svg").getBoundingClientRect();
        const [left, top] = view.origin(), at = [view.scale("x")({gamma}), view.scale("y")({eta})];
        return [svg.x + left + at[0], svg.y + top + at[1]];
    }})()""")
    return found[0], found[1]


def chosen(page: Browser) -> list[str]:
    return list(page.run("explorer.chosen().map(i => explorer.data.cells.cell[i])"))


def cells_at(project: Path, **at: object) -> list[str]:
    key = tables_of(project)["cells"]["slice"][0]
    return tables_of(project)["cells"].filter(slice=key, **at)["cell"].to_list()


def drawn(page: Browser, panel: str) -> pl.DataFrame:
    rows = page.run(f"explorer.panels().find(p => p.name === '{panel}').view.data('curves')")
    return pl.DataFrame(rows, infer_schema_length=None)


@needs_chromium
def test_a_click_draws_the_numbers_of_the_artifacts_and_shift_adds(
    page: Browser, project: Path
) -> None:
    page.click(*tile(page, 1, 0))
    first = cells_at(project, gamma_log10=1.0, eta_log10=0.0)
    assert chosen(page) == first
    assert len(first) == 2
    page.click(*tile(page, 2, -1), shift=True)
    both = first + cells_at(project, gamma_log10=2.0, eta_log10=-1.0)
    assert sorted(chosen(page)) == sorted(both)
    for name, column in (("training_loss", "loss"), ("test_loss", "test_loss")):
        lines = drawn(page, name)
        assert set(lines["cell"]) == set(both)
        for cell in both:
            life = gammascape.history(project / "results/cells" / cell).drop_nulls(column)
            points = lines.filter(cell=cell).join(life, on="step")
            assert points.height == lines.filter(cell=cell).height > 1
            # Four digits are kept.
            assert ((points["y"] / points[column] - 1).abs() < 6e-4).all()
            line = lines.filter(cell=cell)["y"]
            assert [line.min(), line.max()] == pytest.approx(
                [life[column].min(), life[column].max()], rel=6e-4
            )
    page.click(*tile(page, 2, -1), shift=True)
    assert chosen(page) == first


@needs_chromium
def test_dragging_and_labels_choose_many_and_escape_none(page: Browser, project: Path) -> None:
    (left, bottom), (right, top) = tile(page, -0.3, -1.3), tile(page, 1.3, 0.3)
    page.click(left, bottom, to=(right, top))
    inside = pl.col("gamma_log10").le(1), pl.col("eta_log10").is_in([-1.0, 0.0])
    key = tables_of(project)["cells"]["slice"][0]
    asked = tables_of(project)["cells"].filter(*inside, slice=key)["cell"]
    assert sorted(chosen(page)) == sorted(asked)
    place = page.run("""(() => {
        const labels = [...document.querySelectorAll(".plane .role-axis-label text")];
        const { x, y, width, height } = labels.find(l => l.textContent === "10²").getBoundingClientRect();
        return [x + width / 2, y + height / 2];
    })()""")
    page.click(*place)
    assert sorted(chosen(page)) == sorted(cells_at(project, gamma_log10=2.0))
    page.press("Escape")
    assert chosen(page) == []


@needs_chromium
def test_the_slider_colours_as_the_table_of_budgets_says(page: Browser, project: Path) -> None:
    table = tables_of(project)["budget"]
    key = tables_of(project)["cells"]["slice"][0]
    seen = set()
    for end in table["budget"].unique():
        page.run(f"explorer.state.T = '{end}', explorer.state.seed = '0', explorer.choose([])")
        tiles = pl.DataFrame(page.run("explorer.planes()[0].view.data('tiles')"))
        for row in table.filter(slice=key, budget=end, seed=0).iter_rows(named=True):
            column = tiles.filter(gamma=row["gamma_log10"])
            assert column.filter(status="trained").height == row["trained"]
            if row["best_relative_loss"] is not None:
                best = column.filter((pl.col("eta") - row["eta_best_log10"]).abs() < 1e-9)
                assert best["value"][0] == pytest.approx(row["best_relative_loss"], rel=6e-4)
            seen.add(row["trained"])
    assert len(seen) > 1


@needs_chromium
def test_the_address_restores_the_view_in_another_browser(page: Browser, project: Path) -> None:
    page.click(*tile(page, 1, 0))
    key = tables_of(project)["cells"]["slice"].unique(maintain_order=True)[1]
    page.run(
        f"explorer.state.beside = '{key}', explorer.state.T = '20', explorer.state.x = 'linear'"
    )
    page.run("explorer.choose(explorer.chosen())")
    look = "JSON.stringify([explorer.state, explorer.chosen(), explorer.planes().map(p => p.view.data('tiles'))])"
    address, before = page.run("location.hash"), page.run(look)
    with chromium() as other:
        other.open(project / "results/tiny/explorer.html", address)
        assert other.run(look) == before
        # What no page wrote is left aside.
        damaged = "#slice=<b>&T=7&cells=none&colour=&edges=yes&guides="
        other.open(project / "results/tiny/explorer.html", damaged)
        assert chosen(other) == []
        assert other.run("location.hash") == ""
        # A network that is named twice is chosen once.
        ids = "explorer.data.cells.cell[0].split('-').at(-1)"
        name = other.run(ids)
        other.open(project / "results/tiny/explorer.html", f"#cells={name},{name}.0,{name}.-1")
        assert len(chosen(other)) == len(set(chosen(other))) == 1
        assert other.said == []


@needs_chromium
def test_two_slices_share_pointer_scale_and_choice(page: Browser) -> None:
    page.run("explorer.state.beside = explorer.data.slices[1].slice, explorer.choose([])")
    page.click(*tile(page, 1, 0))
    slices = page.run("explorer.chosen().map(i => explorer.data.cells.slice[i])")
    assert sorted(set(slices)) == [0, 1]
    marked = page.run("explorer.planes().map(p => p.view.data('marked').map(m => m.tile))")
    assert marked[0] == marked[1] != []
    ends = page.run(
        "explorer.planes().map(p => [...p.view.scale('x').domain(), p.view.signal('low')])"
    )
    assert ends[0] == ends[1]
    # One beside itself is shown once.
    page.run("explorer.state.beside = explorer.state.slice, explorer.choose([])")
    assert page.run("explorer.planes().length") == 1


@needs_chromium
def test_all_of_it_works_from_the_keyboard(page: Browser, project: Path) -> None:
    page.run("document.querySelector('.plane').focus()")
    for key in (
        "ArrowRight",
        "ArrowLeft",
        "ArrowLeft",
        "ArrowUp",
        "ArrowUp",
        "ArrowUp",
        "ArrowDown",
    ):
        page.press(key)
    assert "γ = 1, η = 1" in page.run("document.getElementById('pointed').textContent")
    page.press("Enter")
    assert chosen(page) == cells_at(project, gamma_log10=0.0, eta_log10=0.0)
    page.press("ArrowRight")
    page.press("Enter", shift=True)
    assert len(chosen(page)) == 4
    page.press("g")
    assert sorted(chosen(page)) == sorted(cells_at(project, gamma_log10=1.0))
    page.press("e")
    assert sorted(chosen(page)) == sorted(cells_at(project, eta_log10=0.0))


@needs_chromium
def test_the_table_sorts_and_is_copied_with_commands(page: Browser, project: Path) -> None:
    page.run("explorer.state.sort = '-η', explorer.choose([0, 1, 2, 3, 4, 5])")
    table = pl.read_csv(page.run("explorer.csv()").encode())
    assert table["η"].is_sorted(descending=True)
    row = table.row(0, named=True)
    known = tables_of(project)["cells"].filter(cell=row["cell"]).row(0, named=True)
    assert row["command"] == f"gammascape why {row['cell']}"
    assert row["status"] == known["status"]
    assert row["final loss"] == pytest.approx(known["final_loss"], rel=6e-4)
    # A neighbour is chosen by a click.
    page.run("document.querySelector('#rows button:not(:disabled)').click()")
    page.idle()
    assert len(chosen(page)) == 1


@needs_chromium
def test_likeness_is_that_of_the_table(page: Browser, project: Path) -> None:
    page.run("explorer.choose(explorer.data.cells.best.flatMap((best, i) => best ? [i] : []))")
    rows = page.run("explorer.likeness().data('likeness')")
    table = tables_of(project)["similarity"].filter(at="steps").drop_nulls("cka")
    assert {round(row["cka"], 3) for row in rows} <= {round(v, 3) for v in table["cka"]}
    assert rows
    assert "are not among them" not in page.run("document.getElementById('unlike').textContent")
    # Two slices of one model are told apart.
    page.run("explorer.data.slices.forEach((part) => { part.model = 'same'; })")
    page.run("explorer.choose(explorer.chosen())")
    assert len(page.run("explorer.likeness().data('likeness')")) == len(rows)


@needs_chromium
@pytest.mark.parametrize("case", ["one cell", "nothing trains", "odd names"])
def test_small_and_odd_studies_are_shown(
    tab: Browser, project: Path, tmp_path: Path, case: str
) -> None:
    tables, study = tables_of(project), "tiny"
    cells = tables["cells"]
    if case == "one cell":
        tables["cells"] = cells.head(1)
    elif case == "nothing trains":
        bad = cells.filter(status="diverged")
        tables = {name: table.clear() for name, table in tables.items()} | {"cells": bad}
    else:
        odd = "</script><script>alert(1)</script>\"'&"
        study = f"s{odd}"
        tables = {
            name: table.with_columns(pl.col("^(slice|model|model_a|layer_a)$") + odd)
            for name, table in tables.items()
        }
    tab.said.clear()
    text = write(tables, tmp_path / "explorer.html", project, study, planned=900)
    assert f"{tables['cells']['cell'].n_unique()} of 900 cells" in text
    tab.open(tmp_path / "explorer.html")
    tab.run("explorer.choose([0])")
    assert len(chosen(tab)) == 1
    assert tab.run("document.querySelector('h1').textContent") == study
    if case == "odd names":
        assert tab.run("document.querySelector('h3').textContent") == tables["cells"]["slice"][0]
        assert tab.run("document.querySelectorAll('script').length") == 4
    assert tab.said == []


@needs_chromium
def test_a_toy_is_shown_with_computed_curves(tab: Browser, tmp_path: Path) -> None:
    points = [
        (f"{gamma}", f"{eta}", f"toy/g{gamma}-{gamma}{eta}") for gamma in (0, 1) for eta in (-1, 0)
    ]
    labels = {"slice": "toy", "model": "toy2", "dataset": "none", "loss": "mse", "batch_size": 1}
    labels |= {"steps": 40, "passes": None}
    cells = toy_cell_table(points, 2, labels, Thresholds())
    budget = toy_budget_table(cells, 2, Thresholds(), 0.95)
    thresholds = pl.DataFrame(schema=dict.fromkeys(("slice", "edge", "cell"), pl.String))
    tab.said.clear()
    scaling = pl.DataFrame(
        schema={"slice": pl.String, "edge": pl.String, "window": pl.String}
        | dict.fromkeys(("predicted_slope", "prefactor_at_predicted_log10"), pl.Float64)
    )
    tables = {"cells": cells, "thresholds": thresholds, "budget": budget, "scaling": scaling}
    write(tables, tmp_path / "explorer.html", tmp_path)
    tab.open(tmp_path / "explorer.html")
    tab.run("explorer.choose([3])")
    loss = drawn(tab, "training_loss").sort("step")
    row = cells.row(3, named=True)
    exact = theory.outputs([row["gamma"]], [row["eta"]], 2, "mse", 40)
    first = float(theory.loss_of(next(iter(exact))[0], "mse"))
    assert loss["y"][0] == pytest.approx(first, rel=6e-4)
    assert "computed, not trained" in tab.run("explorer.csv()")
    assert tab.said == []


def test_a_thinned_curve_keeps_its_ends_and_extremes() -> None:
    step = np.arange(100_000)
    loss = 1 / (1 + step) + np.where(step == 4321, 7.0, 0.0) - np.where(step == 98765, 0.5, 0.0)
    kept = thinned(step, loss)
    assert {0, 4321, 98765, 99_999} <= set(kept.tolist())
    assert len(kept) <= 62
    assert (np.diff(kept) > 0).all()
    # A run that diverges ends with its last finite loss.
    loss[50_000:] = math.inf
    assert thinned(step, loss)[-1] == 49_999
    assert len(thinned(step[:1], loss[:1])) == 1
    assert len(thinned(step, np.full(len(step), math.nan))) == 0


def test_the_data_are_stored_by_column_with_the_digits_that_show(project: Path) -> None:
    text = (project / "results/tiny/explorer.html").read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    cells = tables_of(project)["cells"]
    assert data["cells"]["cell"] == cells["cell"].to_list()
    assert {len(column) for column in data["cells"].values()} == {cells.height}
    values = [v for m in data["measures"] for row in m["values"] if row for v in row]
    assert all(
        len(f"{v:.15g}".replace(".", "").lstrip("-0").split("e")[0].rstrip("0")) <= 4
        for v in values
    )
    assert 'src="http' not in text
