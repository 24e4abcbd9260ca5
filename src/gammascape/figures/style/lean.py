"""The same charts, built in a fraction of the time that Altair takes.

Most of its work is hashing the schemas of all classes for each encoding, copying each of the dozens of options
that an object was not given, and validating every part of a chart, which is validated as a whole at the end.
"""

from typing import Any

import altair as alt
from altair.utils import schemapi

_copied: Any = getattr(schemapi, "_deep_copy", None)


def _copy_given(value: Any, by_ref: set[str]) -> Any:
    if not isinstance(value, alt.SchemaBase) or hasattr(value, "__deepcopy__"):
        return _copied(value, by_ref)
    given = {
        key: of if key in by_ref else _copy_given(of, by_ref)
        for key, of in value._kwds.items()
        if of is not alt.Undefined
    }
    return type(value)(*(_copy_given(of, by_ref) for of in value._args), **given)


def build_lean() -> None:
    """Let Altair do without this in this process; a version that is made otherwise stays as it is."""
    if _copied is None or not hasattr(schemapi, "_FromDict"):
        return
    schemapi.disable_debug_mode()
    converter = schemapi._FromDict(alt.VegaLiteSchema._default_wrapper_classes())
    schemapi._FromDict = lambda classes: converter  # type: ignore[assignment, misc]
    schemapi._deep_copy = _copy_given  # type: ignore[assignment]
