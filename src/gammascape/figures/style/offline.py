"""The HTML page of one chart with all the JavaScript that it needs."""

import re
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
import vl_convert

from gammascape.layout import whole
from gammascape.manifests.scripts import is_bundle

_SPEC = re.compile(r"(?m)^ *const spec = .*$")
_SCRIPTS = re.compile(r'(\s*<script src="[^"]*"></script>)+')


def offline_html(spec: dict[str, Any], vl_version: str) -> str:
    """A page that shows a Vega-Lite chart without a network.

    Args:
        spec: the chart.
        vl_version: version of Vega-Lite, as vl_convert names it.
    """
    page = vl_convert.vegalite_to_html(spec, vl_version=vl_version, bundle=False)
    # A text of the chart may hold the end of a script, or the beginning of one.
    page, places = _SPEC.subn(lambda match: match.group().replace("<", "\\u003c"), page)
    if places != 1:
        raise RuntimeError("vl_convert's page holds no chart where it is expected")
    bundle = javascript(vl_version, platformdirs.user_cache_path("gammascape"))
    page, places = _SCRIPTS.subn(lambda _: f"\n    <script>{bundle}</script>", page, count=1)
    if places != 1:
        raise RuntimeError("vl_convert's page loads no scripts where they are expected")
    return page


@cache
def javascript(vl_version: str, folder: Path) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, kept in a folder.

    Putting them together takes longer than drawing a figure, and gives the same text each time. Whoever can write
    to the folder could put a script into every page: what is not known by its hash is made anew.
    """
    package = version("vl-convert-python")
    path = folder / f"vega-{package}-{vl_version}.js"
    with suppress(OSError):
        kept = path.read_bytes()
        if is_bundle(kept, package, vl_version):
            return kept.decode()
    # The stub takes the snippet for required; without one, vegaEmbed is a global.
    bundle = vl_convert.javascript_bundle(None, vl_version)  # type: ignore[arg-type]
    # A home that cannot be written to costs time only.
    with suppress(OSError), whole(path) as partial:
        partial.write_bytes(bundle.encode())
    return bundle
