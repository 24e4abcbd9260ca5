"""The documented schema of a manifest is the code's, and what the code writes."""

import json
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import pytest

from gammascape.manifests import File, Manifest, Source, code_state, environment, read_manifest
from gammascape.manifests.manifest import KINDS, SCHEMA
from gammascape.study import Cell
from gammascape.theory.edges import Loss
from gammascape.training.artifact import Origin, write_cell
from gammascape.training.device import Backend

from ..project import BACKEND

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT: dict[str, Any] = json.loads((DOCS / "manifest.schema.json").read_text())
PARTS: dict[str, Any] = DOCUMENT["$defs"]


def required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)
    return jsonschema.Draft202012Validator(DOCUMENT)


def test_it_has_the_fields_of_the_dataclasses() -> None:
    assert set(DOCUMENT["properties"]) == {"schema", *(f.name for f in fields(Manifest))}
    assert set(DOCUMENT["required"]) == set(DOCUMENT["properties"])
    assert set(PARTS["file"]["properties"]) == {f.name for f in fields(File)}
    chosen = {"steps", "unfolded_convolutions"}
    assert set(PARTS["device"]["properties"]) == {f.name for f in fields(Backend)} | chosen
    plain, artifact = PARTS["source"]["oneOf"]
    assert {*plain["properties"], *artifact["properties"]} == {f.name for f in fields(Source)}
    always = {f.name for f in fields(Source) if required(f)}
    assert always == set(plain["properties"]) & set(artifact["properties"])


def test_it_has_the_parts_that_are_no_dataclasses() -> None:
    assert set(PARTS["code"]["properties"]) == {*code_state("numerics.py"), "script"}
    assert set(PARTS["environment"]["properties"]) == set(environment(()))
    assert set(PARTS["cell"]["properties"]) == {*(f.name for f in fields(Cell)), "numerics"}
    assert PARTS["cell"]["properties"]["loss"]["enum"] == list(get_args(Loss))


def test_it_has_the_kinds_and_the_name_of_the_code() -> None:
    assert DOCUMENT["properties"]["kind"]["enum"] == list(KINDS)
    assert DOCUMENT["properties"]["schema"]["const"] == SCHEMA


def test_all_manifests_that_are_written_follow_it(made: Path) -> None:
    check = validator()
    paths = list(made.rglob("*manifest.json"))
    kinds = set()
    for path in paths:
        content = json.loads(path.read_text())
        check.validate(content)
        kinds.add(content["kind"])
    assert kinds == {"cell", "data", "table", "figure"}


def test_a_cell_of_a_captured_pack_is_read_and_follows_it(made: Path, tmp_path: Path) -> None:
    before = next((made / "results/cells").rglob("manifest.json"))
    record = json.loads((before.parent / "summary.json").read_text())
    attempts = [{"started": "2026-11-24T10:00:00+00:00", "from_step": 0, "reason": "fresh"}]
    told = {"captures": 3, "fallback": "no compiler", "unfolded": ["2x16x3x3 by 8x16x3x3"]}
    origin = Origin((), BACKEND, "packed", attempts, 1.0, 4, **told)
    write_cell(tmp_path / "cell", record, {"x": np.zeros(1)}, origin)
    path = tmp_path / "cell/manifest.json"
    validator().validate(json.loads(path.read_text()))
    written = read_manifest(path)
    assert written.cost["captures"] == 3
    assert written.device is not None
    assert written.device["steps"] == "no compiler"
    assert written.device["unfolded_convolutions"] == "2x16x3x3 by 8x16x3x3"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("kind",), "cells"),
        (("started",), "yesterday"),
        (("inputs", 0, "seal"), None),
        (("outputs", 0, "sha256"), "abc"),
        (("record", "gamma"), 1),
        (("record", "loss"), "mae"),
        (("device",), None),
        (("code", "modules", "training/sgd.py"), 3),
        (("extra",), 1),
        (("accepted",), [{"at": "2026-11-24T10:00:00+00:00", "reason": ""}]),
    ],
)
def test_it_refuses_what_is_wrong(made: Path, place: tuple[Any, ...], value: object) -> None:
    path = next(made.glob("results/cells/*/*/manifest.json"))
    content = part = json.loads(path.read_text())
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    assert list(validator().iter_errors(content))


def test_the_example_in_the_document_follows_it() -> None:
    text = (DOCS / "reference/manifest.md").read_text()
    example = text.split("```json\n")[1].split("```")[0]
    content = json.loads(example)
    validator().validate(content)
    manifest = Manifest.from_json(content)
    assert manifest.kind == "cell"
    assert (
        manifest.name == f"results/cells/{Cell.from_canonical(json.dumps(content['record'])).path}"
    )
    # The digests that the document gives are the example's.
    for name in ("seal", "content", "claim"):
        assert getattr(manifest, name)[:12] in text
