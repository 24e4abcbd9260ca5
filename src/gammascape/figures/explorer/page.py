"""One HTML file that works offline: the data of studies, charts, and the script that joins them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import polars as pl

from gammascape.figures.explorer.charts import STATUS_COLOURS, charts
from gammascape.figures.explorer.data import EDGES, explorer_data, join_studies
from gammascape.figures.style import theme
from gammascape.figures.style.offline import javascript
from gammascape.figures.style.save import VEGA_LITE
from gammascape.figures.templates import FOLDER, render
from gammascape.layout import whole
from gammascape.manifests.mark import Mark, mark_html
from gammascape.runs.outcome import Thresholds

_COLOURS = (
    ("loss", "training loss / loss of f = 0", "log", True),
    ("status", "status", "status", False),
    ("peak", "largest training loss / first", "log", False),
    ("half", "steps until half the loss of f = 0", "log", True),
    ("spread", "decades of loss between seeds", "linear", False),
)
"""Name, title, kind of scale, and whether small values are bright, of what tiles may show beside measures."""
_MEASURES = {
    "training_loss": "training loss",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "shifted_test_loss": "test loss on shifted data",
    "shifted_test_accuracy": "test accuracy on shifted data",
    "sharpness": "sharpness λ",
    "eta_times_sharpness": "Nηλ (stable below 2)",
    "kernel_alignment": "alignment of the last hidden kernel",
    "ntk_alignment": "alignment of the tangent kernel",
    "relative_change": "relative change of weights",
    "effective_rank": "effective rank",
    "initial_cka": "CKA with the start",
}
_DATA = '<script type="application/json" id="data">'
_SIGNS = {"runaway": "▲", "dead": "●", "diverged": "×"}


def write_explorer(
    study: str,
    tables: Mapping[str, pl.DataFrame],
    cells_folder: Path,
    thresholds: Thresholds,
    path: Path,
    *,
    planned: int = 0,
    mark: Mapping[str, Any] | None = None,
    time: str = "",
) -> None:
    """Write the explorer of a study to `path`.

    Args:
        tables, cells_folder, thresholds: as for `explorer_data`.
        planned: number of cells that the study asks for; the page says if fewer are finished.
        mark: reference to its manifest, see `manifests.mark`.
        time: time at which it was made of a run that goes on.

    Raises:
        TableError: if an artifact is damaged.
    """
    about = {"name": study, "there": tables["cells"]["cell"].n_unique(), "planned": planned}
    about["at"] = time
    about |= {"words": _words(thresholds), "catapult": thresholds.catapult_above}
    data = explorer_data(tables, cells_folder, thresholds) | {"studies": [about]}
    with whole(path) as partial:
        partial.write_text(_page(data, [mark] if mark else []), encoding="utf-8")


def joint_explorer(explorers: Sequence[Path], marks: Sequence[Mark]) -> str:
    """One explorer of several studies, from the explorer of each and its mark.

    Raises:
        ValueError: if another version wrote one of them.
    """
    data = join_studies([_data_in(path) for path in explorers])
    return _page(data, [mark.as_json() for mark in marks])


def data_of(page: str) -> dict[str, Any]:
    """Data in the text of an explorer.

    Raises:
        ValueError: if it has none, or another version's.
    """
    data = json.loads(page.partition(_DATA)[2].partition("</script>")[0] or "{}")
    if "studies" not in data:
        raise ValueError("made by another version")
    return dict(data)


def _data_in(path: Path) -> dict[str, Any]:
    try:
        return data_of(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _page(data: dict[str, Any], marks: Sequence[Mapping[str, Any]]) -> str:
    constant = {
        "colours": [
            dict(zip(("name", "title", "kind", "reverse"), c, strict=True)) for c in _COLOURS
        ],
        "titles": _MEASURES,
        "statuses": {
            name[:2]: {"name": name, "colour": colour, "sign": _SIGNS.get(name, "")}
            | {"ink": theme.STATUS_INKS.get(name, "black")}
            for name, colour in STATUS_COLOURS.items()
        },
        "edges": {name: theme.EDGE_SHAPES[name] for name in EDGES},
        "series": theme.SERIES_COLOURS,
    }
    page = render(
        "explorer.html.j2",
        studies=data["studies"],
        data=_script_text(data | constant),
        charts=_script_text(charts()),
        vega=javascript(VEGA_LITE, platformdirs.user_cache_path("gammascape")),
        script=(FOLDER / "explorer.js").read_text(encoding="utf-8"),
    )
    for mark in marks:
        page = mark_html(page, mark)
    return page


def _script_text(value: Any) -> str:
    """JSON for a script element: no text in it can end the element or begin another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _words(thresholds: Thresholds) -> dict[str, str]:
    """Meaning of each status in this study."""
    low, high = f"{thresholds.trained_below:g}", f"{thresholds.runaway_above:g}"
    return {
        "trained": f"ends at or below {low} of the loss of f = 0",
        "untrained": f"ends between {low} and {high} of the loss of f = 0",
        "runaway": f"is finite and ends above {high} of the loss of f = 0",
        "dead": "a hidden layer has the same output for every input",
        "diverged": "a training loss was not finite",
    }
