"""What tests read from a chart: its words, its rows, its marks."""

from collections.abc import Iterator
from typing import Any

from altair.typing import ChartType

_SPECS: list[tuple[ChartType, dict[str, Any]]] = []


def spec_of(chart: ChartType) -> dict[str, Any]:
    """The Vega-Lite specification of a chart, kept for the last chart: validation is slow."""
    if not _SPECS or _SPECS[0][0] is not chart:
        _SPECS[:] = [(chart, chart.to_dict())]
    return _SPECS[0][1]


def words(chart: ChartType) -> dict[str, Any]:
    """Title, subtitle and caption as the page reads them."""
    found: dict[str, Any] = spec_of(chart)["usermeta"]["gammascape"]
    return found


def subtitle(chart: ChartType) -> str:
    """The subtitle on one line."""
    return "\n".join(words(chart)["subtitle"])


def rows(chart: ChartType) -> list[dict[str, Any]]:
    """Every row of every data set of a chart."""
    return [row for data in spec_of(chart)["datasets"].values() for row in data]


def nodes(spec: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a specification, the data sets left out."""
    if isinstance(spec, dict):
        yield spec
        for key, value in spec.items():
            if key != "datasets":
                yield from nodes(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from nodes(value)


def axis_titles(chart: ChartType) -> set[str]:
    """The titles of all positional axes."""
    found = set()
    for node in nodes(spec_of(chart)):
        for channel in ("x", "y"):
            encoding = node.get(channel)
            if isinstance(encoding, dict) and "field" in encoding:
                axis = encoding.get("axis") or {}
                found.add(encoding.get("title") or axis.get("title"))
    return found - {None}


def marks(chart: ChartType) -> list[dict[str, Any]]:
    """The marks of all layers, in the order in which they are drawn."""
    return [node["mark"] for node in nodes(spec_of(chart)) if isinstance(node.get("mark"), dict)]


def data_of(chart: ChartType, mark: str) -> list[list[dict[str, Any]]]:
    """The rows behind each layer that is drawn with `mark`."""
    spec = spec_of(chart)
    found = []
    for node in nodes(spec):
        drawn = node.get("mark")
        if isinstance(drawn, dict) and drawn["type"] == mark and "data" in node:
            found.append(spec["datasets"][node["data"]["name"]])
    return found
