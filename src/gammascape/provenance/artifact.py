"""Check one artifact by itself: its files, its place, its identity, the code that made it."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from gammascape.manifests import Manifest
from gammascape.manifests.code import other_code
from gammascape.manifests.manifest import FILE_NAME, FOLDERS, SUFFIX
from gammascape.manifests.mark import FORMATS, read_mark
from gammascape.manifests.paths import CELLS, OutsideError, cell_of, inside, read_object, short
from gammascape.manifests.scripts import has_other_script
from gammascape.manifests.whole import ARRAYS, SUMMARY
from gammascape.numerics import NUMERICS_VERSION
from gammascape.provenance.findings import Finding
from gammascape.provenance.hashes import Hashes
from gammascape.runs.history import FULL_HISTORY, final_window
from gammascape.runs.outcome import Facts, Thresholds, judge
from gammascape.study import Cell, StudyError
from gammascape.tables.cells import TableError, open_arrays, read_table
from gammascape.workflow.catalogue import modules_behind

_MARKED = {f".{kind}" for kind in FORMATS}


def artifact_findings(
    path: str, manifest: Manifest, root: Path, hashes: Hashes
) -> tuple[Finding, ...]:
    """Findings at one artifact, without comparison with others.

    Args:
        path: path of its manifest, relative to `root`, the folder where Snakemake runs.
    """
    return tuple(_findings(path, manifest, root, hashes))


def check_file(
    find: Callable[[], Path], name: str, size: int, sha256: str, hashes: Hashes
) -> Finding | None:
    """Compare a file with its size and hash in a manifest; None if it agrees.

    Args:
        find: returns its path, or raises OSError (see `manifests.paths`).
    """
    try:
        path = find()
        length = path.stat().st_size
        if length != size:
            return Finding("altered", f"{name} has {length:,} bytes, its manifest says {size:,}")
        if hashes.sha256(path) != sha256:
            return Finding("altered", f"{name} has another sha256 than its manifest says")
    except FileNotFoundError:
        return Finding("missing", f"{name} is not there", missing=name)
    except OutsideError as error:
        return Finding("outside", str(error))
    except OSError as error:
        return Finding("missing", f"{short(name)} cannot be read ({error.strerror})")
    return None


def _findings(path: str, manifest: Manifest, root: Path, hashes: Hashes) -> Iterator[Finding]:
    ending = f"/{FILE_NAME}" if manifest.kind in FOLDERS else SUFFIX
    place = path.removesuffix(ending)
    if manifest.name != place:
        yield Finding("misplaced", f"its manifest belongs to {manifest.name}")
    folder = (root / path).parent
    wrong = {}
    for file in manifest.outputs:
        find = partial(inside, folder, file.path)
        found = check_file(find, file.path.rpartition("/")[2], file.bytes, file.sha256, hashes)
        if found is not None:
            wrong[file.path] = found
    yield from wrong.values()
    whole = [file.path for file in manifest.outputs if file.path not in wrong]
    if manifest.kind in FOLDERS:
        named = {FILE_NAME, *(file.path for file in manifest.outputs)}
        for stray in sorted(p.name for p in folder.iterdir()):
            if stray not in named and not stray.startswith("."):
                yield Finding(
                    "unknown origin", f"{stray} is in its folder, and no manifest names it"
                )
    if manifest.kind == "cell":
        # Reading all arrays would take as long as hashing them.
        read = not wrong and not hashes.trusting
        yield from _cell_findings(place, manifest, folder, with_arrays=read)
    if "/tables/cells/" in manifest.name and "points" not in manifest.params and whole:
        yield from _table_findings(manifest, folder / whole[0])
    if manifest.kind == "figure":
        yield from _figure_findings(manifest, folder, whole)
    yield from _code_findings(manifest)


def _cell_findings(
    place: str, manifest: Manifest, folder: Path, *, with_arrays: bool
) -> Iterator[Finding]:
    for name in sorted({SUMMARY, ARRAYS} - {file.path for file in manifest.outputs}):
        yield Finding("altered", f"its manifest does not name {name}")
    record = manifest.record
    try:
        where = f"{CELLS}/{path_of_record(record)}"
        if where != place:
            yield Finding("misplaced", f"its record belongs to {where}")
    except StudyError as error:
        problem = str(error).splitlines()[-1].strip()
        yield Finding("altered", f"its record is not a cell's ({problem})")
    try:
        summary = read_object(folder / SUMMARY)
        if summary.get("cell") != record:
            yield Finding("altered", f"the cell in {SUMMARY} is not the record of its manifest")
        for name in contradictions(summary, folder) if with_arrays else ():
            yield Finding("altered", f"{name} in {SUMMARY} does not follow from {ARRAYS}")
    except OSError:
        # Reported above, as it is one of the outputs.
        pass
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, TableError) as error:
        yield Finding(
            "altered", f"{SUMMARY} is not the summary of a cell ({error.__cause__ or error})"
        )
    if record.get("numerics") != NUMERICS_VERSION:
        text = f"numerics {record.get('numerics')}, this code computes numerics {NUMERICS_VERSION}"
        yield Finding("numerics changed", text)


def contradictions(summary: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Names of facts in a cell's summary that contradict its loss history.

    A thinned history only bounds the mean over the last steps, by its smallest and largest loss, and says nothing
    about the step of the peak.
    """
    facts = Facts(**summary["facts"])
    outcome = judge(facts, Thresholds())
    with open_arrays(folder) as arrays:
        step, loss, low, high, zero = (
            arrays[name] for name in ("step", "loss", "loss_min", "loss_max", "zero_loss")
        )
    done, steps = summary["steps_done"], summary["cell"]["steps"]
    window = final_window(steps)
    whole = done <= FULL_HISTORY
    last = step + np.diff(step, append=done) > done - window
    finite = bool(np.isfinite(high).all())
    follows: dict[str, Any] = {
        "status": outcome.status,
        "catapulted": outcome.catapulted,
        "kept_by_nan_rule": outcome.kept_by_nan_rule,
        "relative_loss": outcome.relative_loss,
        "facts.finite": finite,
        "facts.seen_nan": bool(np.isnan(loss).any()),
        "facts.initial_loss": float(loss[0]),
        "facts.peak_loss": float(high.max()) if finite else None,
    }
    if whole:
        follows |= {
            "steps_done": len(loss),
            "peak_step": int(loss.argmax()) if finite else None,
            "facts.final_loss": float(loss[-window:].mean()) if finite else None,
            "facts.baseline_loss": float(zero[-window:].mean()),
        }
    elif finite and not low[last].min() <= facts.final_loss <= high[last].max():
        yield "facts.final_loss"
    for name, value in follows.items():
        part = summary["facts"] if name.startswith("facts.") else summary
        said = part[name.removeprefix("facts.")]
        # JSON has no NaN or infinity.
        if said != (value if not isinstance(value, float) or math.isfinite(value) else None):
            yield name


def _table_findings(manifest: Manifest, path: Path) -> Iterator[Finding]:
    """Compare the rows of a table of cells with the cells named in its manifest."""
    named = {cell_of(source.path) or source.path for source in manifest.inputs}
    try:
        # Convert to text, so that a column of another type only counts as other cells.
        rows = set(map(str, read_table(path, ["cell"])["cell"]))
    except (OSError, TableError) as error:
        yield Finding(
            "altered", f"{path.name} is not a table of cells ({short(error.__cause__ or error)})"
        )
        return
    for names, words in (
        (rows - named, "a row of {}, its manifest does not"),
        (named - rows, "no row of {}"),
    ):
        if names:
            like = f"{len(names):,} cells like {min(names)}" if len(names) > 1 else min(names)
            yield Finding("altered", f"{path.name} has {words.format(like)}")


def _figure_findings(manifest: Manifest, folder: Path, names: Sequence[str]) -> Iterator[Finding]:
    claim = manifest.claim
    version = manifest.environment["packages"].get("vl-convert-python")
    for name in names:
        path = folder / name
        if path.suffix in _MARKED:
            mark = read_mark(path)
            if mark is None:
                yield Finding("altered", f"{name} does not say which manifest is its own")
            elif mark.claim != claim:
                yield Finding("altered", f"its manifest is not the one that {name} was drawn with")
            if path.suffix == ".html" and has_other_script(path.read_bytes(), version):
                text = f"{name} has another script than vl-convert-python {version} puts there"
                yield Finding("altered", text)


def _code_findings(manifest: Manifest) -> Iterator[Finding]:
    code = manifest.code
    for entry in manifest.accepted:
        yield Finding("accepted", f"accepted at {entry['at']}: {entry['reason']}")
    names = other_code(code, manifest.accepted, modules_behind(manifest))
    if names is not None:
        yield Finding("code changed", f"since it was made: {', '.join(names) or 'another order'}")
    if code["dirty"]:
        commit = str(code["commit"])[:12]
        yield Finding("dirty tree", f"made with changes to commit {commit} that were not committed")


def path_of_record(record: Mapping[str, Any]) -> str:
    """Path of the artifact of a cell with this record, of any version of the numerics.

    Raises:
        StudyError: if it is not the record of a cell.
    """
    text = json.dumps({**record, "numerics": NUMERICS_VERSION}, sort_keys=True)
    path, canonical = _parsed(text)
    numerics = record.get("numerics")
    if numerics == NUMERICS_VERSION:
        return path
    older = json.loads(canonical) | {"numerics": numerics}
    identity = hashlib.sha256(
        json.dumps(older, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()[:12]
    return f"{path.rpartition('-')[0]}-{identity}"


@cache
def _parsed(text: str) -> tuple[str, str]:
    cell = Cell.from_canonical(text)
    return cell.path, cell.canonical()
