"""The same charts, built in a fraction of the time that Altair takes.

Most of its work is hashing the schemas of all classes for each encoding, copying each of the dozens of options
that an object was not given, validating every part of a chart, which is validated as a whole at the end, and
collecting there the errors of all alternatives of which another one fits.
"""

import json
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import quote

import altair as alt
from altair.utils import schemapi
from jsonschema_rs import Draft7Validator, Registry

_copied: Any = getattr(schemapi, "_deep_copy", None)
_errors: Any = getattr(schemapi, "_get_errors_from_spec", None)
_SCHEMA = alt.VegaLiteSchema._rootschema
_BASE = "urn:vega-lite"
_CHANNELS = tuple(
    kind
    for of in (alt.X, alt.XValue, alt.XDatum)
    for kind in of.__mro__
    if "Channel" in kind.__name__
)


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


def _absolute(schema: Any, base: str) -> Any:
    """A schema whose references are of a standard form, which names of Vega-Lite as `Dict<string>` are not."""
    if isinstance(schema, list):
        return [_absolute(item, base) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: base + quote(item, safe="#/")
        if key == "$ref" and isinstance(item, str)
        else _absolute(item, base)
        for key, item in schema.items()
    }


@cache
def _vega_lite() -> Registry:
    return Registry([(_BASE, _absolute(_SCHEMA, ""))])


@cache
def _validator(schema: str) -> Draft7Validator:
    return Draft7Validator(_absolute(json.loads(schema), _BASE), registry=_vega_lite())


def _errors_if_any(
    spec: Any, schema: dict[str, Any], rootschema: dict[str, Any] | None = None
) -> Any:
    """Altair's errors, which are looked for only where a quick validator finds one, or cannot tell."""
    if rootschema is _SCHEMA:
        with suppress(ValueError):
            if _validator(json.dumps(schema)).is_valid(spec):
                return []
    return _errors(spec, schema, rootschema)


def build_lean() -> None:
    """Spare Altair this work in this process. Versions of Altair without these functions stay unchanged."""
    if _copied is None or not hasattr(schemapi, "_FromDict"):
        return
    schemapi.disable_debug_mode()
    converter = schemapi._FromDict(alt.VegaLiteSchema._default_wrapper_classes())
    schemapi._FromDict = lambda classes: converter  # type: ignore[assignment, misc]
    schemapi._deep_copy = _copy_given  # type: ignore[assignment]
    if _errors is not None:
        schemapi._get_errors_from_spec = _errors_if_any
