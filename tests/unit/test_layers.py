"""Which part of the library may import which."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import gammascape
from gammascape.manifests.code import CELL_MODULES
from gammascape.workflow.catalogue import FIGURES, TABLES

ORDER = [
    "numerics",
    "durations terminal needs rng capture layout theory runs",
    "command",
    "manifests",
    "usercode",
    "study",
    "models",
    "data",
    "measure",
    "tables",
    "figures",
    "workflow",
    "results",
    "training",
    "execution",
    "generate",
    "provenance",
    "train commands",
    "cli",
    "__main__ check_model",
]
"""Packages and modules of the library; the parts of one line do not import each other."""
PLUGINS = {
    "snakemake_executor_plugin_packed": {"execution"},
    "snakemake_executor_plugin_packed_slurm": {"execution", "layout", "runs", "training"},
    "snakemake_logger_plugin_gammascape": {"durations", "execution", "runs", "terminal"},
    "snakemake_scheduler_plugin_gammascape": {"execution"},
}
"""What plugins use of the library."""
ROOT = Path(gammascape.__file__).parent


@cache
def imported(package: str) -> set[str]:
    """Modules that a package or module imports."""
    path = ROOT / package
    names = set()
    for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
                names |= {text for text in map(_text, node.args) if text}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: name the whole path of what is imported"
                assert node.module is not None
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _text(node: ast.expr) -> str:
    """Text that is written out in an expression, or with which it begins."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) else node
    return str(first.value) if isinstance(first, ast.Constant) else ""


def used(package: str) -> set[str]:
    """Parts of the library that a package imports."""
    parts = (name.split(".") for name in imported(package))
    return {part[1] for part in parts if part[0] == "gammascape" and len(part) > 1}


def test_every_part_has_a_place() -> None:
    parts = {file.relative_to(ROOT).parts[0].removesuffix(".py") for file in ROOT.rglob("*.py")}
    assert parts - {"__init__"} == set(" ".join(ORDER).split())
    plugins = {path.name for path in ROOT.parent.glob("snakemake_*")}
    assert plugins == PLUGINS.keys()


@pytest.mark.parametrize("line", ORDER)
def test_imports_go_one_way(line: str) -> None:
    before = set(" ".join(ORDER[: ORDER.index(line)]).split())
    assert {part: used(part) - before - {part} for part in line.split()} == {
        part: set() for part in line.split()
    }
    # Plugins stand above all of it.
    assert not PLUGINS.keys() & {
        name.split(".")[0] for part in line.split() for name in imported(part)
    }


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugins_use_little_of_the_library(plugin: str) -> None:
    assert used(f"../{plugin}") <= PLUGINS[plugin]


@pytest.mark.parametrize("package", ["data", "models", "measure", "runs", "training"])
def test_the_engine_needs_only_torch_and_numpy(package: str) -> None:
    allowed = {"torch", "numpy", "gammascape", *sys.stdlib_module_names}
    # Pillow reads photographs; only preparation asks for it.
    allowed |= {"PIL"} if package == "data" else set()
    assert {name.split(".")[0] for name in imported(package)} <= allowed
    assert not any(name.startswith("gammascape.study") for name in imported(package))


def test_what_decides_the_numbers_of_cells_is_in_their_fingerprint() -> None:
    own = {name.removesuffix(".py") for name in CELL_MODULES}
    # Files, messages, estimates of memory, and graphs of what is computed elsewhere.
    others = {"capture", "command", "layout", "manifests", "needs", "terminal"}
    assert set.union(*map(used, own)) <= own | others
    # What of these the engine imports decides no number.
    taken = {name for package in own for name in imported(package) if ".needs." in name}
    assert taken == {f"gammascape.needs.{name}" for name in ("needs", "needs_text", "size_text")}


def test_manifests_need_only_the_standard_library() -> None:
    allowed = {"gammascape", *sys.stdlib_module_names}
    assert {name.split(".")[0] for name in imported("manifests")} <= allowed


def test_tables_and_figures_do_not_load_torch() -> None:
    entries = (*TABLES.values(), *FIGURES.values())
    modules = {f"gammascape.{entry.function.partition(':')[0]}" for entry in entries}
    code = f"import sys, {', '.join(sorted(modules))}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "name", ["manifest.json", ".manifest.json", "summary.json", "arrays.npz", "results/cells"]
)
def test_names_of_files_are_written_once(name: str) -> None:
    texts = []
    for file in ROOT.parent.rglob("*.py"):
        tree = ast.parse(file.read_text())
        docs = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs
        ]
    found = [text for text in texts if re.search(rf"(^|/){re.escape(name)}(/|$)", text)]
    assert found == [name]


def test_the_library_imports_its_parts_on_demand() -> None:
    code = "import sys, gammascape; print(*(name for name in sys.modules if 'gammascape.' in name))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
