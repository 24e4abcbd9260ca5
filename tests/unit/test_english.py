"""English that reads badly, in code and documents."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("src", "workflow", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
TEXTS = [
    *SOURCES,
    *(ROOT / "src").rglob("*.j*"),
    *(ROOT / "workflow").rglob("*.smk"),
    *(ROOT / name for name in ("Snakefile", "Makefile", "docs/manual.py", "docs/conf.py")),
    *(ROOT / "profiles").rglob("*.yaml"),
    *(ROOT / "workflow").rglob("*.rst"),
    *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
    *(ROOT / "config").rglob("*.md"),
    *(ROOT / "config").rglob("*.yaml"),
    *(ROOT / "examples").rglob("*.yaml"),
    *ROOT.glob("*.md"),
    ROOT / "benchmarks/RESULTS.md",
]
AVOIDED = re.compile(r"\b(?:that|those)(?: |\n *(?:# )?)(?:of|(?:is|are) there)\b", re.IGNORECASE)
"""A name says more than a pronoun before `of`."""
BEGINNINGS = re.compile(
    r"(?:That|Those|What|How|Whether|Which|Where|Who|When|Why|All that|May|None|After|From|For|Of|In|By|With|"
    r"As|At|On) "
)
"""Words with which no noun and no imperative begins."""


def docstrings(path: Path) -> list[str]:
    """Docstrings of a module, its classes, functions and attributes."""
    return [
        node.value.value.strip()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def test_texts_name_what_they_speak_of() -> None:
    found = {str(path.relative_to(ROOT)): AVOIDED.findall(path.read_text()) for path in TEXTS}
    # It names what it looks for.
    del found["tests/unit/test_english.py"]
    assert {path: words for path, words in found.items() if words} == {}


def test_docstrings_begin_with_a_noun_or_an_imperative() -> None:
    library = [path for path in SOURCES if "src" in path.relative_to(ROOT).parts]
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in library
        if (found := [text for text in docstrings(path) if BEGINNINGS.match(text)])
    }
    assert wrong == {}
