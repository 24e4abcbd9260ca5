"""The command: what it accepts, how it ends, what it says."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from gammascape.cli import main
from gammascape.commands.audit import audit
from gammascape.manifests import fingerprint, read_manifest
from gammascape.manifests.code import MODULES
from gammascape.provenance import artifact
from gammascape.provenance.findings import SEVERITIES
from gammascape.provenance.report import ranked
from gammascape.study import StudyError
from gammascape.study import cell as study_cells

from ..falsify import DATA, FIGURE, TABLE, cells, errors, of_figure, rewrite, warnings
from ..tree import make_figure, write_study

FORMATS = ("json", "html", "svg", "png")


@pytest.fixture
def project(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("kind", FORMATS)
def test_a_copy_of_a_figure_leads_to_its_manifest(project: Path, tmp_path: Path, kind: str) -> None:
    copy = tmp_path / f"figure-3.{kind}"
    shutil.copy(f"{FIGURE}.{kind}", copy)
    (chain,) = audit([copy])
    assert chain.tops == (f"{FIGURE}.manifest.json",)
    assert errors(chain) == []
    assert len(chain.links) > 6


@pytest.mark.parametrize("kind", FORMATS)
def test_an_altered_copy_is_found(project: Path, tmp_path: Path, kind: str) -> None:
    copy = tmp_path / f"figure-3.{kind}"
    copy.write_bytes(Path(f"{FIGURE}.{kind}").read_bytes() + b"\n")
    assert errors(audit([copy])[0]) == [(FIGURE, "altered")]


def test_a_copy_from_before_the_figure_was_drawn_again(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "old.svg"
    shutil.copy(f"{FIGURE}.svg", copy)
    rewrite(
        Path(f"{FIGURE}.manifest.json"), lambda m: m.update(started="2026-01-01T00:00:00+00:00")
    )
    texts = [f.text for link in audit([copy])[0].links.values() for f in link.findings]
    assert any("its manifest has been replaced" in text for text in texts)


def test_a_copy_whose_results_are_elsewhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paper").mkdir()
    copy = shutil.copy(root / f"{FIGURE}.png", tmp_path / "paper/f.png")
    monkeypatch.chdir(tmp_path / "paper")
    with pytest.raises(StudyError, match="or name it by --directory"):
        audit([Path(copy)])
    assert errors(audit([Path(copy)], root)[0]) == []
    monkeypatch.chdir(root)
    Path(f"{FIGURE}.manifest.json").unlink()
    assert errors(audit([Path(copy)])[0]) == [(FIGURE, "missing")]


def test_a_file_that_says_nothing_is_of_unknown_origin(project: Path, tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["audit", str(tmp_path / "plot.png")]) == 1


@pytest.mark.parametrize(
    "name", [f"{TABLE}.parquet", f"{TABLE}.manifest.json", DATA, f"{DATA}/manifest.json", "CELL"]
)
def test_tables_cells_data_and_manifests_can_be_named(project: Path, name: str) -> None:
    name = cells(project)[0] if name == "CELL" else name
    (chain,) = audit([Path(name)])
    assert errors(chain) == []
    assert chain.links[chain.tops[0]].name == name.removesuffix(".parquet").removesuffix(
        "/manifest.json"
    ).removesuffix(".manifest.json")


def test_exit_statuses(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = f"{FIGURE}.png"
    assert main(["audit", figure]) == 0
    write_study(project, etas="[-1, 0, 1, 2]")
    assert main(["audit", figure]) == 0
    assert main(["audit", figure, "--strict"]) == 1
    shutil.rmtree(cells(project)[0])
    assert main(["audit", figure]) == 1
    capsys.readouterr()
    for wrong in (["nothing.png"], [], [figure, "--all"]):
        assert main(["audit", *wrong]) == 2
        assert "gammascape audit" in (said := capsys.readouterr().err) or "nothing.png" in said


def test_the_first_mismatch_is_the_first_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = cells(project)[3]
    shutil.rmtree(cell)
    main(["audit", f"{FIGURE}.png"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"first mismatch: {cell}/manifest.json: missing: no manifest"
    assert any("5 cells  verified" in line for line in lines)
    assert lines[-1].startswith("17 links: ")
    assert "1 broken" in lines[-1]


def test_the_report_names_each_artifact_once(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["audit", "--all"])
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if f"{TABLE}  " in line]
    assert len([line for line in named if "(above)" not in line]) == 1


def test_json_holds_every_link_and_finding(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(cells(project)[0])
    assert main(["audit", f"{FIGURE}.png", "--json"]) == 1
    (chain,) = json.loads(capsys.readouterr().out)
    links = {link["link"]: link for link in chain["links"]}
    assert len(links) == 17
    assert chain["findings"][0]["link"] == f"{cells_of(links)[0]}"
    assert all(name in links for link in links.values() for name in link["made_from"])
    assert sum(chain["counts"].values()) == 17


def cells_of(links: dict[str, dict[str, str]]) -> list[str]:
    return [name for name, link in links.items() if link["state"] == "broken"]


def test_trusted_times_are_trusted_and_others_are_not(project: Path) -> None:
    figure = f"{FIGURE}.png"
    assert main(["audit", figure, "--trust-mtime"]) == 0
    path = project / cells(project)[0] / "arrays.npz"
    raw, stat = bytearray(path.read_bytes()), path.stat()
    raw[300] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert main(["audit", figure, "--trust-mtime"]) == 0
    assert main(["audit", figure]) == 1
    os.utime(path)
    assert main(["audit", figure, "--trust-mtime"]) == 1
    # What is kept for the next time is not a stray result.
    path.write_bytes(bytes(raw[:300]) + bytes([raw[300] ^ 1]) + bytes(raw[301:]))
    assert main(["audit", "--all"]) == 0


def test_an_accepted_change_is_shown_and_is_no_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / cells(root)[0] / "manifest.json"
    before = read_manifest(path).seal
    accepted = {"at": "2026-11-24T10:00:00+00:00", "reason": "only a name"}

    def change(manifest: dict) -> None:
        manifest["code"]["source_sha256"] = "0" * 64
        manifest["code"]["modules"]["training/sgd.py"] = "0" * 12

    rewrite(path, change)
    (chain,) = audit([path], root)
    assert (cells(root)[0], "code changed") in warnings(chain)
    (text,) = [f.text for _, f in ranked(chain) if f.kind == "code changed"]
    assert text == "since it was made: training/sgd.py"
    changed = read_manifest(path).seal
    entry = {**accepted, "source_sha256": fingerprint(*MODULES["cell"])}
    rewrite(path, lambda manifest: manifest.update(accepted=[entry]))
    assert read_manifest(path).seal == changed != before
    (chain,) = audit([path], root)
    assert warnings(chain) == set()
    (text,) = [f.text for _, f in ranked(chain) if f.kind == "accepted"]
    assert text == "accepted at 2026-11-24T10:00:00+00:00: only a name"
    # What was accepted was that change, not the next one.
    entry["source_sha256"] = "1" * 64
    rewrite(path, lambda manifest: manifest.update(accepted=[entry]))
    assert (cells(root)[0], "code changed") in warnings(audit([path], root)[0])


def test_another_version_of_the_numerics_is_its_own_finding(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (artifact, study_cells):
        monkeypatch.setattr(module, "NUMERICS_VERSION", 1000)
    artifact._parsed.cache_clear()
    (chain,) = audit([root / f"{FIGURE}.png"], root)
    artifact._parsed.cache_clear()
    # The cells still are where their identity says; the study wants others.
    assert errors(chain) == []
    assert {(cell, "numerics changed") for cell in cells(root)} <= warnings(chain)
    assert {(cell, "not in the study") for cell in cells(root)} <= warnings(chain)


def test_a_figure_drawn_again_holds(root: Path) -> None:
    from gammascape.study import load_study

    make_figure(root, load_study(root / "config/studies/tiny.yaml"))
    assert errors(of_figure(root)) == []


def test_every_finding_has_a_meaning_and_a_severity() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/commands.md").read_text()
    rows = re.findall(r"^\| ([a-z ]+) \| (error|warning|note) \| \w.+ \|$", text, re.MULTILINE)
    assert rows == list(SEVERITIES.items())


def test_a_study_that_changed_since_is_no_alteration_of_what_it_made(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path("config/studies/tiny.yaml")
    study.write_text(f"{study.read_text()}  confidence: 0.9\n")
    (table,) = Path("results/tiny/tables/scaling").glob("*.parquet")
    for asked, compared in ((str(table), True), ("--all", False)):
        assert main(["audit", asked]) == 0
        said = capsys.readouterr().out
        assert "another value of confidence" in said
        assert "altered" not in said
        assert ("its study has changed since it was made" in said) is compared
