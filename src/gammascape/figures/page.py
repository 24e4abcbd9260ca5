"""The index page of all results: plain HTML that shows every figure and links every file."""

import html
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote

import polars as pl

from gammascape.analysis.regimes import LEFT_OUT
from gammascape.durations import duration
from gammascape.figures.claims import claims_html
from gammascape.figures.tables import count_of, status_counts
from gammascape.figures.theme import STATUS_ORDER
from gammascape.layout import whole
from gammascape.origin.mark import FORMATS

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


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table on the page with one sentence about what is in it."""

    path: Path
    sentence: str


@dataclass(frozen=True, slots=True)
class StudySection:
    """One study on the page; `statuses` pairs each status with its number of cells."""

    name: str
    description: str
    cells: int
    statuses: tuple[tuple[str, int], ...]
    device_seconds: float
    figures: tuple[FigureEntry, ...]
    tables: tuple[TableEntry, ...]
    claims: str = ""
    """HTML of the table of claims; empty where none can be judged."""
    left_out: tuple[str, ...] = ()
    """Sentences that say which slices are not compared, and why."""
    seal: str = ""
    """The digest over all that the study consists of."""


def read_figure(stem: str | Path) -> FigureEntry:
    """The entry of the figure that `save` wrote at `stem`, from the metadata in its JSON.

    Raises FileNotFoundError when the JSON is missing.
    """
    spec = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    words = spec.get("usermeta", {}).get("gammascape", {})
    caption = words.get("caption") or spec.get("description", "")
    return FigureEntry(Path(stem), words.get("title") or Path(stem).name, caption)


def study_section(
    name: str,
    description: str,
    cells: pl.DataFrame,
    figures: Sequence[FigureEntry],
    tables: Sequence[TableEntry],
    claims: pl.DataFrame | None = None,
    regimes: pl.DataFrame | None = None,
    seal: str = "",
) -> StudySection:
    """The section of a study: counts from its table `cells`, and from `claims` and `regimes` if it has them."""
    distinct = cells.unique("cell")
    return StudySection(
        name=name,
        description=description,
        cells=distinct.height,
        statuses=tuple(status_counts(distinct).items()),
        device_seconds=float(distinct["seconds"].sum()),
        figures=tuple(figures),
        tables=tuple(tables),
        claims="" if claims is None else claims_html(claims),
        left_out=(*_versions(cells), *([] if regimes is None else _left_out(regimes))),
        seal=seal,
    )


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


def write_index(sections: Sequence[StudySection], path: str | Path) -> None:
    """Write the page of these studies to `path`; its links are relative to the page's folder.

    Raises FileNotFoundError, naming every file, when a figure or table to link is missing.
    """
    page = Path(path)
    linked = [Path(f"{f.stem}.{kind}") for s in sections for f in s.figures for kind in FORMATS]
    linked += [table.path for section in sections for table in section.tables]
    missing = [str(file) for file in linked if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"{page} would link to files that do not exist: {missing}")
    contents = ""
    if len(sections) > 1:
        items = "".join(
            f'<li><a href="#{_text(s.name)}">{_text(s.name)}</a></li>' for s in sections
        )
        contents = f"<nav><ul>{items}</ul></nav>"
    studies = "\n".join(_section(section, page.parent) for section in sections)
    if not sections:
        studies = "<p>No study has results yet.</p>"
    with whole(page) as partial:
        partial.write_text(_PAGE.substitute(contents=contents, studies=studies), encoding="utf-8")


def _section(section: StudySection, folder: Path) -> str:
    counts = "".join(
        f"<li><b>{number:,}</b> {_text(status)}</li>"
        for status, number in sorted(section.statuses, key=lambda pair: STATUS_ORDER.index(pair[0]))
    )
    figures = "\n".join(_figure(figure, folder) for figure in section.figures)
    tables = "\n".join(
        f'<li><a href="{_link(table.path, folder)}">{_text(_relative(table.path, folder))}</a> '
        f"{_text(table.sentence)}</li>"
        for table in section.tables
    )
    return _SECTION.substitute(
        name=_text(section.name),
        description=f"<p>{_text(section.description)}</p>" if section.description else "",
        cells=_text(count_of(section.cells, "cell")),
        counts=counts,
        time=_text(duration(section.device_seconds)),
        claims=section.claims,
        left_out="".join(f"<p><b>Not compared.</b> {_text(text)}</p>" for text in section.left_out),
        seal=f"<p>Seal: <code>{_text(section.seal)}</code></p>" if section.seal else "",
        figures=figures,
        tables=f"<h3>Tables</h3>\n<ul class=tables>{tables}</ul>" if tables else "",
    )


def _figure(figure: FigureEntry, folder: Path) -> str:
    files = {kind: _link(Path(f"{figure.stem}.{kind}"), folder) for kind in FORMATS}
    links = " · ".join(f'<a href="{files[k]}">{words}</a>' for k, words in _FORMAT_WORDS.items())
    return _FIGURE.substitute(
        title=_text(figure.title),
        caption=_text(figure.caption),
        image=files["svg"],
        interactive=files["html"],
        links=links,
    )


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()


def _link(file: Path, folder: Path) -> str:
    return _text(quote(_relative(file, folder)))


_FIGURE = Template("""\
<figure>
<a href="$interactive"><img src="$image" alt="$title" loading="lazy"></a>
<figcaption><b>$title.</b> $caption<br><span class=links>$links</span></figcaption>
</figure>""")

_SECTION = Template("""\
<section id="$name">
<h2>$name</h2>
$description
<ul class=counts><li><b>$cells</b></li>$counts<li><b>$time</b> on the device</li></ul>
$left_out
$seal
$claims
$figures
$tables
</section>""")

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>gammascape results</title>
<style>
:root { --page: #fafafa; --ink: #1c1c1c; --quiet: #555; --line: #d8d8d8; --link: #00568a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e6e6e6; --quiet: #a8a8a8; --line: #3a3d42; --link: #7cc4f2; }
}
* { box-sizing: border-box; }
body { max-width: 66rem; margin: 0 auto; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
h1 { margin: .5rem 0; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
nav ul, .counts { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; list-style: none; }
.counts, .links { color: var(--quiet); }
figure { margin: 2rem 0; }
/* Figures are drawn on white; the card keeps them readable on a dark page. */
img { display: block; max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--line); border-radius: 6px; }
figcaption { max-width: 46rem; margin-top: .6rem; }
.links { font-size: .9rem; }
.claims { border-collapse: collapse; font-size: .92rem; }
.claims th, .claims td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid var(--line); }
.claims td:first-child, .claims td:last-child { white-space: nowrap; }
.tables li { margin: .4rem 0; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>gammascape results</h1>
<p>How networks train as a function of their feature learning strength γ and learning rate η.
A cell is one network trained once; a click on a figure opens it with values to point at.</p>
$contents
$studies
</body>
</html>
""")
