"""Keys of a study's entry that uses a user's own function."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.json_schema import SkipJsonSchema

from gammascape.study.reading.fields import Record, mistake


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Refuse values that are not JSON, which a cell's record cannot hold."""
    for name, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise mistake(
                "must consist of finite numbers, texts, true, false, lists and mappings", name
            ) from None
        if not name.isidentifier():
            raise mistake(f"{name} is not a valid name of a parameter in Python", name)
    return values


Arguments = Annotated[dict[str, Any], AfterValidator(_plain)]


class Factory(Record):
    """Keys shared by a user's own models and datasets."""

    factory: str = Field(examples=["my_net:make_net"])
    """module:function; the module's file is in the study's folder or in the working directory."""
    arguments: Arguments = Field(default={}, examples=[{"depth": 3}])
    """Further keyword arguments of the function."""
    sources: SkipJsonSchema[dict[str, str]] = Field(default={})
    """Source files and sha256 of the meaning of their code; found when the study is loaded."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def call_arguments(self) -> tuple[str, ...]:
        """Keyword arguments of the function's call."""
        return tuple(self.arguments)
