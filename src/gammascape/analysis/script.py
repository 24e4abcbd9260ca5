"""How a workflow script runs: messages go to its log, a user's mistake is one line, outputs get a manifest."""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gammascape.analysis.cells import TableError
from gammascape.analysis.seal import SealTree
from gammascape.origin import (
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
from gammascape.origin.code import MODULES, meaning
from gammascape.origin.mark import Mark
from gammascape.terminal import visible

CELLS = Path("results/cells")
_FINGERPRINTS = Path("results/.fingerprints")
_PACKAGES: Mapping[Kind, tuple[str, ...]] = {
    "table": ("snakemake", "polars", "numpy"),
    "figure": ("snakemake", "polars", "altair", "vl-convert-python"),
    "page": ("snakemake", "polars"),
}


@dataclass
class Script:
    """A script at work on one artifact."""

    manifest: Manifest
    """What is known before the outputs are written."""
    inputs: Sequence[Path]
    cells: Sequence[str] | None = None
    """Paths of the cells that were read, where they are not all of the rule's."""
    drawn_as: Manifest | None = None
    """A manifest whose claim and commit the marks repeat, where a figure is drawn to be compared with another."""

    @property
    def path(self) -> Path:
        """Of the manifest."""
        return Path(f"{self.manifest.name}.manifest.json")

    @property
    def mark(self) -> dict[str, str | None]:
        """What a figure says of itself in its files: manifest, claim, study, commit, and seal of what it shows."""
        described = self.drawn_as or self.manifest
        return Mark(
            manifest=self.path.as_posix(),
            claim=described.claim,
            study=self.manifest.record["wildcards"].get("study"),
            commit=described.code["commit"],
            seal=SealTree().over(self.manifest.inputs),
        ).as_json()


def run_script(snakemake: Any, kind: Kind) -> AbstractContextManager[Script]:
    """Run the body of the script of a rule, then write the manifest `snakemake.output.manifest`.

    What goes wrong is written to the log and printed. A TableError is a fact about the user's data and ends the
    script with its message alone.
    """
    # Another workflow may rename the rule; Snakemake runs a copy of the script and sets this name to the original.
    return _run(snakemake, kind, Path(sys._getframe(1).f_globals["__file__"]))


@contextmanager
def _run(snakemake: Any, kind: Kind, file: Path) -> Iterator[Script]:
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    try:
        script = _begin(snakemake, kind, file)
        yield script
        _end(script, [Path(path) for path in snakemake.output])
    except TableError as error:
        log.write_text(f"{error}\n")
        sys.exit("\n".join(map(visible, str(error).split("\n"))))
    except Exception:
        log.write_text(traceback.format_exc())
        raise


def _begin(snakemake: Any, kind: Kind, file: Path) -> Script:
    inputs = [Path(path) for path in snakemake.input if _FINGERPRINTS not in Path(path).parents]
    manifest = Manifest(
        kind=kind,
        name=str(snakemake.output.manifest).removesuffix(".manifest.json"),
        rule=file.stem,
        record={
            "wildcards": dict(snakemake.wildcards.items()),
            "params": dict(snakemake.params.items()),
        },
        inputs=(),
        code={**code_state(*MODULES[kind]), "script": meaning(file)},
        environment=environment(_PACKAGES[kind]),
        started=utc_now(),
    )
    # A figure carries a digest of its manifest, which is therefore complete before the figure is drawn.
    if kind == "figure":
        manifest = replace(manifest, inputs=_sources(inputs))
    return Script(manifest, inputs, drawn_as=getattr(snakemake, "drawn_as", None))


def _end(script: Script, outputs: Sequence[Path]) -> None:
    manifest, inputs = script.manifest, script.inputs
    if manifest.kind != "figure":
        if script.cells is not None:
            read = {CELLS / cell for cell in script.cells}
            inputs = [path for path in inputs if CELLS not in path.parents or path.parent in read]
        manifest = replace(manifest, inputs=_sources(inputs))
    files = tuple(file_of(path, script.path.parent) for path in outputs if path != script.path)
    write_manifest(script.path, replace(manifest, outputs=files, finished=utc_now()))


def _sources(inputs: Sequence[Path]) -> tuple[Source, ...]:
    """One entry for each artifact, in the order of the rule's inputs."""
    folders = {path.parent if CELLS in path.parents else path: path for path in inputs}
    return tuple(dict.fromkeys(source_of(path) for path in folders.values()))
