"""Which part of the library may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gammascape

ORDER = [
    "origin",
    "study",
    "data",
    "models",
    "measure",
    "training",
    "analysis",
    "figures",
    "provenance",
]
ROOT = Path(gammascape.__file__).parent


def imported(package: str) -> set[str]:
    names = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return names


@pytest.mark.parametrize("package", ORDER)
def test_nothing_imports_a_later_package(package: str) -> None:
    later = {f"gammascape.{name}" for name in ORDER[ORDER.index(package) + 1 :]}
    found = {name for name in imported(package) if ".".join(name.split(".")[:2]) in later}
    assert found == set()


@pytest.mark.parametrize("package", ["data", "models", "measure", "training"])
def test_the_engine_needs_only_torch_and_numpy(package: str) -> None:
    allowed = {"torch", "numpy", "gammascape", *sys.stdlib_module_names}
    # scikit-learn carries the digits and Pillow reads photographs; only preparation asks for them.
    allowed |= {"sklearn", "PIL"} if package == "data" else set()
    assert {name.split(".")[0] for name in imported(package)} <= allowed
    assert not any(name.startswith("gammascape.study") for name in imported(package))


def test_the_origin_needs_only_the_standard_library() -> None:
    allowed = {"gammascape", *sys.stdlib_module_names}
    assert {name.split(".")[0] for name in imported("origin")} <= allowed


def test_tables_and_figures_do_not_load_torch() -> None:
    code = (
        "import sys, gammascape.figures, gammascape.tables.cells, gammascape.tables.edges.exponents, "
        "gammascape.tables.similarity.similarity; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
