"""Make tables, figures and pages again from cells with the workflow's own scripts, and compare them."""

import contextlib
import json
import runpy
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import polars as pl

from gammascape.manifests import Manifest, ManifestError, read_manifest
from gammascape.manifests.paths import RESULTS, inside_project
from gammascape.provenance.chain import paths_from
from gammascape.provenance.current import SCRIPTS
from gammascape.provenance.project import code_changes
from gammascape.tables.cells import MEASURED
from gammascape.workflow.catalogue import Artifact, Inputs, paths_of

THE_SAME = "the same"
TOLERANCE = 1e-6
"""Largest difference of a number on another machine or version, relative to the largest in its column.

Sums in another order round at 1e-16. Fits and quantiles multiply that by their condition, below 1e6 for the
lines and curves of the tables; six digits are more than anyone reads from a table or figure."""

_LINKED = ("cells", "data", ".sources")
"""Folders of results that scripts read and never write."""


@dataclass(frozen=True)
class Remade:
    """Table, figure or page that was made again."""

    name: str
    agrees: bool | None
    """Verdict; None if it could not be made again, or cannot be compared."""
    identical: bool
    """True if nothing differs."""
    text: str


class _Files(list[str]):
    """Paths with names, in the form of a script's inputs and outputs in Snakemake."""

    def __init__(self, named: Inputs) -> None:
        super().__init__(paths_of(named))
        self.__dict__.update(named)

    def items(self) -> Any:
        return self.__dict__.items()


class _Named(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        return self[name]


def run_rule(item: Artifact, drawn_as: Manifest | None = None) -> None:
    """Run the script of a rule in the current folder, as Snakemake would.

    Args:
        item: artifact to make.
        drawn_as: for a figure, the manifest whose claim its marks carry instead of its own.

    Raises:
        SystemExit: with a message, if the cells do not fit together.
        Exception: any error of the script.
    """
    Path(item.manifest).parent.mkdir(parents=True, exist_ok=True)
    job = SimpleNamespace(
        rule=item.rule,
        again=True,
        input=_Files(item.inputs),
        output=_Files({"files": item.outputs, "manifest": item.manifest}),
        wildcards=_Named(item.wildcards),
        params=_Named(item.params if item.kind == "page" else {"given": item.params}),
        log=[f"results/logs/{item.rule}.log"],
        drawn_as=drawn_as,
    )
    scripts = SCRIPTS if SCRIPTS.is_dir() else Path("workflow/scripts")
    runpy.run_path(str(scripts / item.script), {"snakemake": job})


def below(catalogue: Mapping[str, Artifact], manifest: str) -> list[Artifact]:
    """An artifact and all tables and figures that it is made from, each after its inputs."""
    wanted = paths_from(
        [manifest], lambda path: catalogue[path].sources if path in catalogue else ()
    )
    return [item for path, item in catalogue.items() if path in wanted]


def remake(items: Iterable[Artifact], root: Path, scratch: Path) -> Iterator[Remade]:
    """Make artifacts again, one after another, and compare each with the existing one.

    Inputs that are not among `items` are read from the results.

    Args:
        items: artifacts, each after its inputs.
        root: the folder that contains results; nothing is written there.
        scratch: folder to write into.
    """
    verdicts: dict[str, bool | None] = {}
    for item in items:
        result = _remade(item, root, scratch, verdicts)
        verdicts |= dict.fromkeys(item.outputs, result.agrees)
        yield result


def _remade(
    item: Artifact, root: Path, scratch: Path, verdicts: Mapping[str, bool | None]
) -> Remade:
    not_made = [path for path in item.files if path in verdicts and not (scratch / path).is_file()]
    if not_made:
        return Remade(item.stem, None, False, f"cannot be made again: {not_made[0]} was not")
    try:
        made = read_manifest(root / item.manifest)
        for path in item.files:
            if path not in verdicts:
                _provide(path, root, scratch)
        with contextlib.chdir(scratch):
            run_rule(item, made)
        again = read_manifest(scratch / item.manifest)
    except (ManifestError, Exception, SystemExit) as error:
        # If a script fails on results that do not fit together, the others are still compared.
        said = " ".join(str(error).split())
        return Remade(item.stem, None, False, f"cannot be made again: {said}")
    agrees, text = _verdict(item, made, again, root, scratch, verdicts)
    if agrees:
        # A page summarizes the existing manifests of the artifacts that it shows.
        (scratch / item.manifest).write_bytes((root / item.manifest).read_bytes())
    return Remade(item.stem, agrees, text == THE_SAME, text + by_other_code(made))


def by_other_code(made: Manifest) -> str:
    """Words for an artifact made by other code than the installed one; empty for others."""
    modules = code_changes(made)
    return f"; made by other code ({', '.join(modules)})" if modules else ""


def _verdict(
    item: Artifact,
    made: Manifest,
    again: Manifest,
    root: Path,
    scratch: Path,
    verdicts: Mapping[str, bool | None],
) -> tuple[bool | None, str]:
    if made.record != again.record or made.rule != again.rule:
        return False, "its manifest says another rule or other parameters than the study"
    sources = [source.path for source in made.inputs], [source.path for source in again.inputs]
    if sources[0] != sources[1]:
        other = sorted(set(sources[0]) ^ set(sources[1]))[:1] or ["the same in another order"]
        return False, f"its manifest names other inputs: {other[0]}"
    same_place = made.environment == again.environment
    try:
        differences = [
            text
            for path in item.outputs
            if (
                text := _compare_files(inside_project(root, path), scratch / path, exact=same_place)
            )
        ]
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return False, f"a file of it cannot be read ({' '.join(str(error).split())})"
    if not differences:
        return True, THE_SAME
    first, kinds = differences[0].text, {difference.kind for difference in differences}
    if kinds == {"rounding"}:
        return True, first
    if kinds == {"times"} and made.inputs != again.inputs:
        return True, f"{THE_SAME} but for the cost of cells that were trained again since"
    if code_changes(made):
        return None, f"cannot be compared: {first}"
    depends = [path for path in item.files if path in verdicts and verdicts[path] is not True]
    if item.kind == "page" and depends:
        return None, f"cannot be compared: {depends[0]} is not what it was"
    if item.kind != "table" and not same_place and "specification" not in kinds:
        words = "drawn on another machine or by other versions; its data agree, the rest cannot be "
        return None, f"{words}compared: {first}"
    return False, first


@dataclass(frozen=True)
class _Difference:
    """Difference between two files, in words."""

    text: str
    kind: Literal["rounding", "times", "specification", "content"] = "content"
    """`rounding`: numbers agree within TOLERANCE; `times`: only measured times differ; `specification`: charts."""


def _compare_files(made: Path, again: Path, *, exact: bool) -> _Difference | None:
    """Difference between two files; None if they are equal."""
    if made.read_bytes() == again.read_bytes():
        return None
    if made.suffix == ".parquet":
        return _of_tables(pl.read_parquet(made), pl.read_parquet(again), exact=exact)
    if made.suffix == ".json" and not exact:
        text = _of_specs(json.loads(made.read_bytes()), json.loads(again.read_bytes()))
        return None if text is None else _Difference(text, "specification")
    return _Difference(f"{made.name} differs")


def _of_tables(made: pl.DataFrame, again: pl.DataFrame, *, exact: bool) -> _Difference | None:
    if made.schema != again.schema or made.height != again.height:
        size = f"{made.height:,} rows of {made.width} columns"
        return _Difference(f"{size}, made again {again.height:,} of {again.width}")
    largest, times = 0.0, None
    for name in made.columns:
        a, b = made[name], again[name]
        rows = a.ne_missing(b).arg_true()
        if not len(rows):
            continue
        if not exact and a.dtype == pl.Float64:
            scale = float(b.abs().max() or 0.0)  # type: ignore[arg-type]
            apart = (a - b).abs().fill_null(float("inf")).gather(rows).max()
            largest = max(largest, float(apart) / scale if scale else float("inf"))  # type: ignore[arg-type]
            if largest <= TOLERANCE:
                continue
        if name in MEASURED:
            times = times or _Difference(f"other times in {name}", "times")
            continue
        k = int(rows[0])
        return _Difference(f"{name} of row {k + 1:,} is {a[k]}, made again {b[k]}")
    if times is None and largest:
        return _Difference(f"within {largest:.0e} (allowed {TOLERANCE:.0e})", "rounding")
    return times


def _of_specs(made: Any, again: Any, where: str = "the .json") -> str | None:
    """Compare two charts, with numbers within TOLERANCE; None if they agree."""
    if isinstance(made, dict) and isinstance(again, dict) and set(made) == set(again):
        pairs: Sequence[tuple[Any, Any, Any]] = [(key, made[key], again[key]) for key in made]
    elif isinstance(made, list) and isinstance(again, list) and len(made) == len(again):
        pairs = [(k, a, b) for k, (a, b) in enumerate(zip(made, again, strict=True))]
    elif isinstance(made, float) and isinstance(again, int | float):
        close = abs(made - again) <= TOLERANCE * max(abs(made), abs(again))
        return None if close else f"{where} is {made}, made again {again}"
    else:
        return None if made == again else f"{where} differs"
    found = (_of_specs(a, b, f"{where}: {key}") for key, a, b in pairs)
    return next((text for text in found if text is not None), None)


def _provide(path: str, root: Path, scratch: Path) -> None:
    """Make a file of the results, with all its inputs, readable below `scratch`."""
    parts = Path(path).parts
    # Tables that are not made again are provided with the tables that they were made from.
    whole = 2 if parts[1] in _LINKED else 3 if parts[2] == "tables" else len(parts)
    for name in (Path(*parts[:whole]), *(RESULTS / linked for linked in _LINKED)):
        source, place = root / name, scratch / name
        if place.exists() or not source.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.parts[1] in _LINKED:
            place.symlink_to(source.resolve())
        elif source.is_dir():
            shutil.copytree(source, place, ignore=_odd)
        else:
            shutil.copyfile(inside_project(root, path), place)


def _odd(folder: str, names: list[str]) -> list[str]:
    """Links to folders, FIFOs and devices: no rule makes them, and copying one may never end."""
    paths = [Path(folder, name) for name in names]
    return [p.name for p in paths if not (p.is_file() or (p.is_dir() and not p.is_symlink()))]
