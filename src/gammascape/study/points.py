"""Points of maps: the file that `gammascape map` writes beside a study, and everything else reads."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, ValidationError

from gammascape.layout import write_if_changed
from gammascape.study.keys.axes import LIMIT, GammaMap, Map
from gammascape.study.keys.exact import decimal_text, grid_points, is_decimal_text
from gammascape.study.reading.errors import MOST_PROBLEMS, Problem, StudyError, study_error
from gammascape.study.reading.explain import explain
from gammascape.study.reading.fields import Record, mistake
from gammascape.study.reading.yaml_reader import read_yaml

# Reasons are written without quotes, which a colon or # would need.
_POINT = re.compile(r"round ([0-9]{1,9}), ([^:#\n]+)")
NEW_GAMMA = "new gamma"
"""Beginning of the reason of the first etas of a gamma that the map added."""
_LINE = re.compile(
    r'((?:  )*)(?:"([^"\\]+)"|([a-z][^":# ]*)):(?: (?:"([^"\\]*)"|(round [^":#]*[^":# ])|(1)))?'
)
_PLAIN = re.compile(r"[-+]?[0-9]{1,6}(\.[0-9]{0,30})?")
_MOST_BYTES = 200_000_000
_BEGIN = "\nslices:\n"


@dataclass(frozen=True)
class Point:
    """Reason for an eta of a map."""

    round: int
    """Round that added it, from 0."""
    why: str


@dataclass(frozen=True)
class Mapped:
    """Map of one slice at one gamma, and the seeds that get its points."""

    map: Map
    seeds: tuple[tuple[int, int], ...]
    """Pairs of `seed` and `data_seed`."""
    gammas: GammaMap | None = None
    """Map of gamma that has this one."""
    needed: bool = True
    """False if only the map of gamma can add this gamma to the study."""
    network: str = ""
    """Digits of the model and the data of the slice."""


Maps = Mapping[str, Mapping[Decimal, Mapped]]
"""Maps of a study by slice and log10 gamma."""
Points = Mapping[str, Mapping[Decimal, Mapping[Decimal, Point]]]
"""Points of a study by slice, log10 gamma and log10 eta."""


def _exact(values: Mapping[str, object]) -> Mapping[Decimal, object]:
    for text in values:
        if not is_decimal_text(text) or abs(Decimal(text)) > LIMIT:
            near = (
                text if _PLAIN.fullmatch(text) is None else decimal_text(Decimal(text).normalize())
            )
            write = f'; write "{near}"' if is_decimal_text(near) and near != text else ""
            raise mistake(f"is not the exact text of a log10 value, at most {LIMIT}{write}", text)
    return {Decimal(text): value for text, value in values.items()}


def _point(text: str) -> Point:
    found = _POINT.fullmatch(text)
    if found is None:
        raise mistake(
            "does not say its round and reason, without : and #, as in: round 1, between 0 and 1"
        )
    return Point(int(found[1]), found[2])


_Etas = Annotated[dict[str, Annotated[str, AfterValidator(_point)]], AfterValidator(_exact)]


class _PointsFile(Record):
    format: Literal[1]
    study: str
    digest: str
    networks: dict[str, str] = Field(default={})
    slices: dict[str, Annotated[dict[str, _Etas], AfterValidator(_exact)]]


def points_path(study: Path) -> Path:
    """Path of the points of a study file."""
    return study.with_name(f"{study.stem}.points.yaml")


def read_points(study: Path) -> tuple[Points, bool, Mapping[str, str]]:
    """Points of a study file, if there are some yet; whether they were edited; digits of networks by slice.

    Raises:
        StudyError: if the file is not one of points, or belongs to another study.
    """
    path = points_path(study)
    if not path.is_file():
        return {}, False, {}
    file = _read(path)
    if file.study != study.stem:
        text = f"has points of the study {file.study}, not of {study.stem}; move it beside {file.study}.yaml"
        text += f', or write study: "{study.stem}" in it if that is its new name'
        raise study_error(str(path), [Problem(("study",), text)])
    content = path.read_text(encoding="utf-8").partition(_BEGIN)[2]
    return cast("Points", file.slices), file.digest != _digest(content), file.networks


def _read(path: Path) -> _PointsFile:
    with suppress(OSError, ValueError):  # also errors of pydantic: YAML knows the lines
        return _PointsFile.model_validate(_as_written(path))
    undo = "undo what was edited in it, or remove it and run gammascape map, which trains no cell again"
    try:
        source = read_yaml(path)
    except StudyError as error:
        raise StudyError(f"{error}\n  {undo}") from None
    try:
        return _PointsFile.model_validate(source.data)
    except ValidationError as error:
        problems = explain(error, source, _PointsFile)[: MOST_PROBLEMS - 1]
        raise study_error(source.name, [*problems, Problem((), undo)]) from None


def _as_written(path: Path) -> dict[str, Any]:
    """Data of a file all of whose lines are as `write_points` writes them, which may be too many for YAML.

    Raises:
        OSError, ValueError: if it is none, or cannot be read.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError
    levels: list[dict[str, Any]] = [{}]
    for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        if line.startswith("# "):
            continue
        found = _LINE.fullmatch(line) if line.isprintable() else None
        depth = len(found[1]) // 2 if found else 0
        if found is None or depth >= len(levels) or (key := found[2] or found[3]) in levels[depth]:
            raise ValueError
        value = levels[depth][key] = found[4] or found[5] or (1 if found[6] else {})
        levels[depth + 1 :] = [value] if value == {} else []
    return levels[0]


def write_points(study: Path, points: Points, networks: Mapping[str, str]) -> None:
    """Write the points of a study file, sorted, if they have changed.

    Raises:
        OSError: if the file cannot be written.
    """
    lines = []
    for key, gammas in sorted(points.items()):
        lines.append(f"  {key}:\n")
        for gamma, etas in sorted(gammas.items()):
            lines.append(f'    "{decimal_text(gamma)}":\n')
            lines += [
                f'      "{decimal_text(eta)}": round {point.round}, {point.why}\n'
                for eta, point in sorted(etas.items())
            ]
    content = "".join(lines)
    # Digits alone would be a number to YAML.
    known = "".join(f'\n  {key}: "{networks[key]}"' for key in sorted(points) if key in networks)
    head = (
        f"# log10 eta of the maps of {study.name}, by slice and log10 gamma: the round that added it, and why.\n"
        "# Written by gammascape map, which goes on from here. Networks are digits of their models and data.\n"
        f'format: 1\nstudy: "{study.stem}"\ndigest: "{_digest(content)}"'
        + (f"\nnetworks:{known}" if known else "")
    )
    write_if_changed(points_path(study), f"{head}{_BEGIN}{content}")


def fit(
    points: Points, networks: Mapping[str, str], maps: Maps
) -> tuple[Points, list[Problem], list[Problem]]:
    """Points that the maps of a study can have, the problems of others, and one for each gamma without points."""
    kept: dict[str, dict[Decimal, Mapping[Decimal, Point]]] = {}
    others: list[Problem] = []
    missing: list[Problem] = []

    def leave(text: str, *path: str) -> None:
        others.append(Problem(("slices", *path), text))

    for key in sorted(points.keys() - maps.keys()):
        leave("no map of the study has this slice", key)
    for key, gammas in maps.items():
        found = points.get(key, {})
        if any(networks.get(key, mapped.network) != mapped.network for mapped in gammas.values()):
            leave("its model or its data have changed, so these points are of other networks", key)
            found = {}
        for gamma in sorted(found.keys() - gammas.keys()):
            leave("no map of the study has this gamma", key, decimal_text(gamma))
        for gamma, mapped in gammas.items():
            etas, finest = found.get(gamma, {}), mapped.map.finest
            on = {}
            for eta, point in etas.items():
                if grid_points(eta, eta, finest):
                    on[eta] = point
                else:
                    text = f"is no point of the grid with {finest} per decade"
                    leave(text, key, decimal_text(gamma), decimal_text(eta))
            if on:
                kept.setdefault(key, {})[gamma] = on
            elif mapped.needed:
                text = f"has no points at log10 gamma {decimal_text(gamma)}"
                missing.append(Problem(("slices", key), text))
    return kept, others, missing


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:12]
