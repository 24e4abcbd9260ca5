"""Keys of a study's entry that uses a function of the user's own."""

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
                "must be made of finite numbers, texts, true, false, lists and mappings", name
            ) from None
        if not name.isidentifier():
            raise mistake(f"{name} is no name of a parameter in Python", name)
    return values


Arguments = Annotated[dict[str, Any], AfterValidator(_plain)]


class Factory(Record):
    """Keys that models and datasets of the user's own share."""

    factory: str = Field(examples=["my_net:make_net"])
    """module:function; the module's file stands beside the study or in the working directory."""
    arguments: Arguments = Field(default={}, examples=[{"depth": 3}])
    """Further keyword arguments of the function."""
    sources: SkipJsonSchema[dict[str, str]] = Field(default={})
    """Source files and sha256 of what their code says; found out when the study is loaded."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def given(self) -> tuple[str, ...]:
        """The keyword arguments that the function is called with."""
        return tuple(self.arguments)
