"""Building blocks of the typed files: strict records, lists that may be a single value, names."""

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
"""Type of the errors raised here: their text is already meant for a person."""


def mistake(text: str, *below: str | int) -> PydanticCustomError:
    """An error to raise in a validator; `below` leads from the validated value to the culprit."""
    return PydanticCustomError(OWN_ERROR, "{text}", {"text": text, "below": below})


class Record(BaseModel):
    """A mapping with known keys: unknown keys and values of another type are errors."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list and a value that stands in it twice."""
    if not values:
        raise mistake("is an empty list; write at least one value")
    return each_once(values)


def each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a value that stands in the list twice."""
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise mistake(f"{value} is listed twice; remove one of the two", index)
        seen.add(value)
    return values


def as_tuple(value: Any) -> Any:
    """Take a list for a tuple, and nothing else."""
    return tuple(value) if isinstance(value, list) else value


class OneOrMore:
    """Marks a tuple that a file gives as one value or as a list of distinct values."""

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
    """An entry with `factory` needs no `kind`."""
    if isinstance(value, Mapping) and "factory" in value and "kind" not in value:
        return {**value, "kind": "factory"}
    return value


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A size: a whole number from 1."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""A seed: a whole number from 0."""

Amount = Annotated[float, Field(ge=0), AfterValidator(lambda value: value + 0.0)]
"""A number from 0; -0.0, which would be another identity, becomes 0.0."""

NAME = r"^[a-z][a-z0-9]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=40)]
"""A user's name of a model or dataset. No hyphen: file names join names with hyphens, and may have 143 letters."""

Listed = BeforeValidator(as_tuple)
"""Marks a tuple that a file gives as a list."""
