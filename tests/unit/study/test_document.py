"""The manual, the JSON schemas and the lists of tables and figures are in step with the code."""

import json
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gammascape.study import load_study
from gammascape.study.reading.explain import flow

from .conftest import FILES, ROOT

_manual = runpy.run_path(str(ROOT / "docs/manual.py"))
MANUAL, SCHEMAS, PAGES, documents, main = (
    _manual[name] for name in ("MANUAL", "SCHEMAS", "PAGES", "documents", "main")
)
FENCE = re.compile(r"^( *)```yaml\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def schema(name: str) -> dict[str, Any]:
    text = (ROOT / f"workflow/schemas/{name}.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def fences() -> list[str]:
    return [text for _, text in FENCE.findall((ROOT / MANUAL).read_text(encoding="utf-8"))]


def minimal() -> str:
    return next(text for text in fences() if "grids:" in text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for path in (MANUAL, *SCHEMAS, *PAGES):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def test_generated_files_are_in_step_with_the_code() -> None:
    for path, text in documents(ROOT).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, (
            f"{path} is stale: run python docs/manual.py"
        )


def test_check_passes_when_all_is_in_step(copy: Path) -> None:
    assert main(["--check"], root=copy) == 0


@pytest.mark.parametrize("path", [MANUAL, *SCHEMAS, *PAGES], ids=str)
def test_check_names_a_stale_file_and_writes_nothing(
    copy: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (copy / path).read_text(encoding="utf-8").replace("Batch size B", "Size", 1)
    text = text.replace("Folders with data files", "Folders", 1)
    text = text.replace("Debiased linear CKA", "CKA", 1)
    (copy / path).write_text(text, encoding="utf-8")
    assert main(["--check"], root=copy) == 1
    assert f"{path} is out of step" in capsys.readouterr().err
    assert (copy / path).read_text(encoding="utf-8") == text
    assert main([], root=copy) == 0
    assert main(["--check"], root=copy) == 0


def test_elsewhere_than_in_the_root_it_says_where_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], root=tmp_path) == 1
    assert "in the root of the repository" in capsys.readouterr().err


def test_the_minimal_study_of_the_manual_loads(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(minimal())
    assert len(load_study(file).cells) > 10


def test_the_grid_that_the_manual_adds_loads_and_refines(tmp_path: Path) -> None:
    added = next(text for text in fences() if "follow: upper" in text)
    (tmp_path / "mine.yaml").write_text(minimal())
    (tmp_path / "more.yaml").write_text(minimal() + added)
    before, after = (load_study(tmp_path / name) for name in ("mine.yaml", "more.yaml"))
    assert set(before.by_path) < set(after.by_path)
    assert len(after.slices) == 1


def test_the_links_of_the_manual_lead_to_its_headings() -> None:
    text = (ROOT / MANUAL).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors


@pytest.mark.parametrize("name", ["study", "config"])
def test_schemas_are_of_the_declared_dialect(name: str) -> None:
    found = schema(name)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(found)


def records(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    found = schema(name)
    yield name, found
    yield from found["$defs"].items()


@pytest.mark.parametrize("name", ["study", "config"])
def test_every_key_has_a_description_and_no_other_key_is_allowed(name: str) -> None:
    for record, found in records(name):
        assert found["additionalProperties"] is False, record
        for key, entry in found["properties"].items():
            assert entry.get("description"), f"{record}.{key}"
            required = key in found.get("required", ())
            assert required != ("default" in entry), f"{record}.{key}"


def test_defaults_and_examples_agree_with_the_schema() -> None:
    for name in ("study", "config"):
        for record, found in records(name):
            for key, entry in found["properties"].items():
                validator = jsonschema.Draft202012Validator(
                    {**entry, "$defs": schema(name)["$defs"]}
                )
                for value in entry.get("examples", []):
                    assert validator.is_valid(value), f"{record}.{key}: {flow(value)}"
                if entry.get("default") is not None:
                    assert validator.is_valid(entry["default"]), f"{record}.{key}"


def test_the_schema_accepts_the_minimal_study_and_refuses_an_unknown_key() -> None:
    validator = jsonschema.Draft202012Validator(schema("study"))
    study = yaml.safe_load(minimal())
    validator.validate(study)
    study["grids"][0]["batchsize"] = 32
    assert not validator.is_valid(study)


def test_every_study_of_the_repository_loads_and_fits_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(schema("study"))
    for file in FILES:
        assert load_study(file, begin=True).cells
        validator.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_the_configuration_fits_the_schema() -> None:
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema("config")).validate(config)
