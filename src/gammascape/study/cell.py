"""A cell, one network trained once, and its identity, a hash of all parameters that change its numbers."""

import hashlib
import json
import re
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ValidationError

from gammascape.numerics import NUMERICS_VERSION
from gammascape.study.keys.datasets import DatasetSpec
from gammascape.study.keys.exact import is_decimal_text
from gammascape.study.keys.factories import Factory
from gammascape.study.keys.models import ModelSpec
from gammascape.study.keys.observables import Observable, in_order
from gammascape.study.reading.errors import StudyError, study_error
from gammascape.study.reading.explain import explain
from gammascape.study.reading.fields import Count, Listed, Record, Seed, mistake
from gammascape.study.reading.yaml_reader import Source
from gammascape.theory.edges import Loss

Dtype = Literal["float32", "float64", "float32-difference"]
"""Numeric type of a cell; the last one trains w - w_0 in float32 and subtracts no outputs."""


@dataclass(frozen=True)
class Cell:
    """All parameters that can change the numbers of one training run.

    `gamma` and `eta` are log10 values as exact text, such as "-2.5". A field that is added later
    has a default that means the earlier behaviour, so that every old identity stays.

    `observables` changes the content of the artifact, not the training. It is part of the identity, so that a cell
    with other measurements is another artifact, and an existing artifact never lacks any.
    """

    model: ModelSpec
    dataset: DatasetSpec
    loss: Loss
    gamma: str
    eta: str
    batch_size: int
    steps: int
    seed: int = 0
    data_seed: int = 0
    dtype: Dtype = "float32"
    observables: tuple[Observable, ...] = ()

    def __post_init__(self) -> None:
        # Another spelling of the same number would change the identity.
        for name, text in (("gamma", self.gamma), ("eta", self.eta)):
            if not is_decimal_text(text):
                raise ValueError(f"{name} is not the exact text of a log10 value: {text!r}")
        if self.observables != in_order(self.observables):
            raise ValueError(f"observables are not in order: {self.observables}")

    def record(self) -> dict[str, Any]:
        """Every effective parameter, defaults included, as plain builtins; observables only if there are any."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        values["model"] = self.model.model_dump(mode="json")
        values["dataset"] = self.dataset.model_dump(mode="json")
        # Left out if nothing is measured, so that the bytes of existing artifacts, which contain it, stay valid.
        values["observables"] = list(self.observables)
        if not self.observables:
            del values["observables"]
        return {**values, "numerics": NUMERICS_VERSION}

    def canonical(self) -> str:
        """Record as JSON with sorted keys, without values equal to their defaults."""
        return self._canonical

    @classmethod
    def from_canonical(cls, text: str) -> Self:
        """Cell of a canonical text; a text with defaults written out gives the same cell.

        Raises StudyError if the text is not the record of a cell with this version's numerics.
        """
        name = "cell record"
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StudyError(f"{name}: not valid JSON: {error}") from None
        try:
            record = _CellRecord.model_validate(data)
        except ValidationError as error:
            problems = explain(error, Source(name, data), _CellRecord)
            raise study_error(name, problems) from None
        return cls(**{field.name: getattr(record, field.name) for field in fields(cls)})

    @cached_property
    def identity(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the canonical text."""
        return hashlib.sha256(self._canonical.encode()).hexdigest()[:12]

    @property
    def family(self) -> str:
        """Kinds of model and dataset, and the loss, without the user's own names.

        The kind of a factory is its function's name with digits that depend on its code.
        """
        return f"{_kind(self.model)}_{_kind(self.dataset)}_{self.loss}"

    @property
    def id(self) -> str:
        """Readable and unique name of the cell's folder within its family."""
        return f"g{self.gamma}_e{self.eta}_s{self.seed}-{self.identity}"

    @cached_property
    def path(self) -> str:
        """Path of the cell's folder, relative to the folder of all cells."""
        return f"{self.family}/{self.id}"

    @cached_property
    def _canonical(self) -> str:
        parts = {"model": _essentials(self.model), "dataset": _essentials(self.dataset)}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in parts and value != field.default:
                parts[field.name] = _json(value)
        parts["numerics"] = _json(NUMERICS_VERSION)
        return "{" + ",".join(f'"{key}":{parts[key]}' for key in sorted(parts)) + "}"


_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


@lru_cache(maxsize=1024)
def _essentials(spec: Record) -> str:
    """JSON of a model or dataset without options equal to their defaults."""
    return _json(spec.model_dump(mode="json", exclude_defaults=True))


def network_digits(model: ModelSpec, dataset: DatasetSpec) -> str:
    """Digits of a model and its data as cells have them, whatever their names."""
    text = f"{_essentials(model)} {_essentials(dataset)}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=1024)
def _kind(spec: ModelSpec | DatasetSpec) -> str:
    if not isinstance(spec, Factory):
        return str(spec.kind)
    code = _json([spec.factory, sorted(spec.sources.items())])
    name = re.sub(r"[^a-z0-9]", "", spec.factory.partition(":")[2].lower())[:20]
    return f"{name}{hashlib.sha256(code.encode()).hexdigest()[:6]}"


def _exact(text: str) -> str:
    if not is_decimal_text(text):
        raise mistake(f"is not the exact text of a log10 value: {text!r}")
    return text


def _current(version: int) -> int:
    if version != NUMERICS_VERSION:
        raise mistake(
            f"the record is of numerics {version}, and this version of gammascape computes "
            f"numerics {NUMERICS_VERSION}"
        )
    return version


class _CellRecord(Record):
    """JSON form of a cell."""

    model: ModelSpec
    dataset: DatasetSpec
    loss: Loss
    gamma: Annotated[str, AfterValidator(_exact)]
    eta: Annotated[str, AfterValidator(_exact)]
    batch_size: Count
    steps: Count
    seed: Seed = 0
    data_seed: Seed = 0
    dtype: Dtype = "float32"
    observables: Annotated[tuple[Observable, ...], Listed, AfterValidator(in_order)] = ()
    numerics: Annotated[int, AfterValidator(_current)]
