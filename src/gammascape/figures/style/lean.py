"""The same charts, built in a fraction of the time that Altair takes.

Most of its work is hashing the schemas of all classes for each encoding, copying each of the dozens of options
that an object was not given, validating every part of a chart, which is validated as a whole at the end, and
collecting there the errors of all alternatives of which another one fits.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
from altair.utils import schemapi

_copied: Any = getattr(schemapi, "_deep_copy", None)
_errors: Any = getattr(schemapi, "_get_errors_from_spec", None)
_CHANNELS = tuple(
    kind
    for of in (alt.X, alt.XValue, alt.XDatum)
    for kind in of.__mro__
    if "Channel" in kind.__name__
)
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **{"array": list, "boolean": bool, "integer": int, "null": type(None)},
    **{"number": (int, float), "object": dict, "string": str},
}
_KNOWN = {
    *("$ref", "$schema", "definitions", "description", "type", "const", "enum", "anyOf"),
    *("properties", "required", "additionalProperties", "minProperties"),
    *("items", "minItems", "maxItems", "minimum", "maximum"),
}
"""Keywords of JSON Schema that `_fits` understands."""


def _copy_given(value: Any, by_ref: set[str]) -> Any:
    if isinstance(value, _CHANNELS):
        # Nothing changes a channel of an encoding, which holds most of a chart.
        return value
    if not isinstance(value, alt.SchemaBase) or hasattr(value, "__deepcopy__"):
        return _copied(value, by_ref)
    given = {
        key: of if key in by_ref else _copy_given(of, by_ref)
        for key, of in value._kwds.items()
        if of is not alt.Undefined
    }
    return type(value)(*(_copy_given(of, by_ref) for of in value._args), **given)


def _fits(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """Whether a value surely fits a schema: of draft 7, without keywords that are not known here."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/definitions/")
        return name in definitions and _fits(value, definitions[name], definitions)
    if not schema.keys() <= _KNOWN:
        return False
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if isinstance(value, bool):
            kinds = [kind for kind in kinds if kind == "boolean"]
        if not any(isinstance(value, _TYPES[kind]) for kind in kinds):
            return False
    allowed = [schema["const"]] if "const" in schema else schema.get("enum", [value])
    if not any(value is one or (type(value), value) == (type(one), one) for one in allowed):
        return False
    if "anyOf" in schema and not any(_fits(value, one, definitions) for one in schema["anyOf"]):
        return False
    if isinstance(value, dict):
        own, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        if len(value) < schema.get("minProperties", 0):
            return False
        if any(key not in value for key in schema.get("required", ())):
            return False
        if others is False and not value.keys() <= own.keys():
            return False
        parts = ((item, own.get(key, others)) for key, item in value.items())
        return all(part is True or _fits(item, part, definitions) for item, part in parts)
    if isinstance(value, list):
        of = schema.get("items", {})
        size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return size and isinstance(of, dict) and all(_fits(item, of, definitions) for item in value)
    if isinstance(value, int | float):
        return not (value < schema.get("minimum", value) or value > schema.get("maximum", value))
    return True


def _errors_if_any(
    spec: Any, schema: dict[str, Any], rootschema: dict[str, Any] | None = None
) -> Any:
    """Altair's errors, which are looked for only where there may be some."""
    if _fits(spec, schema, (rootschema or schema).get("definitions", {})):
        return []
    return _errors(spec, schema, rootschema)


def build_lean() -> None:
    """Let Altair do without this in this process; a version that is made otherwise stays as it is."""
    if _copied is None or not hasattr(schemapi, "_FromDict"):
        return
    schemapi.disable_debug_mode()
    converter = schemapi._FromDict(alt.VegaLiteSchema._default_wrapper_classes())
    schemapi._FromDict = lambda classes: converter  # type: ignore[assignment, misc]
    schemapi._deep_copy = _copy_given  # type: ignore[assignment]
    if _errors is not None:
        schemapi._get_errors_from_spec = _errors_if_any
