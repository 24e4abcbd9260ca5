"""Building blocks of typed files: strict records, lists that may be a single value, names."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
)
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

OWN_ERROR = "gammascape"
"""Type of the errors raised here, whose text is already written for a person."""


def mistake(text: str, *below: str | int) -> PydanticCustomError:
    """Make an error to raise in a validator; `below` is the path from the validated value to the faulty one."""
    return PydanticCustomError(OWN_ERROR, "{text}", {"text": text, "below": below})


class Record(BaseModel):
    """Mapping with known keys; unknown keys and values of another type are errors."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list, or a value that occurs twice."""
    if not values:
        raise mistake("is an empty list; write at least one value")
    return each_once(values)


def each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a value that occurs twice in the list."""
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise mistake(f"{value} is listed twice; remove one of the two", index)
        seen.add(value)
    return values


def as_tuple(value: Any) -> Any:
    """Turn a list into a tuple, and leave anything else alone."""
    return tuple(value) if isinstance(value, list) else value


class OneOrMore:
    """Marker of a tuple that a file gives as one value or as a list of distinct values."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        checked = core_schema.no_info_after_validator_function(distinct, handler(source))
        return core_schema.no_info_before_validator_function(_listed, checked)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        several = handler(schema)
        return {"anyOf": [several["items"], {**several, "minItems": 1, "uniqueItems": True}]}


def _listed(value: Any) -> Any:
    if value is None or isinstance(value, list | tuple | Mapping):
        return as_tuple(value)
    return (value,)


def factory_kind(value: Any) -> Any:
    """Add the `kind` to an entry with `factory` that lacks it."""
    if isinstance(value, Mapping) and "factory" in value and "kind" not in value:
        return {**value, "kind": "factory"}
    return value


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""Size: a whole number from 1."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Seed: a whole number from 0."""

Amount = Annotated[float, Field(ge=0), AfterValidator(lambda value: value + 0.0)]
"""Number from 0; -0.0, which would change the identity, becomes 0.0."""

NAME = r"^[a-z][a-z0-9]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=40)]
"""User's name of a model or dataset, without hyphens, which join names in file names of at most 143 letters."""

Listed = BeforeValidator(as_tuple)
"""Marker of a tuple that a file gives as a list."""
