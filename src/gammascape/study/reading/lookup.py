"""Typed record and field at a key path of a file."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gammascape.study.reading.errors import KeyPath
from gammascape.study.reading.fields import factory_kind

Model = type[BaseModel]


def keys_of(model: Model) -> dict[str, FieldInfo]:
    """Fields of a record, by their keys in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def kinds_of(models: list[Model]) -> list[str]:
    """Values of `kind` that select one of the records."""
    return [
        kind
        for model in models
        if "kind" in model.model_fields
        for kind in get_args(model.model_fields["kind"].annotation)
    ]


def path_in(data: object, location: KeyPath, missing: bool) -> KeyPath:
    """Part of a pydantic location that exists in the file: no union tags, no index into a single value.

    With `missing`, the last part is a key that the data lack.
    """
    path: list[str | int] = []
    entered = True
    for position, part in enumerate(location):
        # The tag of a factory is the name of one of its keys.
        if entered and isinstance(data, Mapping) and part == factory_kind(data).get("kind"):
            entered = False
            continue
        absent = missing and position == len(location) - 1
        if not absent and not _has(data, part):
            continue
        data = _get(data, part)
        path.append(part)
        entered = True
    return tuple(path)


def models_at(path: KeyPath, data: object, root: Model) -> list[Model]:
    """Records that may occur at `path`; among several kinds, the one named in the data."""
    types: list[Any] = [root]
    for part in path:
        types = [inner for outer in types for inner in _step(outer, part)]
        data = _get(data, part)
    models = [model for outer in types for model in models_in(outer, below=False)]
    kind = factory_kind(data).get("kind") if isinstance(data, Mapping) else None
    return [model for model in models if kind in kinds_of([model])] or models


def field_at(path: KeyPath, data: object, root: Model) -> FieldInfo | None:
    """Field named by the last key of `path`; indices after the key are ignored."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    for model in models_at(path[:-1], data, root) if path else ():
        if path[-1] in keys_of(model):
            return keys_of(model)[str(path[-1])]
    return None


def models_in(annotation: Any, below: bool = True) -> list[Model]:
    """Records among the members of a type; with `below`, also in its lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if not below and get_origin(annotation) in {dict, tuple}:
        return []
    return [model for inner in get_args(annotation) for model in models_in(inner, below)]


def _has(data: object, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _get(data: Any, part: str | int) -> Any:
    return data[part] if _has(data, part) else None


def _step(annotation: Any, part: str | int) -> list[Any]:
    """Types one key or index below a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        keys = keys_of(annotation)
        return [keys[part].annotation] if part in keys else []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return [arguments[1]]
    if origin is tuple:
        return [arguments[0]]
    if origin is Annotated:
        return _step(arguments[0], part)
    return [inner for argument in arguments for inner in _step(argument, part)]
