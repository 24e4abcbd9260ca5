"""Write a finished chart as Vega-Lite JSON, offline HTML, SVG and PNG, the same bytes each time."""

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from altair.typing import ChartType

from gammascape.figures.style.offline import offline_html
from gammascape.figures.style.theme import FONT
from gammascape.figures.templates import FOLDER
from gammascape.layout import whole
from gammascape.manifests.mark import FORMATS, mark_html, mark_pdf, mark_png, mark_svg
from gammascape.terminal import visible, visible_lines

PIXELS_PER_INCH = 144
# A figure is drawn on white. One that does not fit into a window even so is scrolled: its text stays legible.
_PAGE_STYLE = """
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <style>
        body { font: 1rem/1.5 system-ui, sans-serif; }
        #vega-chart { background: #fff; color: #222; max-width: 100%; overflow-x: auto; }
        p { max-width: 46rem; }
        @media screen and (prefers-color-scheme: dark) { body { background: #16181b; color: #e6e6e6 }
            nav a { color: #7cc4f2 } }
        @media print { nav, details { display: none } }
    </style>"""
_CHART = '<div id="vega-chart"></div>'
_DRAWN = "vegaEmbed('#vega-chart', spec, opts)"
_POINTS, _PRINT = 72, 300
"""Points of an inch, and pixels of an inch in print."""
_SVG_SIZE = re.compile(r'width="([0-9.]+)" height="([0-9.]+)"')
_FONT_SIZE = re.compile(r'font-size="([0-9.]+)px"')
VEGA_LITE = alt.VEGALITE_VERSION.removeprefix("v").rsplit(".", 1)[0]
_TEXT = re.compile(r">[^<>]+<")
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᴸ·⁄₀₁₂₃₄₅₆₇₈₉∝", "0123456789−L./0123456789~")
_SHIFTED = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᴸ]+(?:[·⁄][⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᴸ]+)*)|([₀-₉]+)|∝")
# Vega numbers clip paths and gradients by counters that run on from figure to figure.
_NUMBERED_ID = re.compile(r"\b(clip|gradient_)(\d+)\b(?=[\")])")


def save(
    chart: ChartType, stem: str | Path, usermeta: Mapping[str, Any] | None = None
) -> dict[str, Path]:
    """Write `stem` + .json, .html, .svg, .png and return the path of each format.

    `usermeta` is added under `usermeta.gammascape`, and as the mark of the figure to
    the HTML, the SVG and the PNG (see `manifests.mark`). Folders are made as needed.
    Raises altair.MaxRowsError when a data set of the chart has more than 5,000 rows.
    """
    spec = chart.to_dict()
    words = spec.get("usermeta", {}).get("gammascape", {})
    spec["usermeta"] = spec.get("usermeta", {}) | {"gammascape": words | dict(usermeta or {})}
    spec = _drawable(spec)

    paths = {name: Path(f"{stem}.{name}") for name in FORMATS}
    text = json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    page = offline_html(spec, VEGA_LITE)
    heading = f"<title>{escape(visible(words.get('title', 'Chart')))}</title>"
    # Of files of the results only: a figure saved elsewhere has no page above it.
    folder = Path(str((usermeta or {}).get("manifest") or "")).parent
    back = os.path.relpath("results/index.html", folder) if folder.name else ""
    way = f'<nav><a href="{escape(back)}">All results</a></nav>' if back else ""
    page = page.replace("<title>Chart</title>", heading + _PAGE_STYLE, 1)
    below = f"{way}{_CHART}<p>{escape(visible(words.get('caption', '')))}</p>"
    script = (FOLDER / "figure.js").read_text(encoding="utf-8")
    page = page.replace(_CHART, f"{below}\n    <script>\n{script}</script>", 1)
    page = page.replace(_DRAWN, "show(spec, opts)", 1)
    # Vega lays out the figure once; the PNG has the bytes that `vegalite_to_png` gives.
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    svg = _renumbered(drawn)
    png = vl_convert.svg_to_png(with_fonts_of_this_machine(drawn), ppi=PIXELS_PER_INCH)
    if usermeta:
        page, svg, png = (
            mark_html(page, usermeta),
            mark_svg(svg, usermeta),
            mark_png(png, usermeta),
        )
    content = {"json": text.encode(), "html": page.encode(), "svg": svg.encode(), "png": png}
    for name, path in paths.items():
        with whole(path) as partial:
            partial.write_bytes(content[name])
    return paths


def draw(
    spec: Mapping[str, Any], kind: str, mark: Mapping[str, Any], inches: float | None = None
) -> tuple[bytes, float]:
    """Draw the Vega-Lite of a figure for print, as "pdf", "svg" or "png".

    Args:
        mark: mark of the file.
        inches: width of the picture, whose height and text follow; by default a point, 1/72 inch, for each pixel.

    Returns:
        the file's content, and the size of its smallest text in points.

    Raises:
        ValueError: if the specification cannot be drawn.
    """
    drawn = vl_convert.vegalite_to_svg(_drawable(dict(spec)), vl_version=VEGA_LITE)
    svg = _renumbered(drawn)
    size = _SVG_SIZE.search(svg)
    assert size is not None
    pixels = [float(number) for number in size.groups()]
    scale = 1.0 if inches is None else inches * _POINTS / pixels[0]
    least = min((float(text) for text in _FONT_SIZE.findall(svg)), default=0.0) * scale
    if kind == "png":
        drawable = with_fonts_of_this_machine(svg)
        return mark_png(vl_convert.svg_to_png(drawable, ppi=_PRINT * scale), mark), least
    width, height = (f"{number * scale:.6g}" for number in pixels)
    unit = "pt" if kind == "svg" else ""
    sized = _SVG_SIZE.sub(f'width="{width}{unit}" height="{height}{unit}"', svg, count=1)
    if kind == "svg":
        return mark_svg(sized, mark).encode(), least
    return mark_pdf(vl_convert.svg_to_pdf(with_fonts_of_this_machine(sized)), mark), least


def with_fonts_of_this_machine(svg: str) -> str:
    """The same SVG, in which raised and lowered characters are smaller plain ones if no font here has them.

    Servers often lack DejaVu Sans; most other fonts have ¹, ² and ³ alone, and would show boxes.
    """
    return _TEXT.sub(lambda text: _SHIFTED.sub(_plain, text.group()), svg) if _lacks() else svg


@cache
def _lacks() -> bool:
    # The second is of private use, which fonts leave empty.
    return any(look_alike(text, "\ue000") for text in "⁰⁴⁶⁻ᴸ₀₂∝")


def look_alike(one: str, other: str) -> bool:
    """Return whether two characters look alike in a picture, as those do that no font of this machine has."""
    begin = f'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="16" font-family="{FONT}">'
    pictures = {vl_convert.svg_to_png(f"{begin}{text}</text></svg>") for text in (one, other)}
    return len(pictures) == 1


def _plain(shifted: re.Match[str]) -> str:
    plain = shifted.group().translate(_PLAIN)
    if shifted.lastindex is None:
        return plain
    shift = "super" if shifted.lastindex == 1 else "sub"
    return f'<tspan baseline-shift="{shift}" font-size="70%">{plain}</tspan>'


def _drawable(value: Any) -> Any:
    """The same with every control character made visible: one of them ends the process that draws the SVG."""
    if isinstance(value, dict):
        return {key: _drawable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_drawable(item) for item in value]
    return visible_lines(value) if isinstance(value, str) else value


def _renumbered(svg: str) -> str:
    """Number the ids of an SVG from one, in the order in which they occur."""
    numbers: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        return numbers.setdefault(match.group(0), f"{match.group(1)}{len(numbers) + 1}")

    return _NUMBERED_ID.sub(replace, svg)
