"""Points of maps: the file that `gammascape map` writes beside a study, and everything else reads."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationError

from gammascape.layout import write_if_changed
from gammascape.study.keys.axes import LIMIT, GammaMap, Map
from gammascape.study.keys.exact import decimal_text, grid_points, is_decimal_text
from gammascape.study.reading.errors import Problem, study_error
from gammascape.study.reading.explain import explain
from gammascape.study.reading.fields import Record, mistake
from gammascape.study.reading.yaml_reader import read_yaml

# Reasons are written without quotes, which a colon or # would need.
_POINT = re.compile(r"round ([0-9]{1,9}), ([^:#\n]+)")
NEW_GAMMA = "new gamma"
"""Beginning of the reason of the first etas of a gamma that the map added."""
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
    """Whether the study has this gamma, or only can have it."""


Maps = Mapping[str, Mapping[Decimal, Mapped]]
"""Maps of a study by slice and log10 gamma."""
Points = Mapping[str, Mapping[Decimal, Mapping[Decimal, Point]]]
"""Points of a study by slice, log10 gamma and log10 eta."""


def _exact(texts: Mapping[str, object]) -> Mapping[str, object]:
    for text in texts:
        if not is_decimal_text(text) or abs(Decimal(text)) > LIMIT:
            raise mistake(f"is not the exact text of a log10 value, at most {LIMIT}", text)
    return texts


def _said(text: str) -> str:
    if not _POINT.fullmatch(text):
        raise mistake(
            "does not say its round and reason, without : and #, as in: round 1, between 0 and 1"
        )
    return text


class _PointsFile(Record):
    format: Literal[1]
    study: str
    digest: str
    slices: dict[
        str,
        Annotated[
            dict[
                str,
                Annotated[dict[str, Annotated[str, AfterValidator(_said)]], AfterValidator(_exact)],
            ],
            AfterValidator(_exact),
        ],
    ]


def points_path(study: Path) -> Path:
    """Path of the points of a study file."""
    return study.with_name(f"{study.stem}.points.yaml")


def read_points(study: Path) -> tuple[Points, bool]:
    """Points of a study file, none if there are no points yet; and whether they were edited by hand.

    Raises:
        StudyError: if the file is not one of points, or belongs to another study.
    """
    path = points_path(study)
    if not path.is_file():
        return {}, False
    source = read_yaml(path)
    try:
        file = _PointsFile.model_validate(source.data)
    except ValidationError as error:
        raise study_error(source.name, explain(error, source, _PointsFile)) from None
    if file.study != study.stem:
        text = f"has points of the study {file.study}, not of {study.stem}; move it beside {file.study}.yaml"
        text += f', or write study: "{study.stem}" in it if that is its new name'
        raise study_error(source.name, [Problem(("study",), text, source.line(("study",)))])
    points: dict[str, dict[Decimal, dict[Decimal, Point]]] = {}
    for key, gammas in file.slices.items():
        points[key] = {}
        for gamma, etas in gammas.items():
            found = points[key][Decimal(gamma)] = {}
            for eta, text in etas.items():
                said = _POINT.fullmatch(text)
                assert said is not None  # ensured by _said
                found[Decimal(eta)] = Point(int(said[1]), said[2])
    content = path.read_text(encoding="utf-8").partition(_BEGIN)[2]
    return points, file.digest != _digest(content)


def write_points(study: Path, points: Points) -> None:
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
    head = (
        f"# log10 eta of the maps of {study.name}, by slice and log10 gamma: the round that added it, and why.\n"
        "# Written by gammascape map, which goes on from here.\n"
        # Digits alone would be a number to YAML.
        f'format: 1\nstudy: "{study.stem}"\ndigest: "{_digest(content)}"'
    )
    write_if_changed(points_path(study), f"{head}{_BEGIN}{content}")


def fit(points: Points, maps: Maps) -> tuple[Points, list[Problem]]:
    """Points that the maps of a study can have, and a problem for each slice, gamma and eta that does not fit."""
    kept: dict[str, dict[Decimal, Mapping[Decimal, Point]]] = {}
    problems = [
        Problem(("slices", key), "no map of the study has this slice")
        for key in points
        if key not in maps
    ]
    for key, gammas in maps.items():
        found = points.get(key, {})
        problems += [
            Problem(("slices", key, decimal_text(gamma)), "no map of the study has this gamma")
            for gamma in found
            if gamma not in gammas
        ]
        for gamma, mapped in gammas.items():
            etas, finest = found.get(gamma, {}), mapped.map.finest
            on = {eta for eta in etas if grid_points(Fraction(eta), Fraction(eta), finest)}
            problems += [
                Problem(
                    ("slices", key, decimal_text(gamma), decimal_text(eta)),
                    f"is no point of the grid with {finest} per decade",
                )
                for eta in etas
                if eta not in on
            ]
            if on:
                kept.setdefault(key, {})[gamma] = {eta: etas[eta] for eta in etas if eta in on}
            elif mapped.needed:
                text = f"has no points at log10 gamma {decimal_text(gamma)}"
                problems.append(Problem(("slices", key), text))
    return kept, problems


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:12]
