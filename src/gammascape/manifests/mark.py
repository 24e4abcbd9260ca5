"""Mark of a figure: a reference to its manifest, written into each of its files and read back from them."""

import hashlib
import html
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gammascape.manifests.manifest import SUFFIX
from gammascape.terminal import visible

FORMATS = ("json", "html", "svg", "png")
"""Files of a figure; each carries the mark."""

_NAME = "gammascape"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = 33
"""Bytes of the signature and of the chunk IHDR, which always comes first."""
_PDF_MARK = b"\n%gammascape "
_HTML_MARK = re.compile(rb'<footer data-gammascape="([^"]*)"')
_COMMIT_DIGITS = 12
_HEX = re.compile("[0-9a-f]{40,64}")
_MOST_BYTES = 2**28
_MOST_PARTS = 8
"""Number of elements searched for an SVG's mark, which is in the first that contains an object."""

_FOOTER = """\
    <footer data-gammascape="{mark}" style="margin-top: 1.5em; font: 12px/1.5 system-ui, sans-serif; opacity: .75">
      Made by gammascape{study}{commit}. What it was made from: {manifest}{seal}.<br>
      To check it, in the project's folder: <code>gammascape audit {page}</code>, or any copy of this file.
    </footer>
"""


@dataclass(frozen=True)
class Mark:
    """Mark of a figure."""

    manifest: str
    """Path of the manifest, relative to the folder where Snakemake runs."""
    claim: str
    """Digest of all entries of the manifest that are known before the outputs are written."""
    study: str | None = None
    commit: str | None = None
    seal: str | None = None
    """Digest of all numbers that the figure is drawn from; see `tables.seal`."""
    redrawn: bool = False
    """True if it was drawn again from the data of the figure, in another size or style."""

    def as_json(self) -> dict[str, Any]:
        """Plain builtins; a mark without a seal, or of a file of the results, lacks that key."""
        apart = ("seal", "redrawn")
        return {name: value for name, value in asdict(self).items() if name not in apart or value}


def mark_pdf(pdf: bytes, mark: Mapping[str, Any]) -> bytes:
    """Add a comment to a PDF after its end, where it moves no object."""
    return pdf + _PDF_MARK + _text(mark).encode("ascii") + b"\n"


def mark_svg(svg: str, mark: Mapping[str, Any]) -> str:
    """Add a metadata element to an SVG as its first child."""
    start, end, rest = svg.partition(">")
    return f'{start}{end}<metadata id="{_NAME}">{html.escape(_text(mark), quote=False)}</metadata>{rest}'


def mark_png(png: bytes, mark: Mapping[str, Any]) -> bytes:
    """Add a text chunk to a PNG after its header."""
    body = b"tEXt" + _NAME.encode() + b"\0" + _text(mark).encode("ascii")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_PNG_HEADER] + chunk + png[_PNG_HEADER:]


def mark_html(page: str, mark: Mapping[str, Any]) -> str:
    """Add a footer to a page that says where the figure comes from and how to check it."""
    manifest, study, commit, seal = (
        visible(mark.get(name) or "") for name in ("manifest", "study", "commit", "seal")
    )
    footer = _FOOTER.format(
        mark=html.escape(_text(mark)),
        study=html.escape(f" for the study {study}") if study else "",
        commit=html.escape(f", commit {commit[:_COMMIT_DIGITS]}") if commit else "",
        manifest=html.escape(manifest),
        seal=html.escape(f", seal {seal}") if seal else "",
        page=html.escape(manifest.removesuffix(SUFFIX) + ".html"),
    )
    body, end, rest = page.rpartition("</body>")
    return f"{body.rstrip(' ')}{footer}  {end}{rest}"


def read_mark(path: Path) -> Mark | None:
    """Mark in a figure's file, the first of several; None if it has none, or is too damaged to find it.

    Raises:
        OSError: if the file cannot be read.
    """
    return next(iter(read_marks(path)), None)


def read_marks(path: Path) -> list[Mark]:
    """All marks in a file, which are several in an explorer of several studies; as for `read_mark`."""
    find = _FINDERS.get(path.suffix.lower())
    if find is None or path.stat().st_size > _MOST_BYTES:
        return []
    try:
        found = [json.loads(text) for text in find(path.read_bytes())]
        names = ("manifest", "claim", "study", "commit", "seal", "redrawn")
        marks = [Mark(**{name: one[name] for name in names if name in one}) for one in found]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
    return [m for m in marks if isinstance(m.manifest, str) and isinstance(m.claim, str)]


def sha256_without_mark(path: Path) -> str:
    """sha256 of a figure's file without time, machine and commit in its mark.

    Raises:
        OSError: if the file cannot be read.
    """
    content, mark = path.read_bytes(), read_mark(path)
    if content.startswith(_PNG_START):
        content = b"".join(
            kind + data for kind, data in _chunks(content) if not _is_mark(kind, data)
        )
    if mark is not None:
        # Substitute names: if they were just removed, digits of the figure could pass for digits of a mark.
        for name, text in (("claim", mark.claim), ("commit", mark.commit)):
            if text is not None and _HEX.fullmatch(text):
                content = content.replace(text.encode(), name.encode())
                content = content.replace(text[:_COMMIT_DIGITS].encode(), name.encode())
    return hashlib.sha256(content).hexdigest()


def _text(mark: Mapping[str, Any]) -> str:
    return json.dumps(dict(mark), sort_keys=True)


def _in_svg(content: bytes) -> list[str]:
    # A single pattern for all of it could take quadratic time on a malicious text.
    for part in content.split(b"<metadata", _MOST_PARTS)[1:]:
        text = part.partition(b">")[2].partition(b"</metadata>")[0].strip()
        if text.startswith(b"{"):
            return [html.unescape(text.decode())]
    return []


def _in_pdf(content: bytes) -> list[str]:
    return [content.rpartition(_PDF_MARK)[2].decode("ascii")] if _PDF_MARK in content else []


def _in_html(content: bytes) -> list[str]:
    return [html.unescape(found.decode()) for found in _HTML_MARK.findall(content)]


def _is_mark(kind: bytes, data: bytes) -> bool:
    return kind == b"tEXt" and data.startswith(_NAME.encode() + b"\0")


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG_START)
    while png.startswith(_PNG_START) and at + 8 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


_FINDERS: Mapping[str, Callable[[bytes], list[str]]] = {
    ".svg": _in_svg,
    ".png": lambda png: [
        data.partition(b"\0")[2].decode("ascii") for k, data in _chunks(png) if _is_mark(k, data)
    ],
    ".html": _in_html,
    ".pdf": _in_pdf,
    ".json": lambda content: [json.dumps(json.loads(content).get("usermeta", {}).get(_NAME))],
}
"""Suffix of a figure's file -> function that finds the texts of its marks."""
