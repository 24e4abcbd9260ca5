"""The same charts, built in a fraction of the time that Altair takes.

Most of its work is hashing the schemas of all classes for each encoding, copying each of the dozens of options
that an object was not given, validating every part of a chart, which is validated as a whole at the end, and
collecting there the errors of all alternatives of which another one fits.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import altair as alt
from altair.utils import schemapi
from jsonschema import Draft7Validator, ValidationError, validators

_copied: Any = getattr(schemapi, "_deep_copy", None)
_errors: Any = getattr(schemapi, "_get_errors_from_spec", None)
_OF_ERRORS = (
    "_get_errors_from_spec",
    "_prepare_references_in_schema",
    "_get_referencing_registry",
)
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


def _any_of(
    validator: Any, alternatives: Iterable[Any], value: Any, schema: Any
) -> Iterator[ValidationError]:
    if not any(validator.evolve(schema=one).is_valid(value) for one in alternatives):
        yield ValidationError("fits no alternative")


_Quick: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft7Validator, {"anyOf": _any_of}
)
"""Validator that does not collect the errors of alternatives of which another one fits."""


def _errors_if_any(
    spec: Any, schema: dict[str, Any], rootschema: dict[str, Any] | None = None
) -> Any:
    """Altair's errors, which are looked for only where there are some."""
    quick = _Quick(
        schemapi._prepare_references_in_schema(schema),
        registry=schemapi._get_referencing_registry(rootschema or schema),
        format_checker=Draft7Validator.FORMAT_CHECKER,
    )
    return [] if quick.is_valid(spec) else _errors(spec, schema, rootschema)


def build_lean() -> None:
    """Let Altair do without this in this process; a version that is made otherwise stays as it is."""
    if _copied is None or not hasattr(schemapi, "_FromDict"):
        return
    schemapi.disable_debug_mode()
    converter = schemapi._FromDict(alt.VegaLiteSchema._default_wrapper_classes())
    schemapi._FromDict = lambda classes: converter  # type: ignore[assignment, misc]
    schemapi._deep_copy = _copy_given  # type: ignore[assignment]
    if all(hasattr(schemapi, name) for name in _OF_ERRORS):
        schemapi._get_errors_from_spec = _errors_if_any
