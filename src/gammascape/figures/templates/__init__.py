"""Templates of pages; every text in them is escaped."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gammascape.terminal import visible

FOLDER = Path(__file__).parent


def render(name: str, **values: Any) -> str:
    """Fill in the template `name` of this folder."""
    return _environment().get_template(name).render(values)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(FOLDER)
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    found.filters["visible"] = visible
    return found
