"""The index page of all results, which shows every figure and links every file."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import polars as pl

from gammascape.durations import duration
from gammascape.figures.page.claims import claims_html, greek
from gammascape.figures.style.tables import count_of, status_counts
from gammascape.figures.templates import render
from gammascape.layout import whole
from gammascape.manifests.mark import FORMATS
from gammascape.tables.advice.words import by_slice, gamma_cells, head, what, where
from gammascape.tables.factors import LEFT_OUT

_FORMAT_WORDS = {
    "html": "interactive",
    "png": "PNG",
    "svg": "SVG",
    "json": "Vega-Lite JSON with the data",
}


@dataclass(frozen=True, slots=True)
class FigureEntry:
    """A figure on the page; `stem` is the path of its files without the suffix."""

    stem: Path
    title: str
    caption: str
    is_empty: bool = False
    """True if there is nothing to draw; the title says why."""

    @property
    def name(self) -> str:
        """Name of the figure among its study's, with its slice."""
        return self.stem.as_posix().rpartition("/figures/")[2]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table on the page with one sentence about what is in it."""

    path: Path
    sentence: str


@dataclass(frozen=True, slots=True)
class StudySection:
    """One study on the page, with its tables `cells`, and `claims`, `regimes` and `advice` if it has them."""

    name: str
    description: str
    cells: pl.DataFrame
    figures: Sequence[FigureEntry]
    tables: Sequence[TableEntry]
    claims: pl.DataFrame | None = None
    regimes: pl.DataFrame | None = None
    seal: str = ""
    """The digest over all that the study consists of; empty if not all of it is here."""
    explorer: TableEntry | None = None
    planned: int = 0
    """Number of cells that the study asks for; the page says if fewer are finished."""
    advice: pl.DataFrame | None = None

    @property
    def distinct(self) -> pl.DataFrame:
        """Cells, each once, in whatever number of slices it is."""
        return self.cells.unique("cell")

    @property
    def themes(self) -> dict[str, list[FigureEntry]]:
        """Drawn figures by the first part of their names, in their order."""
        found: dict[str, list[FigureEntry]] = {}
        for figure in self.figures:
            # Figures of generated digits are in no folder of a study.
            own = "/figures/" in figure.stem.as_posix()
            name = figure.name.partition("/")[0] if own else figure.stem.name
            if not figure.is_empty:
                found.setdefault(name, []).append(figure)
        return found

    @property
    def left_out(self) -> Iterator[str]:
        """Sentences that say which slices are not compared, and why."""
        yield from _versions(self.cells)
        if self.regimes is not None:
            yield from _left_out(self.regimes)


def read_figure(stem: str | Path) -> FigureEntry:
    """The entry of the figure that `save` wrote at `stem`, from the metadata in its JSON.

    Raises FileNotFoundError when the JSON is missing.
    """
    spec = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    words = spec.get("usermeta", {}).get("gammascape", {})
    caption = words.get("caption") or spec.get("description", "")
    title = words.get("title") or Path(stem).name
    return FigureEntry(Path(stem), title, caption, not words.get("drawn", True))


def _versions(cells: pl.DataFrame) -> Iterator[str]:
    """Datasets of which slices were trained on different versions."""
    # A digest with spaces is in words, of a law that follows from the study.
    files = cells.filter(~pl.col("data_digest").str.contains(" ")).sort("slice")
    for (dataset,), part in files.group_by("dataset", maintain_order=True):
        versions = part.group_by("data_digest", maintain_order=True).agg(
            pl.col("slice").unique().sort()
        )
        if versions.height > 1:
            named = [
                f"{digest[:12]} by {', '.join(slices)}" for digest, slices in versions.iter_rows()
            ]
            yield (
                f"Slices on {dataset} were trained on different versions of it: {'; '.join(named)}. Functions and "
                "representations of networks of different versions are not compared, and their accuracies and "
                "losses are of different test sets. Delete the cells of the version that you no longer want."
            )


def _left_out(regimes: pl.DataFrame) -> Iterator[str]:
    rows = regimes.filter(quantity=LEFT_OUT)
    for (factor, group), part in rows.group_by("factor", "group", maintain_order=True):
        yield (
            f"Along {factor} ({group}), {', '.join(part['slice'])} is left out: it was trained on another "
            "version of the data than the others."
        )


def write_index(
    sections: Sequence[StudySection],
    path: str | Path,
    themes: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Write the page of these studies to `path`; its links are relative to the page's folder.

    `themes` are a name and a sentence for figures by the first part of their names.

    Raises FileNotFoundError, naming every file, when a figure or table to link is missing.
    """
    page = Path(path)
    linked = [Path(f"{f.stem}.{kind}") for s in sections for f in s.figures for kind in FORMATS]
    linked += [table.path for section in sections for table in section.tables]
    linked += [section.explorer.path for section in sections if section.explorer]
    missing = [str(file) for file in linked if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"{page} would link to files that do not exist: {missing}")
    words = {"count_of": count_of, "status_counts": status_counts, "duration": duration}

    def relative(file: Path) -> str:
        return Path(os.path.relpath(file, page.parent)).as_posix()

    def link(file: Path, suffix: str = "") -> str:
        return quote(f"{relative(file)}{suffix}")

    words |= {"link": link, "relative": relative, "claims_html": claims_html}
    words |= {
        "by_slice": by_slice,
        "head": head,
        "gamma_cells": gamma_cells,
        "what": what,
        "where": where,
        "greek": greek,
    }
    about = {"sections": sections, "formats": _FORMAT_WORDS, "themes": themes or {}}
    text = render("index.html.j2", **about, **words)
    with whole(page) as partial:
        partial.write_text(text, encoding="utf-8")
