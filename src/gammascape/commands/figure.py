"""Draw a figure of the results again for print: as PDF, SVG or PNG, in a width, without title, in a theme.

It is drawn from the data that the figure shows, and carries the mark of the figure, so that `audit` finds where it
comes from.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gammascape.command import UserError
from gammascape.layout import whole
from gammascape.manifests.mark import read_mark
from gammascape.provenance.locate import STUDY, output_of
from gammascape.study.reading.yaml_reader import read_yaml

_CENTIMETRES = 2.54
KINDS = ("pdf", "svg", "png")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("figure", help="edges, quickstart/figures/edges, a path, or a copy of it")
    parser.add_argument("--study", help=STUDY)
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write: X.pdf, X.svg, X.png"
    )
    parser.add_argument("--width", type=_inches, help="width with its unit: 3.3in, 8.4cm")
    parser.add_argument("--no-title", action="store_true", help="leave out title and subtitle")
    parser.add_argument(
        "--theme",
        type=Path,
        help="JSON or YAML file with a Vega-Lite config, put over the figure's",
    )


def run(chosen: argparse.Namespace) -> int:
    """Draw a figure."""
    import altair as alt
    from jsonschema import ValidationError

    from gammascape.figures.style.save import draw

    kind = chosen.out.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise UserError(f"{chosen.out}: end the name in one of .{', .'.join(KINDS)}")
    _, file = output_of("figure", chosen.figure, "json", chosen.study)
    spec, mark = json.loads(file.read_text(encoding="utf-8")), read_mark(file)
    assert mark is not None
    if chosen.no_title:
        spec.pop("title", None)
    if chosen.theme is not None:
        theme = read_yaml(chosen.theme).data
        if not isinstance(theme, dict):
            raise UserError(
                f"{chosen.theme}: a theme is a mapping, such as {{axis: {{grid: false}}}}"
            )
        theme = theme.get("config", theme)
        try:
            alt.Config.from_dict(theme)
        except ValidationError as error:
            where = "".join(f"{key}: " for key in error.absolute_path)
            raise UserError(
                f"{chosen.theme}: {where}{error.message:.200}; see config of Vega-Lite"
            ) from None
        spec["config"] = _over(spec.get("config", {}), theme)
    try:
        content, points = draw(spec, kind, replace(mark, redrawn=True).as_json(), chosen.width)
    except ValueError as error:
        raise UserError(f"{file} cannot be drawn in this theme: {error}") from None
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with whole(chosen.out) as partial:
        partial.write_bytes(content)
    print(f"{chosen.out}: {file.with_suffix('')}; its smallest text has {points:.2g} points")
    return 0


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two configurations, of which the second wins where both say something."""
    return {**below} | {
        key: _over(below[key], value)
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in above.items()
    }


def _inches(text: str) -> float:
    units = {"in": 1.0, "cm": 1 / _CENTIMETRES, "mm": 0.1 / _CENTIMETRES, "pt": 1 / 72}
    try:
        width = float(text[:-2]) * units[text[-2:]]
    except (KeyError, ValueError):
        width = 0.0
    if not 0.1 <= width <= 100:
        raise argparse.ArgumentTypeError(
            f"a width with its unit, such as 3.3in or 8.4cm, not {text}"
        )
    return width
