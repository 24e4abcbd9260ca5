"""Write what follows from the code: JSON schemas, key tables of the manual, lists of tables and figures."""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gammascape.command import as_command
from gammascape.study.keys import axes, config, datasets, files, generators, models, samples
from gammascape.study.keys import file as schema
from gammascape.study.reading.explain import flow
from gammascape.workflow import catalogue

COMMAND = "python docs/manual.py"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
MANUAL = Path("config/README.md")
SCHEMAS: dict[Path, type[BaseModel]] = {
    Path("workflow/schemas/study.schema.json"): schema.StudyFile,
    Path("workflow/schemas/config.schema.json"): config.Config,
}

# Heading and record of each table of the manual, by the name of the block that holds them.
TABLES: dict[str, dict[str, type[BaseModel]]] = {
    "study keys": {
        "The top of a study file": schema.StudyFile,
        "An entry of `models` with `kind: mlp`": models.MlpSpec,
        "An entry of `models` with `kind: cnn`": models.CnnSpec,
        "An entry of `models` with `kind: resnet`": models.ResnetSpec,
        "An entry of `models` with `kind: vit`": models.VitSpec,
        "An entry of `models` with `factory`": models.FactoryModelSpec,
        "An entry of `models` with `kind: toy`": models.ToySpec,
        "An entry of `datasets` with `kind: digits`": datasets.DigitsSpec,
        "An entry of `datasets` with `kind: teacher`": datasets.TeacherSpec,
        "An entry of `datasets` with `kind: mnist`": datasets.MnistSpec,
        "An entry of `datasets` with `kind: mnist1m`": datasets.Mnist1mSpec,
        "An entry of `datasets` with `kind: cifar10`": datasets.Cifar10Spec,
        "An entry of `datasets` with `kind: cifar5m`": datasets.Cifar5mSpec,
        "An entry of `datasets` with `kind: tinyimagenet`": datasets.TinyImagenetSpec,
        "An entry of `datasets` with `kind: folder`": files.FolderSpec,
        "An entry of `datasets` with `kind: arrays`": files.ArraysSpec,
        "An entry of `datasets` with `kind: table`": files.TableSpec,
        "An entry of `datasets` with `factory`": datasets.FactoryDatasetSpec,
        "An entry of `datasets` with `kind: constant`": datasets.ConstantSpec,
        "`test_shift`": samples.Shift,
        "`generator` with `kind: diffusion`": generators.DiffusionSpec,
        "`generator` with `kind: deform`": generators.DeformSpec,
        "An entry of `grids`": schema.Grid,
        "`gamma`": axes.GammaAxis,
        "`eta`": axes.EtaAxis,
        "`log10` as a range": axes.Range,
        "`window`": axes.Window,
        "`map` of gamma": axes.GammaMap,
        "`map`": axes.Map,
        "`small_gamma`": schema.SmallGamma,
        "`analysis`": schema.Analysis,
        "`lazy` and `rich`": schema.Span,
        "An entry of `carried`": schema.Carried,
    },
    "configuration keys": {"The top of `config.yaml`": config.Config, "`data`": config.Data},
}
HEADINGS = {record.__name__: title for block in TABLES.values() for title, record in block.items()}


def documents(root: Path) -> dict[Path, str]:
    """The text that each generated file below `root` should have."""
    texts = {path: schema_text(record) for path, record in SCHEMAS.items()}
    for path, made in {MANUAL: manual_text, **PAGES}.items():
        texts[path] = made((root / path).read_text(encoding="utf-8"))
    return texts


def schema_text(record: type[BaseModel]) -> str:
    """The JSON Schema (2020-12) of a file."""
    schema = {"$schema": DIALECT, **_cleaned(record.model_json_schema())}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def manual_text(text: str) -> str:
    """The manual with its generated blocks made anew.

    Raises ValueError if the markers of a block are missing.
    """
    for name, tables in TABLES.items():
        body = "\n".join(
            "\n".join([f"### {title}\n", f"{_prose(record.__doc__ or '')}\n", *_rows(record), ""])
            for title, record in tables.items()
        )
        text = with_block(text, name, body)
    return text


def with_block(text: str, name: str, body: str) -> str:
    """A text with the block of a name made anew; ValueError if its markers are missing."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the markers {begin} and {end} are not there")
    return f"{before}{begin}\n\n{body}\n{end}{after}"


def results_text(text: str) -> str:
    """The page of the results folder, with a row for each table of the catalogue."""
    # A curve's table would be too long for all slices together.
    names = {name: f"{name}/*" if name == "curves" else name for name in catalogue.TABLES}
    rows = [f"| `{names[n]}.parquet` | {e.sentence} |" for n, e in catalogue.TABLES.items()]
    return with_block(text, "tables", "\n".join(["| table | contents |", "|---|---|", *rows, ""]))


def figures_text(text: str) -> str:
    """The page of figures, with a row for each figure of the catalogue; factors have one sentence."""
    shown: dict[str, list[str]] = {}
    for name, entry in catalogue.FIGURES.items():
        shown.setdefault(entry.sentence, []).append(f"`{name}{'/<slice>' * entry.of_slices}`")
    rows = [f"| {', '.join(names)} | {sentence} |" for sentence, names in shown.items()]
    return with_block(text, "figures", "\n".join(["| figure | shows |", "|---|---|", *rows, ""]))


PAGES = {
    Path("docs/reference/results.md"): results_text,
    Path("docs/reference/figures.md"): figures_text,
}


@as_command
def main(arguments: list[str] | None = None, root: Path = Path()) -> int:
    """Write the generated files, or with --check say which of them are stale (exit status 1)."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name stale files")
    check = parser.parse_args(arguments).check
    if not (root / MANUAL).is_file():
        print(f"{MANUAL} is not here: run {COMMAND} in the root of the repository", file=sys.stderr)
        return 1
    stale = 0
    for path, text in documents(root).items():
        file = root / path
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale = 1
            print(f"{path} is out of step with the code: run {COMMAND}", file=sys.stderr)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return stale


def _cleaned(schema: Any) -> Any:
    """Drop the titles that pydantic derives from the keys, and the nulls inside defaults."""
    if isinstance(schema, list):
        return [_cleaned(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("default"), dict):
        schema = {**schema, "default": _without_nulls(schema["default"])}
    return {
        key: _cleaned(value)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }


def _without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(item) for key, item in value.items() if item is not None}


def _rows(record: type[BaseModel]) -> Iterator[str]:
    schema = record.model_json_schema()
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, entry in schema["properties"].items():
        default = "required" if key in schema.get("required", ()) else _default(entry)
        value = _value(entry)
        yield f"| `{key}` | {value} | {default} | {_prose(entry['description'])} |"


def _default(entry: dict[str, Any]) -> str:
    default = entry.get("default")
    if default is None:
        return "none"
    if isinstance(default, dict):
        given = {key: value for key, value in default.items() if value is not None}
        return f"`{flow(given)}`" if len(given) == 1 else "its defaults"
    # A list of one value is what one plain value stands for.
    if "anyOf" in entry and isinstance(default, list) and len(default) == 1:
        default = default[0]
    return f"`{flow(default)}`" if default != "" else "empty"


def _value(entry: dict[str, Any]) -> str:
    """What may be written for a key, in words."""
    if "$ref" in entry:
        title = HEADINGS[entry["$ref"].rpartition("/")[2]]
        return f"[{title}](#{_anchor(title)})"
    if "anyOf" in entry or "oneOf" in entry:
        options = entry.get("anyOf") or entry["oneOf"]
        words = [_value(option) for option in options if option.get("type") != "null"]
        if len(words) == 2 and words[1] == f"list of: {words[0]}":
            return f"{words[0]}, or a list"
        return "; or ".join(dict.fromkeys(words))
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return " or ".join(f"`{choice}`" for choice in entry["enum"])
    if entry["type"] == "array":
        return f"list of: {_value(entry['items'])}"
    if entry["type"] == "object":
        return "mapping of names"
    if entry["type"] == "boolean":
        return "true or false"
    kinds = {"integer": "whole number", "number": "number", "string": "text"}
    return f"{kinds[entry['type']]}{_bounds(entry)}"


def _anchor(title: str) -> str:
    """Anchor of a heading on GitHub."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _bounds(entry: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [
        f"{sign} {entry[key]:.10g}"
        for key, sign in signs.items()
        if key in entry and entry[key] < 2**31 - 1
    ]
    return f" {', '.join(limits)}" if limits else ""


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
