"""Forgeries that are consistent within one artifact: what it is said to be made from, by what, and its seal."""

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from gammascape.cli import main
from gammascape.commands.audit import audit, audit_all
from gammascape.commands.seal import seal_of
from gammascape.manifests import file_of, read_manifest, write_manifest
from gammascape.manifests.mark import Mark, mark_svg, read_mark
from gammascape.provenance.remake import run_rule
from gammascape.study import StudyError, load_study
from gammascape.tables.seal import SealTree
from gammascape.workflow.catalogue import artifacts, everything

from ..falsify import (
    FIGURE,
    TABLE,
    TABLES,
    cells,
    edit_table,
    errors,
    fit,
    of_figure,
    rewrite,
    seal_again,
    warnings,
)
from ..project import plan_of
from ..tree import combine, make, make_figure, train

CONFIDENCE = "analysis: {confidence: 0.1}\n"


def make_with(study: str, stem: str) -> None:
    """Make an artifact of the project in the current folder as another study would, then restore the study."""
    path = Path("config/studies/tiny.yaml")
    before = path.read_text()
    path.write_text(study)
    run_rule(next(item for item in artifacts(plan_of(), "tiny") if item.stem.endswith(stem)))
    path.write_text(before)


def test_the_audit_names_everything_whose_parameters_are_not_those_of_the_study(
    project: Path,
) -> None:
    catalogue = everything(plan_of())
    for path, item in catalogue.items():
        name = next(iter(item.params), "forged")
        rewrite(project / path, lambda m, name=name: m["record"]["params"].update({name: "x"}))
    links = audit_all(project).links
    for path in catalogue:
        said = {f.text for f in links[path].findings if f.kind == "study changed"}
        assert any("has another value of" in text for text in said), path


@pytest.mark.parametrize(
    "stem", ["tables/performance", "tables/dynamics_scaling", "tables/claims", "tables/regimes"]
)
def test_a_table_of_the_study_made_under_another_confidence(project: Path, stem: str) -> None:
    make_with(Path("config/studies/tiny.yaml").read_text() + CONFIDENCE, stem)
    (chain,) = audit([Path(f"results/tiny/{stem}.parquet")])
    said = {f.text for f in chain.links[f"results/tiny/{stem}.manifest.json"].findings}
    assert any(text.endswith("confidence") for text in said), said


def test_a_page_that_shows_another_description(project: Path) -> None:
    path = Path("config/studies/tiny.yaml")
    path.write_text(path.read_text().replace("Two depths.", "Better depths."))
    (chain,) = audit([Path("results/index.html")])
    assert ("results/index", "study changed") in warnings(chain)


def test_all_that_the_workflow_made_is_what_the_study_says(project: Path) -> None:
    chain = audit_all(project)
    assert errors(chain) == []
    assert warnings(chain) == set()


def forge_figure(root: Path, stem: str) -> Path:
    """A picture drawn by hand, with a manifest written by hand."""
    made = replace(
        read_manifest(root / f"{FIGURE}.manifest.json"), name=stem, inputs=(), outputs=()
    )
    svg = root / f"{stem}.svg"
    mark = Mark(f"{stem}.manifest.json", made.claim, "tiny").as_json()
    svg.write_text(mark_svg('<svg xmlns="http://www.w3.org/2000/svg"></svg>', mark))
    write_manifest(
        root / f"{stem}.manifest.json", replace(made, outputs=(file_of(svg, svg.parent),))
    )
    return svg


@pytest.mark.parametrize("with_study", [True, False])
def test_a_figure_of_no_rule(root: Path, with_study: bool) -> None:
    if not with_study:
        shutil.rmtree(root / "config")
    svg = forge_figure(root, "results/tiny/figures/exponent-of-mine")
    for chain in (audit([svg], root)[0], audit_all(root)):
        assert errors(chain) == [("results/tiny/figures/exponent-of-mine", "unknown origin")]


@pytest.mark.parametrize("with_study", [True, False])
def test_a_figure_made_from_nothing(root: Path, with_study: bool) -> None:
    if not with_study:
        shutil.rmtree(root / "config")
    svg = forge_figure(root, FIGURE)
    found = errors(audit([svg], root)[0])
    assert (FIGURE, "unknown origin") in found
    assert (FIGURE, "altered") in found, "it names one of its four files"


@pytest.mark.parametrize(
    ("stem", "edit", "kind"),
    [
        (FIGURE, lambda m: m.update(rule="exponents"), "misplaced"),
        (FIGURE, lambda m: m.update(kind="page"), "misplaced"),
        (TABLE, lambda m: m.update(rule="edges"), "misplaced"),
        (TABLE, lambda m: m["record"]["wildcards"].update(study="other"), "misplaced"),
        (TABLES[1], lambda m: m["inputs"].clear(), "unknown origin"),
        (TABLES[2], lambda m: m["inputs"][0].update(path=f"{TABLE}.manifest.json"), "altered"),
        (FIGURE, lambda m: m["outputs"].pop(), "altered"),
    ],
)
def test_a_manifest_that_says_another_rule_or_other_inputs(
    root: Path, stem: str, edit: Callable[[dict], None], kind: str
) -> None:
    rewrite(root / f"{stem}.manifest.json", edit)
    chain = of_figure(root)
    assert kind in {f.kind for f in chain.links[f"{stem}.manifest.json"].findings}


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (lambda s: s["facts"].update(final_loss=0.001), "facts.final_loss"),
        (lambda s: s["facts"].update(peak_loss=9.0), "facts.peak_loss"),
        (lambda s: s["facts"].update(seen_nan=True), "facts.seen_nan"),
        (lambda s: s["facts"].update(finite=False), "facts.finite"),
        (lambda s: s.update(status="trained"), "status"),
        (lambda s: s.update(relative_loss=0.01), "relative_loss"),
        (lambda s: s.update(peak_step=4), "peak_step"),
    ],
)
def test_a_fact_edited_with_the_manifest_and_all_tables_made_again(
    root: Path, edit: Callable[[dict], None], name: str
) -> None:
    cell = cells(root)[0]
    rewrite(root / cell / "summary.json", edit)
    seal_again(root / cell)
    (chain,) = audit([root / cell], root)
    texts = {f.text for f in chain.links[f"{cell}/manifest.json"].findings if f.severity == "error"}
    assert f"{name} in summary.json does not follow from arrays.npz" in texts


@pytest.mark.parametrize("kind", ["svg", "json"])
def test_a_figure_edited_with_its_manifest_and_audited_alone(
    root: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / f"{FIGURE}.{kind}"
    assert main(["audit", str(path)]) == 0
    path.write_text(path.read_text().replace("0.", "1.", 1))
    fit(root, FIGURE)
    capsys.readouterr()
    assert main(["audit", str(path)]) == 1
    said = capsys.readouterr().out.splitlines()[0]
    assert said.endswith(f"made again from its inputs: edges.{kind} differs")


def test_a_table_edited_with_its_manifest_and_audited_alone(root: Path) -> None:
    path = str(root / f"{TABLES[1]}.parquet")
    assert main(["audit", path]) == 0
    edit_table(root, TABLES[1], eta_log10=pl.col("eta_log10") + 1)
    assert main(["audit", path]) == 1


def test_a_page_with_another_script_than_vegas(root: Path) -> None:
    path = root / f"{FIGURE}.html"
    path.write_text(path.read_text().replace("<script>", "<script>send(document);", 1))
    fit(root, FIGURE)
    assert errors(of_figure(root)) == [(FIGURE, "altered")]


def test_an_explorer_whose_data_are_edited(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, copy = project / "results/tiny/explorer.html", tmp_path / "sent.html"
    shutil.copy(page, copy)
    assert main(["audit", str(page)]) == main(["audit", str(copy)]) == 0
    edited = page.read_text().replace('"seconds":[0.25', '"seconds":[0.05', 1)
    assert edited != page.read_text()
    copy.write_text(edited)
    assert main(["audit", str(copy)]) == 1
    page.write_text(edited)
    capsys.readouterr()
    assert main(["audit", str(page)]) == 1
    assert "explorer.html has another sha256" in capsys.readouterr().out
    # With its manifest, too.
    fit(project, "results/tiny/explorer")
    assert main(["audit", str(page)]) == 1
    assert "made again from its inputs: explorer.html differs" in capsys.readouterr().out


def test_results_behind_a_link_to_a_folder(root: Path, tmp_path: Path) -> None:
    (root / "results/cells").rename(tmp_path / "elsewhere")
    (root / "results/cells").symlink_to(tmp_path / "elsewhere")
    assert errors(audit_all(root)) == []
    (tmp_path / "elsewhere/better.npz").write_text("mine")
    assert errors(audit_all(root)) == [("results/cells/better.npz", "unknown origin")]


def seal(root: Path) -> str:
    """The seal over the figure of a small tree, which has no page."""
    with contextlib.chdir(root):
        mark = read_mark(Path(f"{FIGURE}.svg"))
        assert mark is not None
        computed = SealTree().seal_of(read_manifest(Path(f"{FIGURE}.manifest.json")).inputs)
    assert mark.seal == computed
    return computed


def test_a_study_without_its_cells_has_no_seal_and_stops_no_page(root: Path) -> None:
    manifest = Path(f"{FIGURE}.manifest.json")
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr("gammascape.tables.seal.page_of", lambda study: manifest)
        assert SealTree().seal_or_empty("tiny") == SealTree().seal_of(
            read_manifest(manifest).inputs
        )
        Path("results/cells").rename("elsewhere")
        assert SealTree().seal_or_empty("tiny") == ""


def make_all_again(root: Path) -> None:
    study = load_study(root / "config/studies/tiny.yaml")
    names = ("cells", "thresholds", "scaling")
    make(root, study, *(f"tables/{name}/" for name in names))
    for name in names:
        combine(root, study, name)
    make_figure(root, study)


def test_a_figure_carries_a_seal_that_no_time_and_no_machine_changes(root: Path) -> None:
    before = seal(root)
    assert re.fullmatch(r"([a-z2-7]{6}-){3}[a-z2-7]{6}", before)
    for cell in cells(root):
        rewrite(
            root / cell / "manifest.json",
            lambda m: m.update(
                started="2031-01-01T00:00:00+00:00",
                environment=m["environment"] | {"host": "another"},
                cost={"seconds": 99.0, "lanes": 7},
            ),
        )
    make_all_again(root)
    assert seal(root) == before
    train(root, [load_study(root / "config/studies/tiny.yaml").cells[0]])
    make_all_again(root)
    assert seal(root) == before


def test_a_number_of_a_cell_forged_up_to_the_figure_is_another_seal(root: Path) -> None:
    before = seal(root)
    cell = cells(root)[0]
    rewrite(root / cell / "summary.json", lambda s: s["evaluations"][-1].update(accuracy=0.99))
    seal_again(root / cell)
    make_all_again(root)
    assert errors(of_figure(root)) == []
    assert seal(root) != before


@pytest.mark.parametrize(
    "forge",
    [
        lambda root: edit_table(root, "results/tiny/tables/scores", value=pl.lit(9.0)),
        lambda root: edit_figure(root, "results/tiny/figures/edges"),
    ],
)
def test_the_seal_of_a_study_covers_tables_and_figures(
    project: Path, forge: Callable[[Path], None]
) -> None:
    printed = seal_of("tiny", project)
    assert printed in Path("results/index.html").read_text()
    forge(project)
    assert seal_of("tiny", project) != printed


def edit_figure(root: Path, stem: str) -> None:
    path = root / f"{stem}.svg"
    path.write_text(path.read_text().replace("</svg>", "<text>3</text></svg>"))
    fit(root, stem)


def test_results_are_held_against_a_seal_that_was_printed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seal", "config/studies/tiny.yaml"]) == 0
    printed = capsys.readouterr().out.strip()
    typed = printed.upper().replace("-", "")
    table = "results/tiny/tables/claims.parquet"
    assert main(["audit", table, "--seal", typed]) == 0
    assert main(["audit", table, "--seal", typed[::-1]]) == 1
    mark = read_mark(Path("results/tiny/figures/depth.png"))
    assert mark is not None
    capsys.readouterr()
    assert main(["audit", "results/tiny/figures/depth.png", "--seal", str(mark.seal)]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith(f"below {project}")


def test_no_seal_is_printed_for_files_that_are_not_those_of_their_manifests(project: Path) -> None:
    (path,) = list(project.glob("results/cells/*/g0_e-1_*/arrays.npz"))[:1]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(StudyError, match="not the file that its manifest names"):
        seal_of("tiny", project)
    with pytest.raises(StudyError, match="other: no study of this name has results here"):
        seal_of("other", project)


def test_the_falsifications_of_the_docs_are_tests() -> None:
    tests = Path(__file__).parents[2]
    defined = {
        name
        for file in tests.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    text = (tests.parent / "docs/explanation/provenance.md").read_text()
    rows = re.findall(r"^\| .* \| `(test_\w+)` \|$", text, re.MULTILINE)
    assert len(rows) > 20
    assert set(rows) <= defined
