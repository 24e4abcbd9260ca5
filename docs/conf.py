"""How `make docs` builds the site; a warning or a dead link inside is an error there."""

import tomllib
from pathlib import Path

_project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = "gammascape"
author = "The gammascape authors"
version = release = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# Docstrings are plain text in which names stand in single backquotes.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "separated"
# Exceptions without a page of their own, and a default value.
nitpick_ignore = [
    *(("py:exc", name) for name in ("ManifestError", "TableError", "UserCodeError")),
    ("py:class", "contextlib.nullcontext"),
]

html_theme = "furo"
html_title = "gammascape"
html_show_sourcelink = False
html_theme_options = {"source_directory": "docs/"}
