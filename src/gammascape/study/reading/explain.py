"""Turn pydantic's errors into sentences that say what to write."""

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gammascape.study.keys.axes import NUMBER_TEXT
from gammascape.study.reading.errors import BOOLEANS, MOST_PROBLEMS, KeyPath, Problem
from gammascape.study.reading.fields import OWN_ERROR
from gammascape.study.reading.lookup import (
    Model,
    field_at,
    keys_of,
    kinds_of,
    models_at,
    models_in,
    path_in,
)
from gammascape.study.reading.yaml_reader import Source

SYNONYMS = {
    "lr": "eta",
    "learning_rate": "eta",
    "epochs": "steps",
    "iterations": "steps",
    "bs": "batch_size",
    "batch": "batch_size",
    "layers": "depth",
    "hidden": "width",
    "channels": "width",
    "data": "dataset",
}
"""Names used elsewhere for our keys."""

WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
"""Expected kind of value, by the type of the error."""

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def explain(error: ValidationError, source: Source, root: Model) -> list[Problem]:
    """One problem for each error from validating the data of `source` as `root`."""
    problems: dict[Problem, None] = {}
    renamed: set[KeyPath] = set()
    for detail in error.errors(include_url=False):
        if len(problems) > MOST_PROBLEMS:
            break
        kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
        if kind == "too_short" and value:
            continue  # pydantic counts only the entries without mistakes
        if kind == "default_factory_not_called":
            continue  # of a default that follows from another value, which has a mistake
        path = path_in(source.data, detail["loc"], missing=kind == "missing")
        if kind == OWN_ERROR:
            path += tuple(context["below"])
            text = str(context["text"])
        elif kind in {"union_tag_not_found", "union_tag_invalid"}:
            kinds = kinds_of(models_at(path, None, root))
            path = (*path, "kind")
            text = (
                _choose(context["tag"], kinds, "kind ")
                if "tag" in context
                else f"missing; write kind: {' or '.join(kinds)}"
            )
        elif kind == "missing":
            field = field_at(path, source.data, root)
            meaning = (field.description or "") if field else ""
            meaning = meaning.partition(";")[0].partition(":")[0].rstrip(".")
            text = (f"missing ({meaning})" if meaning else "missing") + _example(path, field)
        elif kind == "extra_forbidden":
            near, text = _unknown_key(path, source.data, root)
            renamed.add((*path[:-1], near))
        else:
            example = _example(path, field_at(path, source.data, root))
            if kinds := kinds_of(models_at(path, None, root)):
                example = f"; write for example {path[-1]}: {{kind: {kinds[0]}, ...}}"
            text = _sentence(kind, value, context, example)
        problems[Problem(path, text, source.line(path))] = None
    # Do not report a misspelt key as missing too.
    return [p for p in problems if p.path not in renamed or not p.text.startswith("missing")]


def _sentence(kind: str, value: object, context: Mapping[str, Any], example: str) -> str:
    """Sentence with the fault of a value and what to write."""
    if kind == "literal_error":
        hint = f" ({BOOLEANS})" if isinstance(value, bool) else ""
        expected = str(context["expected"]).replace(" or ", ", ").split(", ")
        return _choose(value, [choice.strip("'") for choice in expected]) + hint
    if kind == "string_pattern_mismatch":
        kept = re.sub("[^a-z0-9]", "", str(value).lower()).lstrip("0123456789")
        example = f"; write for example {kept}" if kept else ""
        return f"a name is lower case letters and digits, a letter first{example}"
    if kind in {"too_long", "string_too_long"}:
        unit = "letters" if isinstance(value, str) else "values"
        return f"has more than {context['max_length']} {unit}; write fewer"
    if kind in {"too_short", "string_too_short"}:
        return f"is empty{example or '; write at least one entry'}"
    if kind == "finite_number":
        return f"must be a finite number, got {_shown(value)}"
    if kind in WANTED:
        return _wrong_type(WANTED[kind], value, example)
    for bound, words in BOUNDS.items():
        if bound in context:
            return f"must be {words} {context[bound]:.10g}, got {_shown(value)}"
    return f"cannot be {_shown(value)}{example}"


def _unknown_key(path: KeyPath, data: object, root: Model) -> tuple[str, str]:
    """Likely intended key, or "", and the sentence."""
    key = str(path[-1])
    keys = [name for model in models_at(path[:-1], data, root) for name in keys_of(model)]
    if near := _near(key, keys, 0.8):
        return near, f"unknown key; did you mean {near}?"
    places = list(_places(root, tuple(part for part in path if isinstance(part, str))))
    if found := _homes(key, places):
        return "", f"unknown key here; move it {found}"
    if near := _near(key, keys, 0.6):
        return near, f"unknown key; did you mean {near}?"
    if near := _near(key, [name for _, _, model in places for name in keys_of(model)], 0.8):
        return "", f"unknown key here; move it {_homes(near, places)}, as {near}"
    return "", f"unknown key; the keys here are {', '.join(keys)}"


def _near(key: str, keys: list[str], cutoff: float) -> str:
    """Key that was meant, by another name or misspelt, or ""."""
    near = [SYNONYMS[key]] if SYNONYMS.get(key) in keys else []
    return (near or [*difflib.get_close_matches(key, keys, 1, cutoff), ""])[0]


def _homes(key: str, places: list[tuple[tuple[int, int], str, Model]]) -> str:
    """Words for the nearest places of a key, or ""."""
    homes = [(far, words) for far, words, model in places if key in keys_of(model)]
    return " or ".join(dict.fromkeys(words for far, words in homes if far == min(homes)[0]))


def _places(root: Model, here: tuple[str, ...]) -> Iterator[tuple[tuple[int, int], str, Model]]:
    """All records of a file: the distance from the keys `here`, words for it, and the record."""
    yield (0, 0), "to the top of the file, without indentation", root
    level: list[tuple[tuple[str, ...], str, Model]] = [
        ((name,), "an entry of " * (get_origin(field.annotation) is not None) + name, model)
        for name, field in keys_of(root).items()
        for model in models_in(field.annotation)
        # Among kinds of one entry, another kind's key has no place.
        if name != here[0] or not kinds_of([model])
    ]
    while level:
        for trail, words, model in level:
            shared = sum(here[:n] == trail[:n] for n in range(1, len(trail) + 1))
            inside = f"under {'.'.join(trail[1:])} in " if trail[1:] else ""
            into = inside or ("into " if words.startswith("an ") else "under ")
            yield (-shared, len(trail)), into + words, model
        level = [
            ((*trail, name), words, inner)
            for trail, words, model in level
            for name, field in keys_of(model).items()
            for inner in models_in(field.annotation)
        ]


def _choose(value: object, choices: list[str], noun: str = "") -> str:
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {noun}{_shown(value)}; {hint}write one of {', '.join(choices)}"


def _wrong_type(wanted: str, value: object, example: str) -> str:
    if value is None:
        return f"has no value{example or f'; it needs {wanted}'}"
    if isinstance(value, bool):
        hint = "; put the text in quotes" if wanted == "text" else example
        return f"needs {wanted}, got {_shown(value)} ({BOOLEANS}){hint}"
    if isinstance(value, str) and "number" in wanted and NUMBER_TEXT.fullmatch(value):
        return f"{value} is text to YAML: write {_number(value)}"
    if isinstance(value, float) and wanted == "a whole number" and value.is_integer():
        return f"needs a whole number, got {value}: write {value:.0f}"
    if isinstance(value, Mapping) and wanted == "a list":
        return f"needs a list, got a mapping; begin each entry with a hyphen{example}"
    if isinstance(value, str) and wanted == "text":
        return f"is empty{example}"
    return f"needs {wanted}, got {_shown(value)}{example}"


def _number(text: str) -> str:
    """Correct spelling of a number that YAML 1.1 takes for text, such as `1e-3`, which has no point."""
    number = float(text)
    if math.isinf(number):
        return "a number that is not too large for a computer"
    mantissa, exponential, exponent = text.lower().partition("e")
    if number.is_integer() and abs(number) < 1e15:
        return f"{number:.0f}"
    if not exponential:
        return f"{text} without quotes"
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    sign = "" if exponent[0] in "+-" else "+"
    return f"{mantissa}e{sign}{exponent} or {number}"


def _example(path: KeyPath, field: FieldInfo | None) -> str:
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if field is None or not field.examples:
        return ""
    return f"; write for example {key}: {flow(field.examples[0])}"


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        return "a value that cannot be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."


def flow(value: object) -> str:
    """Write a value in YAML's flow style on one line, strings quoted where they must be: `{log10: [-1, 0]}`."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("...\n").strip()
