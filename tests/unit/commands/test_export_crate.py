"""A study as a Workflow Run RO-Crate."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import rocrate
from rocrate_validator import services
from rocrate_validator.models import Severity
from rocrate_validator.utils.http import HttpRequester

from gammascape.cli import main
from gammascape.manifests import sha256_of

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
BIOSCHEMAS = "https://bioschemas.org/"
FIGURE = "crate/results/tiny/figures/edges.svg"


class Answer:
    """What the validator would fetch: the context of RO-Crate 1.1.

    rocrate carries 1.3's, which has all its terms; Bioschemas' had other addresses in 1.1.
    """

    status_code = 200
    headers = {"Content-Type": "application/ld+json"}  # noqa: RUF012

    def __init__(self) -> None:
        path = Path(rocrate.__file__).parent / "data/ro-crate.jsonld"
        content = json.loads(path.read_text())
        terms = {
            "ComputationalWorkflow": f"{BIOSCHEMAS}ComputationalWorkflow",
            "FormalParameter": f"{BIOSCHEMAS}FormalParameter",
            "input": f"{BIOSCHEMAS}ComputationalWorkflow#input",
            "output": f"{BIOSCHEMAS}ComputationalWorkflow#output",
        }
        self.content = {"@context": {**content["@context"], **terms}}
        self.text = json.dumps(self.content)

    def json(self) -> dict[str, Any]:
        return self.content


def crate(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["export-crate", *words]) == 0
    return capsys.readouterr().out


def entities(folder: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    return {entity["@id"]: entity for entity in graph}


# The validator calls what rdflib has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_validator_finds_nothing_that_the_profile_requires(
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched = []

    def get(self: HttpRequester, url: str, **options: Any) -> Answer:
        fetched.append(url)
        return Answer()

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)
    # The validator takes long over many: a page and a figure stay, with all that they are made from.
    kept = re.compile(
        "/tiny/(explorer|figures/edges|tables/(cells|thresholds|scaling|budget|similarity))\\b"
    )
    for path in [*Path("results/tiny").rglob("*.*"), *Path("results").glob("index.*")]:
        if not kept.search(path.as_posix()):
            path.unlink()
    crate(capsys, "crate")
    kinds = {name.split("/")[-1].partition("-")[0] for name in entities(Path("crate"))}
    assert kinds >= {"explorer.html", "edges.svg", "similarity.parquet"}
    settings = services.ValidationSettings(
        rocrate_uri="crate",
        profile_identifier="provenance-run-crate",
        requirement_severity=Severity.REQUIRED,
        offline=True,
        cache_path=tmp_path / "cache",
    )
    assert [issue.message for issue in services.validate(settings).get_issues()] == []
    assert set(fetched) == {CONTEXT}
    # It is no validator that accepts anything.
    metadata = Path("crate/ro-crate-metadata.json")
    metadata.write_text(metadata.read_text().replace('"instrument"', '"about"'))
    assert services.validate(settings).get_issues()


def test_each_table_and_figure_is_the_result_of_one_action(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crate(capsys, "crate")
    found = entities(Path("crate"))
    actions = [e for e in found.values() if e["@type"] == "CreateAction"]
    made: dict[str, str] = {}
    for action in actions:
        if action["@id"] != "#run-tiny":
            for result in as_list(action["result"]):
                assert made.setdefault(result["@id"], action["@id"]) == action["@id"]
    files = [p for p in Path("results/tiny").rglob("*") if p.is_file()]
    assert {path.as_posix() for path in files} <= set(made)
    for path in files:
        assert (Path("crate") / path).read_bytes() == path.read_bytes()
        if path.suffix == ".parquet":
            assert found[path.as_posix()]["sha256"] == sha256_of(path)
    portrait = found["#made-tiny/figures/portrait/small-digits-mse-B16-T30"]
    assert portrait["instrument"]["@id"] == "#rule-draw_slice"
    assert {item["@id"] for item in portrait["object"]} == {
        f"results/tiny/tables/{table}/small-digits-mse-B16-T30.parquet"
        for table in ("cells", "thresholds", "scaling")
    }


def test_the_cells_of_a_table_are_one_collection_of_manifests(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crate(capsys, "crate")
    found = entities(Path("crate"))
    cells = found["#of-tables/cells/small-digits-mse-B16-T30"]
    names = {item["@id"] for item in cells["hasPart"]}
    assert len(names) == 6
    assert all(name.endswith("/manifest.json") for name in names)
    training = found["#made-of-tables/cells/small-digits-mse-B16-T30"]
    assert training["instrument"]["@id"] == "#rule-train"
    seconds = found[as_list(training["resourceUsage"])[0]["@id"]]
    assert (seconds["value"], seconds["unitText"]) == ("1.5", "s")
    assert not list(Path("crate").rglob("arrays.npz"))


def test_what_a_crate_was_written_without_is_not_missing_from_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crate(capsys, "crate")
    assert main(["audit", "--all", "--directory", "crate"]) == 0
    told = capsys.readouterr().out
    assert "summary.json is not part of this crate" in told
    assert "8 not included" in told
    # What the crate does list is missing if it is gone.
    Path("crate/results/tiny/figures/edges.svg").unlink()
    assert main(["audit", "--all", "--directory", "crate"]) == 1
    assert "missing: edges.svg is not there" in capsys.readouterr().out


def test_a_zip_with_data_holds_the_arrays_of_every_cell_and_the_users_modules(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path("results/.sources/0123/net.py")
    own.parent.mkdir(parents=True)
    own.write_text("WIDTH = 3\n")
    for path in Path("results/cells").glob("*/*/manifest.json"):
        content = json.loads(path.read_text())
        source = {"path": own.as_posix(), "bytes": 10, "sha256": sha256_of(own)}
        path.write_text(json.dumps({**content, "inputs": [source]}))
    crate(capsys, "crate.zip", "--data")
    with zipfile.ZipFile("crate.zip") as archive:
        names = set(archive.namelist())
    assert sum(name.endswith("/arrays.npz") for name in names) == 8
    assert {"ro-crate-metadata.json", own.as_posix()} <= names


def test_a_folder_that_is_there_is_never_written_over(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("crate").mkdir()
    assert main(["export-crate", "crate"]) == 2
    assert "crate: exists already" in capsys.readouterr().err
    assert list(Path("crate").iterdir()) == []


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("command", "what"),
    [("seal tiny", "a seal covers"), (f"replay {FIGURE} --cells 1", "a replay compares with")],
)
def test_what_cannot_be_done_in_a_crate_without_data_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], command: str, what: str
) -> None:
    crate(capsys, "crate")
    assert main([*command.split(), "--directory", "crate"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert f"of its cells, which {what}; unpack one that was exported with --data" in said
