"""Run a workflow script: messages go to its log, a user's mistake is one line, outputs get a manifest."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from gammascape.manifests import (
    Kind,
    Manifest,
    Source,
    code_state,
    environment,
    file_of,
    source_of,
    utc_now,
    write_manifest,
)
from gammascape.manifests.code import meaning
from gammascape.manifests.manifest import SUFFIX
from gammascape.manifests.mark import Mark
from gammascape.manifests.paths import CELLS
from gammascape.tables.cells import TableError
from gammascape.tables.seal import SealTree
from gammascape.terminal import visible_lines
from gammascape.workflow.arguments import CellsFolder, arguments_of
from gammascape.workflow.catalogue import Artifact, artifacts_of_job, place_of

_FINGERPRINTS = Path("results/.fingerprints")
AGAIN = "GAMMASCAPE_AGAIN"
"""Environment variable of forced rules and files, separated by spaces, which are made again even if current."""
_PACKAGES: Mapping[Kind, tuple[str, ...]] = {
    "table": ("snakemake", "polars", "numpy"),
    "figure": ("snakemake", "polars", "altair", "vl-convert-python"),
    "page": ("snakemake", "polars", "altair", "vl-convert-python"),
}


@dataclass
class Script:
    """Run of a script for one artifact."""

    manifest: Manifest
    """Manifest as known before the outputs are written."""
    inputs: Sequence[Path]
    cells: Sequence[str] | None = None
    """Paths of the cells that were read, if not all of the rule's."""
    seals: SealTree = field(default_factory=SealTree)
    """Digests that are known of what it was made from."""
    drawn_as: Manifest | None = None
    """Manifest whose claim and commit the marks repeat, for a figure drawn for comparison with an existing one."""

    @property
    def path(self) -> Path:
        """Path of the manifest."""
        return Path(f"{self.manifest.name}{SUFFIX}")

    @property
    def mark(self) -> dict[str, str | None]:
        """Mark for a figure's files: manifest, claim, study, commit, and seal of the numbers shown."""
        described = self.drawn_as or self.manifest
        return Mark(
            manifest=self.path.as_posix(),
            claim=described.claim,
            study=self.manifest.record["wildcards"].get("study"),
            commit=described.code["commit"],
            seal=self.seals.seal_of(self.manifest.inputs),
        ).as_json()


@contextmanager
def run_script(snakemake: Any, kind: Kind) -> Iterator[Script]:
    """Run the body of the script of a rule that makes one artifact, then write its manifest.

    Errors are written to the log and printed. A TableError is about the user's data and ends the script with just
    its message.
    """
    # Another workflow may rename the rule; Snakemake runs a copy of the script and sets this name to the original.
    file = Path(sys._getframe(2).f_globals["__file__"])
    name = str(snakemake.output.manifest).removesuffix(SUFFIX)
    entry = place_of(name)
    assert entry is not None
    item = Artifact(
        entry[1],
        kind,
        name,
        dict(snakemake.wildcards.items()),
        {"all": [path for path in snakemake.input if _FINGERPRINTS not in Path(path).parents]},
        dict(snakemake.params.items()),
    )
    with _logged(snakemake), _making(item, file, getattr(snakemake, "drawn_as", None)) as script:
        yield script


@contextmanager
def run_stage(snakemake: Any) -> Iterator["Stage"]:
    """Run the body of the script of a stage, which makes the artifacts `Stage.due`; errors as in `run_script`."""
    file = Path(sys._getframe(2).f_globals["__file__"])
    with _logged(snakemake):
        given = {name: value for name, value in snakemake.input.items() if name != "code"}
        values = snakemake.params.get("given") or {}
        items = artifacts_of_job(map(str, snakemake.output), given, values)
        yield Stage(snakemake, file, items)


@dataclass
class Stage:
    """Run of a script for the tables or figures of a stage; each input is read once."""

    snakemake: Any
    file: Path
    items: Sequence[Artifact]
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    """Tables by the paths of their files, which are not read then."""
    _made: dict[str, tuple[Any, list[str]]] = field(default_factory=dict)
    """Latest call of a function -> its result, which may be several tables, and the cells that it read."""
    _shared: dict[Any, Any] = field(default_factory=dict)
    """See `CellsFolder`."""
    _seals: SealTree = field(default_factory=SealTree)

    @property
    def forced(self) -> bool:
        """True if a person forces the rule or one of its files, or an artifact is made again for comparison."""
        names = {*os.environ.get(AGAIN, "").split()}
        outputs = {str(path) for path in self.snakemake.output}
        again = self.snakemake.rule in names or not outputs.isdisjoint(names)
        return again or getattr(self.snakemake, "again", False)

    def due(self, differences: Callable[[Artifact], object]) -> Iterator[tuple[Script, Any]]:
        """Yield each artifact that differs from what is asked for, with its function's result, to be written.

        All others stay as they are and only become newer than their inputs. Forced artifacts are always yielded.
        """
        drawn_as = getattr(self.snakemake, "drawn_as", None)
        for item in self.items:
            if self.forced or differences(item):
                with _making(item, self.file, drawn_as) as script:
                    # Figures of a stage stand on the same cells and tables, which it does not change.
                    script.seals = self._seals
                    made, script.cells = self.call(item)
                    yield script, made
            else:
                for path in (*item.outputs, item.manifest):
                    os.utime(path)

    def call(self, item: Artifact) -> tuple[Any, list[str] | None]:
        """Result of the function of an artifact, and the cells that it read if it chooses them."""
        entry = item.entry
        key = repr((entry.function, item.inputs.keys(), item.params))
        if key not in self._made:
            folder = CellsFolder(self._shared)
            given = arguments_of(item, self._read_table, folder)
            module, _, name = entry.function.partition(":")
            library = module if module == "polars" else f"gammascape.{module}"
            made = getattr(import_module(library), name)(**given)
            self._made = {key: (made, folder.read)}
        made, read = self._made[key]
        chosen = list(dict.fromkeys(read)) if entry.chooses else None
        return made if entry.part is None else made[entry.part], chosen

    def _read_table(self, path: str) -> pl.DataFrame:
        if path not in self.tables:
            self.tables[path] = pl.read_parquet(path)
        return self.tables[path]


@contextmanager
def _logged(snakemake: Any) -> Iterator[None]:
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    try:
        yield
    except TableError as error:
        log.write_text(f"{error}\n")
        sys.exit(visible_lines(error))
    except Exception:
        log.write_text(traceback.format_exc())
        raise


@contextmanager
def _making(item: Artifact, file: Path, drawn_as: Manifest | None) -> Iterator[Script]:
    """Write the manifest of an artifact after its files."""
    inputs = [Path(path) for path in item.files]
    manifest = Manifest(
        kind=item.kind,
        name=item.stem,
        rule=item.rule,
        record={"wildcards": dict(item.wildcards), "params": dict(item.params)},
        inputs=(),
        code={**code_state(*item.modules), "script": meaning(file)},
        environment=environment(_PACKAGES[item.kind]),
        started=utc_now(),
    )
    # A figure or an explorer contains a digest of its manifest, whose inputs must therefore be known before.
    if item.kind != "table":
        manifest = replace(manifest, inputs=_sources(inputs))
    script = Script(manifest, inputs, drawn_as=drawn_as)
    yield script
    if manifest.kind == "table":
        if script.cells is not None:
            read = {CELLS / cell for cell in script.cells}
            inputs = [path for path in inputs if CELLS not in path.parents or path.parent in read]
        manifest = replace(manifest, inputs=_sources(inputs))
    files = tuple(file_of(Path(path), script.path.parent) for path in item.outputs)
    write_manifest(script.path, replace(manifest, outputs=files, finished=utc_now()))


def _sources(inputs: Sequence[Path]) -> tuple[Source, ...]:
    """One entry for each artifact, in the order of the rule's inputs."""
    folders = {path.parent if CELLS in path.parents else path: path for path in inputs}
    return tuple(dict.fromkeys(source_of(path) for path in folders.values()))
